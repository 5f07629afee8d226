//! What `procession` can be asked to do.

mod doctor;

use std::io::{self, Write};

use crate::args::Request;
use crate::exit::Exit;
use crate::failure::Failure;

/// Does what was asked for.
pub(crate) fn run(request: &Request) -> Result<(), Failure> {
    match request {
        Request::Say(text) => say(text),
        Request::Doctor(format) => doctor::run(*format),
    }
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
