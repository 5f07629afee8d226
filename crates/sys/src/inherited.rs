//! Descriptors known by number: inherited ones.
#![expect(unsafe_code, reason = "a number becomes a descriptor")]

use std::ffi::c_int;
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
