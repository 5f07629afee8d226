//! Workers that are threads.

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use procession_core::pool::{Balance, Dispatcher, Rank, TaskId, WorkerId};
use tokio_util::sync::CancellationToken;

use super::Pool;
use super::death::Death;
use super::error::TaskError;
use super::inbox::{Assignment, Bell, Inbox, Post};
use super::limits::{Limits, PoolError};
use super::rules::Rules;
use super::shared::Shared;
use super::state::Force;
use super::ticket::Link;

/// What a running task knows of itself.
pub struct Running<'a, S = (), P = ()> {
    /// What the worker's `init` made: its own, for all its tasks. Nothing in a process.
    pub state: &'a mut S,
    pub(super) link: &'a dyn Link<P>,
    pub(super) slot: u32,
    pub(super) id: TaskId,
}

impl<S, P> Running<'_, S, P> {
    /// Whether the task is to end: it was cancelled, its time is up, or the
    /// pool is being destroyed. Ask often; a thread cannot be stopped otherwise.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.link.is_canceled()
    }

    /// The same as a token, for what can wait for one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.link.token()
    }

    /// Tells how far the task is. Never waits: of what nobody has read yet the
    /// last 64 are kept. In a process, as long as the pool has not read what is
    /// older, only the newest is kept: it goes out when this task or another of
    /// that process tells something, asks whether it is cancelled, or ends.
    pub fn progress(&self, progress: P) {
        self.link.tell(progress);
    }

    /// The number of the worker's place: below the most workers that there can
    /// be, and nobody else's while this worker lives.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Running<'_, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("id", &self.id)
            .field("slot", &self.slot)
            .field("state", &self.state)
            .finish()
    }
}

type Init<S> = dyn Fn(u32) -> Result<S, Box<dyn Error + Send + Sync>> + Send + Sync;
type Teardown<S> = dyn Fn(S) + Send + Sync;

/// A pool over threads, with all that can be chosen about it.
///
/// ```
/// use procession::pool::{Limits, Running, Threads};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let pool = Threads::new(Limits::new(1..=2))
///     .init(|_slot| Ok(Vec::new()))
///     .start(|word: &str, running: &mut Running<'_, Vec<String>>| {
///         running.state.push(word.to_owned());
///         running.state.len()
///     })?;
/// assert_eq!(pool.run("first").await?, 1);
/// pool.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Threads<T, S = ()> {
    limits: Limits,
    name: String,
    stack_size: Option<usize>,
    init: Box<Init<S>>,
    teardown: Option<Box<Teardown<S>>>,
    rules: Rules<T>,
}

impl<T: Send + 'static> Threads<T> {
    /// A pool with these limits, named `pool`, whose workers have no state.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            name: "pool".to_owned(),
            stack_size: None,
            init: Box::new(|_| Ok(())),
            teardown: None,
            rules: Rules::none(),
        }
    }
}

impl<T: Send + 'static, S: 'static> Threads<T, S> {
    /// Makes each worker's state, on its thread and before its first task. It
    /// gets the number of the worker's place; an error or a panic is a failed start.
    #[must_use]
    pub fn init<S2: 'static>(
        self,
        init: impl Fn(u32) -> Result<S2, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Threads<T, S2> {
        Threads {
            limits: self.limits,
            name: self.name,
            stack_size: self.stack_size,
            init: Box::new(init),
            teardown: None,
            rules: self.rules,
        }
    }

    /// Takes a worker's state when it leaves, on its thread. Call it after [`init`](Self::init).
    #[must_use]
    pub fn teardown(mut self, teardown: impl Fn(S) + Send + Sync + 'static) -> Self {
        self.teardown = Some(Box::new(teardown));
        self
    }

    /// What its threads are called, before a hyphen and the number of their place.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The size of each thread's stack in bytes; std's (2 MiB) by default.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Orders the queue by one's own rule. It runs under the pool's lock, so it
    /// has to be quick; if it panics, the rank is 0.
    #[must_use]
    pub fn rank(mut self, rank: impl Rank<T> + 'static) -> Self {
        self.rules.rank = Some(Box::new(rank));
        self
    }

    /// Chooses workers by one's own rule. It runs under the pool's lock, so it
    /// has to be quick; if it panics, the first worker gets the task.
    #[must_use]
    pub fn balance(mut self, balance: impl Balance<T> + 'static) -> Self {
        self.rules.balance = Some(Box::new(balance));
        self
    }

