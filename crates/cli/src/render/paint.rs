//! Colour where it is welcome; the words say the same without it.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// Whether colour is welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Coloured,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Title,
    Good,
    /// Something is weaker than it could be.
    Weak,
    Bad,
}

impl Paint {
    /// For standard output: colour on a terminal that can show it, if nobody minds.
    pub(crate) fn of_stdout() -> Self {
        Self::choose(
            io::stdout().is_terminal(),
            env::var_os("NO_COLOR").as_deref(),
            env::var_os("TERM").as_deref(),
        )
    }

    /// The same for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::choose(
            io::stderr().is_terminal(),
            env::var_os("NO_COLOR").as_deref(),
            env::var_os("TERM").as_deref(),
        )
    }

    /// The text in one of some colours, the same for the same number.
    pub(crate) fn tell_apart(self, number: u32, text: &str) -> String {
        const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 96];
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => {
                let colour = COLOURS[number as usize % COLOURS.len()];
                format!("\x1b[{colour}m{text}\x1b[0m")
            }
        }
    }

    fn choose(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let minds = no_color.is_some_and(|value| !value.is_empty());
        let dumb = term.is_none_or(|term| term == "dumb");
        if terminal && !minds && !dumb {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    /// The text, coloured if that is welcome.
    pub(crate) fn dress(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (Self::Coloured, Tone::Title) => "1",
            (Self::Coloured, Tone::Good) => "32",
            (Self::Coloured, Tone::Weak) => "33",
            (Self::Coloured, Tone::Bad) => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_nobody_who_minds() {
        let choose = |terminal, no_color: Option<&str>, term: Option<&str>| {
            Paint::choose(terminal, no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert_eq!(choose(true, None, Some("xterm")), Paint::Coloured);
        assert_eq!(choose(true, Some(""), Some("xterm")), Paint::Coloured);
        assert_eq!(choose(true, Some("1"), Some("xterm")), Paint::Plain);
        assert_eq!(choose(true, None, Some("dumb")), Paint::Plain);
        assert_eq!(choose(true, None, None), Paint::Plain);
        assert_eq!(choose(false, None, Some("xterm")), Paint::Plain);
    }

    #[test]
    fn plain_is_plain() {
        assert_eq!(Paint::Plain.dress(Tone::Bad, "no"), "no");
        assert_eq!(Paint::Coloured.dress(Tone::Bad, "no"), "\x1b[31mno\x1b[0m");
    }
}
