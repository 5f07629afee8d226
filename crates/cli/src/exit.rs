//! With which codes `procession` ends.

use std::process::ExitCode;

/// The exit codes: a promise to scripts, told by `procession --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done what was asked, or the reader of our output went away.
    Success = 0,
    /// Tried, and it went wrong.
    Failure = 1,
    /// The command line cannot be understood; nothing was tried.
    Usage = 2,
    /// This machine lacks something that procession cannot do without.
    Unfit = 3,
}

/// What `--help` says about them.
pub(crate) const TEXT: &str = "\
Exit codes:
  0  done, or the reader of the output went away
  1  it went wrong
  2  the command line cannot be understood
  3  this machine lacks something that procession cannot do without";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
