//! What a supervisor is given, and what it says.

use std::time::Duration;

use super::super::restart::Restart;
use super::super::{Slot, WorkerId};
use crate::signal::Signal;

/// How many workers there are to be, and how they live. Plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many workers. Default: 1.
    pub workers: u32,
    /// What happens when one dies.
    pub restart: Restart,
    /// What makes a worker ready. Default: [`Ready::Listening`].
    pub ready: Ready,
    /// How long a worker may take to become ready. Default: 30 s.
    ///
    /// With [`Duration::MAX`] one that hangs is waited for forever, and after a
    /// crash so may be the others: they come when it is ready.
    pub ready_timeout: Duration,
    /// How workers are stopped.
    pub stop: StopPlan,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            workers: 1,
            restart: Restart::default(),
            ready: Ready::Listening,
            ready_timeout: Duration::from_secs(30),
            stop: StopPlan::default(),
        }
    }
}

/// What makes a worker ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It listens: the driver calls `ready` at its first `listening`.
    Listening,
    /// It sends this message: the driver calls `ready` when it comes.
    Message(String),
    /// It runs.
    Started,
    /// It has run for this long.
    After(Duration),
}

/// How a worker is stopped: disconnect, `grace`, `signal`, `term`, `SIGKILL` to its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopPlan {
    /// How long after the disconnect the signal comes. Zero for programs
    /// without a channel, which cannot be disconnected. Default: 5 s.
    pub grace: Duration,
    /// Default: `SIGTERM`.
    pub signal: Signal,
    /// How long after the signal its tree is killed. Default: 5 s.
    pub term: Duration,
}

impl Default for StopPlan {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            signal: Signal::TERM,
            term: Duration::from_secs(5),
        }
    }
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start a worker, then call `started` or `start_failed`.
    Start {
        /// Who it will be.
        worker: WorkerId,
        /// Whose place it takes.
        slot: Slot,
        /// How often a worker of this place was replaced before, this time included.
        restarts: u32,
    },
    /// Ask it to disconnect: it closes its listeners, serves what it has, and leaves.
    Disconnect {
        /// Who.
        worker: WorkerId,
    },
    /// Send a signal to it.
    Signal {
        /// To whom.
        worker: WorkerId,
        /// Which.
        signal: Signal,
    },
    /// Send `SIGKILL` to it and everybody in its tree.
    Kill {
        /// Who.
        worker: WorkerId,
    },
    /// Tell the user.
    Tell(Notice),
}

/// What the user may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A worker is ready.
    Ready {
        /// Who.
        worker: WorkerId,
        /// Where.
        slot: Slot,
    },
    /// Every worker that there is to be is ready; told each time that becomes true.
    AllReady,
    /// A worker was not ready in time and is stopped.
    NotReady {
        /// Who.
        worker: WorkerId,
        /// How long it had.
        waited: Duration,
    },
    /// A place will be filled again, after this long at the earliest.
    Restarting {
        /// Which.
        slot: Slot,
        /// How long.
        after: Duration,
    },
    /// Nothing is started any more; who is ready keeps serving. Told once.
    GaveUp(GaveUp),
    /// Nobody is left and nobody will come. The last thing that is told.
    Over {
        /// Why.
        end: End,
        /// How many workers a stop found still there after the grace period,
        /// and the signal ended.
        signalled: u32,
        /// How many the signal did not end either, or were killed at once.
        killed: u32,
    },
}

/// Why nothing is started any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The budget is used up.
    TooManyRestarts {
        /// So many restarts there were.
        starts: u32,
        /// In so long, not counting our own waiting.
        within: Duration,
    },
    /// No worker of this app was ever ready.
    NeverReady {
        /// So many starts there were.
        starts: u32,
    },
    /// The program cannot be started at all.
    CannotStart {
        /// Where it was tried.
        slot: Slot,
    },
}

/// Why there are no workers any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked for.
    Stopped,
    /// It was given up, and the last that were left are gone.
    GaveUp,
    /// All have ended and none is to be replaced ([`When`](super::super::restart::When)).
    Finished,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

/// Whether another try can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// For want of memory, processes, descriptors.
    Passing,
    /// `ENOENT`, `EACCES`, `ENOEXEC`.
    Permanent,
}

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Started, not ready.
    Starting,
    /// Ready.
    Ready,
    /// On its way out.
    Leaving,
}
