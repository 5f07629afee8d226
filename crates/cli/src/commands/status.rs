//! `procession status`: what a cluster answers.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::exit::Exit;
use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks who listens there.
pub(crate) fn ask(socket: &Path) -> Result<String, Failure> {
    read(socket).map_err(|error| {
        let message = format!("nobody answers at `{}`", socket.display());
        let hint = "`procession run --status SOCKET` does, for the user who started it";
        Failure::new(Exit::Failure, message, hint).caused_by(&error)
    })
}

fn read(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
