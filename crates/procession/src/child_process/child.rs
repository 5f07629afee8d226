//! A running child.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use procession_core::errno;
use procession_core::lifecycle::{Reason, Stop};
use procession_sys::{ExitWatch, Process, TreeLevel, Usage};
use tokio::sync::mpsc;

use super::assemble::{End, assemble};
use super::collect::{Collector, Overrun, Source, Stream};
use super::command::{Command, Drain};
use super::error::{RunError, SpawnError};
use super::outcome::Outcome;
use super::pipes::{ChildDuplex, ChildOutput, ChildStdin};
use super::prepare::{self, Defaults, OurEnd, Started};
use super::sink::{All, Interleaved, Sink};
use super::supervise::{REQUESTS, Request, Supervised, Supervisor, Terms, supervise};
use super::{Exit, Signal, Stdio, Tree, oom, sink};
use crate::ipc::Channel;

/// A running child and our ends of its descriptors.
///
/// Dropping it leaves the child running, and it is reaped when it ends, also
/// without a runtime; [`Command::kill_on_drop`] kills it instead. (A child
/// whose [`Tree`] is [`Tree::Contain`] still takes what it left behind along
/// when it ends.)
///
/// # Node
///
/// `ChildProcess`. Its events are [`Command::events`](super::Command::events) here.
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildOutput>,
    /// Its standard error, if that is a pipe.
    pub stderr: Option<ChildOutput>,
    /// The channel, if the command asked for one ([`Command::ipc`]). Dropped with
    /// the child, which closes it.
    pub channel: Option<Channel>,
    extra: BTreeMap<u32, ChildDuplex>,
    /// Tees of the standard outputs, and input from memory: moved by `outcome`.
    collector: Collector,
    all: Option<Interleaved>,
    command: Command,
    process: Process,
    started: Instant,
    watch: Arc<ExitWatch>,
    supervisor: Option<Supervisor>,
}

/// How a child ended that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How it ended.
    pub exit: Exit,
    /// Whether `SIGKILL` had to follow the polite signal.
    pub forced: bool,
}

/// A signal was not sent.
#[derive(Debug, thiserror::Error)]
#[error("failed to send {signal} to process {pid}")]
pub struct SignalError {
    /// The signal.
    pub signal: Signal,
    /// The process.
    pub pid: u32,
    /// The system's reason; `EPERM` as a rule.
    pub source: io::Error,
}

impl SignalError {
    /// Node's code.
    #[must_use]
    pub fn node_code(&self) -> Option<&'static str> {
        errno::node_code(&self.source)
    }
}

