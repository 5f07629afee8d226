//! `procession run`: workers that share their ports, in the foreground.

mod drive;
mod env_file;
mod mistake;
mod outlet;
mod plan;
mod signals;
mod socket;
mod verdict;
mod witness;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use procession::cluster::{Primary, Spec};
use procession::ipc::relay::screen_width;

pub(super) use self::signals::is_ignored;

use self::drive::Drive;
use self::outlet::Outlets;
use self::signals::Signals;
use self::socket::StatusSocket;
use crate::args::Run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::Paint;
use crate::render::run::{self, Form, Lines};

/// How long our last lines may take to be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the workers to their end; gives the code to end with.
pub(crate) fn run(run: &Run) -> Result<ExitCode, Failure> {
    let spec = plan::spec(run)?;
    let failed = |error: &io::Error| {
        let hint = "is the kernel out of memory, or of processes?";
        Failure::new(Exit::Failure, "cannot start", hint).caused_by(error)
    };
    // Before there are other threads: they must not take the signals.
    let signals = Signals::take().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let form = form(run);
    let tell = if form == Form::Json {
        run::json::dropped
    } else {
        run::dropped
    };
    let outlets = Outlets::open(tell).map_err(|error| failed(&error))?;
    let ended = runtime.block_on(driven(run, spec, signals, &outlets));
    // Also the last words wait for nobody.
    let code = ended.map_or_else(|failure| say(&outlets, &failure), ExitCode::from);
    outlets.finish(PATIENCE);
    Ok(code)
}

fn say(outlets: &Outlets, failure: &Failure) -> ExitCode {
    outlets.err.push(failure.to_string().as_bytes());
    failure.exit().into()
}

fn form(run: &Run) -> Form {
    match (run.form.raw, run.form.json) {
        (_, true) => Form::Json,
        (true, false) => Form::Raw,
        (false, false) => Form::Numbered,
    }
}

async fn driven(run: &Run, spec: Spec, signals: Signals, outlets: &Outlets) -> Result<u8, Failure> {
    let form = form(run);
    let socket = run.status.as_deref().map(StatusSocket::open).transpose()?;
    let app = plan::app(run, &spec);
    let primary = Primary::start(spec).map_err(|error| verdict::not_started(&error))?;
    let paint = paint(run, outlets);
    let drive = Drive {
        primary,
        signals,
        socket,
        outlets,
        lines: Lines::new(form, paint, run.name.clone()),
        width: (form == Form::Numbered)
            .then(|| live_width(outlets))
            .flatten(),
        app,
    };
    drive.go().await
}

fn paint(run: &Run, outlets: &Outlets) -> Paint {
    if run.form.no_color {
        return Paint::Plain;
    }
    match (Paint::of_stdout(), Paint::of_stderr()) {
        // Output and our own lines look alike, or colour is in one of two files.
        (Paint::Coloured, Paint::Coloured) if outlets.are_one => Paint::Coloured,
        _ => Paint::Plain,
    }
}

/// How wide a line may be that stays at the bottom: where standard error is a
/// terminal that can take it off again, and no other lines come between.
fn live_width(outlets: &Outlets) -> Option<usize> {
    let stderr = io::stderr();
    let is_apart = outlets.are_one || !io::stdout().is_terminal();
    let is_smart = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    let width = screen_width(&stderr).filter(|_| stderr.is_terminal() && is_apart && is_smart)?;
    Some(usize::from(width).saturating_sub(1)).filter(|width| *width > 0)
}
