//! The same runs without a runtime: one loop over `poll` for the thread that asks.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use procession_core::lifecycle::{Action, Event, Lifecycle, Reason, Scope};
use procession_sys::{Ended, PollFd, Process, Tree, poll};

use super::assemble::{End, assemble};
use super::collect::Overrun;
use super::command::{Command, Drain};
use super::error::{RunError, SpawnError};
use super::pipes::MOST_IN_PIPE;
use super::prepare::{Defaults, OurEnd, Started, start};
use super::sink::{All, Interleaved, Sink, Taken, taken, write_to_all};
use super::supervise::{KILL_LIMIT, Supervised, Terms};
use super::{Exit, Outcome, Signal, oom, trace};

/// How often a cancellation token is looked at: it cannot wake a `poll`.
const CANCEL_LOOK: Duration = Duration::from_millis(10);
/// How often a tree that is to end is looked at.
const TREE_LOOK: Duration = Duration::from_millis(2);

impl Command {
    /// As [`Command::outcome`], for code without a runtime; also within one,
    /// whose thread it blocks.
    ///
    /// # Errors
    ///
    /// As [`Command::outcome`].
    ///
    /// # Node
    ///
    /// `spawnSync`.
    pub fn outcome_blocking(&self) -> Result<Outcome, RunError> {
        run(self, Defaults::Collect)
    }

    /// As [`Command::output`], for code without a runtime.
    ///
    /// # Errors
    ///
    /// As [`Command::output`].
    ///
    /// # Node
    ///
    /// `execSync` and `execFileSync`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::child_process::Command;
    ///
    /// let hello = Command::new("echo").arg("hello").output_blocking()?;
    /// assert_eq!(hello.stdout_str()?, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn output_blocking(&self) -> Result<Outcome, RunError> {
        self.outcome_blocking()?.check()
    }

    /// As [`Command::status`], for code without a runtime.
    ///
    /// # Errors
    ///
    /// As [`Command::status`].
    pub fn status_blocking(&self) -> Result<Exit, RunError> {
        let (_, supervised) = Run::whole(self, Defaults::Inherit)?;
        Ok(Exit::from_how(supervised.ended.how))
    }
}

fn run(command: &Command, defaults: Defaults) -> Result<Outcome, RunError> {
    let (mut run, supervised) = Run::whole(command, defaults)?;
    let all = run.all.take();
    let leaked = run
        .streams
        .iter()
        .filter(|s| !s.ended)
        .map(|s| s.sink.index)
        .collect();
    let end = End {
        supervised,
        leaked,
        overrun: run.overrun,
    };
    let sinks = std::mem::take(&mut run.streams)
        .into_iter()
        .map(|stream| stream.sink);
    let mut outcome = assemble(command, run.process.id(), run.started, end, sinks);
    outcome.all = all.as_ref().map(taken);
    Ok(outcome)
}

/// One stream that is read.
struct Stream {
    fd: OwnedFd,
    sink: Sink,
    ended: bool,
}

/// One run with its machine, its streams and its input.
struct Run<'c> {
    command: &'c Command,
    process: Process,
    started: Instant,
    life: Lifecycle,
    terms: Terms,
    tree: Option<Arc<Tree>>,
    streams: Vec<Stream>,
    inputs: Vec<(OwnedFd, Bytes)>,
    all: Option<Interleaved>,
    ended: Option<(Ended, Instant)>,
    overrun: Option<Overrun>,
    canceled: bool,
}

impl<'c> Run<'c> {
    /// Starts the child and sees it, and its output, to the end.
    fn whole(command: &'c Command, defaults: Defaults) -> Result<(Self, Supervised), RunError> {
        oom::begin();
        let mut run = Self::start(command, defaults)?;
        run.until_gone()?;
        run.drain()?;
        let lost = || io::Error::other("gone without an end");
        let (ended, at) = run.ended.ok_or_else(|| run.output_error(lost()))?;
        trace::end(run.process.id(), &ended);
        let supervised = Supervised {
            ended,
            at,
            reason: run.life.reason(),
            forced: run.life.was_forced(),
            oom: run.tree.as_ref().and_then(|tree| tree.oom_killed()),
        };
        Ok((run, supervised))
    }

