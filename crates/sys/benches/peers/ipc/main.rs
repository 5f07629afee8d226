//! The channels that are not ours, and the limit. Run by `cargo xtask bench ipc`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result of a round is a line on stdout"
)]

mod measure;
mod raw;
mod servo;
mod tokio_json;

use std::env;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use measure::{Job, Prepared};

fn main() -> ExitCode {
    measure::main_with(prepare)
}

fn prepare(job: &Job) -> io::Result<Option<Prepared>> {
    match job.contender.as_str() {
        "raw" => raw::prepare(job),
        "tokio-json" => tokio_json::prepare(job).map(Some),
        "ipc-channel" => servo::prepare(job).map(Some),
        _ => Ok(None),
    }
}

/// Starts this program as the child of a job, with one end of a socket as its stdin.
fn start_child(job: &Job) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(env::current_exe()?)
        .args(job.child_words())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()?;
    Ok((child, ours))
}

/// The other end, in the child.
fn from_parent() -> io::Result<UnixStream> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Waits for a child whose channel is closed.
fn ended(child: &mut Child) -> io::Result<()> {
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the child: {status}")))
    }
}
