//! What a program has from its parent: descriptors known by number, and the environment.
#![expect(
    unsafe_code,
    reason = "a number becomes a descriptor, a pointer a string"
)]

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

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
