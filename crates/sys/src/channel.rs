//! The socket of a channel: bytes, and descriptors that travel with them.
//!
//! Nothing here waits unless its name says so, whatever `O_NONBLOCK` says: the
//! flag belongs to the open file, which the other program may share.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sockopt,
};

use crate::io::{PollFd, duplex_pair, poll};
use crate::os;

/// The most descriptors that one message of the kernel holds (`SCM_MAX_FD`).
const MOST_HANDLES: usize = 253;

/// What an unprivileged program may ask for on a Linux as it comes (`wmem_max`); Linux doubles
/// it, others give less. With Node's a message of 1 MiB costs a third more.
const BUFFER_BYTES: usize = 208 * 1024;

/// What Node 22 and later ask for.
const NODES_BUFFER_BYTES: usize = 64 * 1024;

/// The two ends of a channel: Unix stream sockets, close-on-exec, blocking, with
/// large buffers.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`.
pub fn channel_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair_with_buffers(BUFFER_BYTES)
}

/// As [`channel_pair`] with buffers as large as Node's, for short messages: who reads them finds
/// fewer at once, and needs less memory.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`.
pub fn small_channel_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair_with_buffers(NODES_BUFFER_BYTES)
}

fn pair_with_buffers(bytes: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = duplex_pair()?;
    for end in [&pair.0, &pair.1] {
        sockopt::set_socket_send_buffer_size(end, bytes)?;
        sockopt::set_socket_recv_buffer_size(end, bytes)?;
    }
    Ok(pair)
}

/// Sends what fits now, with at most one descriptor; gives how many bytes went.
///
/// The descriptor goes with the first byte or not at all: after any count but 0
/// it is gone, after an error nothing is. `bytes` must not be empty when there
/// is one. Again on `EINTR`.
///
/// # Errors
///
/// [`send_again`] tells those that pass. `EPIPE` and `ECONNRESET`: nobody reads
/// any more, never a signal. `EPERM`: the other side forbids descriptors.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    handle: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    match handle {
        None => os::send_quietly(SendFlags::DONTWAIT, |flags| {
            Ok(retry_on_intr(|| rustix::net::send(socket, bytes, flags))?)
        }),
        Some(_) => send_vectored(socket, &[IoSlice::new(bytes)], handle),
    }
}

/// As [`send`], from several pieces.
///
/// # Errors
///
/// As [`send`]; `EMSGSIZE` for more than 1,024 pieces.
pub fn send_vectored(
    socket: BorrowedFd<'_>,
    pieces: &[IoSlice<'_>],
    handle: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    send_message(socket, pieces, handle, SendFlags::DONTWAIT)
}

/// As [`send_vectored`] without a descriptor, and waits until all of it went
/// if the socket is a blocking one.
///
/// # Errors
///
/// As [`send_vectored`]; `WouldBlock` only from a non-blocking socket.
pub fn send_waiting(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    send_message(socket, pieces, None, SendFlags::empty())
}

fn send_message(
    socket: BorrowedFd<'_>,
    pieces: &[IoSlice<'_>],
    handle: Option<BorrowedFd<'_>>,
    flags: SendFlags,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = handle.as_slice();
    if !rights.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(rights));
        debug_assert!(fits, "the space is for one descriptor");
    }
    os::send_quietly(flags, |flags| {
        Ok(retry_on_intr(|| {
            rustix::net::sendmsg(socket, pieces, &mut control, flags)
        })?)
    })
}

/// When a send that failed can be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAgain {
    /// As soon as the socket is writable.
    Writable,
    /// After a pause, for a poll may call the socket writable at once: the kernel
    /// has no memory (`ENOBUFS`, `ENOMEM`), or too many descriptors of our user
    /// are on their way and not yet received (`ETOOMANYREFS`: as many as
    /// `RLIMIT_NOFILE`, and only for users without privileges).
    Later,
}

/// Whether the error of a send passes by itself, and when. Nothing was sent.
#[must_use]
pub fn send_again(error: &io::Error) -> Option<SendAgain> {
    match error.raw_os_error()? {
        libc::EAGAIN => Some(SendAgain::Writable),
        libc::ENOBUFS | libc::ENOMEM | libc::ETOOMANYREFS => Some(SendAgain::Later),
        _ => None,
    }
}

/// What came in one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes; 0 is the end.
    pub bytes: usize,
    /// More descriptors came with them than we could take (mostly `EMFILE`): the
    /// kernel has closed the last ones.
    pub lost_handles: bool,
}

/// Reads once what is there, and appends the descriptors that came with it, close-on-exec.
///
/// Again on `EINTR`.
///
/// # Errors
///
/// `WouldBlock` when nothing is there; `ECONNRESET`.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    handles: &mut Vec<OwnedFd>,
) -> io::Result<Received> {
    receive_message(socket, buffer, handles, RecvFlags::DONTWAIT)
}

/// Reads once what is there on a channel without handles; the kernel closes those
/// that come all the same (see [`forbid_handles`]). Some 0.2 µs cheaper than [`receive`].
///
/// # Errors
///
/// As [`receive`].
pub fn receive_plain(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let read = || rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT);
    Ok(retry_on_intr(read)?.1)
}

/// As [`receive`], and waits for something to read. One call of the kernel on a
/// blocking socket, where there is something or not.
///
/// # Errors
///
/// `ECONNRESET`.
pub fn receive_waiting(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    handles: &mut Vec<OwnedFd>,
) -> io::Result<Received> {
    loop {
        if !os::RECEIVE_WAITS {
            poll(&mut [PollFd::readable(socket)], None)?;
        }
        match receive_message(socket, buffer, handles, RecvFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::readable(socket)], None)?;
            }
            result => return result,
        }
    }
}

fn receive_message(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    handles: &mut Vec<OwnedFd>,
    flags: RecvFlags,
) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_HANDLES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    os::receive(socket, buffer, &mut control, handles, flags)
}

/// Makes the answer from what the kernel filled in.
pub(crate) fn collect(
    message: &RecvMsg,
    control: &mut RecvAncillaryBuffer<'_>,
    handles: &mut Vec<OwnedFd>,
) -> Received {
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            handles.extend(fds);
        }
    }
    Received {
        bytes: message.bytes,
        lost_handles: message.flags.contains(ReturnFlags::CTRUNC),
    }
}

/// Makes the kernel refuse descriptors that the other side tries to send us: its
/// send fails with `EPERM`. Best effort; says whether it took.
///
/// # Errors
///
/// `ENOTSOCK`, `EOPNOTSUPP` for a socket of another family.
///
/// # Platform
///
/// Linux 6.16; elsewhere `false`.
pub fn forbid_handles(socket: BorrowedFd<'_>) -> io::Result<bool> {
    os::forbid_handles(socket)
}