    /// Makes the pool. `run` is what a worker does with a task.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if the limits cannot be kept, or the keeper's thread does not start.
    pub fn start<R, P>(
        self,
        run: impl Fn(T, &mut Running<'_, S, P>) -> R + Send + Sync + 'static,
    ) -> Result<Pool<T, R, P>, PoolError>
    where
        R: Send + 'static,
        P: Send + 'static,
    {
        let limits = self.limits;
        if limits.concurrency > 1 {
            return Err(PoolError::Concurrency(limits.concurrency));
        }
        if limits.max_memory.is_some() {
            return Err(PoolError::Memory);
        }
        let machine = self.rules.rule(Dispatcher::new(limits.plan())?);
        let most = limits.abandoned.unwrap_or(*limits.workers.end());
        let force = Force::Abandon(most as usize);
        let shared = Arc::new(Shared::new(machine, force, Bell::thread()));
        let crew = Crew {
            name: self.name,
            stack_size: self.stack_size,
            body: Arc::new(Body {
                init: self.init,
                teardown: self.teardown,
                run,
            }),
            shared: Arc::clone(&shared),
        };
        let keeper = Builder::new().name(format!("{}-keeper", crew.name));
        keeper
            .spawn(move || crew.keep())
            .map_err(PoolError::Keeper)?;
        Ok(Pool::new(shared, &limits))
    }
}

impl<T, S> fmt::Debug for Threads<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What every worker does.
struct Body<S, F> {
    init: Box<Init<S>>,
    teardown: Option<Box<Teardown<S>>>,
    run: F,
}

/// The keeper: starts and joins threads, and minds the time.
struct Crew<T, R, P, S, F> {
    name: String,
    stack_size: Option<usize>,
    body: Arc<Body<S, F>>,
    shared: Arc<Shared<T, R, P>>,
}

impl<T, R, P, S, F> Crew<T, R, P, S, F>
where
    T: Send + 'static,
    R: Send + 'static,
    P: Send + 'static,
    S: 'static,
    F: Fn(T, &mut Running<'_, S, P>) -> R + Send + Sync + 'static,
{
    fn keep(self) {
        let mut threads: BTreeMap<WorkerId, JoinHandle<()>> = BTreeMap::new();
        while let Some(chores) = self.shared.next_chores_blocking() {
            for (worker, inbox) in chores.start {
                match self.spawn(worker, inbox) {
                    Ok(thread) => {
                        threads.insert(worker, thread);
                    }
                    Err(error) => self
                        .shared
                        .left(worker, Some(Death::from(error.to_string()))),
                }
            }
            for worker in chores.join {
                if let Some(thread) = threads.remove(&worker) {
                    // Its panics were caught where they belong.
                    let _ = thread.join();
                }
            }
        }
        // What is left is abandoned: there is no way to wait for its end.
        drop(threads);
        self.shared.keeper_left();
    }

    fn spawn(&self, worker: WorkerId, inbox: Post<T, R, P>) -> io::Result<JoinHandle<()>> {
        let mut thread = Builder::new().name(format!("{}-{}", self.name, worker.slot));
        if let Some(bytes) = self.stack_size {
            thread = thread.stack_size(bytes);
        }
        let (body, shared) = (Arc::clone(&self.body), Arc::clone(&self.shared));
        thread.spawn(move || {
            let failure = work(&body, &shared, worker, &inbox).err();
            shared.left(worker, failure.map(Death::from));
        })
    }
}

/// The life of a worker; the error is why it was never ready.
fn work<T, R, P, S, F>(
    body: &Body<S, F>,
    shared: &Shared<T, R, P>,
    worker: WorkerId,
    inbox: &Inbox<T, R, P>,
) -> Result<(), String>
where
    T: Send,
    R: Send,
    P: Send,
    F: Fn(T, &mut Running<'_, S, P>) -> R,
{
    let made = catch_unwind(AssertUnwindSafe(|| (body.init)(worker.slot)));
    let mut state = match made {
        Ok(Ok(state)) => state,
        Ok(Err(error)) => return Err(format!("init failed: {error}")),
        Err(panic) => return Err(format!("init panicked: {}", words(&*panic))),
    };
    shared.started(worker, None);
    let mut next = None;
    while let Some(Assignment { id, task, ticket }) = next.or_else(|| inbox.next_task_blocking()) {
        let mut running = Running {
            state: &mut state,
            link: &*ticket,
            slot: worker.slot,
            id,
        };
        // The task is lost in a panic, and so is the worker's state: both are
        // never seen again, so nobody sees them half changed.
        let run = AssertUnwindSafe(|| ticket.in_span(|| (body.run)(task, &mut running)));
        let result = catch_unwind(run).map_err(|panic| TaskError::Panicked {
            message: words(&*panic),
        });
        next = shared.finished_next(worker, id, &ticket, result);
    }
    let end = || match &body.teardown {
        Some(teardown) => teardown(state),
        None => drop(state),
    };
    // The panic hook has printed it; the worker leaves either way.
    let _ = catch_unwind(AssertUnwindSafe(end));
    Ok(())
}

/// What a panic said.
pub(super) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned())
}
