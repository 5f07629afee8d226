//! The owner of one running child: it alone decides when the child is asked to
//! end and when it is killed.
//!
//! It is a future: [`Child::outcome`](super::Child::outcome) polls it where it
//! is, [`Child::stop`](super::Child::stop) and a time-out run it as a task. If
//! it is dropped in the middle of an escalation (a runtime that shuts down), it
//! kills at once: nobody would be there to do it later.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_core::lifecycle::{Action, Event, Lifecycle, Reason, Scope, Stop};
use procession_sys::{Ended, ExitWatch, Process, Tree};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::{Signal, trace};

/// Requests that may wait for the owner; a further one has nothing to add.
pub(super) const REQUESTS: usize = 4;
/// How long the end of a killed tree may take: the kernel has the last word.
pub(super) const KILL_LIMIT: Duration = Duration::from_secs(30);

/// Somebody wants the child to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) stop: Stop,
    pub(super) reason: Reason,
}

/// What the owner goes by.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) scope: Scope,
    pub(super) timeout_at: Option<Instant>,
    pub(super) stop: Stop,
    pub(super) cancel: Option<CancellationToken>,
}

impl Terms {
    pub(super) fn new(command: &Command, started: Instant) -> Self {
        Self {
            scope: command.tree.scope(),
            timeout_at: command.timeout.and_then(|limit| started.checked_add(limit)),
            stop: command.stop,
            cancel: command.cancel.clone(),
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supervised {
    pub(super) ended: Ended,
    pub(super) reason: Option<Reason>,
    pub(super) forced: bool,
    pub(super) at: Instant,
    /// What the kernel counted for its control group, if it did.
    pub(super) oom: Option<bool>,
}

/// Sees a child to its end, and its tree as far as that was asked for.
pub(super) async fn supervise(
    watch: Arc<ExitWatch>,
    terms: Terms,
    mut requests: mpsc::Receiver<Request>,
) -> io::Result<Supervised> {
    let mut owner = Owner::new(watch.process().clone(), &terms);
    let mut canceled = false;
    let mut ended = None;
    let mut open = true;
    while !owner.life.is_gone() {
        let deadline = owner.life.deadline();
        let event = tokio::select! {
            biased;
            result = watch.ended(), if ended.is_none() => {
                ended = Some((result?, Instant::now()));
                Event::Exited
            }
            () = is_canceled(terms.cancel.as_ref()), if !canceled => {
                canceled = true;
                Event::Stop(terms.stop, Reason::Canceled)
            }
            request = requests.recv(), if open => match request {
                Some(request) => Event::Stop(request.stop, request.reason),
                None => {
                    open = false;
                    continue;
                }
            },
            () = sleep_until(deadline), if deadline.is_some() => Event::Deadline,
            () = owner.tree_gone(), if owner.life.awaits_tree() => Event::TreeGone,
        };
        owner.on(event).await;
    }
    let (ended, at) = ended.ok_or_else(|| io::Error::other("gone without an end"))?;
    trace::end(owner.process.id(), &ended);
    Ok(Supervised {
        ended,
        reason: owner.life.reason(),
        forced: owner.life.was_forced(),
        at,
        oom: owner.tree.as_ref().and_then(|tree| tree.oom_killed()),
    })
}

/// The way to the task that owns the child's end.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) requests: mpsc::Sender<Request>,
    done: watch::Receiver<Option<Result<Supervised, i32>>>,
}

impl Supervisor {
    pub(super) fn start(watch: &Arc<ExitWatch>, terms: Terms) -> Self {
        let (requests, arriving) = mpsc::channel(REQUESTS);
        let (finished, done) = watch::channel(None);
        let watch = Arc::clone(watch);
        tokio::spawn(async move {
            let result = supervise(watch, terms, arriving).await;
            let result = result.map_err(|error| error.raw_os_error().unwrap_or(0));
            // The last handle may be gone; the child has ended all the same.
            let _ = finished.send(Some(result));
        });
        Self { requests, done }
    }

    pub(super) async fn supervised(&mut self) -> io::Result<Supervised> {
        let gone = || io::Error::other("the runtime that owned the child was shut down");
        let done = self
            .done
            .wait_for(Option::is_some)
            .await
            .map_err(|_| gone())?;
        match *done {
            Some(Ok(supervised)) => Ok(supervised),
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(gone()),
        }
    }
}

async fn is_canceled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The machine with its hands.
struct Owner {
    life: Lifecycle,
    process: Process,
    tree: Option<Arc<Tree>>,
    /// Answers when the killing of the tree is done.
    killing: Option<oneshot::Receiver<bool>>,
    look_again: Duration,
}

impl Owner {
    fn new(process: Process, terms: &Terms) -> Self {
        let tree = match terms.scope {
            Scope::Process | Scope::TreeOnStop => None,
            Scope::Tree => Some(process.tree()),
        };
        let life = Lifecycle::new(terms.scope, terms.timeout_at, terms.stop);
        Self {
            life,
            process,
            tree,
            killing: None,
            look_again: Duration::from_millis(1),
        }
    }

    async fn on(&mut self, event: Event) {
        match self.life.on(event, Instant::now()) {
            Action::None => {}
            Action::Terminate(signal) => self.terminate(signal).await,
            Action::Kill => self.kill(),
        }
    }

    /// Sends the polite signal, and `SIGCONT`: a stopped process acts on nothing else.
    async fn terminate(&mut self, signal: Signal) {
        trace::signal(self.process.id(), signal);
        let Some(tree) = self.tree_to_end() else {
            send(&self.process, signal);
            send(&self.process, Signal::CONT);
            return;
        };
        let number = signal.as_raw();
        // Reading `/proc` takes milliseconds: not on a thread of the runtime.
        if offload(move || tree.signal(number)).await == Ok(0) {
            // Nobody was found: without a descriptor there is nothing to look with.
            send(&self.process, signal);
            send(&self.process, Signal::CONT);
        }
    }

    fn kill(&mut self) {
        trace::signal(self.process.id(), Signal::KILL);
        match self.tree_to_end() {
            None => send(&self.process, Signal::KILL),
            Some(tree) => {
                let process = self.process.clone();
                self.killing = Some(offload(move || {
                    let ended = tree.end(KILL_LIMIT);
                    // The root itself, even if there was no descriptor to find the tree with.
                    send(&process, Signal::KILL);
                    ended
                }));
            }
        }
    }

    fn tree_to_end(&mut self) -> Option<Arc<Tree>> {
        if self.tree.is_none() && self.life.scope() != Scope::Process {
            self.tree = Some(self.process.tree());
        }
        self.tree.clone()
    }

    /// Waits until nobody of the tree is left.
    ///
    /// Cancel safe: the next call goes on where this one was.
    async fn tree_gone(&mut self) {
        if let Some(killing) = &mut self.killing {
            // An error: the thread is gone, and with it nothing that we could still do.
            let _ = killing.await;
            self.killing = None;
            return;
        }
        let Some(tree) = &self.tree else { return };
        while !tree.is_empty() {
            tokio::time::sleep(self.look_again).await;
            self.look_again = (self.look_again * 2).min(Duration::from_millis(20));
        }
        // Empty: this only takes the control group away.
        tree.end(Duration::ZERO);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if !self.life.is_stopping() {
            return;
        }
        match &self.tree {
            Some(tree) => tree.end_in_background(),
            None => send(&self.process, Signal::KILL),
        }
    }
}

fn send(process: &Process, signal: Signal) {
    // Gone is what we want; a process that took another user's rights cannot be
    // signalled, and stays visible as one that does not end.
    let _ = process.signal(signal.as_raw());
}

/// Runs blocking work on a thread of its own, here if there is none to be had.
fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (answer, answered) = oneshot::channel();
    let job = Arc::new(std::sync::Mutex::new(Some((work, answer))));
    let run = {
        let job = Arc::clone(&job);
        move || {
            let taken = job
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take();
            if let Some((work, answer)) = taken {
                // Nobody may be waiting any more.
                let _ = answer.send(work());
            }
        }
    };
    let thread = std::thread::Builder::new().name("procession-kill".into());
    if thread.stack_size(128 * 1024).spawn(run.clone()).is_err() {
        run();
    }
    answered
}
