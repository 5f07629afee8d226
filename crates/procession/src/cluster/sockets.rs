//! Listening sockets, as workers ask for them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use procession_core::cluster::protocol::{AddressType, Query};
use procession_core::ipc::internal::HandleKind;
use procession_sys::{TcpOptions, UdpOptions, UnixAccess};

/// What Node passes to `listen` where the program says nothing.
const BACKLOG: u32 = 511;

const IPV6_ONLY: u32 = 1;
const REUSE_ADDRESS: u32 = 4;

/// A socket that was bound for workers; a file it made goes with it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) fd: OwnedFd,
    /// Where it is, if that is TCP or UDP.
    pub(super) at: Option<SocketAddr>,
    pub(super) file: Option<SocketFile>,
    pub(super) travels_as: HandleKind,
}

/// Removes the file of a Unix socket with the socket.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone; that is what was wanted.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How many connections may wait for `accept`.
pub(super) fn backlog(query: &Query) -> u32 {
    match query.backlog {
        Some(backlog) if backlog > 0 => backlog,
        Some(_) | None => BACKLOG,
    }
}

/// Makes the socket that a worker asked for; all but UDP listens already, so
/// that no client is refused until the worker does.
pub(super) fn bind(query: &Query) -> io::Result<Bound> {
    if let Some(number) = query.fd.and_then(|fd| u32::try_from(fd).ok()) {
        return inherited(number, query);
    }
    match query.address_type {
        Some(AddressType::Path) => unix(Path::new(query.address.as_deref().unwrap_or("")), query),
        Some(AddressType::Udp4 | AddressType::Udp6) => udp(query),
        Some(AddressType::V4 | AddressType::V6) | None => {
            let (fd, at) = tcp(query, false)?;
            Ok(Bound {
                fd,
                at: Some(at),
                file: None,
                travels_as: HandleKind::Native,
            })
        }
    }
}

/// A descriptor that we were started with.
fn inherited(number: u32, query: &Query) -> io::Result<Bound> {
    let (fd, _) = procession_sys::inherited_socket(number)?;
    if !query.is_udp() {
        procession_sys::listen(&fd, backlog(query))?;
    }
    let at = procession_sys::local_address(&fd)?;
    Ok(Bound {
        fd,
        at,
        file: None,
        travels_as: kind(query),
    })
}

fn kind(query: &Query) -> HandleKind {
    if query.is_udp() {
        HandleKind::DgramNative
    } else {
        HandleKind::Native
    }
}

/// A listening TCP socket; `is_member` makes it one of several with its address.
pub(super) fn tcp(query: &Query, is_member: bool) -> io::Result<(OwnedFd, SocketAddr)> {
    let port = port(query)?;
    let options = TcpOptions {
        reuse_port: is_member,
        ipv6_only: query.flags & IPV6_ONLY != 0,
    };
    let Some(address) = &query.address else {
        let all = |ip: IpAddr| listening(SocketAddr::new(ip, port), options, query);
        // Both families; one where the machine has no other.
        return match all(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if is_without_v6(&error) => all(Ipv4Addr::UNSPECIFIED.into()),
            made => made,
        };
    };
    listening(SocketAddr::new(ip(address)?, port), options, query)
}

fn is_without_v6(error: &io::Error) -> bool {
    let code = procession_core::errno::node_code(error);
    matches!(code, Some("EAFNOSUPPORT" | "EADDRNOTAVAIL" | "EINVAL"))
}

fn listening(
    address: SocketAddr,
    options: TcpOptions,
    query: &Query,
) -> io::Result<(OwnedFd, SocketAddr)> {
    let fd = procession_sys::bind_tcp(address, options)?;
    procession_sys::listen(&fd, backlog(query))?;
    let at = procession_sys::local_address(&fd)?.unwrap_or(address);
    Ok((fd, at))
}

fn port(query: &Query) -> io::Result<u16> {
    let port = query.port.unwrap_or(0);
    u16::try_from(port).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn ip(address: &str) -> io::Result<IpAddr> {
    // A link-local address may name its interface: `fe80::1%eth0`.
    let plain = address.split('%').next().unwrap_or(address);
    plain
        .parse()
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn udp(query: &Query) -> io::Result<Bound> {
    let any: IpAddr = match query.address_type {
        Some(AddressType::Udp6) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    let ip = query.address.as_deref().map_or(Ok(any), ip)?;
    let options = UdpOptions {
        reuse_address: query.flags & REUSE_ADDRESS != 0,
        reuse_port: false,
        ipv6_only: query.flags & IPV6_ONLY != 0,
    };
    let address = SocketAddr::new(ip, port(query)?);
    let fd = procession_sys::bind_udp(address, options)?;
    let at = procession_sys::local_address(&fd)?;
    Ok(Bound {
        fd,
        at,
        file: None,
        travels_as: HandleKind::DgramNative,
    })
}

fn unix(path: &Path, query: &Query) -> io::Result<Bound> {
    let fd = match procession_sys::bind_unix(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            std::fs::remove_file(path)?;
            procession_sys::bind_unix(path)?
        }
        made => made?,
    };
    let is_abstract = path.as_os_str().as_encoded_bytes().first() == Some(&0);
    let file = (!is_abstract).then(|| SocketFile(path.to_owned()));
    let access = UnixAccess {
        readable_all: query.readable_all,
        writable_all: query.writable_all,
    };
    if access.readable_all || access.writable_all {
        procession_sys::open_to_all(path, access)?;
    }
    procession_sys::listen(&fd, backlog(query))?;
    Ok(Bound {
        fd,
        at: None,
        file,
        travels_as: HandleKind::Native,
    })
}

/// A socket file that nobody listens at: whoever made it was killed.
fn is_left_over(path: &Path) -> bool {
    // Whoever connects to a file that is no socket is refused too.
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}

/// Who listens where we could not; only of TCP that can be seen.
pub(super) fn holder(query: &Query) -> Option<(u32, String)> {
    if query.is_udp() {
        return None;
    }
    let port = port(query).ok().filter(|port| *port != 0)?;
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let ip = query.address.as_deref().map_or(Ok(any), ip).ok()?;
    let owner = procession_sys::port_owner(SocketAddr::new(ip, port))?;
    Some((owner.pid, owner.name))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn nobody_is_named_for_udp_who_has_the_port_of_tcp() {
        let innocent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let query = |address_type| Query {
            address: Some("127.0.0.1".into()),
            port: Some(innocent.local_addr().unwrap().port().into()),
            address_type: Some(address_type),
            ..Query::default()
        };
        if procession_sys::PORTS_ARE_SHARED {
            let own = holder(&query(AddressType::V4)).map(|(pid, _)| pid);
            assert_eq!(own, Some(std::process::id()));
        }
        assert_eq!(holder(&query(AddressType::Udp4)), None);
    }

    #[test]
    fn only_a_socket_that_nobody_listens_at_is_left_over() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("data"), "kept").unwrap();
        drop(UnixListener::bind(path("old")).unwrap());
        let _listener = UnixListener::bind(path("taken")).unwrap();
        assert_eq!(
            ["data", "old", "taken"].map(|name| is_left_over(&path(name))),
            [false, true, false]
        );
    }
}
