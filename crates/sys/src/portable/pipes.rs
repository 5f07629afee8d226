//! Pipes and sockets; close-on-exec is set after their birth, under a lock.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{PoisonError, RwLock};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::pipe;

/// Held for reading between the birth of a descriptor and its close-on-exec
/// flag, and for writing while a child copies our table.
pub(super) static CLOEXEC_GAP: RwLock<()> = RwLock::new(());

pub(crate) fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    marked(|| Ok(pipe()?))
}

pub(crate) fn duplex_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    marked(|| {
        Ok(socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::empty(),
            None,
        )?)
    })
}

fn marked(make: impl FnOnce() -> io::Result<(OwnedFd, OwnedFd)>) -> io::Result<(OwnedFd, OwnedFd)> {
    let _gap = CLOEXEC_GAP.read().unwrap_or_else(PoisonError::into_inner);
    let (one, other) = make()?;
    fcntl_setfd(&one, FdFlags::CLOEXEC)?;
    fcntl_setfd(&other, FdFlags::CLOEXEC)?;
    Ok((one, other))
}
