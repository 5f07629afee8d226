//! What is done to each task, and whether its verdict fits.

use std::collections::BTreeSet;
use std::time::Duration;

use procession::pool::{Stopped, TaskError, Terms};

use tokio_util::sync::CancellationToken;

use super::task::{Deed, Task};

/// How and when a task is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    Never,
    /// By its method.
    Call(Duration),
    /// By a token in its terms.
    Token(Duration),
    /// By dropping its future.
    Drop(Duration),
}

/// What there is to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Climate {
    Threads,
    /// Processes that have one task at a time.
    Processes,
    /// Those that have several.
    Neighbours,
}

impl Climate {
    pub(crate) fn has_processes(self) -> bool {
        self != Self::Threads
    }
}

/// One task, and what is done to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) task: Task,
    pub(crate) cancel: Cancel,
    queue_timeout: Option<Duration>,
    run_timeout: Option<Duration>,
}

impl Plan {
    /// Draws one: of 1000 tasks 10 panic, 30 wait to be asked, 2 are deaf, a few take their process
    /// with them; an eighth is cancelled, another may not wait for long.
    pub(crate) fn draw(id: u64, climate: Climate, below: &mut impl FnMut(u64) -> u64) -> Self {
        let deed = match below(1000) {
            0..10 => Deed::Panic,
            10..40 => Deed::Wait,
            40..42 => Deed::Deaf,
            42..45 if climate.has_processes() => Deed::Exit,
            45..48 if climate.has_processes() => Deed::Kill,
            48..53 if climate == Climate::Neighbours => Deed::Slow,
            _ => Deed::Return,
        };
        let after = Duration::from_micros(below(3000));
        let cancel = match below(32) {
            0 | 1 => Cancel::Call(after),
            2 => Cancel::Token(after),
            3 => Cancel::Drop(after),
            _ => Cancel::Never,
        };
        let needs_end = matches!(deed, Deed::Wait | Deed::Deaf);
        Self {
            task: Task { id, deed },
            cancel,
            queue_timeout: (below(8) == 0).then(|| Duration::from_micros(below(5000) + 1)),
            run_timeout: needs_end.then(|| Duration::from_micros(below(3000) + 1)),
        }
    }

    /// With the token that cancels it, if that is how.
    pub(crate) fn terms(&self) -> (Terms, CancellationToken) {
        let token = CancellationToken::new();
        let has_token = matches!(self.cancel, Cancel::Token(_));
        let terms = Terms {
            queue_timeout: self.queue_timeout,
            run_timeout: self.run_timeout,
            cancel: has_token.then(|| token.clone()),
            ..Terms::default()
        };
        (terms, token)
    }

    /// What is wrong with this verdict, after all that was done to the task.
    pub(crate) fn judge(&self, verdict: Verdict, fate: &Fate<'_>) -> Result<(), &'static str> {
        let Self { task, cancel, .. } = self;
        let cancels = *cancel != Cancel::Never;
        let ran = match fate.begun {
            [] => false,
            [_once] => true,
            _ => return Err("it ran twice"),
        };
        // Of a task that its worker was given and did not begin nobody knows the process.
        let is_dead = |pid: &u32| fate.dead.contains(pid);
        let died = fate.has_processes && fate.begun.first().is_none_or(is_dead);
        let own_death = matches!(task.deed, Deed::Exit | Deed::Kill);
        let fits = match verdict {
            Verdict::Done(id) => {
                id == task.id && ran && matches!(task.deed, Deed::Return | Deed::Slow)
            }
            Verdict::Refused => !ran,
            Verdict::QueueTimedOut => !ran && self.queue_timeout.is_some(),
            Verdict::CanceledInQueue => !ran && cancels,
            Verdict::Panicked { as_told } => ran && task.deed == Deed::Panic && as_told,
            Verdict::Canceled(Stopped::InTime) => ran && cancels && task.deed != Deed::Deaf,
            Verdict::TimedOut(Stopped::InTime) => ran && task.deed == Deed::Wait,
            Verdict::Canceled(Stopped::ByForce) => {
                cancels && (task.deed == Deed::Deaf || own_death || died)
            }
            Verdict::TimedOut(Stopped::ByForce) => {
                self.run_timeout.is_some() && (task.deed == Deed::Deaf || died)
            }
            Verdict::Died => fate.has_processes && (own_death || died),
            Verdict::Dropped => matches!(cancel, Cancel::Drop(_)),
            Verdict::Canceled(Stopped::InQueue)
            | Verdict::TimedOut(Stopped::InQueue)
            | Verdict::Other => false,
        };
        if fits { Ok(()) } else { Err("it does not fit") }
    }
}

/// What the workers noted of a task, and who of them died.
pub(crate) struct Fate<'a> {
    pub(crate) has_processes: bool,
    /// The processes in which it began.
    pub(crate) begun: &'a [u32],
    /// Processes that were killed, or that a task has ended.
    pub(crate) dead: &'a BTreeSet<u32>,
}

/// How a task ended for who waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done(u64),
    /// The queue was full.
    Refused,
    QueueTimedOut,
    CanceledInQueue,
    Canceled(Stopped),
    TimedOut(Stopped),
    /// With its own words, or another's.
    Panicked {
        as_told: bool,
    },
    Died,
    /// Nobody waited.
    Dropped,
    Other,
}

impl Verdict {
    /// A task that comes back has to be the one that was given.
    pub(crate) fn of(sent: Task, result: Result<u64, TaskError<Task>>) -> Self {
        let back = |task: Task, verdict| {
            assert_eq!(task, sent, "another task came back");
            verdict
        };
        match result {
            Ok(id) => Self::Done(id),
            Err(TaskError::QueueFull(task)) => back(task, Self::Refused),
            Err(TaskError::QueueTimedOut(task)) => back(task, Self::QueueTimedOut),
            Err(TaskError::CanceledInQueue(task)) => back(task, Self::CanceledInQueue),
            Err(TaskError::Canceled(how)) => Self::Canceled(how),
            Err(TaskError::TimedOut(how)) => Self::TimedOut(how),
            Err(TaskError::Panicked { message } | TaskError::Failed { message }) => {
                let as_told = message == sent.id.to_string();
                Self::Panicked { as_told }
            }
            Err(TaskError::WorkerDied { .. }) => Self::Died,
            Err(_) => Self::Other,
        }
    }
}
