//! What a program has from its parent: descriptors known by number, and the environment.
#![expect(
    unsafe_code,
    reason = "a number becomes a descriptor, a pointer a string"
)]

use std::borrow::Cow;
use std::env;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use crate::fd_kind::{FdKind, fd_kind};
use crate::io::dev_null;

const CHANNEL_FD: &str = "NODE_CHANNEL_FD";
const UNIQUE_ID: &str = "NODE_UNIQUE_ID";
const SERIALIZATION: &str = "NODE_CHANNEL_SERIALIZATION_MODE";

/// The channel that our parent gave us.
#[derive(Debug)]
pub struct InheritedChannel {
    /// Our end of the socket, close-on-exec. Whether it is blocking is as the
    /// parent left it: Node leaves it blocking.
    pub fd: OwnedFd,
    /// What the parent said about the serialization: `json`, `advanced` or nothing.
    pub serialization: Option<String>,
}

/// Why there is no channel although `NODE_CHANNEL_FD` says so.
///
/// The variables stay as they are, so that asking again gives the same answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InheritedError {
    /// The value is no number of a descriptor.
    #[error("NODE_CHANNEL_FD is `{value}`, which is no descriptor")]
    NotANumber {
        /// The value.
        value: String,
    },
    /// The descriptor is not open: a value that was meant for another program.
    #[error("NODE_CHANNEL_FD is {number}, which is not open")]
    NotOpen {
        /// The value.
        number: u32,
    },
    /// The descriptor is open and something else.
    #[error("NODE_CHANNEL_FD is {number}, which is a {kind} and no channel")]
    NotAChannel {
        /// The value.
        number: u32,
        /// What it is.
        kind: FdKind,
    },
    /// The descriptor is close-on-exec, so it came into being after our start.
    #[error("NODE_CHANNEL_FD is {number}, which this program has opened itself")]
    NotInherited {
        /// The value.
        number: u32,
    },
    /// The channel was taken before, and there is only one.
    #[error("the channel of NODE_CHANNEL_FD was taken before")]
    Taken,
    /// The descriptor could not be looked at or moved.
    #[error("cannot take the channel at descriptor {number}")]
    Io {
        /// The value of `NODE_CHANNEL_FD`.
        number: u32,
        /// The system's reason.
        source: io::Error,
    },
}

/// Whether the channel was taken. Held while it is.
static TAKEN: Mutex<bool> = Mutex::new(false);

impl InheritedChannel {
    /// Takes the channel that `NODE_CHANNEL_FD` names, once in the life of the program.
    ///
    /// `None` when the variable is not there or empty: no parent wants to talk.
    /// The channel keeps its number, but for 0, 1 and 2: there it leaves
    /// `/dev/null` behind, for the standard library keeps using those.
    ///
    /// The variables leave the environment, so that no child takes the channel
    /// for its own. Another thread that reads the environment at this moment by
    /// other means than `std::env` (`getenv` of C, also within `getaddrinfo` or
    /// `localtime`) may see it half changed: take the channel early.
    ///
    /// # Errors
    ///
    /// [`InheritedError`]; a stale number takes nobody's file away.
    pub fn take() -> Result<Option<Self>, InheritedError> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken {
            return Err(InheritedError::Taken);
        }
        let Some(value) = env::var_os(CHANNEL_FD).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let value = value.to_string_lossy();
        let number = descriptor_number(&value).ok_or_else(|| InheritedError::NotANumber {
            value: value.into_owned(),
        })?;
        let fd = adopt(number)?;
        let serialization = env::var_os(SERIALIZATION);
        *taken = true;
        forget(CHANNEL_FD);
        forget(SERIALIZATION);
        // Whose child we are in its cluster is nothing for our own children either.
        forget(UNIQUE_ID);
        Ok(Some(Self {
            fd,
            serialization: serialization.map(|mode| mode.to_string_lossy().into_owned()),
        }))
    }
}

fn descriptor_number(value: &str) -> Option<u32> {
    let number = value.parse().ok()?;
    c_int::try_from(number).is_ok().then_some(number)
}

