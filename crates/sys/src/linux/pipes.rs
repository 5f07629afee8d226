//! Pipes and sockets that are close-on-exec from birth.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

pub(crate) fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

pub(crate) fn duplex_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

pub(crate) fn grow_pipe(fd: BorrowedFd<'_>, bytes: usize) {
    // Refused above the user's share; the pipe works as it is.
    let _ = fcntl_setpipe_size(fd, bytes);
}
