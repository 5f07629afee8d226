//! A thread of its own with a port to it.

use std::error::Error;
use std::fmt;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::environment::{self, ThreadId};
use super::error::{PostError, SpawnError, TerminateError, WorkerError};
use super::port::{MessageChannel, MessagePort, PortSender, Queue};
use super::{blocking, panic};

/// How a worker is started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// The thread's name; Linux keeps the first 15 bytes of it. Default: `WorkerThread`, as in Node.
    pub name: String,
    /// Bytes of its stack, rounded up by the system. Default: std's, 2 MiB.
    pub stack_size: Option<usize>,
    /// How many messages may wait, each way. Default: 1024.
    pub queue: Queue,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: "WorkerThread".into(),
            stack_size: None,
            queue: Queue::default(),
        }
    }
}

impl WorkerOptions {
    /// The defaults under this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), SpawnError> {
        let invalid = |option, reason| SpawnError::Invalid {
            name: self.name.escape_debug().to_string(),
            option,
            reason,
        };
        if self.name.contains('\0') {
            return Err(invalid("name", "there is a NUL in it"));
        }
        if self.queue == Queue::Bounded(0) {
            return Err(invalid("queue", "there is room for no message"));
        }
        if self
            .stack_size
            .is_some_and(|size| size > isize::MAX.unsigned_abs())
        {
            return Err(invalid("stack_size", "more than there is memory"));
        }
        Ok(())
    }
}

/// What a worker's body may return: nothing, or a result.
pub trait WorkerResult {
    /// As a result.
    ///
    /// # Errors
    ///
    /// What the body failed of.
    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl WorkerResult for () {
    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> WorkerResult for Result<(), E> {
    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.map_err(Into::into)
    }
}

/// What a worker does, in this order: `Online`, any number of `Message`, at most one `Error`, `Exit`.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent<Out> {
    /// The thread runs.
    Online,
    /// It posted a message.
    Message(Out),
    /// It panicked or returned an error. The process lives.
    Error(WorkerError),
    /// Its body has ended, and all that it posted has been received.
    Exit(WorkerExit),
}

/// How a worker's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerExit {
    /// It returned.
    Finished,
    /// It returned after [`Worker::terminate`].
    Terminated,
    /// It panicked or returned an error.
    Failed,
}

impl WorkerExit {
    /// Node's exit code: 0, or 1 after a termination or an error.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Finished => 0,
            Self::Terminated | Self::Failed => 1,
        }
    }
}

impl fmt::Display for WorkerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Terminated => "terminated",
            Self::Failed => "failed",
        })
    }
}

/// A thread that receives `In` and posts `Out`.
///
/// Everything is there twice: for async code, and as `…_blocking` for threads without a runtime.
///
/// # Drop
///
/// A dropped worker is let go: its port closes, so a body that receives to the
/// end ends, but it is neither asked to stop nor waited for. Like every thread,
/// it keeps nothing alive: when `main` returns, the process ends.
///
/// # Node
///
/// `Worker`. What Node passes as `workerData` and `transferList` the body
/// moves in: it is a closure.
///
/// # Examples
///
/// ```
/// use procession::worker_threads::{Worker, WorkerEvent};
///
/// let mut worker = Worker::<u64, u64>::spawn("double", |mut port, _stop| {
///     while let Some(n) = port.recv_blocking() {
///         if port.post_blocking(n * 2).is_err() {
///             break;
///         }
///     }
/// })?;
/// worker.post_blocking(21)?;
/// while let Some(event) = worker.next_event_blocking() {
///     match event {
///         WorkerEvent::Message(n) => {
///             assert_eq!(n, 42);
///             worker.close();
///         }
///         WorkerEvent::Exit(exit) => assert_eq!(exit.code(), 0),
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Worker<In, Out> {
    name: String,
    id: ThreadId,
    port: MessagePort<In, Out>,
    stop: CancellationToken,
    /// Until it was told.
    online: Option<oneshot::Receiver<()>>,
    ending: oneshot::Receiver<Result<(), WorkerError>>,
    phase: Phase,
}

/// How far the events have come.
#[derive(Debug)]
enum Phase {
    Running,
    /// The body has ended; what it posted comes first.
    Ended(WorkerExit, Option<WorkerError>),
    Over(WorkerExit),
}

impl<In: Send + 'static, Out: Send + 'static> Worker<In, Out> {
    /// Starts a thread of this name; the body gets the other port, and the token that says when to stop.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]; the body is dropped.
    pub fn spawn<F, R>(name: &str, body: F) -> Result<Self, SpawnError>
    where
        F: FnOnce(MessagePort<Out, In>, CancellationToken) -> R + Send + 'static,
        R: WorkerResult,
    {
        Self::spawn_with(WorkerOptions::new(name), body)
    }

    /// As [`spawn`](Self::spawn), with options.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]; the body is dropped.
    pub fn spawn_with<F, R>(options: WorkerOptions, body: F) -> Result<Self, SpawnError>
    where
        F: FnOnce(MessagePort<Out, In>, CancellationToken) -> R + Send + 'static,
        R: WorkerResult,
    {
        options.check()?;
        panic::watch();
        let MessageChannel { port1, port2 } = MessageChannel::with_queue(options.queue);
        let (id, inherited) = (ThreadId::next(), environment::inherited());
        let (is_online, online) = oneshot::channel();
        let (end, ending) = oneshot::channel();
        let stop = CancellationToken::new();
        let stop_of_body = stop.clone();
        let mut builder = thread::Builder::new().name(options.name.clone());
        if let Some(bytes) = options.stack_size {
            builder = builder.stack_size(bytes);
        }
        let started = builder.spawn(move || {
            environment::enter(id, inherited);
            // Nobody listens if the worker was let go, here and below.
            let _ = is_online.send(());
            let _ = end.send(run(move || body(port2, stop_of_body)));
        });
        match started {
            Err(source) => Err(SpawnError::Thread {
                name: options.name,
                source,
            }),
            Ok(_) => Ok(Self {
                name: options.name,
                id,
                port: port1,
                stop,
                online: Some(online),
                ending,
                phase: Phase::Running,
            }),
        }
    }
}

