//! What can travel with a message.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use procession_core::ipc::internal::{DgramType, HandleKind};
use procession_sys::FdKind;

/// A descriptor that travels with a message.
///
/// It is set to non-blocking before it is sent, as Node needs it, and comes so
/// from us; what Node sends is non-blocking too. `from_std` of tokio's types
/// takes the sockets as they are. `O_NONBLOCK` belongs to the open socket, which
/// both sides have for a while: do not clear it.
///
/// # Node
///
/// The `sendHandle` of `send`, and the second argument of `'message'`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Handle {
    /// A TCP connection: `net.Socket`.
    TcpStream(TcpStream),
    /// A listening TCP socket: `net.Server`. Both sides accept from it.
    TcpListener(TcpListener),
    /// A TCP socket that is bound and does not listen yet; a server to Node, which listens.
    TcpBound(OwnedFd),
    /// A UDP socket: `dgram.Socket`.
    UdpSocket(UdpSocket),
    /// A connection over a Unix socket: `net.Socket`.
    UnixStream(UnixStream),
    /// A listening Unix socket: `net.Server`.
    UnixListener(UnixListener),
    /// An end of a pipe: `net.Socket`.
    Pipe(OwnedFd),
}

/// A descriptor that Node cannot be sent: it would abort, or take no other after it.
#[derive(Debug, thiserror::Error)]
#[error("a {kind} cannot travel with a message")]
pub struct HandleError {
    /// What it is: `regular file`, `unix datagram socket` …
    pub kind: String,
    /// The descriptor, still open.
    pub fd: OwnedFd,
}

impl HandleError {
    /// `ERR_INVALID_HANDLE_TYPE`.
    #[must_use]
    pub fn node_code(&self) -> Option<&'static str> {
        Some("ERR_INVALID_HANDLE_TYPE")
    }
}

impl Handle {
    /// As whatever Node would make of it.
    pub(crate) fn wire_kind(&self) -> HandleKind {
        match self {
            Self::TcpStream(_) | Self::UnixStream(_) | Self::Pipe(_) => HandleKind::Socket,
            Self::TcpListener(_) | Self::TcpBound(_) | Self::UnixListener(_) => HandleKind::Server,
            Self::UdpSocket(_) => HandleKind::DgramSocket,
        }
    }

    /// The family of a UDP socket, which Node has to be told.
    pub(crate) fn dgram_type(&self) -> Option<DgramType> {
        let Self::UdpSocket(socket) = self else {
            return None;
        };
        let is_v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        Some(if is_v6 {
            DgramType::Udp6
        } else {
            DgramType::Udp4
        })
    }

    /// The descriptor itself.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        match self {
            Self::TcpStream(socket) => socket.into(),
            Self::TcpListener(socket) => socket.into(),
            Self::UdpSocket(socket) => socket.into(),
            Self::UnixStream(socket) => socket.into(),
            Self::UnixListener(socket) => socket.into(),
            Self::TcpBound(fd) | Self::Pipe(fd) => fd,
        }
    }

    /// What the kernel says it is, or the descriptor back.
    pub(crate) fn of(fd: OwnedFd) -> Result<Self, HandleError> {
        let kind = match procession_sys::fd_kind(fd.as_fd()) {
            Ok(kind) => kind,
            Err(_) => FdKind::Other("descriptor of an unknown kind"),
        };
        Ok(match kind {
            FdKind::TcpStream => Self::TcpStream(fd.into()),
            FdKind::TcpListener => Self::TcpListener(fd.into()),
            FdKind::TcpBound => Self::TcpBound(fd),
            FdKind::Udp4 | FdKind::Udp6 => Self::UdpSocket(fd.into()),
            FdKind::UnixStream => Self::UnixStream(fd.into()),
            FdKind::UnixListener => Self::UnixListener(fd.into()),
            FdKind::Fifo => Self::Pipe(fd),
            FdKind::Other(name) => {
                let kind = name.to_owned();
                return Err(HandleError { kind, fd });
            }
        })
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::TcpStream(socket) => socket.as_fd(),
            Self::TcpListener(socket) => socket.as_fd(),
            Self::UdpSocket(socket) => socket.as_fd(),
            Self::UnixStream(socket) => socket.as_fd(),
            Self::UnixListener(socket) => socket.as_fd(),
            Self::TcpBound(fd) | Self::Pipe(fd) => fd.as_fd(),
        }
    }
}

/// Any descriptor of a kind that can travel.
impl TryFrom<OwnedFd> for Handle {
    type Error = HandleError;

    fn try_from(fd: OwnedFd) -> Result<Self, HandleError> {
        Self::of(fd)
    }
}

macro_rules! from_socket {
    ($($variant:ident: $std:ty, $tokio:ty;)*) => {$(
        impl From<$std> for Handle {
            fn from(socket: $std) -> Self {
                Self::$variant(socket)
            }
        }

        impl TryFrom<$tokio> for Handle {
            type Error = io::Error;

            /// Takes it from its runtime.
            fn try_from(socket: $tokio) -> io::Result<Self> {
                socket.into_std().map(Self::$variant)
            }
        }
    )*};
}

from_socket! {
    TcpStream: TcpStream, tokio::net::TcpStream;
    TcpListener: TcpListener, tokio::net::TcpListener;
    UdpSocket: UdpSocket, tokio::net::UdpSocket;
    UnixStream: UnixStream, tokio::net::UnixStream;
    UnixListener: UnixListener, tokio::net::UnixListener;
}
