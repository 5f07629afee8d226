//! How a task fails.

use std::fmt;

use procession_core::pool::Stopped;

use super::death::Death;

/// A task that has no result; those that never ran bring the task back.
#[non_exhaustive]
pub enum TaskError<T> {
    /// The queue is full.
    QueueFull(T),
    /// The pool was closed before the task ran.
    Closed(T),
    /// It waited longer than it may.
    QueueTimedOut(T),
    /// No worker could be started.
    NoWorker {
        /// The task.
        task: T,
        /// Why the last attempt failed.
        death: Box<Death>,
    },
    /// It cannot be written for a worker in another process.
    Unsendable {
        /// The task.
        task: T,
        /// What is wrong with it.
        reason: String,
    },
    /// It was cancelled while it waited.
    CanceledInQueue(T),
    /// It was cancelled while it ran.
    Canceled(Stopped),
    /// It ran longer than it may.
    TimedOut(Stopped),
    /// The pool was destroyed, and it did not end in time.
    Destroyed,
    /// It panicked; its worker is replaced.
    Panicked {
        /// What it said.
        message: String,
    },
    /// The worker, another program, says that it failed: what a Node module threw.
    Failed {
        /// What it said.
        message: String,
    },
    /// The worker, another program, answered something else than what was expected.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// Its worker died.
    WorkerDied {
        /// How.
        death: Box<Death>,
    },
}

impl<T> TaskError<T> {
    /// The task, if it never ran.
    pub fn into_task(self) -> Option<T> {
        match self {
            Self::QueueFull(task)
            | Self::Closed(task)
            | Self::QueueTimedOut(task)
            | Self::CanceledInQueue(task)
            | Self::NoWorker { task, .. }
            | Self::Unsendable { task, .. } => Some(task),
            Self::Canceled(_)
            | Self::TimedOut(_)
            | Self::Destroyed
            | Self::Panicked { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. }
            | Self::WorkerDied { .. } => None,
        }
    }

    /// Whether a worker was given the task.
    #[must_use]
    pub fn has_run(&self) -> bool {
        match self {
            Self::QueueFull(_)
            | Self::Closed(_)
            | Self::QueueTimedOut(_)
            | Self::CanceledInQueue(_)
            | Self::NoWorker { .. }
            | Self::Unsendable { .. } => false,
            Self::Canceled(_)
            | Self::TimedOut(_)
            | Self::Destroyed
            | Self::Panicked { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. }
            | Self::WorkerDied { .. } => true,
        }
    }
}

impl<T> fmt::Display for TaskError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull(_) => f.write_str("the pool's queue is full"),
            Self::Closed(_) => f.write_str("the pool is closed"),
            Self::QueueTimedOut(_) => f.write_str("task waited too long for a worker"),
            Self::NoWorker { death, .. } => write!(f, "no worker could be started: {death}"),
            Self::Unsendable { reason, .. } => {
                write!(f, "task cannot be sent to a worker: {reason}")
            }
            Self::CanceledInQueue(_) => f.write_str("task was cancelled before it ran"),
            Self::Canceled(stopped) => write!(f, "task was cancelled{}", force(*stopped)),
            Self::TimedOut(stopped) => write!(f, "task ran too long{}", force(*stopped)),
            Self::Destroyed => f.write_str("the pool was destroyed while the task ran"),
            Self::Panicked { message } => write!(f, "task panicked: {message}"),
            Self::Failed { message } => write!(f, "task failed: {message}"),
            Self::Unreadable { reason } => write!(f, "the task's result cannot be read: {reason}"),
            Self::WorkerDied { death } => write!(f, "the task's worker died: {death}"),
        }
    }
}

/// The limit of a [`close_within`](super::Pool::close_within) passed before the
/// pool had ended, and the pool was destroyed. With no task left it was the
/// workers that took their time to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool did not close in time: {waiting} of its tasks waited, {running} ran")]
#[non_exhaustive]
pub struct CloseError {
    /// Tasks that still waited: they came back as [`TaskError::Closed`].
    pub waiting: usize,
    /// Tasks that still ran: they were asked to end, and those that did so in
    /// time have their result.
    pub running: usize,
}

fn force(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::InQueue | Stopped::InTime => "",
        Stopped::ByForce => " and did not end when asked to",
    }
}

/// Without the task, which need not be printable.
impl<T> fmt::Debug for TaskError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::QueueFull(_) => "QueueFull",
            Self::Closed(_) => "Closed",
            Self::QueueTimedOut(_) => "QueueTimedOut",
            Self::NoWorker { .. } => "NoWorker",
            Self::Unsendable { .. } => "Unsendable",
            Self::CanceledInQueue(_) => "CanceledInQueue",
            Self::Canceled(_) => "Canceled",
            Self::TimedOut(_) => "TimedOut",
            Self::Destroyed => "Destroyed",
            Self::Panicked { .. } => "Panicked",
            Self::Failed { .. } => "Failed",
            Self::Unreadable { .. } => "Unreadable",
            Self::WorkerDied { .. } => "WorkerDied",
        };
        write!(f, "{name}({self})")
    }
}

impl<T> std::error::Error for TaskError<T> {}
