//! `procession relay`: become a program whose channel is read along.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use procession::ipc::Serialization;
use procession::ipc::relay::{Place, Seen, Side, carry, insert};

use super::trace::wire::{Channel, Record, microseconds};
use crate::args::{Between, Output, Relay};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::trace::Printer;

/// The command that is the relay itself.
pub(crate) const BETWEEN: &str = "relay-between";

/// Puts the relay there, if there is a channel, and becomes the program.
pub(crate) fn run(relay: &Relay) -> Result<ExitCode, Failure> {
    if let Err(error) = insert(|place| between(relay, place)) {
        // The program is worth more than its trace.
        let hint = "the program runs without a relay";
        let failure = Failure::new(Exit::Failure, "cannot start a relay", hint);
        failure.caused_by(&error).tell();
    }
    let Some((program, args)) = relay.command.split_first() else {
        return Ok(Exit::Usage.into());
    };
    let mut command = Command::new(program);
    command.args(args);
    if let Some(name) = &relay.argv0 {
        command.arg0(name);
    }
    let error = command.exec();
    let message = format!("cannot run `{}`", program.display());
    Failure::new(Exit::Failure, message, "is it on PATH, and executable?")
        .caused_by(&error)
        .tell();
    Ok(ExitCode::from(if error.kind() == io::ErrorKind::NotFound {
        Exit::NotFound
    } else {
        Exit::NotRun
    }))
}

/// The arguments with which this program is the relay.
fn between(relay: &Relay, place: &Place) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![BETWEEN.into()];
    let mut option = |name: &str, value: &OsStr| args.extend([name.into(), value.to_owned()]);
    option("--parent", place.parent.to_string().as_ref());
    option("--child", place.child.to_string().as_ref());
    option("--serialization", place.serialization.name().as_ref());
    if let Some(socket) = &relay.trace {
        option("--trace", socket.as_os_str());
    }
    if let Some(file) = &relay.output.file {
        // The relay stands in another folder.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        option("-o", file.as_os_str());
    }
    if relay.output.json {
        args.push("--json".into());
    }
    args.push("--".into());
    args.extend(relay.command.iter().cloned());
    args
}

/// Is the relay: the parent at standard input, the child at standard output.
pub(crate) fn stand(between: &Between) -> Result<(), Failure> {
    let serialization = Serialization::from_name(&between.serialization).unwrap_or_default();
    let words = between.command.iter().map(|word| word.to_string_lossy());
    let channel = Channel {
        at: microseconds(SystemTime::now()),
        parent: between.parent,
        child: between.child,
        serialization: serialization.name().to_owned(),
        program: words.collect::<Vec<_>>().join(" "),
    };
    let mut sink = Sink::open(between, &channel);
    carry(
        io::stdin().as_fd(),
        io::stdout().as_fd(),
        serialization,
        |side, seen| sink.tell(&channel, side, &seen),
    )
    .map_err(|error| {
        let hint = "is the kernel out of memory?";
        Failure::new(Exit::Failure, "the relay broke", hint).caused_by(&error)
    })
}

/// Who is told. Nobody, once the one who listened is gone: that is no reason to
/// keep a message back.
enum Sink {
    Nobody,
    Tracer(UnixStream),
    File(Printer<File>),
}

impl Sink {
    fn open(between: &Between, channel: &Channel) -> Self {
        let opened = match (&between.trace, &between.output) {
            (Some(socket), _) => UnixStream::connect(socket)
                .and_then(|mut socket| channel.write_to(&mut socket).map(|()| socket))
                .map(Self::Tracer),
            (None, output @ Output { file: Some(_), .. }) => output.to_file(channel),
            (None, Output { file: None, .. }) => Ok(Self::Nobody),
        };
        opened.unwrap_or(Self::Nobody)
    }

    fn tell(&mut self, channel: &Channel, side: Side, seen: &Seen) {
        let record = Record::new(side, seen);
        let told = match self {
            Self::Nobody => Ok(()),
            Self::Tracer(socket) => record.write_to(socket),
            Self::File(printer) => printer.record(channel, &record),
        };
        if told.is_err() {
            *self = Self::Nobody;
        }
    }
}

impl Output {
    fn to_file(&self, channel: &Channel) -> io::Result<Sink> {
        let Some(path) = &self.file else {
            return Ok(Sink::Nobody);
        };
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let mut printer = Printer::to_file(file, self.format());
        printer.channel(channel)?;
        Ok(Sink::File(printer))
    }
}
