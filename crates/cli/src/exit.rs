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
    /// `run`: the workers kept dying, and no more are started.
    GaveUp = 4,
    /// `run`: workers lived, but none became ready within `--ready-timeout`. `bench`: the program never listened.
    NeverReady = 5,
    /// `run`: somebody else listens there.
    PortTaken = 6,
    /// `run`: we may not listen there, or there is no such address.
    CannotListen = 7,
    /// `bench`: what `--fail-on` names has happened.
    Happened = 8,
    /// `bench`: nobody was reached, or nothing was answered.
    NoAnswer = 9,
    /// There is such a program, and it cannot be run.
    NotRun = 126,
    /// There is no such program.
    NotFound = 127,
}

/// What `--help` says about them.
pub(crate) const TEXT: &str = "\
Exit codes:
  0  done, or the reader of the output went away
  1  it went wrong
  2  the command line cannot be understood
  3  this machine lacks something that procession cannot do without
`run` also ends with
  4  workers kept dying, and no more were started
  5  workers lived, but none became ready within --ready-timeout
  6  the address is taken
  7  the address cannot be listened on: no permission, no such address
  126, 127  the program cannot be run, there is no such program
  128+n  signal n came, and a worker had to be killed
`bench` also ends with
  5  the program that it started never listened
  8  what --fail-on names has happened
  9  nobody was reached, or nothing was answered
  126, 127  the program cannot be run, there is no such program
  128+n  signal n came twice, or before there was anything to report";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
