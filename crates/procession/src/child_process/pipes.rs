//! Our ends of a child's descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use procession_core::lines::{LineSplitter, LineTooLong};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// The most that a pipe holds, as far as an ordinary user can make it grow.
pub(super) const MOST_IN_PIPE: usize = 1024 * 1024;

/// Standard input of a child: written here, read there. Dropping it is the end of input.
///
/// Writing to a child that is gone is an error of the kind `BrokenPipe`, never
/// a signal.
#[derive(Debug)]
pub struct ChildStdin {
    pipe: pipe::Sender,
}

impl ChildStdin {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: pipe::Sender::from_owned_fd(fd)?,
        })
    }

    fn poll_write_bytes(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.pipe.poll_write_ready(cx))?;
            match self
                .pipe
                .try_io(|| procession_sys::write(self.pipe.as_fd(), bytes))
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_bytes(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: the end of input is the drop.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Standard output or error of a child: written there, read here.
#[derive(Debug)]
pub struct ChildOutput {
    pipe: pipe::Receiver,
}

impl ChildOutput {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: pipe::Receiver::from_owned_fd(fd)?,
        })
    }

    /// Appends what is there, up to the spare capacity of `buffer`; 0 is the end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: bytes are taken from the pipe only when they are appended.
    pub(super) async fn read_some(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            self.pipe.readable().await?;
            match self.pipe.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Takes what is there, up to so many bytes; nothing is the end.
    ///
    /// # Cancel safety
    ///
    /// As [`ChildOutput::read_some`]; and while nothing comes, no memory is held.
    pub(crate) async fn read_piece(&mut self, most: usize) -> io::Result<Bytes> {
        loop {
            self.pipe.readable().await?;
            let mut buffer = Vec::with_capacity(most);
            match self.pipe.try_read_buf(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map(|_| buffer.into()),
            }
        }
    }

    /// Appends what is there without waiting; `None` when nothing is there now.
    ///
    /// Asks the kernel, not the reactor, which may not have heard of it yet.
    pub(super) fn read_now(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        read_now(&self.pipe, buffer)
    }

    /// Reads line by line, each without its ending, each up to 1 MiB long.
    #[must_use]
    pub fn lines(self) -> Lines {
        Lines {
            output: self,
            splitter: LineSplitter::new(1024 * 1024),
            ended: false,
            buffer: Vec::new(),
        }
    }
}

impl AsyncRead for ChildOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

fn read_now(fd: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    match procession_sys::read_to_vec(fd, buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Some(0)),
        result => result.map(Some),
    }
}

/// The lines of an output.
#[derive(Debug)]
pub struct Lines {
    output: ChildOutput,
    splitter: LineSplitter,
    ended: bool,
    buffer: Vec<u8>,
}

impl Lines {
    /// Waits for the next line; `None` at the end of the output.
    ///
    /// # Errors
    ///
    /// What reading says, or [`LineTooLong`] as `InvalidData`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a line that was begun is kept for the next call.
    pub async fn next_line(&mut self) -> io::Result<Option<Bytes>> {
        let too_long = |error: LineTooLong| io::Error::new(io::ErrorKind::InvalidData, error);
        loop {
            if let Some(line) = self.splitter.next_line().map_err(too_long)? {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(self.splitter.finish());
            }
            self.buffer.clear();
            self.buffer.reserve(16 * 1024);
            self.ended = self.output.read_some(&mut self.buffer).await? == 0;
            self.splitter.feed(&self.buffer);
        }
    }
}

/// A further descriptor of a child: a Unix socket, read and written on both sides.
#[derive(Debug)]
pub struct ChildDuplex {
    socket: UnixStream,
}

impl ChildDuplex {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(fd);
        Ok(Self {
            socket: UnixStream::from_std(socket)?,
        })
    }

    /// Appends what is there; see [`ChildOutput::read_some`].
    pub(super) async fn read_some(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A child that ended with our bytes unread resets the connection: the end.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                result => return result,
            }
        }
    }

    /// See [`ChildOutput::read_now`].
    pub(super) fn read_now(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        read_now(&self.socket, buffer)
    }

    /// Ends what the child can read here; what it writes still arrives.
    pub(super) fn end_input(&self) {
        // Refused only when the child has closed its side.
        let _ = procession_sys::end_input(&self.socket);
    }

    /// The socket itself.
    #[must_use]
    pub fn into_socket(self) -> UnixStream {
        self.socket
    }
}

impl AsyncRead for ChildDuplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ChildDuplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = &self.socket;
        loop {
            ready!(socket.poll_write_ready(cx))?;
            let write = || procession_sys::write(socket.as_fd(), bytes);
            match socket.try_io(Interest::WRITABLE, write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
