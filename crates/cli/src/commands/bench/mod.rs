//! `procession bench`: a load for a server, and what it came to.

mod cluster;
mod drive;
mod form;
mod har;
mod interrupts;
mod output;
mod plan;
mod program;
mod verdict;
mod whom;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use procession::child_process::Signal;
use procession_load::{Spec, probe, start};
use tokio::task::spawn_blocking;

use self::cluster::Cluster;
use self::drive::{Drive, Ended, Outcome};
use self::interrupts::Interrupts;
use self::output::Output;
use self::plan::Plan;
use self::program::Program;
use crate::args::Bench;
use crate::exit::Exit;
use crate::failure::Failure;

/// Loads a server, or compares two results; gives the code to end with.
pub(crate) fn run(bench: &Bench) -> Result<ExitCode, Failure> {
    if let Some([before, after]) = bench.shown.compare.as_deref() {
        output::compare(bench, before, after)?;
        return Ok(Exit::Success.into());
    }
    let cluster = bench
        .place
        .cluster
        .as_deref()
        .map(Cluster::ask)
        .transpose()?;
    let plan = plan::plan(bench, cluster.as_ref().and_then(Cluster::url))?;
    let failed = |error: io::Error| {
        let hint = "is the kernel out of memory, or of processes?";
        Failure::new(Exit::Failure, "cannot start", hint).caused_by(&error)
    };
    // Before there are other threads: they must not take the signals.
    let interrupts = Interrupts::take().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let desk = Desk {
        bench,
        plan,
        cluster,
        interrupts,
        output: Output::new(bench),
    };
    let ended = runtime.block_on(desk.work());
    // A look at a server that does not answer may still be under way.
    runtime.shutdown_background();
    ended.map(ExitCode::from)
}

/// All that a load needs.
#[derive(Debug)]
struct Desk<'b> {
    bench: &'b Bench,
    plan: Plan,
    cluster: Option<Cluster>,
    interrupts: Interrupts,
    output: Output<'b>,
}

/// How far it came.
type Done<T> = Result<T, Stopped>;

/// Why there is nothing more to do.
#[derive(Debug)]
enum Stopped {
    By(Signal),
    With(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::With(failure)
    }
}

impl Desk<'_> {
    async fn work(mut self) -> Result<u8, Failure> {
        let words = &self.bench.command;
        let mut program = (!words.is_empty())
            .then(|| Program::start(words))
            .transpose()?;
        let ended = self.load(program.as_mut()).await;
        if let Some(program) = program {
            let hurry = async {
                self.interrupts.next().await;
            };
            program.stop(hurry).await;
        }
        match ended {
            Ok(()) => Ok(Exit::Success as u8),
            Err(Stopped::With(failure)) => Err(failure),
            Err(Stopped::By(signal)) => Ok(u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)),
        }
    }

    async fn load(&mut self, mut program: Option<&mut Program>) -> Done<()> {
        let opened = self.opened(program.as_deref_mut()).await?;
        let spec = self.plan.spec(opened)?;
        self.reach(&spec).await?;
        let mut is_first = true;
        loop {
            let outcome = self.once(&spec, program.as_deref_mut()).await?;
            let interrupted = outcome.interrupted;
            match interrupted.filter(|_| outcome.is_empty()) {
                Some(signal) if is_first => return Err(Stopped::By(signal)),
                Some(_) => return Ok(()),
                None => self.tell(&spec, outcome).await?,
            }
            if interrupted.is_some() || !self.bench.load.forever {
                return Ok(());
            }
            is_first = false;
        }
    }

    /// Waits until the program listens; where, if the URLs do not say it.
    async fn opened(&mut self, program: Option<&mut Program>) -> Done<Option<SocketAddr>> {
        let Some(program) = program else {
            return Ok(None);
        };
        let listens = async {
            match &self.bench.place.socket_path {
                Some(socket) => program.accepts(socket).await.map(|()| None),
                None => program.listens(&self.plan.urls).await.map(Some),
            }
        };
        tokio::select! {
            at = listens => Ok(at?),
            signal = self.interrupts.next() => Err(Stopped::By(signal)),
        }
    }

    /// Connects once, so that a server that is not there is one clear error.
    async fn reach(&mut self, spec: &Spec) -> Done<()> {
        let asked = spec.clone();
        tokio::select! {
            reached = spawn_blocking(move || probe(&asked)) => match reached {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(verdict::not_reached(spec, &error).into()),
                Err(_) => Err(verdict::no_report().into()),
            },
            signal = self.interrupts.next() => Err(Stopped::By(signal)),
        }
    }

    async fn once(&mut self, spec: &Spec, program: Option<&mut Program>) -> Done<Outcome> {
        self.output.begin(spec);
        let running = start(spec.clone()).map_err(|error| verdict::not_started(&error))?;
        let drive = Drive {
            spec,
            running,
            program,
            interrupts: &mut self.interrupts,
            bottom: self.output.bottom(),
            debug: self.bench.shown.debug,
        };
        match drive.go().await {
            Some(Ended::Reported(outcome)) => Ok(*outcome),
            Some(Ended::Killed(signal)) => Err(Stopped::By(signal)),
            None => Err(verdict::no_report().into()),
        }
    }

    /// Writes what was found, and judges it.
    async fn tell(&mut self, spec: &Spec, outcome: Outcome) -> Done<()> {
        let Outcome {
            report, program, ..
        } = outcome;
        let part = self.cluster.as_mut().map(|cluster| cluster.part(&report));
        let (part, lost) = match part.transpose() {
            Ok(part) => (part, None),
            Err(failure) => (None, Some(failure)),
        };
        self.output.result(spec, &report, part.as_ref())?;
        if let Some(failure) = program.or(lost) {
            return Err(failure.into());
        }
        let (spec, fail_on) = (spec.clone(), self.bench.shown.fail_on.clone());
        // It may look at the server once more.
        let judged = spawn_blocking(move || verdict::verdict(&spec, &report, fail_on.as_ref()));
        match judged.await {
            Ok(judged) => Ok(judged?),
            Err(_) => Err(verdict::no_report().into()),
        }
    }
}
