//! What `procession` can be asked to do.

mod bench;
mod doctor;
mod relay;
mod run;
mod status;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::args::Request;
use crate::exit::Exit;
use crate::failure::Failure;

pub(crate) use relay::BETWEEN;
pub(crate) use trace::wire as trace_wire;

/// Does what was asked for; gives the code to end with.
pub(crate) fn run(request: &Request) -> Result<ExitCode, Failure> {
    match request {
        Request::Say(text) => say(text)?,
        Request::Doctor(format) => doctor::run(*format)?,
        Request::Run(run) => return run::run(run),
        Request::Bench(bench) => return bench::run(bench),
        Request::Status(socket) => say(&status::ask(socket)?)?,
        Request::Trace(trace) => return trace::run(trace),
        Request::Relay(relay) => return relay::run(relay),
        Request::Between(between) => relay::stand(between)?,
    }
    Ok(Exit::Success.into())
}

/// Writes data to standard output. A reader that has gone away has seen enough.
fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failure,
            "cannot write to standard output",
            "is there room where it goes?",
        )
        .caused_by(&error)),
        _ => Ok(()),
    }
}