impl Child {
    pub(crate) fn spawn(command: &Command, defaults: Defaults) -> Result<Self, SpawnError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(SpawnError::NoRuntime {
                command: command.to_string(),
            });
        }
        oom::begin();
        let Started {
            process,
            ends,
            channel,
            at,
        } = prepare::start(command, defaults)?;
        let watch = watch(command, &process).inspect_err(|_| kill(&process, command.tree))?;
        let mut child = Self {
            stdin: None,
            stdout: None,
            stderr: None,
            channel: None,
            extra: BTreeMap::new(),
            collector: Collector::default(),
            all: All::shared(command),
            command: command.clone(),
            process,
            started: at,
            watch,
            supervisor: None,
        };
        child.forget_descriptors();
        let failed = |child: &Self, what, source| {
            child.kill_now();
            let command = command.to_string();
            SpawnError::Open {
                command,
                what,
                source,
            }
        };
        for (index, end) in ends {
            if let Err(source) = child.attach(index, end) {
                return Err(failed(&child, super::error::name_of(index), source));
            }
        }
        if let Err(source) = child.attach_channel(channel) {
            return Err(failed(&child, "the channel".into(), source));
        }
        Ok(child)
    }

    /// A worker of a cluster: its outputs are pipes where its command does not say otherwise.
    pub(crate) fn spawn_for_cluster(command: &Command) -> Result<Self, SpawnError> {
        Self::spawn(command, Defaults::Pipes)
    }

    fn attach_channel(&mut self, socket: Option<OwnedFd>) -> io::Result<()> {
        if let (Some(socket), Some(spec)) = (socket, &self.command.channel) {
            let peer = format!("`{}` (pid {})", self.command, self.process.id());
            let channel = if spec.is_cluster {
                Channel::for_cluster(socket, spec.serialization, spec.limits, peer)
            } else {
                Channel::new(socket, spec.serialization, spec.limits, peer)
            }?;
            self.channel = Some(channel);
        }
        Ok(())
    }

    fn attach(&mut self, index: u32, end: OurEnd) -> io::Result<()> {
        match end {
            OurEnd::Writer(fd, None) => self.stdin = Some(ChildStdin::new(fd)?),
            OurEnd::Writer(fd, Some(bytes)) => {
                self.collector.inputs.push((ChildStdin::new(fd)?, bytes));
            }
            OurEnd::Reader(fd) if index == 1 => self.stdout = Some(ChildOutput::new(fd)?),
            OurEnd::Reader(fd) => self.stderr = Some(ChildOutput::new(fd)?),
            OurEnd::Tee(fd, destinations) => {
                let source = Source::Output(ChildOutput::new(fd)?);
                let sink = Sink::new(&self.command, index, Some(destinations), self.all.as_ref());
                self.collector.streams.push(Stream::new(source, sink));
            }
            OurEnd::Duplex(fd) => {
                self.extra.insert(index, ChildDuplex::new(fd)?);
            }
        }
        Ok(())
    }

    /// Starts what must go on without anybody asking: the time-out, the
    /// cancellation, the feeding of an input.
    pub(super) fn start_tasks(&mut self) {
        if self.command.timeout.is_some() || self.command.cancel.is_some() {
            self.start_supervisor();
        }
        self.start_feeding();
    }

    /// Feeds an input from memory as a task, unless `outcome` will do it.
    fn start_feeding(&mut self) {
        if !self.collector.inputs.is_empty() && self.collector.streams.is_empty() {
            self.start_moving();
        }
    }

    /// Moves, as a task, what nobody else will: an input from memory, tees.
    pub(super) fn start_moving(&mut self) {
        let mut collector = std::mem::take(&mut self.collector);
        tokio::spawn(async move {
            let (overruns, _) = mpsc::channel(1);
            // A child that does not read all of its input is no error of ours.
            let _ = collector.run(&overruns).await;
        });
    }

    pub(super) fn start_supervisor(&mut self) {
        self.supervisor();
    }

    /// Waits for the end that the supervising task brings about or sees.
    pub(super) async fn supervised(&mut self) -> io::Result<Supervised> {
        self.supervisor().supervised().await
    }

    fn supervisor(&mut self) -> &mut Supervisor {
        let terms = Terms::new(&self.command, self.started);
        let watch = &self.watch;
        self.supervisor
            .get_or_insert_with(|| Supervisor::start(watch, terms))
    }

    /// The process id. For display: signals go by a handle that cannot meet a reused number.
    ///
    /// # Node
    ///
    /// `pid`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The pidfd, for use with other libraries.
    ///
    /// # Platform
    ///
    /// Linux; `None` elsewhere.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.process.pidfd()
    }

    /// The command that was started.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Takes our end of a further descriptor, if it is a pipe.
    ///
    /// # Node
    ///
    /// `child.stdio[index]`.
    pub fn take_stdio(&mut self, index: u32) -> Option<ChildDuplex> {
        self.extra.remove(&index)
    }

    /// How completely the child's descendants can be found when it is stopped.
    ///
    /// # Platform
    ///
    /// On the portable side the level is that of a process group, or of the
    /// process alone, whatever [`Tree`] asked for.
    #[must_use]
    pub fn tree_level(&self) -> TreeLevel {
        match self.command.tree {
            Tree::Process => TreeLevel::Process,
            Tree::Walk | Tree::Contain => self.process.tree_level(),
        }
    }

    /// Waits until the process is gone and says how it ended.
    ///
    /// Asking again gives the same answer. Closes our end of the child's stdin
    /// first, so that a child that reads to the end can finish.
    ///
    /// # Errors
    ///
    /// `ECHILD` when somebody else in this program took the exit status.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses nothing, the exit is kept for the next.
    ///
    /// # Node
    ///
    /// The event `exit`: output may still be in the pipes. For `close` see [`Child::outcome`].
    pub async fn wait(&mut self) -> io::Result<Exit> {
        drop(self.stdin.take());
        Ok(Exit::from_how(self.watch.ended().await?.how))
    }

    /// Says how the process ended, if it has.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        Ok(self
            .process
            .try_wait()?
            .map(|ended| Exit::from_how(ended.how)))
    }

    /// What the process used, once it has ended.
    ///
    /// # Node
    ///
    /// Nothing like it: `process.resourceUsage()` is about the parent.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.process
            .try_wait()
            .ok()
            .flatten()
            .map(|ended| ended.usage)
    }

    /// Sends a signal to this process and no other; `false` when it has ended.
    ///
    /// # Errors
    ///
    /// [`SignalError`], with `EPERM` for a process that changed its user.
    ///
    /// # Node
    ///
    /// `kill(signal)`. Sending is not ending: for that see [`Child::stop`].
    pub fn signal(&self, signal: Signal) -> Result<bool, SignalError> {
        send(&self.process, signal)
    }

    /// Sends `SIGKILL` to this process; `false` when it has ended.
    ///
    /// # Errors
    ///
    /// As [`Child::signal`].
    ///
    /// # Node
    ///
    /// `kill('SIGKILL')`. `kill()` without a signal sends `SIGTERM` there, as
    /// [`Child::signal`] with [`Signal::TERM`] does here.
    pub fn kill(&self) -> Result<bool, SignalError> {
        self.signal(Signal::KILL)
    }

    /// Ends the child and its [`tree`](Command::tree): the polite signal to
    /// everybody, the grace period, `SIGKILL`. Returns when nobody is left.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// Once polled, the stop goes on by itself when the future is dropped.
    ///
    /// # Node
    ///
    /// Nothing like it: `kill` sends one signal to one process and never escalates.
    pub async fn stop(&mut self, stop: Stop) -> io::Result<Stopped> {
        let supervisor = self.supervisor();
        let request = Request {
            stop,
            reason: Reason::Stopped,
        };
        // Full: it is being stopped already. Closed: it has ended.
        let _ = supervisor.requests.try_send(request);
        let supervised = supervisor.supervised().await?;
        Ok(Stopped {
            exit: Exit::from_how(supervised.ended.how),
            forced: supervised.forced,
        })
    }

    /// Reads all outputs that are still here to their ends, waits for the child
    /// and says all that is known about it.
    ///
    /// Closes the child's channel and stdin first, unless that is fed from memory, and ends
    /// our side of its further descriptors: nobody could write to them any more.
    ///
    /// # Errors
    ///
    /// [`RunError::Output`] and [`RunError::Lost`]. A bad end is no error here.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the child: see [`Child`].
    ///
    /// # Node
    ///
    /// The event `close`, but bounded: see [`Drain`].
    pub async fn outcome(mut self) -> Result<Outcome, RunError> {
        drop(self.stdin.take());
        drop(self.channel.take());
        let mut collector = self.take_collector();
        let (overruns, overrun) = mpsc::channel(1);
        let (supervised, overrun) = self.run(&mut collector, &overruns, overrun).await?;
        let until = self.drain_until(&supervised);
        let drained = drain(&mut collector, &overruns, until).await;
        drained.map_err(|source| self.output_error(source))?;
        let leaked = collector.last_look(&overruns).await;
        let leaked = leaked.map_err(|source| self.output_error(source))?;
        Ok(self.to_outcome(supervised, collector, leaked, overrun))
    }

    fn take_collector(&mut self) -> Collector {
        let mut collector = std::mem::take(&mut self.collector);
        let outputs = [(1, self.stdout.take()), (2, self.stderr.take())];
        let outputs = outputs
            .into_iter()
            .filter_map(|(i, o)| Some((i, Source::Output(o?))));
        let extra = self.take_extra().into_iter().map(|(i, duplex)| {
            duplex.end_input();
            (i, Source::Duplex(duplex))
        });
        for (index, source) in outputs.chain(extra) {
            let sink = Sink::new(&self.command, index, None, self.all.as_ref());
            collector.streams.push(Stream::new(source, sink));
        }
        collector
    }

    /// Collects and supervises until the child (and, on a stop, its tree) is gone.
    async fn run(
        &mut self,
        collector: &mut Collector,
        overruns: &mpsc::Sender<Overrun>,
        mut overrun: mpsc::Receiver<Overrun>,
    ) -> Result<(Supervised, Option<Overrun>), RunError> {
        let stop = self.command.stop;
        let command = &self.command;
        let (requests, arriving) = mpsc::channel(REQUESTS);
        let (requests, inline) = match &self.supervisor {
            Some(supervisor) => (supervisor.requests.clone(), None),
            None => {
                let terms = Terms::new(command, self.started);
                (
                    requests,
                    Some(supervise(Arc::clone(&self.watch), terms, arriving)),
                )
            }
        };
        let supervisor = &mut self.supervisor;
        let mut supervising = pin!(async {
            match (inline, supervisor) {
                (Some(inline), _) => inline.await,
                (None, Some(supervisor)) => supervisor.supervised().await,
                (None, None) => Err(io::Error::other("nobody supervises the child")),
            }
        });
        let mut collecting = pin!(collector.run(overruns));
        let (mut collected, mut over) = (false, None);
        loop {
            tokio::select! {
                supervised = &mut supervising => {
                    let lost = |source| RunError::Lost { command: command.to_string(), source };
                    return Ok((supervised.map_err(lost)?, over));
                }
                result = &mut collecting, if !collected => {
                    collected = true;
                    result.map_err(|source| {
                        RunError::Output { command: command.to_string(), source }
                    })?;
                }
                Some(passed) = overrun.recv(), if over.is_none() => {
                    over = Some(passed);
                    // Full or closed: it is ending already.
                    let _ = requests.try_send(Request { stop, reason: Reason::TooMuchOutput });
                }
            }
        }
    }

    /// Until when output is read after the end of the process.
    fn drain_until(&self, supervised: &Supervised) -> Option<Instant> {
        match self.command.drain {
            Drain::For(limit) => supervised.at.checked_add(limit),
            // The time-out covers the output as well, as in Node.
            Drain::UntilClosed => self
                .command
                .timeout
                .and_then(|limit| self.started.checked_add(limit)),
        }
    }

    fn output_error(&self, source: io::Error) -> RunError {
        RunError::Output {
            command: self.command.to_string(),
            source,
        }
    }

    fn to_outcome(
        &self,
        supervised: Supervised,
        collector: Collector,
        leaked: Vec<u32>,
        overrun: Option<Overrun>,
    ) -> Outcome {
        // Seen while it ran, or only in what it had left in its pipe.
        let late = collector.streams.iter().find_map(|s| s.sink.overrun());
        let overrun = overrun.or(late);
        let sinks = collector.streams.into_iter().map(|stream| stream.sink);
        let end = End {
            supervised,
            leaked,
            overrun,
        };
        let mut outcome = assemble(&self.command, self.process.id(), self.started, end, sinks);
        outcome.all = self.all.as_ref().map(sink::taken);
        outcome
    }

    pub(crate) fn process(&self) -> Process {
        self.process.clone()
    }

    pub(super) fn take_extra(&mut self) -> BTreeMap<u32, ChildDuplex> {
        std::mem::take(&mut self.extra)
    }

    /// Lets go of the descriptors that the command brought along: whoever reads
    /// the other end of one waits for the child's end, not for this handle's.
    fn forget_descriptors(&mut self) {
        let keep = |stdio: &Stdio| !matches!(stdio, Stdio::Fd(_) | Stdio::Tee(_));
        self.command.stdio.retain(|_, stdio| keep(stdio));
    }

    fn kill_now(&self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            kill(&self.process, self.command.tree);
        }
    }
}

