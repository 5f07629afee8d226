//! Listening sockets, and what arrives at them.
//!
//! To bind and to listen are two calls, so that a caller can tell which one
//! failed. Every socket made here is close-on-exec and non-blocking.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrAny, SocketAddrUnix, SocketType, bind, getsockname, recv,
    sockopt,
};

use crate::fd_kind::{FdKind, fd_kind};
use crate::inherited::duplicate;
use crate::io::set_nonblocking;
use crate::os;

/// How a TCP address is bound. `SO_REUSEADDR` is always on, as in Node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Lets other sockets of this user that ask for the same share the address.
    pub reuse_port: bool,
    /// Keeps IPv4 away from an IPv6 address; by default `::` takes both.
    pub ipv6_only: bool,
}

/// How a UDP address is bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpOptions {
    /// Lets others that ask for the same bind the address too; the last one receives.
    pub reuse_address: bool,
    /// Lets other sockets of this user that ask for the same share the address.
    pub reuse_port: bool,
    /// Keeps IPv4 away from an IPv6 address; by default `::` takes both.
    pub ipv6_only: bool,
}

/// Who may use a socket file beyond its owner.
///
/// # Node
///
/// The options `readableAll` and `writableAll` of `listen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnixAccess {
    /// Everybody may read.
    pub readable_all: bool,
    /// Everybody may write; that is what `connect` asks for on Linux.
    pub writable_all: bool,
}

/// One socket of a group and how many of the connections it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The socket's place in its group.
    pub index: u32,
    /// Its part of the sum of all weights; 0 is none.
    pub weight: u32,
}

/// The connections that wait at a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many there are.
    pub length: u32,
    /// The `backlog` in force. The kernel takes one more than that.
    pub limit: u32,
}

/// Whether [`select_by`] and [`accept_queue`] work, and so whether sockets that
/// share a port share its connections. False on the portable side, whatever the system.
pub const PORTS_ARE_SHARED: bool = os::PORTS_ARE_SHARED;