fn run<R: WorkerResult>(body: impl FnOnce() -> R) -> Result<(), WorkerError> {
    match panic::catch(|| body().into_result()) {
        Ok(result) => result.map_err(WorkerError::Failed),
        Err(panic) => Err(WorkerError::Panicked(panic)),
    }
}

impl<In, Out> Worker<In, Out> {
    /// The thread's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The thread's number, for [`post_message_to_thread`](super::post_message_to_thread).
    #[must_use]
    pub fn thread_id(&self) -> ThreadId {
        self.id
    }

    /// Waits for the next event; `None` after [`WorkerEvent::Exit`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no event.
    pub async fn next_event(&mut self) -> Option<WorkerEvent<Out>> {
        if let Some(online) = &mut self.online {
            // A thread that runs says so, before all else.
            let _ = online.await;
            self.online = None;
            return Some(WorkerEvent::Online);
        }
        if matches!(self.phase, Phase::Running) {
            tokio::select! {
                biased;
                Some(message) = self.port.recv() => return Some(WorkerEvent::Message(message)),
                ended = &mut self.ending => self.end(ended),
            }
        }
        self.last_events()
    }

    /// As [`next_event`](Self::next_event), for threads without a runtime.
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn next_event_blocking(&mut self) -> Option<WorkerEvent<Out>> {
        blocking::wait(self.next_event())
    }

    fn last_events(&mut self) -> Option<WorkerEvent<Out>> {
        let Phase::Ended(exit, error) = &mut self.phase else {
            return None;
        };
        if let Ok(message) = self.port.try_recv() {
            return Some(WorkerEvent::Message(message));
        }
        if let Some(error) = error.take() {
            return Some(WorkerEvent::Error(error));
        }
        let exit = *exit;
        self.phase = Phase::Over(exit);
        Some(WorkerEvent::Exit(exit))
    }

    fn end(&mut self, ended: Result<Result<(), WorkerError>, oneshot::error::RecvError>) {
        let ended = ended.expect("a worker's thread says how it ended, whatever its body does");
        let exit = match &ended {
            Err(_) => WorkerExit::Failed,
            Ok(()) if self.stop.is_cancelled() => WorkerExit::Terminated,
            Ok(()) => WorkerExit::Finished,
        };
        self.phase = Phase::Ended(exit, ended.err());
        // What the body posted waits already; whoever else has its port posts too late.
        self.port.close();
    }

    /// Asks the body to stop, and waits at most so long until it has ended.
    ///
    /// A thread cannot be killed: this is a request. The body's token is
    /// cancelled, its `recv` says `None` although messages wait, its posts fail
    /// with [`PostError::Closed`], also those that wait for room. A body that looks at none of these runs on.
    /// What it posted before, the error and the exit are still told by [`next_event`](Self::next_event).
    ///
    /// # Errors
    ///
    /// [`TerminateError`] when it still runs at the deadline. Ask again, wait
    /// for its exit, or drop the worker, which leaves the thread to itself.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the request stands, and the end can be waited for again.
    ///
    /// # Panics
    ///
    /// On a runtime whose time is not enabled.
    pub async fn terminate(&mut self, limit: Duration) -> Result<WorkerExit, TerminateError> {
        self.ask_to_stop();
        let ended = tokio::time::timeout(limit, self.ended()).await.ok();
        ended.ok_or_else(|| self.runs_on(limit))
    }

    /// As [`terminate`](Self::terminate), for threads without a runtime.
    ///
    /// # Errors
    ///
    /// [`TerminateError`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn terminate_blocking(&mut self, limit: Duration) -> Result<WorkerExit, TerminateError> {
        self.ask_to_stop();
        let ended = blocking::wait_until(self.ended(), blocking::deadline(limit));
        ended.ok_or_else(|| self.runs_on(limit))
    }

    fn ask_to_stop(&mut self) {
        self.stop.cancel();
        self.port.cut();
    }

    async fn ended(&mut self) -> WorkerExit {
        loop {
            match self.phase {
                Phase::Ended(exit, _) | Phase::Over(exit) => return exit,
                Phase::Running => {
                    let ended = (&mut self.ending).await;
                    self.end(ended);
                }
            }
        }
    }

    fn runs_on(&self, limit: Duration) -> TerminateError {
        TerminateError {
            name: self.name.clone(),
            limit,
        }
    }

    /// Closes the port: the body receives what waits, then `None`. What it posted can still be received.
    pub fn close(&mut self) {
        self.port.close();
    }

    /// Posts a message to the worker; waits while its queue is full.
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessagePort::post`].
    pub async fn post(&self, message: In) -> Result<(), PostError<In>> {
        self.port.post(message).await
    }

    /// Posts a message if there is room.
    ///
    /// # Errors
    ///
    /// [`PostError::Full`], [`PostError::Closed`].
    pub fn try_post(&self, message: In) -> Result<(), PostError<In>> {
        self.port.try_post(message)
    }

    /// As [`post`](Self::post), for threads without a runtime.
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn post_blocking(&self, message: In) -> Result<(), PostError<In>> {
        self.port.post_blocking(message)
    }

    /// Posts to the worker for others, also while its events are waited for.
    #[must_use]
    pub fn sender(&self) -> PortSender<In> {
        self.port.sender()
    }
}

impl<In, Out> fmt::Debug for Worker<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
