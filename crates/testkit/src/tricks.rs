//! The tricks, in groups.

mod input;
mod lives;
mod output;
mod signals;
mod state;
mod tree;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

/// No trick sleeps longer, so nothing that a test loses can linger.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What a trick ends with.
pub(crate) type Ended = io::Result<ExitCode>;

/// One way for a child to behave.
#[derive(Debug)]
pub(crate) struct Trick {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) does: &'static str,
    pub(crate) run: fn(&[OsString]) -> Ended,
}

/// Every trick there is.
pub(crate) fn all() -> impl Iterator<Item = &'static Trick> {
    let groups = [
        output::TRICKS,
        input::TRICKS,
        lives::TRICKS,
        signals::TRICKS,
        tree::TRICKS,
        state::TRICKS,
    ];
    groups.into_iter().flatten()
}

/// The argument at `index`.
fn argument<'a>(arguments: &'a [OsString], index: usize, what: &str) -> io::Result<&'a OsStr> {
    match arguments.get(index) {
        Some(argument) => Ok(argument),
        None => Err(misused(format!("{what} is missing"))),
    }
}

/// The argument at `index`, read as a number or the like.
fn parsed<T: FromStr>(arguments: &[OsString], index: usize, what: &str) -> io::Result<T> {
    let text = argument(arguments, index, what)?;
    let value = text.to_str().and_then(|text| text.parse().ok());
    value.ok_or_else(|| misused(format!("{what} cannot be `{}`", text.display())))
}

fn misused(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Says a line on stdout at once.
fn say(line: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_ref())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Stdout without a buffer.
fn raw_stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Stderr without a buffer.
fn raw_stderr() -> io::Result<File> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

/// Sleeps, but no longer than is allowed.
fn rest(duration: Duration) {
    thread::sleep(duration.min(LONGEST_SLEEP));
}

/// The seconds of an argument, which may have a fraction.
fn seconds(arguments: &[OsString], index: usize) -> io::Result<Duration> {
    let seconds: f64 = parsed(arguments, index, "SECONDS")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| misused(error.to_string()))
}
