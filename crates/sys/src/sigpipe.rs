//! Writing without the signal that a broken pipe brings.
#![expect(unsafe_code, reason = "signal masks and dispositions")]
//!
//! A Rust program ignores `SIGPIPE` from its start, but it may have put the
//! default back, or our code may run inside another language's program. Then
//! the signal is kept from this thread for the time of the write, and the one
//! that the write made is taken away.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Runs one write so that `EPIPE` comes without a signal.
pub(crate) fn without_sigpipe(write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    if is_ignored() {
        write()
    } else {
        Blocked::run(write)
    }
}

fn is_ignored() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a local struct; nothing is changed.
    unsafe { libc::sigaction(libc::SIGPIPE, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed is valid and the call has filled it.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

struct Blocked;

impl Blocked {
    fn run(write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let pipe = Self::only_sigpipe();
        let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
        let was_pending = Self::is_pending();
        // SAFETY: two sets that outlive the call; only this thread's mask changes.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const pipe, old.as_mut_ptr()) };
        let result = write();
        if result
            .as_ref()
            .is_err_and(|e| e.raw_os_error() == Some(libc::EPIPE))
            && !was_pending
        {
            Self::take(&pipe);
        }
        // SAFETY: the set that the first call filled.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut()) };
        result
    }

    fn only_sigpipe() -> libc::sigset_t {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: initialises the local set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: the set is initialised and the number is a signal.
        unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE) };
        // SAFETY: initialised above.
        unsafe { set.assume_init() }
    }

    fn is_pending() -> bool {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: fills the local set.
        unsafe { libc::sigpending(set.as_mut_ptr()) };
        // SAFETY: reads the set filled above.
        unsafe { libc::sigismember(set.as_ptr(), libc::SIGPIPE) == 1 }
    }

    /// Takes the pending signal; it is directed at this thread, so `sigwait` finds it at once.
    fn take(pipe: &libc::sigset_t) {
        let mut number = 0;
        if Self::is_pending() {
            // SAFETY: two locals; the signal is blocked and pending.
            unsafe { libc::sigwait(&raw const *pipe, &raw mut number) };
        }
    }
}
