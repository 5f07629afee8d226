//! Pipes, sockets and waiting for them; safe wrappers that retry `EINTR`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::os;
use crate::sigpipe::without_sigpipe;

/// A pipe, both ends close-on-exec: (read end, write end).
///
/// # Errors
///
/// `EMFILE` and `ENFILE`.
pub fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    os::pipe_pair()
}

/// A connected pair of Unix stream sockets, both close-on-exec: a pipe that goes both ways.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`.
pub fn duplex_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    os::duplex_pair()
}

/// Ends our side of a socket: the other side reads to its end, and can still write.
///
/// # Errors
///
/// `ENOTCONN`, `ENOTSOCK`.
pub fn end_input(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?)
}

/// Ends both sides of a socket, whoever else has it.
///
/// # Errors
///
/// `ENOTCONN`, `ENOTSOCK`.
pub fn end_both(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?)
}

/// Opens `/dev/null` for reading and writing.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, or a machine without the file.
pub fn dev_null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Sets or clears `O_NONBLOCK`, which belongs to the open file and is seen by all who share it.
///
/// # Errors
///
/// None for an open descriptor.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    let wanted = if on {
        flags | OFlags::NONBLOCK
    } else {
        flags - OFlags::NONBLOCK
    };
    if wanted != flags {
        rustix::fs::fcntl_setfl(&fd, wanted)?;
    }
    Ok(())
}

/// Asks for huge pages where a large buffer has not been written to yet. A hint; a small
/// buffer costs nothing.
pub fn prefer_huge_pages(room: &mut [MaybeUninit<u8>]) {
    os::prefer_huge_pages(room);
}

/// Reads once, again on `EINTR`.
///
/// # Errors
///
/// `WouldBlock` on an empty non-blocking descriptor, and what the kernel says.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::read(&fd, &mut *buffer)
    })?)
}

/// Writes once, again on `EINTR`. A reader that is gone is `EPIPE`, never a
/// signal, whatever the program did to `SIGPIPE`.
///
/// # Errors
///
/// `WouldBlock` on a full non-blocking descriptor, `EPIPE`, and what the kernel says.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd();
    without_sigpipe(|| Ok(rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?))
}

/// A descriptor to wait for, and what was seen.
#[derive(Clone, Copy, Debug)]
pub struct PollFd<'fd> {
    fd: BorrowedFd<'fd>,
    interest: rustix::event::PollFlags,
    /// Whether it is ready (or broken, which the next call on it says).
    pub ready: bool,
}

impl<'fd> PollFd<'fd> {
    /// Waits until there is something to read, or the end.
    #[must_use]
    pub fn readable(fd: BorrowedFd<'fd>) -> Self {
        Self {
            fd,
            interest: rustix::event::PollFlags::IN,
            ready: false,
        }
    }

    /// Waits until there is room to write, or nobody to read.
    #[must_use]
    pub fn writable(fd: BorrowedFd<'fd>) -> Self {
        Self {
            fd,
            interest: rustix::event::PollFlags::OUT,
            ready: false,
        }
    }
}

/// Waits until one is ready, or for `limit`; gives how many are.
///
/// # Errors
///
/// `ENOMEM`.
pub fn poll(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<usize> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut raw: Vec<_> = fds
        .iter()
        .map(|fd| rustix::event::PollFd::from_borrowed_fd(fd.fd, fd.interest))
        .collect();
    let ready = loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| rustix::event::Timespec::try_from(left).ok());
        match rustix::event::poll(&mut raw, left.as_ref()) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    for (fd, raw) in fds.iter_mut().zip(&raw) {
        fd.ready = !raw.revents().is_empty();
    }
    Ok(ready)
}

/// Duplicates a descriptor of this program that is known by its number.
///
/// # Errors
///
/// `EBADF` when it is not open, `EMFILE`.
pub fn duplicate(number: u32) -> io::Result<OwnedFd> {
    crate::inherited::duplicate(number)
}

/// Reads once into the spare capacity of a buffer, again on `EINTR`; gives what
/// was appended. 0 is the end (or no spare capacity).
///
/// # Errors
///
/// As [`read`].
pub fn read_to_vec(fd: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut *buffer))
    })?)
}
