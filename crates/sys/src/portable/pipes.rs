//! Pipes and sockets; close-on-exec is set after their birth, under a lock.

use std::io::{self, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{PoisonError, RwLock};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};
use rustix::pipe::pipe;

use crate::channel::{Received, collect};
use crate::sigpipe::without_sigpipe;

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

/// Sends so that a reader that is gone is `EPIPE` and no signal.
pub(crate) fn send_quietly(
    flags: SendFlags,
    send: impl FnOnce(SendFlags) -> io::Result<usize>,
) -> io::Result<usize> {
    without_sigpipe(|| send(flags))
}

/// Reads once with room for descriptors, again on `EINTR`. Never waits: the lock is held.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut RecvAncillaryBuffer<'_>,
    handles: &mut Vec<OwnedFd>,
    flags: RecvFlags,
) -> io::Result<Received> {
    let flags = flags | RecvFlags::DONTWAIT;
    let mut parts = [IoSliceMut::new(buffer)];
    let before = handles.len();
    let _gap = CLOEXEC_GAP.read().unwrap_or_else(PoisonError::into_inner);
    let message = rustix::io::retry_on_intr(|| recvmsg(socket, &mut parts, &mut *control, flags))?;
    let received = collect(&message, control, handles);
    for handle in &handles[before..] {
        fcntl_setfd(handle, FdFlags::CLOEXEC)?;
    }
    Ok(received)
}

/// Whoever waits in `receive` would keep every start of a child waiting.
pub(crate) const RECEIVE_WAITS: bool = false;

#[cfg(not(target_vendor = "apple"))]
pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_acceptconn(socket)?)
}

/// Apple's kernel does not tell, so its listeners count as unconnected sockets.
#[cfg(target_vendor = "apple")]
#[expect(clippy::unnecessary_wraps, reason = "the same name on each side")]
pub(crate) fn is_listening(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

/// There is no such option here.
#[expect(clippy::unnecessary_wraps, reason = "the same name on each side")]
pub(crate) fn forbid_handles(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}
