//! What can go wrong, by operation.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::{Panic, ThreadId};

/// A worker was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// An option has no meaning.
    #[error("invalid {option} of worker `{name}`: {reason}")]
    Invalid {
        /// The worker's name.
        name: String,
        /// Which of [`WorkerOptions`](super::WorkerOptions).
        option: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The system gave no thread; `EAGAIN` at the limit of threads.
    #[error("failed to start worker `{name}`")]
    Thread {
        /// The worker's name.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl SpawnError {
    /// Node's code.
    #[must_use]
    pub fn node_code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "ERR_INVALID_ARG_VALUE",
            Self::Thread { .. } => "ERR_WORKER_INIT_FAILED",
        }
    }
}

/// How a worker failed. The process lives.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Its body panicked.
    #[error("{0}")]
    Panicked(Panic),
    /// Its body returned an error.
    #[error("the worker failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// A worker had not ended at the deadline. It still runs, and [`Worker`](super::Worker) still has it.
#[derive(Debug, thiserror::Error)]
#[error("worker `{name}` runs on {limit:?} after it was asked to stop")]
pub struct TerminateError {
    /// The worker's name.
    pub name: String,
    /// How long was waited.
    pub limit: Duration,
}

/// A message was not posted; it comes back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PostError<T> {
    /// The port is closed, from here or from there.
    #[error("the message port is closed")]
    Closed(T),
    /// As many messages wait as may; only of `try_post`.
    #[error("the message port is full")]
    Full(T),
}

impl<T> PostError<T> {
    /// The message.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Closed(message) | Self::Full(message) => message,
        }
    }
}

/// Without the message, which need not have a text.
impl<T> fmt::Debug for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "Closed(..)",
            Self::Full(_) => "Full(..)",
        })
    }
}

/// There is no message to be had without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// None has come.
    #[error("no message has come")]
    Empty,
    /// None will come.
    #[error("the message port is closed")]
    Closed,
}

/// No message came in time; the port is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no message came within {limit:?}")]
pub struct RecvTimedOut {
    /// How long was waited.
    pub limit: Duration,
}

/// A name is in use for messages of another type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broadcast channel `{name}` carries another type of message")]
pub struct WrongType {
    /// The name.
    pub name: String,
}

/// Broadcast messages were missed: more came than are kept for a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missed} broadcast messages were missed")]
pub struct Lagged {
    /// How many, the oldest ones.
    pub missed: u64,
}

/// This thread listens for addressed messages already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{thread} listens already")]
pub struct AlreadyListening {
    /// This thread.
    pub thread: ThreadId,
}

/// A message to a thread was not received, and will not be; it comes back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PostToThreadError<T> {
    /// No such thread, or it does not listen, or it stopped before it received the message.
    #[error("{thread} does not listen")]
    NotListening {
        /// Who was meant.
        thread: ThreadId,
        /// The message.
        message: T,
    },
    /// It listens for messages of another type.
    #[error("{thread} listens for another type of message")]
    WrongType {
        /// Who was meant.
        thread: ThreadId,
        /// The message.
        message: T,
    },
    /// A thread that waits for itself waits for ever.
    #[error("{thread} posts to itself")]
    SameThread {
        /// This thread.
        thread: ThreadId,
        /// The message.
        message: T,
    },
    /// Not received in time, and withdrawn.
    #[error("{thread} did not receive the message within {limit:?}")]
    TimedOut {
        /// Who was meant.
        thread: ThreadId,
        /// How long was waited.
        limit: Duration,
        /// The message.
        message: T,
    },
}

impl<T> PostToThreadError<T> {
    /// Node's code.
    #[must_use]
    pub fn node_code(&self) -> &'static str {
        match self {
            Self::NotListening { .. } => "ERR_WORKER_MESSAGING_FAILED",
            Self::WrongType { .. } => "ERR_WORKER_MESSAGING_ERRORED",
            Self::SameThread { .. } => "ERR_WORKER_MESSAGING_SAME_THREAD",
            Self::TimedOut { .. } => "ERR_WORKER_MESSAGING_TIMEOUT",
        }
    }

    /// The message.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::NotListening { message, .. }
            | Self::WrongType { message, .. }
            | Self::SameThread { message, .. }
            | Self::TimedOut { message, .. } => message,
        }
    }
}

/// Without the message, which need not have a text.
impl<T> fmt::Debug for PostToThreadError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.node_code())
    }
}
