//! Pipes and sockets that are close-on-exec from birth, also what arrives over one.
#![expect(unsafe_code, reason = "a socket option that rustix does not know")]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendFlags, SocketFlags, SocketType, recvmsg,
    socketpair, sockopt,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::channel::{Received, collect};

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

/// Sends so that a reader that is gone is `EPIPE` and no signal.
pub(crate) fn send_quietly(
    flags: SendFlags,
    send: impl FnOnce(SendFlags) -> io::Result<usize>,
) -> io::Result<usize> {
    send(flags | SendFlags::NOSIGNAL)
}

/// Reads once with room for descriptors, again on `EINTR`.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut RecvAncillaryBuffer<'_>,
    handles: &mut Vec<OwnedFd>,
    flags: RecvFlags,
) -> io::Result<Received> {
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(buffer)];
    let message = rustix::io::retry_on_intr(|| recvmsg(socket, &mut parts, &mut *control, flags))?;
    Ok(collect(&message, control, handles))
}

/// A blocking read of the kernel's: one call instead of a poll and a read.
pub(crate) const RECEIVE_WAITS: bool = true;

pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_acceptconn(socket)?)
}

/// Linux 6.16; `asm/socket.h` has it at another place for one architecture.
const SO_PASSRIGHTS: libc::c_int = if cfg!(target_arch = "sparc64") {
    92
} else {
    83
};

#[expect(clippy::cast_possible_truncation, reason = "it is 4")]
const INT_SIZE: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;

pub(crate) fn forbid_handles(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let off: libc::c_int = 0;
    // SAFETY: an open descriptor, and an int of ours that outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            INT_SIZE,
        )
    };
    if done == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // An older kernel.
        Some(libc::ENOPROTOOPT) => Ok(false),
        _ => Err(error),
    }
}
