//! What can go wrong, by operation.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use procession_core::errno;
use procession_sys::Step;

use super::Outcome;

/// A child was not started; nothing of it is left.
///
/// # Node
///
/// The event `error` before any other, or an exception of `spawn`. A missing
/// working directory is reported as itself: Node blames the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The command cannot be started by anybody; Node throws `ERR_INVALID_ARG_VALUE`.
    #[error("invalid {option} of `{command}`: {reason}")]
    Invalid {
        /// The command, as in a shell.
        command: String,
        /// Which setting is wrong: `program`, `argument 2`, `timeout` …
        option: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file or descriptor that the child was to get could not be opened.
    #[error("failed to start `{command}`: cannot open {what}")]
    Open {
        /// The command, as in a shell.
        command: String,
        /// What could not be opened: a path, a pipe, descriptor 7.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A step of the start failed.
    #[error("failed to start `{command}`: {}", at(step, culprit.as_ref()))]
    Start {
        /// The command, as in a shell.
        command: String,
        /// The step: `chdir`, `setuid`, `execve` …
        step: Step,
        /// The file or directory that is to blame, where there is one.
        culprit: Option<PathBuf>,
        /// The system's reason.
        source: io::Error,
    },
    /// The `_blocking` methods wait for the end of the child and could not talk to it.
    #[error("failed to start `{command}`: a `_blocking` method has no channel")]
    BlockingChannel {
        /// The command, as in a shell.
        command: String,
    },
    /// Async methods need a tokio runtime with I/O (and with time, if there is a time-out).
    #[error(
        "failed to start `{command}`: there is no tokio runtime here; the `_blocking` methods need none"
    )]
    NoRuntime {
        /// The command, as in a shell.
        command: String,
    },
}

fn at(step: &Step, culprit: Option<&PathBuf>) -> String {
    match (step, culprit) {
        (Step::Chdir, Some(path)) => {
            format!("cannot enter the working directory `{}`", path.display())
        }
        (Step::Memory, _) => "memory_max cannot be kept here".into(),
        (Step::Exec, Some(path)) => format!("cannot run `{}`", path.display()),
        (step, _) => format!("{step}"),
    }
}

impl SpawnError {
    /// Node's code: `ENOENT`, `EACCES`, `E2BIG`, `ERR_INVALID_ARG_VALUE` …
    #[must_use]
    pub fn node_code(&self) -> Option<&'static str> {
        match self {
            Self::Invalid { .. } => Some("ERR_INVALID_ARG_VALUE"),
            Self::Open { source, .. } | Self::Start { source, .. } => errno::node_code(source),
            Self::BlockingChannel { .. } => Some("ERR_IPC_SYNC_FORK"),
            Self::NoRuntime { .. } => None,
        }
    }

    /// The step that failed, if the start got that far.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Start { step, .. } => Some(*step),
            Self::Invalid { .. }
            | Self::Open { .. }
            | Self::BlockingChannel { .. }
            | Self::NoRuntime { .. } => None,
        }
    }

    /// Whether the same command may start later (no descriptors, no processes, no memory now).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(
            self.node_code(),
            Some("EAGAIN" | "EMFILE" | "ENFILE" | "ENOMEM" | "ETXTBSY")
        )
    }
}

/// A command did not do what it was run for; what it wrote until then comes along.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It ended by a signal or a code other than 0.
    #[error("{}", outcome.cause())]
    Failed {
        /// All that is known about it.
        outcome: Box<Outcome>,
    },
    /// It ran longer than it may and was ended.
    #[error("`{}` ran longer than {limit:?} and was ended", outcome.command)]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// All that is known about it.
        outcome: Box<Outcome>,
    },
    /// Its cancellation token was cancelled and it was ended.
    #[error("`{}` was cancelled", outcome.command)]
    Canceled {
        /// All that is known about it.
        outcome: Box<Outcome>,
    },
    /// It wrote more than may be kept and was ended.
    #[error("`{}` wrote more than {limit} bytes to {} and was ended", outcome.command, name_of(*index))]
    OutputTooLong {
        /// The descriptor.
        index: u32,
        /// The limit in bytes.
        limit: usize,
        /// All that is known about it.
        outcome: Box<Outcome>,
    },
    /// Reading its output, or putting it where it should go, failed.
    #[error("output of `{command}` was lost")]
    Output {
        /// The command, as in a shell.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
    /// How it ended is not known: somebody else in this program took its exit
    /// status, or `SIGCHLD` is ignored.
    #[error("how `{command}` ended could not be learned")]
    Lost {
        /// The command, as in a shell.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a descriptor is called.
pub(crate) fn name_of(index: u32) -> String {
    match index {
        0 => "stdin".into(),
        1 => "stdout".into(),
        2 => "stderr".into(),
        index => format!("descriptor {index}"),
    }
}

impl RunError {
    /// Node's code where it has one: that of the start, `ETIMEDOUT`, `ABORT_ERR`,
    /// `ERR_CHILD_PROCESS_STDIO_MAXBUFFER`.
    #[must_use]
    pub fn node_code(&self) -> Option<&'static str> {
        match self {
            Self::Spawn(error) => error.node_code(),
            Self::Failed { .. } => None,
            Self::TimedOut { .. } => Some("ETIMEDOUT"),
            Self::Canceled { .. } => Some("ABORT_ERR"),
            Self::OutputTooLong { .. } => Some("ERR_CHILD_PROCESS_STDIO_MAXBUFFER"),
            Self::Output { source, .. } | Self::Lost { source, .. } => errno::node_code(source),
        }
    }

    /// What is known about the run, if it began and ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Failed { outcome }
            | Self::TimedOut { outcome, .. }
            | Self::Canceled { outcome }
            | Self::OutputTooLong { outcome, .. } => Some(outcome),
            Self::Spawn(_) | Self::Output { .. } | Self::Lost { .. } => None,
        }
    }
}
