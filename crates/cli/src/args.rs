//! The command line: typed flags, and one clear message where it makes no sense.

mod bench;
mod run;

use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::exit::{self, Exit};
use crate::failure::Failure;

pub(crate) use bench::{Bench, FailOn, is_token};
pub(crate) use run::{Listen, Run};

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    /// To say this text: a help page, the version.
    Say(String),
    /// To look at the machine.
    Doctor(Format),
    /// To run a program as workers that share its ports.
    Run(Box<Run>),
    /// To load a server.
    Bench(Box<Bench>),
    /// To say how the cluster that answers at this socket stands.
    Status(PathBuf),
    /// To run a program and show what it and its children say to each other.
    Trace(Trace),
    /// To become a program whose channel is read along.
    Relay(Relay),
    /// To be the relay.
    Between(Between),
}

/// A program to be traced.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) output: Output,
    /// The program, found on PATH, and its arguments
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// A program to be put behind a relay.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    /// Call it NAME instead of PROGRAM
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) argv0: Option<OsString>,
    /// Tell the tracing process that listens there
    #[arg(long, value_name = "SOCKET", hide = true, conflicts_with = "file")]
    pub(crate) trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// The program, found on PATH, and its arguments
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// Where a relay stands; its sockets are standard input and output.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Between {
    #[arg(long)]
    pub(crate) parent: u32,
    #[arg(long)]
    pub(crate) child: u32,
    #[arg(long)]
    pub(crate) serialization: String,
    #[arg(long)]
    pub(crate) trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// Where a trace goes, and how.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Write the trace as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the trace to FILE
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

impl Output {
    pub(crate) fn format(&self) -> Format {
        Format::of(self.json)
    }
}

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Format {
    fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
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
    /// Run a server on every core: workers that share its ports and are replaced when they die
    #[command(after_help = run::HELP)]
    Run(Box<Run>),
    /// Load an HTTP server, and say how it bears it
    #[command(
        after_help = bench::HELP,
        display_name = "procession",
        version,
        disable_version_flag = true
    )]
    Bench(Box<Bench>),
    /// Say how a cluster stands that `run --status SOCKET` has started, as JSON
    Status {
        /// Where it answers
        socket: PathBuf,
    },
    /// Say what this machine offers for starting and ending processes
    Doctor {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a program and show what it and its forked children say to each other
    #[command(after_help = TRACE_HELP)]
    Trace(Trace),
    /// Become a program whose channel is read along: what `trace` starts for a child
    #[command(after_help = RELAY_HELP)]
    Relay(Relay),
    /// Stand between two sockets
    #[command(name = commands::BETWEEN, hide = true)]
    Between(Between),
}

const TRACE_HELP: &str = "\
Every Node that PROGRAM starts is looked at, and what they start in turn. The
trace goes to standard error, or to FILE; the streams of the programs are their
own. The exit code is the program's, or 128 and the number of the signal that
ended it.";

const RELAY_HELP: &str = "\
To be started in the place of a child that has a channel (NODE_CHANNEL_FD).
Without a channel it only becomes PROGRAM. The trace is appended to FILE. The
exit code is the program's; 127 if there is no such program, 126 if it cannot be
run.";

/// Understands the command line, program name included.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Request, Failure> {
    match Flags::try_parse_from(bench::join_brackets(line)) {
        Ok(Flags { command: None }) => Ok(Request::Say(page(&Flags::command().render_help()))),
        Ok(Flags {
            command: Some(command),
        }) => Ok(match command {
            Command::Run(run) => Request::Run(run),
            Command::Bench(bench) => Request::Bench(bench),
            Command::Status { socket } => Request::Status(socket),
            Command::Doctor { json } => Request::Doctor(Format::of(json)),
            Command::Trace(trace) => Request::Trace(trace),
            Command::Relay(relay) => Request::Relay(relay),
            Command::Between(between) => Request::Between(between),
        }),
        Err(error) => said_or_refused(&error),
    }
}

fn said_or_refused(error: &clap::Error) -> Result<Request, Failure> {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp || kind == ErrorKind::DisplayVersion {
        return Ok(Request::Say(page(&error.render())));
    }
    if let Some(refused) = error.source().and_then(|source| source.downcast_ref()) {
        let run::Refused { message, hint } = refused;
        return Err(Failure::new(Exit::Usage, message, *hint));
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
        (None, Some(arg)) if kind == ErrorKind::MissingRequiredArgument => {
            format!("{arg} is missing")
        }
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
        let told = |exit: Exit| exit::TEXT.contains(&format!("\n  {}", exit as u8));
        let all = [
            Exit::Success,
            Exit::Failure,
            Exit::Usage,
            Exit::Unfit,
            Exit::GaveUp,
            Exit::NeverReady,
            Exit::PortTaken,
            Exit::CannotListen,
            Exit::Happened,
            Exit::NoAnswer,
            Exit::NotRun,
        ];
        assert_eq!(all.map(told), [true; 11]);
    }
}
