//! A program that is a pool's worker.

use std::error::Error;
use std::fmt;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::call::Methods;
use super::line::Line;
use super::serve::{Desk, serve};
use super::threads::{Running, words};
use super::wire::{CONCURRENCY, NAME, SLOT};
use crate::ipc::{FromEnvError, ProtocolError};

type Cause = Box<dyn Error + Send + Sync>;

/// This program as a worker of [`Pool::processes`](super::Pool::processes).
///
/// ```no_run
/// use procession::pool::{Running, Worker};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::from_env()?.ok_or("start me from a pool")?;
/// worker.serve(|n: u64, _: &mut Running<'_, (), ()>| n * n).await?;
/// # Ok(())
/// # }
/// ```
pub struct Worker<S = ()> {
    line: Line,
    name: String,
    slot: u32,
    /// Tasks at a time.
    concurrency: NonZero<u32>,
    hooks: Hooks<S>,
}

/// What a thread of a worker does before its first task and after its last.
pub(super) struct Hooks<S> {
    init: Box<dyn Fn(u32) -> Result<S, Cause> + Send + Sync>,
    teardown: Option<Box<dyn Fn(S) + Send + Sync>>,
}

/// The pool could not be served, or not any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The channel broke.
    #[error("failed to hear the pool")]
    Read(#[source] std::io::Error),
    /// Who is at the other end speaks as no pool does.
    #[error("failed to understand the pool")]
    Protocol(#[from] ProtocolError),
    /// The worker could not be made ready.
    #[error("failed to init a worker of a pool")]
    Init(#[source] Cause),
    /// There was no thread for the tasks.
    #[error("failed to start the thread of a worker of a pool")]
    Thread(#[source] std::io::Error),
}

impl Worker {
    /// The worker that this program is; `None` if nobody gave it a channel.
    /// Has to be called once, early, and needs no runtime.
    ///
    /// # Errors
    ///
    /// [`FromEnvError`]: what the environment names is no channel.
    pub fn from_env() -> Result<Option<Self>, FromEnvError> {
        let Some(line) = Line::from_env()? else {
            return Ok(None);
        };
        let name = std::env::var(NAME).unwrap_or_else(|_| "pool".to_owned());
        Ok(Some(Self {
            line,
            name,
            slot: number(SLOT).unwrap_or(0),
            concurrency: number(CONCURRENCY).unwrap_or(NonZero::<u32>::MIN),
            hooks: Hooks {
                init: Box::new(|_| Ok(())),
                teardown: None,
            },
        }))
    }

    /// Makes a state for the tasks, before the pool gets to know that this
    /// worker is ready. It gets the number of the worker's place; an error or a
    /// panic is a failed start.
    ///
    /// A worker with several tasks at a time has one for each thread.
    #[must_use]
    pub fn init<S>(
        self,
        init: impl Fn(u32) -> Result<S, Cause> + Send + Sync + 'static,
    ) -> Worker<S> {
        Worker {
            line: self.line,
            name: self.name,
            slot: self.slot,
            concurrency: self.concurrency,
            hooks: Hooks {
                init: Box::new(init),
                teardown: None,
            },
        }
    }
}

impl<S: 'static> Worker<S> {
    /// Takes the state when the pool wants no more, on the thread that has it.
    /// A worker that is killed does not get that far.
    #[must_use]
    pub fn teardown(mut self, teardown: impl Fn(S) + Send + Sync + 'static) -> Self {
        self.hooks.teardown = Some(Box::new(teardown));
        self
    }

    /// Runs tasks on a thread of their own, until the pool wants no more; with
    /// [`Limits::concurrency`](super::Limits::concurrency) above 1, on so many.
    /// A panic fails its task, and the pool replaces this worker.
    ///
    /// A task that is deaf keeps this program alive until the pool kills it.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: `init` failed, or the channel broke. That the pool is
    /// gone is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the pool; a task that runs is cancelled, and
    /// not waited for.
    pub async fn serve<T, R, P>(
        self,
        run: impl Fn(T, &mut Running<'_, S, P>) -> R + Send + Sync + 'static,
    ) -> Result<(), ServeError>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        P: Serialize + Send + 'static,
    {
        let run = move |task, running: &mut Running<'_, S, P>| Ok(run(task, running));
        self.serve_on_thread(run).await
    }

    /// [`serve`](Self::serve) for a pool that [calls](super::Pool::call) methods
    /// by their names.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_methods<P>(self, methods: Methods<S, P>) -> Result<(), ServeError>
    where
        P: Serialize + Send + 'static,
    {
        let run = move |call, running: &mut Running<'_, S, P>| methods.run(call, running);
        self.serve_on_thread(run).await
    }

    async fn serve_on_thread<T, R, P>(
        self,
        run: impl Fn(T, &mut Running<'_, S, P>) -> Result<R, String> + Send + Sync + 'static,
    ) -> Result<(), ServeError>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        P: Serialize + Send + 'static,
    {
        let hang_up = self.line.hang_up().map_err(ServeError::Thread)?;
        let (tell, served) = oneshot::channel();
        let runtime = tokio::runtime::Handle::try_current().ok();
        let thread = std::thread::Builder::new().name(format!("{}-{}", self.name, self.slot));
        let serve = move || {
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            // Nobody listens when the future was dropped.
            let _ = tell.send(self.serve_here(&run));
        };
        thread.spawn(serve).map_err(ServeError::Thread)?;
        let served = served.await;
        drop(hang_up);
        served.unwrap_or_else(|_| Err(ServeError::Thread(std::io::Error::other("it panicked"))))
    }

    /// [`serve`](Self::serve) on this thread, without a runtime. Not for async
    /// code: it blocks.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_blocking<T, R, P>(
        self,
        run: impl Fn(T, &mut Running<'_, S, P>) -> R + Sync,
    ) -> Result<(), ServeError>
    where
        T: DeserializeOwned + Send,
        R: Serialize,
        P: Serialize + Send,
    {
        self.serve_here(&|task, running: &mut Running<'_, S, P>| Ok(run(task, running)))
    }

    fn serve_here<T, R, P>(
        self,
        run: &(impl Fn(T, &mut Running<'_, S, P>) -> Result<R, String> + Sync),
    ) -> Result<(), ServeError>
    where
        T: DeserializeOwned + Send,
        R: Serialize,
        P: Serialize + Send,
    {
        let desk = Desk::new(self.line, self.name, self.slot, self.concurrency);
        serve(&desk, &self.hooks, run)
    }
}

fn number<N: std::str::FromStr>(name: &str) -> Option<N> {
    std::env::var(name).ok()?.parse().ok()
}

impl<S> Hooks<S> {
    pub(super) fn make(&self, slot: u32) -> Result<S, ServeError> {
        let made = catch_unwind(AssertUnwindSafe(|| (self.init)(slot)));
        made.unwrap_or_else(|panic| Err(words(&*panic).into()))
            .map_err(ServeError::Init)
    }

    pub(super) fn unmake(&self, state: S) {
        let end = || match &self.teardown {
            Some(teardown) => teardown(state),
            None => drop(state),
        };
        // The panic hook has printed it; the worker leaves either way.
        let _ = catch_unwind(AssertUnwindSafe(end));
    }
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("slot", &self.slot)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
