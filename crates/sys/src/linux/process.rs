//! One process, known by its pidfd: never by a number that may be reused.
#![expect(unsafe_code, reason = "waitid with resource usage")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, WaitId, pidfd_send_signal};

use super::reaper;
use super::strangers::{forget_ours, note_ours};
use super::tree::Tree;
use crate::io::{PollFd, poll};
use crate::status::{Ended, HowEnded, TreeLevel, Usage};
use crate::stopped::is_stopped;

/// A child of this process.
///
/// Clones share it. Whoever looks first reaps it; everybody reads the same
/// [`Ended`]. When nobody looks, the reaper thread does: no zombie stays,
/// whatever happens to the runtime or to the last handle.
#[derive(Clone, Debug)]
pub struct Process {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pid: u32,
    pidfd: OwnedFd,
    state: Mutex<State>,
    tree: Option<Arc<Tree>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    Ended(Ended),
    /// Somebody else in this program reaped it, or `SIGCHLD` is ignored.
    Lost,
}

impl Process {
    pub(super) fn running(pid: u32, pidfd: OwnedFd, tree: Option<Arc<Tree>>) -> Self {
        let shared = Arc::new(Shared {
            pid,
            pidfd,
            state: Mutex::new(State::Running),
            tree,
        });
        note_ours(pid);
        reaper::watch(&shared);
        Self { shared }
    }

    /// The process id, for display: signals go by the pidfd.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.shared.pid
    }

    /// Says how it ended, if it has; reaps it at the first asking.
    ///
    /// # Errors
    ///
    /// `ECHILD` when somebody else took the exit status.
    pub fn try_wait(&self) -> io::Result<Option<Ended>> {
        self.shared.try_wait()
    }

    /// Blocks until it has ended, or for `limit`.
    ///
    /// # Errors
    ///
    /// As [`Process::try_wait`].
    pub fn wait_timeout(&self, limit: Option<Duration>) -> io::Result<Option<Ended>> {
        match limit {
            // Not reaped here: others who ask must find either a child or its end. An
            // error is that they were first.
            None => drop(reap(&self.shared.pidfd, libc::WNOWAIT)),
            Some(_) => drop(poll(&mut [PollFd::readable(self.exit_fd())], limit)?),
        }
        self.try_wait()
    }

    /// Whether it is stopped, by a signal or its terminal, and did not go on: one call of
    /// the kernel, for which nothing is opened.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        is_stopped(WaitId::PidFd(self.exit_fd()))
    }

    /// Sends a signal; `false` when it has ended (even if it is not yet reaped).
    ///
    /// Signal 0 only asks. A reused number can never be hit.
    ///
    /// # Errors
    ///
    /// `EPERM`, or `EINVAL` for a number that is no signal.
    pub fn signal(&self, number: i32) -> io::Result<bool> {
        if self.try_wait()?.is_some() {
            return Ok(false);
        }
        send(&self.shared.pidfd, number)
    }

    /// A descriptor that becomes readable when the process has ended, and stays so.
    #[must_use]
    pub fn exit_fd(&self) -> BorrowedFd<'_> {
        self.shared.pidfd.as_fd()
    }

    /// The pidfd, for use with other libraries.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.exit_fd())
    }

    /// The tree of its descendants: the prepared one, or what can be found by descent.
    #[must_use]
    pub fn tree(&self) -> Arc<Tree> {
        let tree = self.shared.tree.as_ref();
        tree.map_or_else(|| Arc::new(Tree::walk(self.shared.pid)), Arc::clone)
    }

    /// How completely descendants can be found.
    #[must_use]
    pub fn tree_level(&self) -> TreeLevel {
        self.shared
            .tree
            .as_ref()
            .map_or(TreeLevel::Walk, |tree| tree.level())
    }
}