    fn start(command: &'c Command, defaults: Defaults) -> Result<Self, SpawnError> {
        if command.channel.is_some() {
            return Err(SpawnError::BlockingChannel {
                command: command.to_string(),
            });
        }
        let Started {
            process, ends, at, ..
        } = start(command, defaults)?;
        let all = All::shared(command);
        let terms = Terms::new(command, at);
        let mut run = Self {
            command,
            started: at,
            life: Lifecycle::new(terms.scope, terms.timeout_at, terms.stop),
            tree: (terms.scope == Scope::Tree).then(|| process.tree()),
            terms,
            process,
            streams: Vec::new(),
            inputs: Vec::new(),
            all,
            ended: None,
            overrun: None,
            canceled: false,
        };
        for (index, end) in ends {
            let (fd, destinations) = match end {
                // A pipe that nobody will write to is the end of input at once.
                OurEnd::Writer(_, None) => continue,
                OurEnd::Writer(fd, Some(bytes)) => {
                    run.inputs.push((fd, bytes));
                    continue;
                }
                OurEnd::Reader(fd) => (fd, None),
                OurEnd::Duplex(fd) => {
                    // Refused only when the child has closed its side.
                    let _ = procession_sys::end_input(&fd);
                    (fd, None)
                }
                OurEnd::Tee(fd, destinations) => (fd, Some(destinations)),
            };
            let sink = Sink::new(command, index, destinations, run.all.as_ref());
            run.streams.push(Stream {
                fd,
                sink,
                ended: false,
            });
        }
        Ok(run)
    }

    fn until_gone(&mut self) -> Result<(), RunError> {
        while !self.life.is_gone() {
            let ended = if self.ended.is_none() && self.moves_nothing() {
                self.process.wait_timeout(self.wait_limit())
            } else {
                self.turn(self.wait_limit(), true)
                    .map_err(|source| self.output_error(source))?;
                self.process.try_wait()
            };
            let lost = |source| RunError::Lost {
                command: self.command.to_string(),
                source,
            };
            if let (Some(ended), None) = (ended.map_err(lost)?, self.ended) {
                self.ended = Some((ended, Instant::now()));
                self.on(Event::Exited);
            }
            self.look_at_the_clock();
        }
        Ok(())
    }

    /// Whether there is only the end to wait for.
    fn moves_nothing(&self) -> bool {
        self.inputs.is_empty() && self.streams.iter().all(|stream| stream.ended)
    }

    fn look_at_the_clock(&mut self) {
        if self.life.deadline().is_some_and(|at| Instant::now() >= at) {
            self.on(Event::Deadline);
        }
        if self.terms.cancel.as_ref().is_some_and(|t| t.is_cancelled()) && !self.canceled {
            self.canceled = true;
            self.on(Event::Stop(self.terms.stop, Reason::Canceled));
        }
        if self.life.awaits_tree() {
            let empty = self.tree.as_ref().is_none_or(|tree| tree.is_empty());
            if empty {
                if let Some(tree) = &self.tree {
                    // Empty: this only takes the control group away.
                    tree.end(Duration::ZERO);
                }
                self.on(Event::TreeGone);
            }
        }
    }

    fn wait_limit(&self) -> Option<Duration> {
        let now = Instant::now();
        let deadline = self
            .life
            .deadline()
            .map(|at| at.saturating_duration_since(now));
        let cancel = (self.terms.cancel.is_some() && !self.canceled).then_some(CANCEL_LOOK);
        let tree = self.life.awaits_tree().then_some(TREE_LOOK);
        [deadline, cancel, tree].into_iter().flatten().min()
    }

    fn on(&mut self, event: Event) {
        let action = self.life.on(event, Instant::now());
        if action == Action::None {
            return;
        }
        if self.tree.is_none() && self.life.scope() != Scope::Process {
            self.tree = Some(self.process.tree());
        }
        match action {
            Action::None => {}
            Action::Terminate(signal) => trace::signal(self.process.id(), signal),
            Action::Kill => trace::signal(self.process.id(), Signal::KILL),
        }
        match (action, &self.tree) {
            (Action::None, _) => {}
            // Somebody was found; see the async owner.
            (Action::Terminate(signal), Some(tree)) if tree.signal(signal.as_raw()) > 0 => {}
            (Action::Terminate(signal), _) => {
                self.send(signal);
                self.send(Signal::CONT);
            }
            (Action::Kill, tree) => {
                tree.as_ref().map(|tree| tree.end(KILL_LIMIT));
                self.send(Signal::KILL);
            }
        }
    }

