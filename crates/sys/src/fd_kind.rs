//! What a descriptor is, asked of the kernel and not of its sender.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketType, getpeername, getsockname, sockopt};

use crate::os;

/// What a descriptor is, as far as a channel has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdKind {
    /// A connected TCP socket.
    TcpStream,
    /// A listening TCP socket.
    TcpListener,
    /// A TCP socket that is neither: bound, new, or cut off by its peer.
    TcpBound,
    /// A UDP socket of IPv4.
    Udp4,
    /// A UDP socket of IPv6.
    Udp6,
    /// A Unix stream socket that does not listen.
    UnixStream,
    /// A listening Unix stream socket.
    UnixListener,
    /// An end of a pipe, named or not.
    Fifo,
    /// Anything else, by name: `regular file`, `character device`, `unix datagram socket` …
    Other(&'static str),
}

impl FdKind {
    /// Whether Node can take it over a channel. Others make it abort (a file, a
    /// device) or block its channel for every later handle.
    #[must_use]
    pub fn node_takes(self) -> bool {
        match self {
            Self::TcpStream
            | Self::TcpListener
            | Self::TcpBound
            | Self::Udp4
            | Self::Udp6
            | Self::UnixStream
            | Self::UnixListener
            | Self::Fifo => true,
            Self::Other(_) => false,
        }
    }
}

impl fmt::Display for FdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcpStream => "TCP connection",
            Self::TcpListener => "listening TCP socket",
            Self::TcpBound => "unconnected TCP socket",
            Self::Udp4 => "UDP socket (IPv4)",
            Self::Udp6 => "UDP socket (IPv6)",
            Self::UnixStream => "unix stream socket",
            Self::UnixListener => "listening unix stream socket",
            Self::Fifo => "pipe",
            Self::Other(name) => name,
        })
    }
}

/// Says what a descriptor is.
///
/// # Errors
///
/// None for an open descriptor but for a shortage of the kernel (`ENOMEM`, `ENOBUFS`).
pub fn fd_kind(fd: BorrowedFd<'_>) -> io::Result<FdKind> {
    let mode = rustix::fs::fstat(fd)?.st_mode;
    Ok(match FileType::from_raw_mode(mode) {
        FileType::Socket => return socket_kind(fd),
        FileType::Fifo => FdKind::Fifo,
        FileType::RegularFile => FdKind::Other("regular file"),
        FileType::Directory => FdKind::Other("directory"),
        FileType::CharacterDevice => FdKind::Other("character device"),
        FileType::BlockDevice => FdKind::Other("block device"),
        FileType::Symlink => FdKind::Other("symbolic link"),
        // Linux gives its anonymous files (eventfd, epoll, pidfd …) no type.
        FileType::Unknown => FdKind::Other("eventfd or other anonymous file"),
    })
}

fn socket_kind(socket: BorrowedFd<'_>) -> io::Result<FdKind> {
    let family = getsockname(socket)?.address_family();
    let kind = sockopt::socket_type(socket)?;
    let inet = family == AddressFamily::INET || family == AddressFamily::INET6;
    Ok(match (family, kind) {
        (AddressFamily::UNIX, SocketType::STREAM) if os::is_listening(socket)? => {
            FdKind::UnixListener
        }
        (AddressFamily::UNIX, SocketType::STREAM) => FdKind::UnixStream,
        (AddressFamily::UNIX, SocketType::DGRAM) => FdKind::Other("unix datagram socket"),
        (AddressFamily::UNIX, SocketType::SEQPACKET) => FdKind::Other("unix seqpacket socket"),
        (_, SocketType::STREAM) if inet && os::is_listening(socket)? => FdKind::TcpListener,
        (_, SocketType::STREAM) if inet && getpeername(socket).is_ok() => FdKind::TcpStream,
        (_, SocketType::STREAM) if inet => FdKind::TcpBound,
        (AddressFamily::INET, SocketType::DGRAM) => FdKind::Udp4,
        (AddressFamily::INET6, SocketType::DGRAM) => FdKind::Udp6,
        (_, SocketType::RAW) if inet => FdKind::Other("raw socket"),
        _ => FdKind::Other("socket of another family"),
    })
}
