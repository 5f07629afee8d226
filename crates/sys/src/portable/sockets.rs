//! Sockets; close-on-exec is set after their birth, under a lock.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::PoisonError;

use rustix::io::{Errno, FdFlags, fcntl_setfd, retry_on_intr};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, acceptfrom, bind, sockopt,
};

use super::pipes::CLOEXEC_GAP;
use crate::io::set_nonblocking;
use crate::sockets::{AcceptQueue, Share};

/// Nobody but Linux lets the sockets of a port be chosen from.
pub(crate) const PORTS_ARE_SHARED: bool = false;

pub(crate) fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let _gap = CLOEXEC_GAP.read().unwrap_or_else(PoisonError::into_inner);
    let socket = rustix::net::socket(family, kind, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    set_nonblocking(&socket, true)?;
    Ok(socket)
}

pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let _gap = CLOEXEC_GAP.read().unwrap_or_else(PoisonError::into_inner);
    let (connection, peer) = retry_on_intr(|| acceptfrom(listener))?;
    fcntl_setfd(&connection, FdFlags::CLOEXEC)?;
    set_nonblocking(&connection, true)?;
    Ok((connection, peer))
}

pub(crate) fn reuse_udp_address(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set_socket_reuseaddr(socket, true)?;
    // There the other option alone lets two sockets have one address.
    #[cfg(target_vendor = "apple")]
    sockopt::set_socket_reuseport(socket, true)?;
    Ok(())
}

pub(crate) fn abstract_name(_: &[u8]) -> io::Result<SocketAddrUnix> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Binds to a path that is longer than an address, if it is short from the
/// working directory on.
pub(crate) fn bind_long(socket: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let here = std::env::current_dir()?;
    let Ok(relative) = path.strip_prefix(here) else {
        return Err(Errno::NAMETOOLONG.into());
    };
    Ok(bind(socket, &SocketAddrUnix::new(relative)?)?)
}

pub(crate) fn select_by(_: BorrowedFd<'_>, _: &[Share], _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn accept_queue(_: BorrowedFd<'_>) -> io::Result<AcceptQueue> {
    Err(io::ErrorKind::Unsupported.into())
}
