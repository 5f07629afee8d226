//! Where a server's connections come from, whoever listens.

mod stream;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use procession_core::cluster::worker::{Failure, ListenerId};
use procession_core::errno;
use procession_sys::TcpOptions;
use tokio::net::{TcpListener, UnixListener};

use super::Listen;
use super::worker::{Offer, Opened, Shared};
use crate::ipc::{Handle, SendError};
pub use stream::Stream;

/// How many connections may wait in a socket of our own.
const BACKLOG: u32 = 511;

/// A source of connections: a [worker's](super::Worker::listen), or a socket of our own.
///
/// Dropping it closes it; what a primary has offered and was not accepted goes
/// to other workers.
#[derive(Debug)]
pub struct Listener {
    at: Listen,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Own(Socket),
    Worker(Member),
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listener of a worker's, or the wish for one.
pub(super) struct Member {
    shared: Arc<Shared>,
    id: ListenerId,
    /// Beside what is offered.
    socket: Option<Socket>,
    /// It was taken, and is served as soon as the primary has been told:
    /// otherwise another might serve it too, should we die now.
    taken: Option<(Accepted, Told)>,
}

type Told = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>;

/// A connection, and the address of its other end; none for Unix sockets.
pub type Accepted = (Stream, Option<SocketAddr>);

/// There is no listener.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The system refused it, the primary's or ours.
    #[error("cannot listen on {at}")]
    Io {
        /// Where.
        at: Listen,
        /// Why.
        source: io::Error,
    },
    /// The worker is leaving its cluster.
    #[error("cannot listen on {at}: the worker is leaving")]
    Leaving {
        /// Where.
        at: Listen,
    },
}

impl ListenError {
    pub(super) fn io(at: &Listen, source: io::Error) -> Self {
        let at = at.clone();
        Self::Io { at, source }
    }

    pub(super) fn of(at: &Listen, why: Failure) -> Self {
        match why {
            Failure::Errno { errno } => Self::io(at, io::Error::from_raw_os_error(errno)),
            Failure::InUse => Self::io(at, io::ErrorKind::AddrInUse.into()),
            // And whatever else may be added.
            Failure::Leaving | _ => Self::Leaving { at: at.clone() },
        }
    }

    /// Node's code: `EADDRINUSE`.
    #[must_use]
    pub fn node_code(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("EADDRINUSE")
            }
            Self::Io { source, .. } => errno::node_code(source),
            Self::Leaving { .. } => None,
        }
    }
}

