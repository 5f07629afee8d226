//! The child's system calls where libc's own would touch more than the caller.
#![expect(unsafe_code, reason = "raw system calls")]
//!
//! libc's `setuid` and friends change every thread of the process whose memory
//! the child shares, that is, of the parent; the raw calls change the caller.

use std::ffi::{c_int, c_long, c_uint};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use crate::child;
use crate::plan::RawPlan;

/// Bytes of the kernel's signal set.
const SET_SIZE: usize = 8;

pub(crate) fn errno() -> c_int {
    // SAFETY: takes nothing and cannot fail.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *errno }
}

/// The number of the calling process; libc may remember the parent's.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a process id"
)]
pub(crate) fn own_pid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::syscall(libc::SYS_getpid) as u32 }
}

fn result(value: c_long) -> c_int {
    if value == -1 { -1 } else { 0 }
}

/// Blocks every signal, the C library's reserved ones included; gives the former mask.
pub(crate) fn block_signals() -> u64 {
    swap_mask(u64::MAX)
}

/// Sets the mask back to what [`block_signals`] gave.
pub(crate) fn restore_signals(mask: u64) {
    swap_mask(mask);
}

/// Empties the mask: a child begins with nothing blocked.
pub(crate) fn unblock_signals() {
    swap_mask(0);
}

fn swap_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: two local sets of the size that is named.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            SET_SIZE,
        )
    };
    old
}

/// Gives every signal its default disposition, as libuv does: an ignored one
/// would stay ignored over `execve`, and a handler of ours must not run here.
pub(crate) fn reset_signals() {
    // The kernel's `sigaction` (handler, flags, restorer, mask), all zero: SIG_DFL.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: reads at most the 32 bytes of `default`; refused numbers change nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                SET_SIZE,
            )
        };
    }
}

/// Writes `0` ("me") to an open `cgroup.procs`.
pub(crate) fn write_zero(procs: &OwnedFd) -> c_int {
    // SAFETY: one byte of a static string to an open descriptor.
    let written = unsafe { libc::write(procs.as_raw_fd(), b"0".as_ptr().cast(), 1) };
    if written == 1 { 0 } else { -1 }
}

static CLOSE_RANGE: OnceLock<bool> = OnceLock::new();

/// Whether a child can be given its own table of descriptors by
/// [`mark_close_on_exec`], so that the parent need not copy it.
pub(super) fn has_close_range() -> bool {
    *CLOSE_RANGE.get_or_init(|| {
        // An empty range high above: changes nothing, is refused only where the call is missing.
        close_range(c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0
    })
}

/// Marks every descriptor from 3 on close-on-exec. If the table was the parent's
/// too, the child has a copy of its own after this; on a failure it has not.
pub(crate) fn mark_close_on_exec() -> c_int {
    // Not asked here for the first time: the child must not initialise it.
    if CLOSE_RANGE.get() == Some(&true) {
        return close_range(3, libc::CLOSE_RANGE_CLOEXEC | libc::CLOSE_RANGE_UNSHARE);
    }
    child::mark_each();
    0
}

fn close_range(first: c_uint, flags: c_uint) -> c_int {
    // SAFETY: plain numbers; with these flags nothing is closed before an `execve`.
    result(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flags) })
}

pub(crate) fn setgroups(groups: &[u32]) -> c_int {
    // SAFETY: a slice with its length.
    result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

pub(crate) fn setgid(gid: u32) -> c_int {
    // SAFETY: plain numbers.
    result(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })
}

pub(crate) fn setuid(uid: u32) -> c_int {
    // SAFETY: plain numbers.
    result(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// The attributes of `prctl`. They come last: a change of user clears the
/// parent-death signal.
pub(crate) fn attributes(raw: &RawPlan<'_>) -> c_int {
    if raw.subreaper && prctl(libc::PR_SET_CHILD_SUBREAPER, 1) == -1 {
        return -1;
    }
    if raw.plan.no_new_privs && prctl(libc::PR_SET_NO_NEW_PRIVS, 1) == -1 {
        return -1;
    }
    let Some(signal) = raw.plan.parent_death_signal else {
        return 0;
    };
    if prctl(libc::PR_SET_PDEATHSIG, c_long::from(signal)) == -1 {
        return -1;
    }
    // SAFETY: takes nothing.
    let parent = unsafe { libc::syscall(libc::SYS_getppid) };
    if parent != c_long::from(raw.parent) {
        // The parent died before it could be watched: nobody is left to report to.
        child::leave();
    }
    0
}

fn prctl(option: c_int, value: c_long) -> c_int {
    // SAFETY: options that take one number; the rest must be zero.
    result(unsafe { libc::syscall(libc::SYS_prctl, option, value, 0, 0, 0) })
}
