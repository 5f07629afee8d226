//! What a pool is to be, and what it says.

use std::time::Duration;

/// Who in the queue is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discipline {
    /// Who came first. Strict: a free worker never overtakes the queue.
    #[default]
    Fifo,
    /// Who came last.
    Lifo,
    /// Who has the highest [`Terms::priority`]; among equals, who came first.
    Priority,
}

/// How many workers there are, how long things may take, when a worker is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Workers that are always there.
    pub min: u32,
    /// Workers that there can be, with those that are on their way out.
    pub max: u32,
    /// Tasks that one worker has at a time. 1 is usual.
    pub concurrency: u32,
    /// Tasks that a busy worker may be sent, so that it goes on with the next
    /// without being told; 0: none. They wait as others do, can be cancelled,
    /// and come back when their worker dies or another is idle. Only workers
    /// that [give them back](super::Dispatcher::takes_ahead) get any, as long as
    /// each of their tasks takes less than 1 ms, and only where tasks are served
    /// in the order in which they came, one at a time, without a balance and
    /// without a limit of memory for a worker. A task that may not
    /// wait for ever is not sent, nor what came after it.
    pub ahead: u32,
    /// Tasks that may wait, beside those for which a worker is or can be
    /// started. 0: only what a worker can take is accepted.
    pub queue: usize,
    /// Who in the queue is next.
    pub discipline: Discipline,
    /// How long a worker above `min` stays without a task.
    pub idle: Duration,
    /// How long a task may wait for its worker, where its [`Terms`] do not say.
    pub queue_timeout: Option<Duration>,
    /// How long a task may run from when a worker is given it, where its [`Terms`] do not say.
    pub run_timeout: Option<Duration>,
    /// How long a task has to end after it was asked to, and a worker to leave.
    pub grace: Duration,
    /// How long a worker may take to be ready.
    pub start_timeout: Duration,
    /// Starts that fail one after the other before waiting tasks are given
    /// back. The pause between them begins with 100 ms and doubles.
    pub start_attempts: u32,
    /// Tasks after which a worker is replaced; 1 gives each task a fresh one.
    pub max_tasks: Option<u64>,
    /// How long after it was ready a worker is replaced, as soon as it is free.
    pub max_age: Option<Duration>,
    /// Memory in bytes, as told by [`Dispatcher::weighed`](super::Dispatcher::weighed),
    /// above which a worker is replaced.
    pub max_memory: Option<u64>,
}

impl Plan {
    /// So many workers at most and one at least, 1000 waiting tasks, first come
    /// first served; an idle worker leaves after 30 s; 1 s of grace; 30 s and
    /// three attempts for a start; no other limits.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self {
            min: 1.min(max),
            max,
            concurrency: 1,
            ahead: 0,
            queue: 1000,
            discipline: Discipline::Fifo,
            idle: Duration::from_secs(30),
            queue_timeout: None,
            run_timeout: None,
            grace: Duration::from_secs(1),
            start_timeout: Duration::from_secs(30),
            start_attempts: 3,
            max_tasks: None,
            max_age: None,
            max_memory: None,
        }
    }

    /// Its errors name the fields as who makes a pool knows them: `min` and
    /// `max` are one range there.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let zero = |field| Err(PlanError::Zero { field });
        if self.max == 0 {
            zero("workers.end()")
        } else if self.concurrency == 0 {
            zero("concurrency")
        } else if self.start_attempts == 0 {
            zero("start_attempts")
        } else if self.max_tasks == Some(0) {
            zero("max_tasks")
        } else if self.min > self.max {
            let (min, max) = (self.min, self.max);
            Err(PlanError::MinAboveMax { min, max })
        } else {
            Ok(())
        }
    }
}

/// A plan that no pool can follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It has to be at least one.
    #[error("`{field}` of a pool is 0")]
    Zero {
        /// What is zero.
        field: &'static str,
    },
    /// There cannot always be more than there can be.
    #[error("`workers` of a pool is {min}..={max}: it begins above its end")]
    MinAboveMax {
        /// Workers that are to be there always.
        min: u32,
        /// Workers that can be there.
        max: u32,
    },
}

/// What one task asks for; `None` is the plan's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The higher, the sooner, with [`Discipline::Priority`].
    pub priority: i32,
    /// How long it may wait.
    pub queue_timeout: Option<Duration>,
    /// How long it may run.
    pub run_timeout: Option<Duration>,
}

/// A task's number: never given twice, in order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// A worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// Its place, below [`Plan::max`]; another has it when this one is gone.
    pub slot: u32,
    /// Never given twice.
    pub number: u64,
}

/// How far a task had come when it was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It never ran.
    InQueue,
    /// It was asked to end, did so in time, and its worker lives on.
    InTime,
    /// It did not end in time, or its worker died meanwhile.
    ByForce,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its worker finished it.
    Done,
    /// [`Dispatcher::cancel`](super::Dispatcher::cancel) was called for it.
    Canceled(Stopped),
    /// It ran longer than it may.
    TimedOut(Stopped),
    /// It waited longer than it may, and never ran.
    QueueTimedOut,
    /// The pool was closed before it ran.
    Closed,
    /// The pool was destroyed while it ran.
    Destroyed,
    /// No worker could be started, and it never ran.
    NoWorker,
    /// Its worker died.
    Lost,
}

/// A task that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<T> {
    /// The task.
    pub task: T,
    /// Why.
    pub why: Refusal,
}

/// Why a task was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full.
    Full,
    /// The pool takes no more tasks.
    Closed,
}

/// What a pool still had when the limit of its close had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Tasks that waited, and went back.
    pub waiting: usize,
    /// Tasks that ran, and were asked to end.
    pub running: usize,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order<T> {
    /// Start a worker; say `started` or `gone`.
    Start {
        /// Its name from now on.
        worker: WorkerId,
    },
    /// Give it a task; say `finished`.
    Run {
        /// Who is to run it.
        worker: WorkerId,
        /// Its number.
        id: TaskId,
        /// What was submitted.
        task: T,
    },
    /// Send it a task while it has another. It begins by itself, in this order.
    Ahead {
        /// Who is to run it next.
        worker: WorkerId,
        /// Its number.
        id: TaskId,
        /// What was submitted.
        task: T,
    },
    /// Get a task back that was sent ahead; say `recalled`, or that it has `begun`.
    Recall {
        /// Who has it.
        worker: WorkerId,
        /// Which one.
        id: TaskId,
    },
    /// Ask a running task to end. It still has to be `finished`.
    Ask {
        /// Who runs it.
        worker: WorkerId,
        /// Which one.
        id: TaskId,
    },
    /// A task has ended without its worker having finished it.
    End {
        /// Which one.
        id: TaskId,
        /// How.
        verdict: Verdict,
        /// Where it is.
        held: Held<T>,
    },
    /// Ask the worker to leave: it has no task. Say `gone`.
    Stop {
        /// Who.
        worker: WorkerId,
    },
    /// End the worker by force. Say `gone`.
    Kill {
        /// Who.
        worker: WorkerId,
    },
    /// All tasks have ended and all workers are gone; nothing follows.
    Over,
}

/// Where a task is that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held<T> {
    /// It never ran: here it is.
    Back(T),
    /// It was given to this worker.
    By(WorkerId),
}
