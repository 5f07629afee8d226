//! The child's system calls, by the names of POSIX.
#![expect(unsafe_code, reason = "system calls of a forked child")]

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use crate::child;
use crate::plan::RawPlan;

pub(crate) fn errno() -> c_int {
    // Reads this thread's errno and nothing else.
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The number of the calling process.
pub(crate) fn own_pid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// Blocks every signal; gives the former mask.
pub(crate) fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: fills the local set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    swap_mask(&all)
}

/// Sets the mask back to what [`block_signals`] gave.
pub(crate) fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: a set that the system filled.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const *mask, ptr::null_mut()) };
}

/// Empties the mask: a child begins with nothing blocked.
pub(crate) fn unblock_signals() {
    let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: fills the local set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    swap_mask(&none);
}

fn swap_mask(mask: &MaybeUninit<libc::sigset_t>) -> libc::sigset_t {
    let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: an initialised set and one to be filled.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), old.as_mut_ptr()) };
    // SAFETY: zeroed is valid, and the call has filled it.
    unsafe { old.assume_init() }
}

/// Gives the signals 1 to 31 their default disposition, as libuv does.
pub(crate) fn reset_signals() {
    for signal in 1..32 {
        // SAFETY: an all-zero `sigaction` is SIG_DFL with an empty mask.
        let action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a local struct; SIGKILL and SIGSTOP are refused and had none.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

/// There are no control groups here; the plan never has one.
pub(crate) fn write_zero(procs: &OwnedFd) -> c_int {
    // SAFETY: one byte of a static string to an open descriptor.
    let written = unsafe { libc::write(procs.as_raw_fd(), b"0".as_ptr().cast(), 1) };
    if written == 1 { 0 } else { -1 }
}

pub(crate) fn mark_close_on_exec() -> c_int {
    child::mark_each();
    0
}

pub(crate) fn setgroups(groups: &[u32]) -> c_int {
    // SAFETY: a slice with its length, which has different types on different systems.
    unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) }
}

pub(crate) fn setgid(gid: u32) -> c_int {
    // SAFETY: a plain number; with the right to, all three ids change.
    unsafe { libc::setgid(gid) }
}

pub(crate) fn setuid(uid: u32) -> c_int {
    // SAFETY: a plain number; with the right to, all three ids change.
    unsafe { libc::setuid(uid) }
}

/// None of the Linux attributes exist; plans that ask for them are refused before.
pub(crate) fn attributes(raw: &RawPlan<'_>) -> c_int {
    // SAFETY: takes nothing.
    if raw.parent != 0 && unsafe { libc::getppid() } != raw.parent {
        // The parent died meanwhile: nobody is left to report to.
        child::leave();
    }
    if raw.subreaper { -1 } else { 0 }
}