/// Makes a TCP socket and binds it; port 0 is one of the system's choice.
///
/// # Errors
///
/// `EADDRINUSE` also for a listener of another user or without `reuse_port`,
/// `EACCES`, `EADDRNOTAVAIL`, `EAFNOSUPPORT` (no IPv6 here), `EMFILE`. On some
/// addresses `EADDRINUSE` comes from [`listen`] only.
pub fn bind_tcp(address: SocketAddr, options: TcpOptions) -> io::Result<OwnedFd> {
    let socket = os::socket(family(address), SocketType::STREAM)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if options.reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        // Said either way: a machine may have another default.
        sockopt::set_ipv6_v6only(&socket, options.ipv6_only)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

/// Makes a UDP socket and binds it; port 0 is one of the system's choice.
///
/// # Errors
///
/// As [`bind_tcp`].
pub fn bind_udp(address: SocketAddr, options: UdpOptions) -> io::Result<OwnedFd> {
    let socket = os::socket(family(address), SocketType::DGRAM)?;
    if options.reuse_address {
        os::reuse_udp_address(socket.as_fd())?;
    }
    if options.reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, options.ipv6_only)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

fn family(address: SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

/// Makes a Unix stream socket and binds it to a path, which must not exist yet:
/// a file that a dead server left behind is not removed, as in Node.
///
/// Nor does closing the socket remove the file. On Linux the path may be longer
/// than the 108 bytes of a socket's address, and one that begins with a NUL is a
/// name in the abstract namespace. `getsockname` of a socket with a long path
/// tells the way that was taken to it.
///
/// # Errors
///
/// `EADDRINUSE` when the path exists, `EACCES`, `ENOENT`, `ENOTDIR`; `ENAMETOOLONG`
/// on the portable side unless it is short from the working directory on.
pub fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let bytes = path.as_os_str().as_bytes();
    let Some((first, rest)) = bytes.split_first() else {
        return Err(Errno::INVAL.into());
    };
    let socket = os::socket(AddressFamily::UNIX, SocketType::STREAM)?;
    if *first == 0 {
        bind(&socket, &os::abstract_name(rest)?)?;
        return Ok(socket);
    }
    match SocketAddrUnix::new(path) {
        Ok(address) => bind(&socket, &address)?,
        Err(Errno::NAMETOOLONG) => os::bind_long(socket.as_fd(), path)?,
        Err(error) => return Err(error.into()),
    }
    Ok(socket)
}

/// Adds permissions to a socket file; takes none away.
///
/// # Errors
///
/// What `stat` and `chmod` say. Nothing is done without a path (abstract names).
pub fn open_to_all(path: &Path, access: UnixAccess) -> io::Result<()> {
    let mut wanted = 0;
    if access.readable_all {
        wanted |= 0o444;
    }
    if access.writable_all {
        wanted |= 0o222;
    }
    let is_abstract = path.as_os_str().as_bytes().first() == Some(&0);
    if wanted == 0 || is_abstract {
        return Ok(());
    }
    let mode = fs::symlink_metadata(path)?.permissions().mode();
    if mode & wanted != wanted {
        fs::set_permissions(path, Permissions::from_mode(mode | wanted))?;
    }
    Ok(())
}

/// Begins to listen, or changes the length of the queue (`backlog`).
///
/// A length beyond the machine's limit (`net.core.somaxconn`) is cut by the kernel.
///
/// # Errors
///
/// `EADDRINUSE`: somebody else listens there since the socket was bound.
/// `EINVAL`: it is connected. `EOPNOTSUPP`: it is a datagram socket.
pub fn listen(socket: impl AsFd, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    Ok(rustix::net::listen(socket, backlog)?)
}

/// The address that a socket is bound to; `None` for a Unix socket.
///
/// # Errors
///
/// `ENOTSOCK`.
pub fn local_address(socket: impl AsFd) -> io::Result<Option<SocketAddr>> {
    Ok(SocketAddr::try_from(getsockname(socket)?).ok())
}

/// Duplicates a socket of this program that is known by its number, as
/// `listen({fd})` names it, and says what it is.
///
/// It becomes non-blocking, which the original shares.
///
/// # Errors
///
/// `EBADF` when the number is not open, `ENOTSOCK` for anything but a TCP, UDP
/// or Unix stream socket, `EMFILE`.
pub fn inherited_socket(number: u32) -> io::Result<(OwnedFd, FdKind)> {
    let socket = duplicate(number)?;
    let kind = fd_kind(socket.as_fd())?;
    match kind {
        FdKind::TcpStream
        | FdKind::TcpListener
        | FdKind::TcpBound
        | FdKind::Udp4
        | FdKind::Udp6
        | FdKind::UnixStream
        | FdKind::UnixListener => {}
        FdKind::Fifo | FdKind::Other(_) => return Err(Errno::NOTSOCK.into()),
    }
    set_nonblocking(&socket, true)?;
    Ok((socket, kind))
}

/// Takes one connection from a listening socket: close-on-exec, non-blocking.
///
/// Gives the other side's address, `None` for a Unix socket. Never waits if the
/// listener is non-blocking. On Linux one system call.
///
/// # Errors
///
/// `WouldBlock` when there is none; `EMFILE` and `ENFILE`, with the connection
/// left in the queue; `ECONNABORTED` and other errors of a connection that has
/// gone meanwhile: the next one may be well.
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (connection, peer) = os::accept(listener.as_fd())?;
    Ok((connection, peer.and_then(internet)))
}

fn internet(address: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(address).ok()
}

/// Reads what has arrived and leaves it there; never waits. 0 is the end.
///
/// # Errors
///
/// `WouldBlock` when nothing has arrived yet, `ECONNRESET`.
pub fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (count, _) = retry_on_intr(|| recv(&socket, &mut *buffer, flags))?;
    Ok(count)
}

/// The most entries that [`select_by`] takes.
pub const MOST_SHARES: usize = 512;

/// Has the kernel give each new connection to a socket of the group by chance,
/// as the weights say. One entry is a constant.
///
/// A group are the TCP sockets that listen at one address with
/// [`TcpOptions::reuse_port`]; `socket` is any of them. Indices count from 0 in
/// the order of their [`listen`]. When one closes, the last one takes its index:
/// set the shares anew after each change. An index beyond the end leaves the
/// choice to the kernel. Connections that are in a queue already stay there.
///
/// # Errors
///
/// `EINVAL`: no entry with a weight, more than [`MOST_SHARES`], weights of
/// more than `u32::MAX` together, or a socket without `reuse_port`.
/// `Unsupported` on the portable side.
pub fn select_by(socket: impl AsFd, shares: &[Share]) -> io::Result<()> {
    let total = shares
        .iter()
        .try_fold(0_u32, |sum, share| sum.checked_add(share.weight));
    match total {
        None | Some(0) => Err(Errno::INVAL.into()),
        Some(_) if shares.len() > MOST_SHARES => Err(Errno::INVAL.into()),
        Some(total) => os::select_by(socket.as_fd(), shares, total),
    }
}

/// Asks how many connections wait at a listening TCP socket.
///
/// # Errors
///
/// `EINVAL` when it does not listen, `EOPNOTSUPP` when it is no TCP socket.
/// `Unsupported` on the portable side.
pub fn accept_queue(listener: impl AsFd) -> io::Result<AcceptQueue> {
    os::accept_queue(listener.as_fd())
}
