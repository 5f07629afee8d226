//! `procession trace`: what a program and its children say to each other.

mod folder;
pub(crate) mod wire;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixListener as Listening;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession::child_process::{Child, Command, Exit as Ended, Stdio};
use procession::ipc::relay::{Foreground, screen_width};
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::folder::Folder;
use self::wire::{Channel, Record};
use crate::args::Trace;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::trace::Printer;
use crate::render::{Paint, trace};

/// What relays have told and is not yet printed; above it they wait.
const QUEUE: usize = 256;

/// What is printed between two looks at the clock: put in order by time.
const BATCH: usize = 64;

/// How long relays that outlive the program may go on telling.
const GRACE: Duration = Duration::from_millis(500);

/// What a relay tells: first its channel, then what passes.
enum Told {
    Channel(Channel),
    Record(Channel, Record),
}

/// Runs the program; gives its exit code.
pub(crate) fn run(trace: &Trace) -> Result<ExitCode, Failure> {
    let failed = |error: &io::Error| {
        let hint = "is there room in the folder for temporary files?";
        Failure::new(Exit::Failure, "cannot start a trace", hint).caused_by(error)
    };
    // Before there are other threads: they must not take the signals either.
    let foreground = Foreground::take().map_err(|error| failed(&error))?;
    let printer = printer(trace)?;
    let (folder, listener) = Folder::make().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let (tell, told) = mpsc::channel(QUEUE);
    let printing = start_printing(printer, told).map_err(|error| failed(&error))?;
    let ended = runtime.block_on(traced(trace, &folder, listener, foreground, tell));
    drop(runtime);
    let printed = printing.join();
    let ended = ended?;
    if let Ok(Err(error)) = printed {
        // The program's own code is worth more than ours.
        let hint = "is there room where it goes?";
        let failure = Failure::new(Exit::Failure, "cannot write the trace", hint);
        failure.caused_by(&error).tell();
    }
    // A code is 0 to 255, and 128 and a signal below that too.
    Ok(ExitCode::from(
        u8::try_from(ended.shell_code()).unwrap_or(u8::MAX),
    ))
}

fn printer(trace: &Trace) -> Result<Printer<Box<dyn Write + Send>>, Failure> {
    let format = trace.output.format();
    match &trace.output.file {
        Some(path) => {
            let file = File::create(path).map_err(|error| {
                let message = format!("cannot write to `{}`", path.display());
                Failure::new(Exit::Failure, message, "does its folder exist?").caused_by(&error)
            })?;
            Ok(Printer::to_file(Box::new(file), format))
        }
        None => {
            let screen = trace::Screen {
                paint: Paint::of_stderr(),
                width: screen_width(io::stderr()).filter(|_| io::stderr().is_terminal()),
            };
            Ok(Printer::new(Box::new(io::stderr()), format, screen))
        }
    }
}

/// Prints in a thread of its own: a terminal that is held up holds up the trace
/// and not the signals.
fn start_printing(
    mut printer: Printer<Box<dyn Write + Send>>,
    mut told: mpsc::Receiver<Told>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name("trace".into()).spawn(move || {
        let mut batch = Vec::new();
        let mut result = Ok(());
        while told.blocking_recv_many(&mut batch, BATCH) > 0 {
            batch.sort_by_key(|told| match told {
                Told::Channel(channel) => channel.at,
                Told::Record(_, record) => record.head.at,
            });
            for told in batch.drain(..) {
                // After a failure the rest is only taken, so that no relay waits.
                if result.is_ok() {
                    result = print(&mut printer, &told);
                }
            }
        }
        result.or_else(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Ok(());
            }
            Err(error)
        })
    })
}

fn print(printer: &mut Printer<Box<dyn Write + Send>>, told: &Told) -> io::Result<()> {
    match told {
        Told::Channel(channel) => printer.channel(channel),
        Told::Record(channel, record) => printer.record(channel, record),
    }
}

async fn traced(
    trace: &Trace,
    folder: &Folder,
    listener: Listening,
    mut foreground: Foreground,
    tell: mpsc::Sender<Told>,
) -> Result<Ended, Failure> {
    let broken = |error: &io::Error| {
        let hint = "this is a mistake of procession, or the kernel is out of memory";
        Failure::new(Exit::Failure, "the trace broke", hint).caused_by(error)
    };
    let listener = UnixListener::from_std(listener).map_err(|error| broken(&error))?;
    let mut child = start(trace, folder)?;
    let mut relays = JoinSet::new();
    let ended = loop {
        tokio::select! {
            ended = foreground.wait(&mut child) => break ended.map_err(|error| broken(&error))?,
            relay = listener.accept() => {
                if let Ok((socket, _)) = relay {
                    relays.spawn(listen(socket, tell.clone()));
                }
            }
            Some(_) = relays.join_next() => {}
        }
    };
    let deadline = Instant::now() + GRACE;
    // Those that have called and were not heard yet.
    while let Ok(Ok((socket, _))) = timeout_at(Instant::now(), listener.accept()).await {
        relays.spawn(listen(socket, tell.clone()));
    }
    while let Ok(Some(_)) = timeout_at(deadline, relays.join_next()).await {}
    Ok(ended)
}

fn start(trace: &Trace, folder: &Folder) -> Result<Child, Failure> {
    let (program, args) = trace.command.split_first().ok_or_else(|| {
        let hint = "`procession trace -- node parent.js`";
        Failure::new(Exit::Usage, "there is no program to trace", hint)
    })?;
    Command::new(program)
        .args(args)
        .env(
            "NODE_OPTIONS",
            folder.node_options(std::env::var_os("NODE_OPTIONS")),
        )
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| {
            let message = format!("cannot run `{}`", program.display());
            let hint = "is it on PATH, and executable?";
            Failure::new(Exit::Failure, message, hint).caused_by(&error)
        })
}

/// Hears one relay to its end. One that says what makes no sense is not heard any more.
async fn listen(socket: UnixStream, tell: mpsc::Sender<Told>) {
    let mut reader = BufReader::new(socket);
    let Ok(channel) = Channel::read_from(&mut reader).await else {
        return;
    };
    if tell.send(Told::Channel(channel.clone())).await.is_err() {
        return;
    }
    while let Ok(Some(record)) = Record::read_from(&mut reader).await {
        if tell
            .send(Told::Record(channel.clone(), record))
            .await
            .is_err()
        {
            return;
        }
    }
}