/// Registers the child with the runtime, if that has an I/O driver.
fn watch(command: &Command, process: &Process) -> Result<Arc<ExitWatch>, SpawnError> {
    // tokio has no question for it, only a panic; better here than with the child left behind.
    let watch = catch_unwind(AssertUnwindSafe(|| ExitWatch::new(process.clone())));
    let command = || command.to_string();
    match watch {
        Ok(Ok(watch)) => Ok(Arc::new(watch)),
        Ok(Err(source)) => {
            let what = "a watch for its end".into();
            Err(SpawnError::Open {
                command: command(),
                what,
                source,
            })
        }
        Err(_) => Err(SpawnError::NoRuntime { command: command() }),
    }
}

fn kill(process: &Process, tree: Tree) {
    match tree {
        // Gone is what we want.
        Tree::Process => drop(process.signal(Signal::KILL.as_raw())),
        Tree::Walk | Tree::Contain => process.tree().end_in_background(),
    }
}

/// See [`Child::signal`].
pub(crate) fn send(process: &Process, signal: Signal) -> Result<bool, SignalError> {
    let failed = |source| SignalError {
        signal,
        pid: process.id(),
        source,
    };
    match process.signal(signal.as_raw()) {
        // The exit status was taken by somebody else: it has ended.
        Err(error) if error.raw_os_error() == Some(10) => Ok(false),
        result => result.map_err(failed),
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.command.kill_on_drop {
            self.kill_now();
        }
    }
}

/// Reads on until all is closed or the time is over.
async fn drain(
    collector: &mut Collector,
    overruns: &mpsc::Sender<Overrun>,
    until: Option<Instant>,
) -> io::Result<()> {
    let reading = collector.run(overruns);
    match until {
        None => reading.await,
        Some(until) => match tokio::time::timeout_at(until.into(), reading).await {
            Ok(result) => result,
            Err(_) => Ok(()),
        },
    }
}
