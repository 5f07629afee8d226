//! An error as the reader of a terminal sees it: the chain, a blank line, a hint.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::exit::Exit;

/// Why the command did not do what was asked, and what may help.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            hint: hint.into(),
        }
    }

    /// Adds an error and everything behind it.
    pub(crate) fn caused_by(mut self, error: &dyn Error) -> Self {
        self.causes.extend(chain(error));
        self
    }

    /// Adds a cause in words.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// With which code it ends.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Tells it on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        // Where standard error is gone too, the exit code is all that is left.
        let _ = write!(io::stderr().lock(), "{self}");
        self.exit.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        for cause in &self.causes {
            writeln!(f, "  cause: {cause}")?;
        }
        writeln!(f, "\nhint: {}", self.hint)
    }
}

/// The messages of an error and of the errors behind it, first things first.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut messages = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        messages.push(error.to_string());
        next = error.source();
    }
    messages
}

/// The same in one line, for a report.
pub(crate) fn one_line(error: &dyn Error) -> String {
    chain(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_chain_a_blank_line_and_a_hint() {
        let failure = Failure::new(Exit::Failure, "cannot write the report", "free some space")
            .caused_by(&io::Error::other("the disk is full"));
        let text =
            "error: cannot write the report\n  cause: the disk is full\n\nhint: free some space\n";
        assert_eq!(failure.to_string(), text);
    }
}
