//! All that is known about a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::str::Utf8Error;
use std::time::Duration;

use procession_core::lines::strip_final_newline;
use procession_sys::Usage;

use super::error::RunError;
use super::{Exit, Signal};

/// All that is known about a run once it is over.
///
/// # Node
///
/// The result of execa, with the fields of `spawnSync`: one struct for good and
/// bad ends.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The command, quoted as for a shell.
    pub command: String,
    /// The working directory that was asked for.
    pub current_dir: Option<PathBuf>,
    /// The process id it had.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
    /// Whether we ended it, and why.
    pub verdict: Verdict,
    /// Whether `SIGKILL` had to follow the polite signal.
    pub forced: bool,
    /// Whether it was the kernel's out-of-memory killer: surely where it had a
    /// [`memory_max`](super::Command::memory_max), else probably.
    pub out_of_memory: bool,
    /// What was kept of its standard output.
    pub stdout: Vec<u8>,
    /// What was kept of its standard error.
    pub stderr: Vec<u8>,
    /// Both, interleaved as they arrived, if [`Command::all`](super::Command::all) was set.
    pub all: Option<Vec<u8>>,
    /// What was kept of its further descriptors.
    pub stdio: BTreeMap<u32, Vec<u8>>,
    /// Bytes that arrived at each descriptor, kept or not.
    pub received: BTreeMap<u32, u64>,
    /// Complete outputs in unnamed files, where [`Overflow::Spill`](super::Overflow::Spill)
    /// was asked for and needed. Rewound to the start.
    pub spilled: BTreeMap<u32, File>,
    /// Descriptors that something else still held open when we stopped reading:
    /// a descendant that was left in the background. Its later output is not here.
    pub leaked: Vec<u32>,
    /// From the start to the end of the process, not of its output.
    pub duration: Duration,
    /// What it and its waited-for children used.
    pub usage: Usage,
}

/// Whether a child ended by itself, or why we ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It ended by itself, or somebody else ended it.
    Finished,
    /// It ran longer than this.
    TimedOut(Duration),
    /// Its cancellation token was cancelled.
    Canceled,
    /// It wrote more than may be kept.
    TooMuchOutput {
        /// To this descriptor.
        index: u32,
        /// The limit in bytes.
        limit: usize,
    },
    /// [`Child::stop`](super::Child::stop) was called.
    Stopped,
}

impl Outcome {
    /// Whether it returned 0 and nobody had to end it.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit.success() && self.verdict == Verdict::Finished
    }

    /// Makes everything but success an error that carries this outcome.
    ///
    /// # Errors
    ///
    /// See [`RunError`].
    pub fn check(self) -> Result<Self, RunError> {
        let verdict = self.verdict;
        if self.success() {
            return Ok(self);
        }
        let outcome = Box::new(self);
        Err(match verdict {
            Verdict::TimedOut(limit) => RunError::TimedOut { limit, outcome },
            Verdict::Canceled => RunError::Canceled { outcome },
            Verdict::TooMuchOutput { index, limit } => RunError::OutputTooLong {
                index,
                limit,
                outcome,
            },
            Verdict::Finished | Verdict::Stopped => RunError::Failed { outcome },
        })
    }

    /// Standard output as text, without one final newline.
    ///
    /// # Errors
    ///
    /// Where it is not UTF-8.
    pub fn stdout_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(strip_final_newline(&self.stdout))
    }

    /// Standard error as text, without one final newline.
    ///
    /// # Errors
    ///
    /// Where it is not UTF-8.
    pub fn stderr_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(strip_final_newline(&self.stderr))
    }

    /// The lines of standard output, without their endings.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        split_lines(&self.stdout)
    }

    /// The last lines of standard error that are not blank, at most `count`.
    #[must_use]
    pub fn last_words(&self, count: usize) -> Vec<String> {
        let mut words: Vec<String> = split_lines(&self.stderr)
            .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        words.drain(..words.len().saturating_sub(count));
        words
    }

    /// The cause of its end in one line: what ended it, when, and its last words.
    #[must_use]
    pub fn cause(&self) -> String {
        let mut cause = format!("`{}` {}", self.command, self.exit);
        if self.out_of_memory {
            cause.push_str(" by the kernel, out of memory");
        }
        match self.verdict {
            Verdict::Finished => {}
            Verdict::TimedOut(limit) => cause.push_str(&format!(" after its {limit:?} were over")),
            Verdict::Canceled => cause.push_str(" on cancellation"),
            Verdict::TooMuchOutput { limit, .. } => {
                cause.push_str(&format!(" for writing more than {limit} bytes"));
            }
            Verdict::Stopped => cause.push_str(" on request"),
        }
        if self.forced && self.exit.signal() == Some(Signal::KILL) {
            cause.push_str(", after it did not react in its grace period");
        }
        let words = self.last_words(3);
        if !words.is_empty() {
            cause.push_str(": ");
            cause.push_str(&escape(&words.join(" | ")));
        }
        cause
    }
}

/// Lines without their endings; an empty text has none.
fn split_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(strip_final_newline)
}

/// Keeps a child's words from controlling the reader's terminal.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
