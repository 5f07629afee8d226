//! How a worker ended.

use std::fmt;

use crate::child_process::{Exit, Outcome, RunError, Signal};

use super::processes::chain;

/// How a worker ended, or why it never was ready.
///
/// As text it is the cause and the last words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// What ended it.
    pub cause: Cause,
    /// The end of its standard error, if that is a pipe
    /// ([`node_task`](super::node_task) has one): 4 KiB at most.
    pub last_words: String,
}

/// What ended a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The process ended by itself, with this code.
    Exited(i32),
    /// A signal ended the process: its own fault (`SIGSEGV`, `SIGABRT`), or somebody's will.
    Killed(Signal),
    /// It used more CPU time than
    /// [`Resource::Cpu`](crate::child_process::Resource::Cpu) allows (`SIGXCPU`).
    CpuLimit,
    /// It wrote a larger file than
    /// [`Resource::FileSize`](crate::child_process::Resource::FileSize) allows (`SIGXFSZ`).
    FileSizeLimit,
    /// The kernel's out-of-memory killer ended it: surely where it had a
    /// [`memory_max`](crate::child_process::Command::memory_max), else probably.
    OutOfMemory,
    /// Something else: it could not be started, its runtime has ended.
    Other(String),
}

impl Death {
    pub(super) fn of(outcome: Result<Outcome, RunError>) -> Self {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Self::from(chain(&error)),
        };
        let words = String::from_utf8_lossy(&outcome.stderr);
        Self {
            cause: Cause::of(outcome.exit, outcome.out_of_memory),
            last_words: words.trim().to_owned(),
        }
    }
}

impl Cause {
    fn of(exit: Exit, out_of_memory: bool) -> Self {
        match exit {
            Exit::Code(_) | Exit::Signal { .. } if out_of_memory => Self::OutOfMemory,
            Exit::Code(code) => Self::Exited(code),
            Exit::Signal { signal, .. } => match signal.name() {
                Some("SIGXCPU") => Self::CpuLimit,
                Some("SIGXFSZ") => Self::FileSizeLimit,
                Some(_) | None => Self::Killed(signal),
            },
        }
    }
}

impl From<String> for Death {
    fn from(reason: String) -> Self {
        Self {
            cause: Cause::Other(reason),
            last_words: String::new(),
        }
    }
}

impl Default for Death {
    fn default() -> Self {
        Self::from(String::new())
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last_words.as_str() {
            "" => self.cause.fmt(f),
            words => write!(f, "{}\n{words}", self.cause),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => Exit::Code(*code).fmt(f),
            Self::Killed(signal) => {
                let (signal, core_dumped) = (*signal, false);
                let exit = Exit::Signal {
                    signal,
                    core_dumped,
                };
                exit.fmt(f)
            }
            Self::CpuLimit => f.write_str("it used more CPU time than its limit allows (SIGXCPU)"),
            Self::FileSizeLimit => {
                f.write_str("it wrote a larger file than its limit allows (SIGXFSZ)")
            }
            Self::OutOfMemory => f.write_str("it was killed, out of memory"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}
