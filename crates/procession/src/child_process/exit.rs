//! How a process ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use procession_core::signal::Signal;
use procession_sys::HowEnded;

/// How a process ended: exactly one of a code and a signal.
///
/// # Node
///
/// The arguments `code` and `signal` of the events `exit` and `close`, of which
/// one is always null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It returned this code; 0 is success.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Which one.
        signal: Signal,
        /// Whether a core was written.
        core_dumped: bool,
    },
}

impl Exit {
    /// Whether it returned 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The code, if it returned one.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal { .. } => None,
        }
    }

    /// The signal, if one ended it.
    #[must_use]
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Code(_) => None,
            Self::Signal { signal, .. } => Some(signal),
        }
    }

    /// The code by which shells pass it on: the code itself, or 128 and the signal's number.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => 128 + signal.as_raw(),
        }
    }

    pub(crate) fn from_how(how: HowEnded) -> Self {
        match how {
            HowEnded::Code(code) => Self::Code(code),
            HowEnded::Signal {
                number,
                core_dumped,
            } => Self::by_signal(number, core_dumped),
        }
    }

    fn by_signal(number: i32, core_dumped: bool) -> Self {
        // The kernel names only signals that exist.
        let signal = Signal::from_raw(number).unwrap_or(Signal::PROBE);
        Self::Signal {
            signal,
            core_dumped,
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::by_signal(signal, status.core_dumped()),
            // Stopped or continued, which a wait for the end never reports.
            (None, None) => Self::Code(-1),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal {
                signal,
                core_dumped,
            } => {
                write!(f, "was ended by {signal}")?;
                if let Some(meaning) = signal.meaning() {
                    write!(f, " ({meaning})")?;
                }
                f.write_str(if *core_dumped { ", core dumped" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_it_ended_in_words() {
        assert_eq!(Exit::Code(3).to_string(), "exited with code 3");
        let segv = Exit::Signal {
            signal: Signal::SEGV,
            core_dumped: true,
        };
        assert_eq!(
            segv.to_string(),
            "was ended by SIGSEGV (segmentation fault), core dumped"
        );
        assert_eq!(segv.shell_code(), 139);
    }

    #[test]
    fn agrees_with_std() {
        assert_eq!(Exit::from(ExitStatus::from_raw(3 << 8)), Exit::Code(3));
        let killed = Exit::Signal {
            signal: Signal::KILL,
            core_dumped: false,
        };
        assert_eq!(Exit::from(ExitStatus::from_raw(9)), killed);
    }
}