impl Listener {
    /// Listens without a primary.
    ///
    /// `[::]` is all addresses, of IPv4 too, or those of IPv4 where there is no
    /// other. The file of a Unix socket must not exist yet, and is removed at the end.
    ///
    /// # Errors
    ///
    /// [`ListenError::Io`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    pub fn bind(at: impl Into<Listen>) -> Result<Self, ListenError> {
        let at = at.into();
        let (socket, at) = Socket::bind(&at).map_err(|source| ListenError::io(&at, source))?;
        let source = Source::Own(socket);
        Ok(Self { at, source })
    }

    /// Makes use of what a primary has given.
    pub(super) fn of_worker(
        mut member: Member,
        opened: Opened,
        mut at: Listen,
    ) -> Result<Self, ListenError> {
        match opened {
            Opened::OneByOne(Some(addr)) => at = Listen::Tcp(addr),
            Opened::OneByOne(None) => {}
            Opened::Shared(handle) => {
                let socket = Socket::shared(handle);
                let socket = socket.map_err(|source| ListenError::io(&at, source))?;
                let addr = socket.local_addr();
                at = addr.map_or(at, Listen::Tcp);
                member.socket = Some(socket);
                member
                    .shared
                    .listening(member.id, addr.map(|addr| addr.port()));
            }
        }
        let source = Source::Worker(member);
        Ok(Self { at, source })
    }

    /// Whether a connection waits for the primary to be told of it.
    #[cfg(test)]
    pub(super) fn is_confirming(&self) -> bool {
        matches!(&self.source, Source::Worker(member) if member.taken.is_some())
    }

    /// Where it listens, with the port that it has got.
    #[must_use]
    pub fn local_addr(&self) -> &Listen {
        &self.at
    }

    /// Waits for the next connection; `None` when our worker is to leave.
    ///
    /// # Errors
    ///
    /// What `accept` says of this connection, or when we are out of
    /// descriptors; the next call may well succeed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no connection is lost.
    pub async fn accept(&mut self) -> io::Result<Option<Accepted>> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`Listener::accept`], for futures that are written by hand.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Accepted>>> {
        match &mut self.source {
            Source::Own(socket) => socket.poll_accept(cx).map_ok(Some),
            Source::Worker(member) => member.poll_accept(cx),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let (Source::Own(Socket::Unix(_)), Listen::Unix(path)) = (&self.source, &self.at) {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Socket {
    fn bind(at: &Listen) -> io::Result<(Self, Listen)> {
        match at {
            Listen::Tcp(addr) => {
                let socket = bind_tcp(*addr)?;
                procession_sys::listen(&socket, BACKLOG)?;
                let socket = TcpListener::from_std(socket.into())?;
                let addr = socket.local_addr()?;
                Ok((Self::Tcp(socket), Listen::Tcp(addr)))
            }
            Listen::Unix(path) => {
                let path = std::path::absolute(path)?;
                let socket = procession_sys::bind_unix(&path)?;
                procession_sys::listen(&socket, BACKLOG)?;
                let socket = UnixListener::from_std(socket.into())?;
                Ok((Self::Unix(socket), Listen::Unix(path)))
            }
        }
    }

    /// Node's primary only binds what it gives to its workers.
    fn shared(handle: Handle) -> io::Result<Self> {
        let listen = |fd: OwnedFd| procession_sys::listen(&fd, BACKLOG).map(|()| fd);
        let (tcp, unix) = match handle {
            Handle::TcpListener(socket) => (Some(socket), None),
            Handle::TcpBound(fd) => (Some(StdTcpListener::from(listen(fd)?)), None),
            Handle::UnixListener(socket) => (None, Some(socket)),
            Handle::UnixStream(bound) => (None, Some(StdUnixListener::from(listen(bound.into())?))),
            Handle::TcpStream(_) | Handle::UdpSocket(_) | Handle::Pipe(_) => (None, None),
        };
        if let Some(socket) = tcp {
            socket.set_nonblocking(true)?;
            return TcpListener::from_std(socket).map(Self::Tcp);
        }
        let Some(socket) = unix else {
            let what = "the primary gave a handle that cannot listen";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket).map(Self::Unix)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        Poll::Ready(Ok(match self {
            Self::Tcp(socket) => {
                let (stream, peer) = ready!(socket.poll_accept(cx))?;
                (Stream::Tcp(stream), Some(peer))
            }
            Self::Unix(socket) => {
                let (stream, _) = ready!(socket.poll_accept(cx))?;
                (Stream::Unix(stream), None)
            }
        }))
    }
}

/// As Node has it: where there is no IPv6, all addresses are those of IPv4.
fn bind_tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let options = TcpOptions::default();
    match procession_sys::bind_tcp(addr, options) {
        Err(_) if addr.is_ipv6() && addr.ip().is_unspecified() && !has_ipv6() => {
            let any = std::net::Ipv4Addr::UNSPECIFIED;
            procession_sys::bind_tcp((any, addr.port()).into(), options)
        }
        bound => bound,
    }
}

fn has_ipv6() -> bool {
    let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
    procession_sys::bind_tcp(any, TcpOptions::default()).is_ok()
}

impl Member {
    pub(super) fn new(shared: &Arc<Shared>, id: ListenerId) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            socket: None,
            taken: None,
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Accepted>>> {
        loop {
            if let Some((_, told)) = &mut self.taken {
                match told.as_mut().poll(cx) {
                    Poll::Ready(told) => {
                        let taken = self.taken.take().filter(|_| told.is_ok());
                        match taken {
                            Some((accepted, _)) => return Poll::Ready(Ok(Some(accepted))),
                            // The primary never heard of it, and gives it to another.
                            None => continue,
                        }
                    }
                    Poll::Pending => break,
                }
            }
            match self.shared.poll_offer(self.id, cx, stream::accepted) {
                Poll::Ready(Offer::Taken(accepted)) => {
                    self.taken = Some((accepted, Box::pin(self.shared.written())));
                }
                Poll::Ready(Offer::End) => {
                    self.socket = None;
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => break,
            }
        }
        match &self.socket {
            Some(socket) => socket.poll_accept(cx).map_ok(Some),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.close(self.id);
    }
}

impl From<SocketAddr> for Listen {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<PathBuf> for Listen {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl From<&Path> for Listen {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl fmt::Display for Listen {
    /// `127.0.0.1:8000`, `[::]:8000`, `/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A text that names no place to listen at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place to listen at: 8000, 127.0.0.1:8000, [::1]:8000 or ./app.sock are")]
pub struct ParseListenError {
    /// The text.
    pub text: String,
}

impl FromStr for Listen {
    type Err = ParseListenError;

    /// An IP address with a port, a port alone (all addresses), or a path with a slash.
    fn from_str(text: &str) -> Result<Self, ParseListenError> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        let port = text.strip_prefix(':').unwrap_or(text);
        if let Ok(port) = port.parse::<u16>() {
            let any = std::net::Ipv6Addr::UNSPECIFIED;
            return Ok(Self::Tcp((any, port).into()));
        }
        let text_of = |_| ParseListenError { text: text.into() };
        text.parse().map(Self::Tcp).map_err(text_of)
    }
}

#[cfg(test)]
mod tests;