fn forget(variable: &str) {
    // SAFETY: std's own readers are locked out. What a reader beyond them risks
    // is told where the caller can heed it.
    unsafe { env::remove_var(variable) };
}

/// Makes an inherited descriptor ours, if it is a channel.
fn adopt(number: u32) -> Result<OwnedFd, InheritedError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::EBADF) => InheritedError::NotOpen { number },
        _ => InheritedError::Io { number, source },
    };
    // A second number for the same file: what we find out about it stays true
    // whatever others do to the first.
    let copy = duplicate(number).map_err(failed)?;
    let kind = fd_kind(copy.as_fd()).map_err(failed)?;
    if kind != FdKind::UnixStream {
        return Err(InheritedError::NotAChannel { number, kind });
    }
    if is_close_on_exec(number).map_err(failed)? {
        return Err(InheritedError::NotInherited { number });
    }
    if number <= 2 {
        put_null_at(number).map_err(failed)?;
        return Ok(copy);
    }
    let fd = number.cast_signed();
    // SAFETY: it is open and came through our `execve`, and by Node's convention
    // the variable makes its reader the owner. We read it once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    Ok(fd)
}

/// Whether the descriptor cannot have come through an `execve`.
fn is_close_on_exec(number: u32) -> io::Result<bool> {
    // SAFETY: `fcntl` accepts any number; a closed one is answered with EBADF.
    let flags = unsafe { libc::fcntl(number.cast_signed(), libc::F_GETFD) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(flags & libc::FD_CLOEXEC != 0)
}

/// Replaces a standard stream by `/dev/null`, which children may inherit.
fn put_null_at(number: u32) -> io::Result<()> {
    let null = dev_null()?;
    loop {
        // SAFETY: the number is 0, 1 or 2, which nobody owns: std names them and
        // never closes them.
        let done = unsafe { libc::dup2(null.as_raw_fd(), number.cast_signed()) };
        if done != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // Linux answers EBUSY while another thread opens a file at that number.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) {
            return Err(error);
        }
    }
}

pub(crate) fn duplicate(number: u32) -> io::Result<OwnedFd> {
    let number = c_int::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: `fcntl` accepts any number; a closed one is answered with EBADF.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Appends the entries of our environment, where they are, but for the unwanted names.
///
/// To be used at once: a change of the environment may free them. The change is
/// unsafe because of readers like this one (see `std::env::set_var`).
pub(crate) fn environment(without: &[Cow<'_, CStr>], entries: &mut Vec<*const c_char>) {
    // Most entries differ from all names in their first byte.
    let mut may_be_named = [false; 256];
    for name in without {
        may_be_named[usize::from(name.to_bytes().first().copied().unwrap_or(b'='))] = true;
    }
    // SAFETY: reads a pointer that the C library keeps.
    let mut next = unsafe { environ };
    while !next.is_null() {
        // SAFETY: the array ends with a null pointer, which was not reached yet.
        let entry = unsafe { *next };
        if entry.is_null() {
            return;
        }
        // SAFETY: an entry is a terminated string; its first byte may be the terminator.
        let first = unsafe { *entry }.cast_unsigned();
        // SAFETY: as above.
        let named = |name: &Cow<'_, CStr>| unsafe { is_named(entry, name) };
        if !may_be_named[usize::from(first)] || !without.iter().any(named) {
            entries.push(entry);
        }
        // SAFETY: the end was not reached, so there is a next element.
        next = unsafe { next.add(1) };
    }
}

/// Whether an entry is `NAME=…`.
///
/// # Safety
///
/// `entry` is a terminated string that nobody changes.
unsafe fn is_named(mut entry: *const c_char, name: &CStr) -> bool {
    for expected in name.to_bytes() {
        // SAFETY: no byte before this one was the terminator, for a name has none.
        let byte = unsafe { *entry };
        if byte.cast_unsigned() != *expected {
            return false;
        }
        // SAFETY: not the terminator, so there is a next byte.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: as above.
    let byte = unsafe { *entry };
    byte.cast_unsigned() == b'='
}
