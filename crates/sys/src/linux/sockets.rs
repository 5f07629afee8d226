//! Sockets that are close-on-exec from birth, and what only Linux's can do.
#![expect(unsafe_code, reason = "socket options that rustix does not know")]

use std::ffi::{OsStr, OsString, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, open, renameat_with, unlinkat};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, bind,
    socket_with, sockopt,
};

use crate::sockets::{AcceptQueue, Share};

pub(crate) const PORTS_ARE_SHARED: bool = true;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

pub(crate) fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, FLAGS, None)?)
}

pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    Ok(retry_on_intr(|| acceptfrom_with(listener, FLAGS))?)
}

pub(crate) fn reuse_udp_address(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(socket, true)?)
}

pub(crate) fn abstract_name(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name)?)
}

/// Binds to a path that is longer than an address, by way of its directory.
pub(crate) fn bind_long(socket: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let directory = open(directory, flags, Mode::empty())?;
    match SocketAddrUnix::new(within(&directory, name)) {
        Ok(address) => Ok(bind(socket, &address)?),
        Err(Errno::NAMETOOLONG) => bind_and_rename(socket, &directory, name),
        Err(error) => Err(error.into()),
    }
}

fn within(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    let directory = format!("/proc/self/fd/{}", directory.as_raw_fd());
    Path::new(&directory).join(name)
}

/// For a name that alone is longer than an address: the file is what counts to
/// who connects, not how it was called when it was made.
fn bind_and_rename(socket: BorrowedFd<'_>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let short = OsString::from(format!(".procession-{}-{number}", std::process::id()));
    bind(socket, &SocketAddrUnix::new(within(directory, &short))?)?;
    match renameat_with(directory, &short, directory, name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(error) => {
            // It is ours and not in use; the error that counts is the first.
            let _ = unlinkat(directory, &short, AtFlags::empty());
            Err(match error {
                Errno::EXIST => Errno::ADDRINUSE.into(),
                error => error.into(),
            })
        }
    }
}

pub(crate) fn select_by(socket: BorrowedFd<'_>, shares: &[Share], total: u32) -> io::Result<()> {
    let mut program = selector(shares, total);
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_mut_ptr(),
    };
    let size = const { option_size::<libc::sock_fprog>() };
    // SAFETY: an open descriptor, and a program with its length that outlives
    // the call; the kernel checks and copies it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast::<c_void>(),
            size,
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a few bytes")]
const fn option_size<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// A program that draws a number below the total and returns the index in whose
/// share it falls.
fn selector(shares: &[Share], total: u32) -> Vec<libc::sock_filter> {
    /// Where a load finds a random number instead of a byte of the packet.
    const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
    const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

    let shares: Vec<_> = shares.iter().filter(|share| share.weight > 0).collect();
    let Some((last, others)) = shares.split_last() else {
        return Vec::new();
    };
    let mut program = Vec::with_capacity(3 + 2 * others.len());
    if !others.is_empty() {
        program.extend([step(LOAD, RANDOM), step(MODULO, total)]);
    }
    let mut end = 0;
    for share in others {
        end += share.weight;
        let skip = libc::sock_filter {
            jt: 1,
            ..step(AT_LEAST, end)
        };
        program.extend([skip, step(RETURN, share.index)]);
    }
    program.push(step(RETURN, last.index));
    program
}

#[expect(clippy::cast_possible_truncation, reason = "codes are below 256")]
const fn step(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

pub(crate) fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<AcceptQueue> {
    /// `TCP_LISTEN` of the kernel.
    const LISTENS: u8 = 10;
    // The beginning of the kernel's `tcp_info`: eight bytes, of which the state is
    // the first, then words; for a listener the 6th and 7th are not what their
    // names say (`unacked`, `sacked`) but the queue.
    let mut info = [0_u32; 8];
    let mut size = const { option_size::<[u32; 8]>() };
    // SAFETY: an open descriptor, and a local array with its size in bytes.
    let done = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast::<c_void>(),
            &raw mut size,
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    let [state, _, _, _, _, _, length, limit] = info;
    if state.to_ne_bytes()[0] != LISTENS {
        return Err(Errno::INVAL.into());
    }
    Ok(AcceptQueue { length, limit })
}
