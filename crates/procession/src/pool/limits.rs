//! How large a pool is, and how long things may take in it.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use procession_core::pool::{Discipline, Plan, PlanError};
use tokio_util::sync::CancellationToken;

/// The limits of a pool: plain values, checked when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Workers that are always there, to workers that there can be. One for
    /// each core at most by default, and one at least.
    pub workers: RangeInclusive<u32>,
    /// Tasks that one worker has at a time. 1 by default, and for threads
    /// nothing else.
    pub concurrency: u32,
    /// Tasks that may wait, beside those for which there is or can be a
    /// worker. 1000 by default.
    pub queue: usize,
    /// Who of those that wait is next. First come, first served by default.
    pub discipline: Discipline,
    /// How long a worker above the minimum stays without a task. 30 s by default.
    pub idle: Duration,
    /// How long a task may wait; its [`Terms`] may say otherwise. No limit by default.
    pub queue_timeout: Option<Duration>,
    /// How long a task may run, from when its worker is given it; its
    /// [`Terms`] may say otherwise. No limit by default.
    pub run_timeout: Option<Duration>,
    /// How long a task may take to end once it is asked to, and a worker to
    /// leave. 1 s by default.
    pub grace: Duration,
    /// How long a worker may take to be ready. 30 s by default.
    pub start_timeout: Duration,
    /// Starts that fail in a row before tasks get an error. 3 by default.
    pub start_attempts: u32,
    /// Tasks after which a worker is replaced. 1 isolates each. No limit by default.
    pub max_tasks: Option<u64>,
    /// How long after it was ready a worker is replaced. No limit by default.
    pub max_age: Option<Duration>,
    /// Resident memory, in bytes, above which a process is replaced as soon as
    /// it has finished what it has. It is looked at when a task has ended, ten
    /// times a second at most, so this bounds what leaks and not what one task
    /// uses: for that see [`Command::limit`](crate::child_process::Command::limit).
    /// Processes on Linux only. No limit by default.
    pub max_memory: Option<u64>,
    /// Abandoned threads, still busy with what they were asked to end, for
    /// which there are replacements. As many as there can be workers by default.
    pub abandoned: Option<u32>,
    /// How long the tasks of a pool whose last handle was dropped may go on.
    /// 30 s by default.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        let plan = Plan::new(cores);
        Self {
            workers: plan.min..=plan.max,
            concurrency: plan.concurrency,
            queue: plan.queue,
            discipline: plan.discipline,
            idle: plan.idle,
            queue_timeout: plan.queue_timeout,
            run_timeout: plan.run_timeout,
            grace: plan.grace,
            start_timeout: plan.start_timeout,
            start_attempts: plan.start_attempts,
            max_tasks: plan.max_tasks,
            max_age: plan.max_age,
            max_memory: plan.max_memory,
            abandoned: None,
            close_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The default ones with so many workers.
    #[must_use]
    pub fn new(workers: RangeInclusive<u32>) -> Self {
        Self {
            workers,
            ..Self::default()
        }
    }

    pub(super) fn plan(&self) -> Plan {
        Plan {
            min: *self.workers.start(),
            max: *self.workers.end(),
            concurrency: self.concurrency,
            ahead: 0,
            queue: self.queue,
            discipline: self.discipline,
            idle: self.idle,
            queue_timeout: self.queue_timeout,
            run_timeout: self.run_timeout,
            grace: self.grace,
            start_timeout: self.start_timeout,
            start_attempts: self.start_attempts,
            max_tasks: self.max_tasks,
            max_age: self.max_age,
            max_memory: self.max_memory,
        }
    }
}

/// What one task asks for, where the pool's [`Limits`] do not fit.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The higher, the sooner, with [`Discipline::Priority`]. 0 by default.
    pub priority: i32,
    /// How long it may wait.
    pub queue_timeout: Option<Duration>,
    /// How long it may run.
    pub run_timeout: Option<Duration>,
    /// Cancels the task. The task sees it at once; the grace period begins when
    /// what [`submit`](super::Pool::submit) returned is polled or waited for.
    pub cancel: Option<CancellationToken>,
}

/// A pool that was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The limits contradict each other.
    #[error("failed to make a pool")]
    Limits(#[from] PlanError),
    /// A thread has one task at a time.
    #[error("`concurrency` of a pool over threads is {0}, and can only be 1")]
    Concurrency(u32),
    /// Threads share their memory.
    #[error("`max_memory` is for pools over processes")]
    Memory,
    /// This system does not tell how much memory a process has.
    #[error("`max_memory` of a pool cannot be kept here")]
    Weigh(#[source] std::io::Error),
    /// Processes are looked after by tasks, and there is no runtime to run them.
    #[error("a pool over processes has to be made within a tokio runtime")]
    NoRuntime,
    /// The thread that looks after the others did not start.
    #[error("failed to start the keeper of a pool")]
    Keeper(#[source] std::io::Error),
}