/// Sends a signal through a pidfd; `false` when the process is gone.
pub(super) fn send(pidfd: &OwnedFd, number: i32) -> io::Result<bool> {
    // rustix has no name for "no signal", so probe by asking for readiness.
    if number == 0 {
        return Ok(poll(&mut [PollFd::readable(pidfd.as_fd())], Some(Duration::ZERO))? == 0);
    }
    if !(1..=64).contains(&number) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a signal number of the kernel; those that the C library keeps for
    // itself (32, 33) are not ours to handle, but sending them to another
    // process touches nothing of this one.
    let signal = unsafe { Signal::from_raw_unchecked(number) };
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Shared {
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn tree(&self) -> Option<Arc<Tree>> {
        self.tree.clone()
    }

    pub(super) fn try_wait(&self) -> io::Result<Option<Ended>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running = *state {
            *state = match reap(&self.pidfd, libc::WNOHANG) {
                Ok(None) => State::Running,
                Ok(Some(ended)) => State::Ended(ended),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => State::Lost,
                // It is still ours: whoever asks next, the reaper thread last, tries again.
                Err(error) => return Err(error),
            };
            if !matches!(*state, State::Running) {
                forget_ours(self.pid);
            }
        }
        match *state {
            State::Running => Ok(None),
            State::Ended(ended) => Ok(Some(ended)),
            State::Lost => Err(io::Error::from_raw_os_error(libc::ECHILD)),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Running = *state {
            // The last handle goes first: the reaper thread sees to the rest.
            let Ok(pidfd) = self.pidfd.try_clone() else {
                // No descriptor left to hand it over with: wait here rather than leave a zombie
                // if it has ended, else leave it to `init`, as a program that ends does.
                drop(reap(&self.pidfd, libc::WNOHANG));
                forget_ours(self.pid);
                return;
            };
            reaper::inherit(Arc::new(Self {
                pid: self.pid,
                pidfd,
                state: Mutex::new(State::Running),
                tree: self.tree.take(),
            }));
            return;
        }
        reaper::forget(self);
        if let Some(tree) = &self.tree {
            // The root is gone, and with it whatever it has left behind.
            tree.end_in_background();
        }
    }
}

/// Waits for a child that never became a program: it has called `_exit`.
pub(super) fn discard(pidfd: &OwnedFd) {
    let lost = |error: &io::Error| error.raw_os_error() == Some(libc::ECHILD);
    for _ in 0..100 {
        match reap(pidfd, 0) {
            Err(error) if !lost(&error) => {}
            _ => return,
        }
    }
}

/// `waitid` with resource usage, which rustix has no name for.
fn reap(pidfd: &OwnedFd, options: i32) -> io::Result<Option<Ended>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: two local structs of the kernel's layout; the descriptor is open.
        let done = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                info.as_mut_ptr(),
                libc::WEXITED | options,
                usage.as_mut_ptr(),
            )
        };
        if done == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: zeroed is a valid value, and the kernel wrote over it.
    let info = unsafe { info.assume_init() };
    // SAFETY: as above.
    let usage = unsafe { usage.assume_init() };
    // SAFETY: `waitid` fills the fields of SIGCHLD, or leaves them zero.
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let how = match info.si_code {
        libc::CLD_EXITED => HowEnded::Code(status),
        code => HowEnded::Signal {
            number: status,
            core_dumped: code == libc::CLD_DUMPED,
        },
    };
    Ok(Some(Ended {
        how,
        usage: to_usage(&usage),
    }))
}

fn to_usage(raw: &libc::rusage) -> Usage {
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Usage {
        user: duration(raw.ru_utime),
        system: duration(raw.ru_stime),
        // Linux counts kilobytes.
        max_rss: raw.ru_maxrss.unsigned_abs() * 1024,
        major_faults: raw.ru_majflt.unsigned_abs(),
        voluntary_switches: raw.ru_nvcsw.unsigned_abs(),
        involuntary_switches: raw.ru_nivcsw.unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SpawnPlan;

    /// Else the notes would grow by every child, and its memory stay with them.
    #[test]
    fn a_child_that_its_owner_has_reaped_leaves_no_note() {
        let plan = SpawnPlan {
            programs: vec![c"/bin/true".into()],
            args: vec![c"true".into()],
            ..SpawnPlan::default()
        };
        let process = super::super::fork_and_exec(&plan).unwrap();
        let address = Arc::as_ptr(&process.shared);
        process.wait_timeout(None).unwrap().unwrap();
        drop(process);
        assert!(!reaper::has_note_of(address));
    }
}
