//! Signals that are waited for instead of interrupting.
#![expect(unsafe_code, reason = "signal masks")]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// A mask of this thread until it is dropped.
#[derive(Debug)]
pub(crate) struct Blocked {
    old: libc::sigset_t,
}

impl Blocked {
    /// Keeps every signal from this thread.
    pub(crate) fn all() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: fills the local set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        Self { old: block(&all) }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set that the first call filled.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.old, ptr::null_mut()) };
    }
}

/// Blocks an initialised set in this thread; gives what was blocked before.
fn block(set: &MaybeUninit<libc::sigset_t>) -> libc::sigset_t {
    let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: an initialised set and one to be filled.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), old.as_mut_ptr()) };
    // SAFETY: zeroed is valid, and the call has filled it.
    unsafe { old.assume_init() }
}

/// Signals that this program takes one by one, for the rest of its life.
///
/// Children that are started by this crate do not inherit that.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    set: libc::sigset_t,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Its number.
    pub number: i32,
    /// Whether a process sent it, and not the kernel: a key at the terminal is the
    /// kernel's, and the whole foreground group has got it. `true` where the
    /// system does not tell.
    pub by_process: bool,
}

impl Signals {
    /// Keeps them from interrupting this thread and those that it starts from now
    /// on. To be called before there are others.
    #[must_use]
    pub fn take(numbers: &[i32]) -> Self {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: initialises the local set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for number in numbers {
            // SAFETY: an initialised set; numbers that are none are refused.
            unsafe { libc::sigaddset(set.as_mut_ptr(), *number) };
        }
        block(&set);
        Self {
            // SAFETY: initialised above.
            set: unsafe { set.assume_init() },
        }
    }

    /// Waits for one of them.
    ///
    /// # Errors
    ///
    /// None for a set of real signals.
    pub fn wait(&self) -> io::Result<Caught> {
        loop {
            match wait(&self.set) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn wait(set: &libc::sigset_t) -> io::Result<Caught> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: an initialised set and a struct to be filled.
    let number: c_int = unsafe { libc::sigwaitinfo(&raw const *set, info.as_mut_ptr()) };
    if number == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed is valid, and the call has filled it.
    let info = unsafe { info.assume_init() };
    Ok(Caught {
        number,
        by_process: info.si_code <= 0,
    })
}

#[cfg(not(target_os = "linux"))]
fn wait(set: &libc::sigset_t) -> io::Result<Caught> {
    let mut number: c_int = 0;
    // SAFETY: an initialised set and a local number.
    match unsafe { libc::sigwait(&raw const *set, &raw mut number) } {
        0 => Ok(Caught {
            number,
            by_process: true,
        }),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_waited_for_does_not_interrupt() {
        let caught = std::thread::spawn(|| {
            let signals = Signals::take(&[libc::SIGUSR2]);
            // SAFETY: raised in this thread, which blocks it.
            unsafe { libc::raise(libc::SIGUSR2) };
            signals.wait().unwrap()
        });
        let caught = caught.join().unwrap();
        assert_eq!(caught.number, libc::SIGUSR2);
        assert!(caught.by_process);
    }
}