    fn send(&self, signal: Signal) {
        // Gone is what we want; see the async owner.
        let _ = self.process.signal(signal.as_raw());
    }

    /// Waits for something and moves what can be moved.
    fn turn(&mut self, limit: Option<Duration>, with_process: bool) -> io::Result<()> {
        let open: Vec<usize> = (0..self.streams.len())
            .filter(|n| !self.streams[*n].ended)
            .collect();
        let mut fds: Vec<PollFd<'_>> = open
            .iter()
            .map(|n| PollFd::readable(self.streams[*n].fd.as_fd()))
            .collect();
        let inputs = self.inputs.iter();
        fds.extend(inputs.map(|(fd, _)| PollFd::writable(fd.as_fd())));
        if with_process && self.ended.is_none() {
            fds.push(PollFd::readable(self.process.exit_fd()));
        }
        poll(&mut fds, limit)?;
        let ready: Vec<bool> = fds.iter().map(|fd| fd.ready).collect();
        for (number, stream) in open.iter().enumerate() {
            if ready[number] {
                self.read(*stream)?;
            }
        }
        for (input, ready) in self.inputs.iter_mut().zip(&ready[open.len()..]) {
            if *ready {
                feed(input)?;
            }
        }
        self.inputs.retain(|(_, bytes)| !bytes.is_empty());
        Ok(())
    }

    fn read(&mut self, number: usize) -> io::Result<()> {
        let stream = &mut self.streams[number];
        let taken = match procession_sys::read_to_vec(&stream.fd, stream.sink.buffer()) {
            Ok(0) => {
                stream.ended = true;
                stream.sink.finish()?
            }
            Ok(count) => stream.sink.take(count)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // A child that ended with our bytes unread resets its socket: the end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                stream.ended = true;
                stream.sink.finish()?
            }
            Err(error) => return Err(error),
        };
        let Taken { pass_on, overrun } = taken;
        let passed = (stream.sink.index, stream.sink.limit());
        if let Some(bytes) = pass_on {
            write_to_all(stream.sink.targets(), &bytes)?;
        }
        if overrun && self.overrun.is_none() {
            self.overrun = Some(passed);
            self.on(Event::Stop(self.terms.stop, Reason::TooMuchOutput));
        }
        Ok(())
    }

    /// Reads on after the end until all is closed or the time is over.
    fn drain(&mut self) -> Result<(), RunError> {
        self.inputs.clear();
        let from = self.ended.map_or(self.started, |(_, at)| at);
        let until = match self.command.drain {
            Drain::For(limit) => from.checked_add(limit),
            Drain::UntilClosed => self.terms.timeout_at,
        };
        while self.streams.iter().any(|stream| !stream.ended) {
            let left = until.map(|at| at.saturating_duration_since(Instant::now()));
            self.turn(left, false)
                .map_err(|source| self.output_error(source))?;
            if left == Some(Duration::ZERO) {
                return self.last_look().map_err(|e| self.output_error(e));
            }
        }
        Ok(())
    }

    /// Takes what is there now; what a child wrote before its end is never lost.
    fn last_look(&mut self) -> io::Result<()> {
        let open = (0..self.streams.len()).filter(|n| !self.streams[*n].ended);
        for number in open.collect::<Vec<_>>() {
            let received = |run: &Self| run.streams[number].sink.received();
            let first = received(self);
            loop {
                let before = received(self);
                self.read(number)?;
                let now = received(self);
                // A descendant may fill it as fast as we read: one pipe's worth is the child's.
                if now == before || now - first >= MOST_IN_PIPE as u64 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn output_error(&self, source: io::Error) -> RunError {
        RunError::Output {
            command: self.command.to_string(),
            source,
        }
    }
}

/// Writes once; what is left is empty when there is nothing more to do.
fn feed((fd, bytes): &mut (OwnedFd, Bytes)) -> io::Result<()> {
    match procession_sys::write(&*fd, bytes) {
        Ok(count) => bytes.advance(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        // A child need not read all of its input.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => bytes.clear(),
        Err(error) => return Err(error),
    }
    Ok(())
}

impl Drop for Run<'_> {
    /// An early return leaves nobody running: there is no handle to end it by.
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.send(Signal::KILL);
        }
    }
}
