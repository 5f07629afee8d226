//! One child, with a thread that waits for it.
#![expect(unsafe_code, reason = "waitid and wait4")]
//!
//! The number is signalled only under the lock under which the child is reaped,
//! so it is ours whenever it is used.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, WaitId};

use super::pipes::pipe_pair;
use super::tree::Tree;
use crate::io::{PollFd, poll};
use crate::status::{Ended, HowEnded, TreeLevel, Usage};
use crate::stopped::is_stopped;

/// A child of this process.
///
/// Clones share it. Its own thread reaps it when it ends; everybody reads the
/// same [`Ended`].
#[derive(Clone, Debug)]
pub struct Process {
    shared: Arc<Shared>,
    /// Becomes readable (its other end closes) once the child has been reaped.
    done: Arc<OwnedFd>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pid: i32,
    grouped: bool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    Ended(Ended),
    /// Somebody else in this program reaped it, or `SIGCHLD` is ignored.
    Lost(i32),
}

impl Process {
    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.shared.pid.cast_unsigned()
    }

    /// Says how it ended, if it has.
    ///
    /// # Errors
    ///
    /// `ECHILD` when somebody else took the exit status.
    pub fn try_wait(&self) -> io::Result<Option<Ended>> {
        self.shared.reap_if_ended();
        match *self.shared.lock() {
            State::Running => Ok(None),
            State::Ended(ended) => Ok(Some(ended)),
            State::Lost(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Blocks until it has ended, or for `limit`.
    ///
    /// # Errors
    ///
    /// As [`Process::try_wait`].
    pub fn wait_timeout(&self, limit: Option<Duration>) -> io::Result<Option<Ended>> {
        if let Some(ended) = self.try_wait()? {
            return Ok(Some(ended));
        }
        poll(&mut [PollFd::readable(self.exit_fd())], limit)?;
        self.try_wait()
    }

    /// Whether it is stopped, by a signal or its terminal, and did not go on: one call of
    /// the kernel.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let state = self.shared.lock();
        // The number is its own until it was reaped.
        matches!(*state, State::Running)
            && Pid::from_raw(self.shared.pid).is_some_and(|pid| is_stopped(WaitId::Pid(pid)))
    }

    /// Sends a signal; `false` when it has ended.
    ///
    /// # Errors
    ///
    /// `EPERM`, or `EINVAL` for a number that is no signal.
    pub fn signal(&self, number: i32) -> io::Result<bool> {
        self.shared.signal(number, self.shared.pid)
    }

    /// A descriptor that becomes readable when the process has ended, and stays so.
    #[must_use]
    pub fn exit_fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    /// There are no pidfds here.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The tree: its process group if it leads one, else the process alone.
    #[must_use]
    pub fn tree(&self) -> Arc<Tree> {
        Arc::new(Tree::of(Arc::clone(&self.shared)))
    }

    /// How completely descendants can be found.
    #[must_use]
    pub fn tree_level(&self) -> TreeLevel {
        if self.shared.grouped {
            TreeLevel::Group
        } else {
            TreeLevel::Process
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number that `kill` takes for the whole group, if the child leads one.
    pub(super) fn group(&self) -> Option<i32> {
        self.grouped.then_some(-self.pid)
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Signals `target` (the child or its group) while the number is known to be ours.
    pub(super) fn signal(&self, number: i32, target: i32) -> io::Result<bool> {
        self.reap_if_ended();
        let state = self.lock();
        // A group may live on without its leader, and keeps the number reserved.
        if !matches!(*state, State::Running) && target > 0 {
            return Ok(false);
        }
        // SAFETY: plain numbers; the child is unreaped while the lock is held.
        if unsafe { libc::kill(target, number) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        drop(state);
        if error.raw_os_error() == Some(libc::ESRCH) {
            Ok(false)
        } else {
            Err(error)
        }
    }

    fn reap_if_ended(&self) {
        let mut state = self.lock();
        if let State::Running = *state {
            *state = match reap(self.pid, libc::WNOHANG) {
                Ok(None) => State::Running,
                Ok(Some(ended)) => State::Ended(ended),
                Err(error) => State::Lost(error.raw_os_error().unwrap_or(libc::ECHILD)),
            };
        }
    }
}

/// The thread that will wait for a child. It is there before the child is, so
/// a start cannot fail after the `fork`.
pub(super) struct Waiter {
    child: SyncSender<Arc<Shared>>,
    done: OwnedFd,
}

impl Waiter {
    pub(super) fn start() -> io::Result<Self> {
        let (done, closes) = pipe_pair()?;
        let (child, arrives) = sync_channel::<Arc<Shared>>(1);
        thread::Builder::new()
            .name("procession-wait".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                // An error: the start failed, there is no child.
                if let Ok(child) = arrives.recv() {
                    block_until_ended(child.pid);
                    child.reap_if_ended();
                }
                drop(closes);
            })?;
        Ok(Self { child, done })
    }

    pub(super) fn adopt(self, pid: i32, grouped: bool) -> Process {
        let shared = Arc::new(Shared {
            pid,
            grouped,
            state: Mutex::new(State::Running),
        });
        // The thread waits for exactly this.
        let _ = self.child.send(Arc::clone(&shared));
        Process {
            shared,
            done: Arc::new(self.done),
        }
    }

    /// Reaps a child that never became a program.
    pub(super) fn discard(self, pid: i32) {
        drop(reap(pid, 0));
    }
}

/// Waits without reaping: the number stays the child's.
fn block_until_ended(pid: i32) {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: a local struct; the number is a child's.
        let done = unsafe {
            libc::waitid(
                libc::P_PID,
                pid.cast_unsigned(),
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        let interrupted = || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        if done == 0 || !interrupted() {
            return;
        }
    }
}

fn reap(pid: i32, options: i32) -> io::Result<Option<Ended>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let reaped = loop {
        // SAFETY: two locals that outlive the call.
        let reaped = unsafe { libc::wait4(pid, &raw mut status, options, usage.as_mut_ptr()) };
        if reaped != -1 {
            break reaped;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    if reaped == 0 {
        return Ok(None);
    }
    let how = if libc::WIFEXITED(status) {
        HowEnded::Code(libc::WEXITSTATUS(status))
    } else {
        HowEnded::Signal {
            number: libc::WTERMSIG(status),
            core_dumped: libc::WCOREDUMP(status),
        }
    };
    // SAFETY: zeroed is valid, and the call has filled it.
    let usage = unsafe { usage.assume_init() };
    Ok(Some(Ended {
        how,
        usage: to_usage(&usage),
    }))
}

fn to_usage(raw: &libc::rusage) -> Usage {
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    // macOS counts bytes, everybody else kilobytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Usage {
        user: duration(raw.ru_utime),
        system: duration(raw.ru_stime),
        max_rss: raw.ru_maxrss.unsigned_abs() * unit,
        major_faults: raw.ru_majflt.unsigned_abs(),
        voluntary_switches: raw.ru_nvcsw.unsigned_abs(),
        involuntary_switches: raw.ru_nivcsw.unsigned_abs(),
    }
}
