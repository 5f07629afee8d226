//! The command line: typed flags, and one clear message where it makes no sense.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::{self, Exit};
use crate::failure::Failure;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To say this text: a help page, the version.
    Say(String),
    /// To look at the machine.
    Doctor(Format),
}

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Starts, watches and ends processes the way Node does
#[derive(Debug, Parser)]
#[command(name = "procession", version, after_help = exit::TEXT)]
struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what this machine offers for starting and ending processes
    Doctor {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

/// Understands the command line, program name included.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Request, Failure> {
    match Flags::try_parse_from(line) {
        Ok(Flags { command: None }) => Ok(Request::Say(page(&Flags::command().render_help()))),
        Ok(Flags {
            command: Some(Command::Doctor { json }),
        }) => Ok(Request::Doctor(if json {
            Format::Json
        } else {
            Format::Text
        })),
        Err(error) => said_or_refused(&error),
    }
}

fn said_or_refused(error: &clap::Error) -> Result<Request, Failure> {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp || kind == ErrorKind::DisplayVersion {
        return Ok(Request::Say(page(&error.render())));
    }
    let text = |kind| text_of(error.get(kind)?);
    let hint = text(ContextKind::SuggestedSubcommand)
        .or_else(|| text(ContextKind::SuggestedArg))
        .map_or_else(
            || "`procession --help` shows what there is".to_owned(),
            |suggested| format!("did you mean `{suggested}`?"),
        );
    let message = match (
        text(ContextKind::InvalidSubcommand),
        text(ContextKind::InvalidArg),
    ) {
        (Some(command), _) => format!("there is no command `{command}`"),
        (None, Some(arg)) if kind == ErrorKind::UnknownArgument => format!("unexpected `{arg}`"),
        _ => first_line(error),
    };
    Err(Failure::new(Exit::Usage, message, hint))
}

/// A page of clap's, which does not always end with a newline.
fn page(text: &impl ToString) -> String {
    text.to_string().trim_end().to_owned() + "\n"
}

fn text_of(value: &ContextValue) -> Option<String> {
    if let ContextValue::String(text) = value {
        return Some(text.clone());
    }
    if let ContextValue::Strings(texts) = value {
        return texts.first().cloned();
    }
    None
}

/// What clap itself would say, without its usage and its prefix.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn the_help_tells_every_exit_code() {
        let told = |exit: Exit| exit::TEXT.contains(&format!("\n  {}  ", exit as u8));
        assert!([Exit::Success, Exit::Failure, Exit::Usage, Exit::Unfit].map(told) == [true; 4]);
    }
}
