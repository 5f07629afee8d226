//! Memory on its way to another process.
//!
//! A Node that is sent a file aborts, so a channel carries sockets and pipes
//! only. Memory therefore travels inside of a socket: one end of a pair, in
//! whose queue eight bytes and the descriptor wait already. To a Node that gets
//! one by mistake it is a connection that says something and ends.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::Handle;

/// What is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Blob,
    Cells,
}

const LENGTH: usize = 8;

impl Content {
    fn label(self) -> &'static [u8; LENGTH] {
        match self {
            Self::Blob => b"PRCSN\x01\0b",
            Self::Cells => b"PRCSN\x01\0c",
        }
    }
}

/// Puts a descriptor into an envelope; the caller keeps its own.
pub(crate) fn seal(content: Content, fd: BorrowedFd<'_>) -> io::Result<Handle> {
    let (outside, inside) = procession_sys::duplex_pair()?;
    let label = content.label();
    let sent = procession_sys::send(inside.as_fd(), label, Some(fd))?;
    if sent != label.len() {
        // An empty queue has room for more than that.
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(Handle::UnixStream(outside.into()))
}

/// Takes the descriptor out. A handle that is no such envelope comes back as it was.
pub(crate) fn open(content: Content, handle: Handle) -> Result<OwnedFd, Handle> {
    let mut label = [0; LENGTH];
    let is_one = matches!(&handle, Handle::UnixStream(_))
        // Never waits: what is not there already was not put there by us.
        && procession_sys::peek(&handle, &mut label).is_ok_and(|count| count == LENGTH)
        && label == *content.label();
    if !is_one {
        return Err(handle);
    }
    let mut inside = Vec::new();
    match procession_sys::receive(handle.as_fd(), &mut label, &mut inside) {
        Ok(_) => inside.pop().ok_or(handle),
        Err(_) => Err(handle),
    }
}
