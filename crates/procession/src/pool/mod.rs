//! How is work spread over a few workers, without a queue that grows or a task that never ends?
//!
//! **A thread cannot be killed.** A task on a thread ends because it looks at
//! [`Running::is_canceled`], or not at all. One that does not end within the
//! grace period is *abandoned*: who waits for it gets an error, its thread is
//! replaced, and goes on until the task returns by itself, if ever.
//! [`Pool::abandoned`] says how many such threads there are.
//!
//! ```
//! use procession::pool::{Limits, Pool};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let pool = Pool::threads(Limits::new(1..=4), |n: u64| n * n)?;
//! assert_eq!(pool.run(12).await?, 144);
//!
//! let mut squares = pool.map(1..=3);
//! let mut sum = 0;
//! while let Some(square) = squares.next().await {
//!     sum += square?;
//! }
//! assert_eq!(sum, 1 + 4 + 9);
//! pool.close().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each task that was accepted ends once, with a result or a [`TaskError`];
//! one that never ran comes back in it. The queue is bounded: when it is full,
//! [`Pool::run`] gives the task back, while [`Pool::map`] and
//! [`Pool::as_completed`] wait.
//!
//! A pool of threads needs no runtime: what is async here runs on any, and
//! [`Pool::run_blocking`], [`Submitted::wait_blocking`], [`Events::next_blocking`]
//! and [`Pool::close_blocking`] on none; nothing else has such a form. One of
//! processes lives in the runtime that it was made in, and they may be called
//! beside it; [`Worker::serve_blocking`] is for a worker without one.
//!
//! # Node
//!
//! What piscina, workerpool and tinypool are for. Different on purpose: the
//! queue has a bound, an idle worker stays for a while, cancelling asks before
//! it uses force, the order is strict, and a panic is the task's alone.

mod ahead;
mod call;
mod claims;
mod death;
mod error;
mod events;
mod inbox;
mod limits;
mod line;
mod map;
mod payload;
mod places;
mod processes;
mod rules;
mod serve;
mod shared;
mod state;
mod submitted;
mod sync;
mod tended;
mod threads;
mod ticket;
mod trace;
mod wire;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use call::{Call, Method, Methods, Reply};
pub use death::{Cause, Death};
pub use error::{CloseError, TaskError};
pub use events::{Event, Events};
pub use limits::{Limits, PoolError, Terms};
pub use map::{AsCompleted, Map};
pub use payload::Payload;
pub use processes::{Processes, node_methods, node_task};
pub use procession_core::pool::{
    Balance, Discipline, Histogram, Load, PlanError, Rank, Stats, Stopped, TaskId, WorkerId,
};
pub use submitted::Submitted;
pub use threads::{Running, Threads};
pub use worker::{ServeError, Worker};

use procession_core::pool::{Refusal, Refused, Terms as PlainTerms, Unfinished};
use shared::Shared;
use state::{Job, State};
use submitted::block_on;
use ticket::Ticket;

/// Workers that run tasks: from `T` to `R`, with news of type `P` in between.
///
/// A clone is another handle on the same pool. When the last one is dropped,
/// the pool closes: what was accepted and is still waited for, or was
/// [detached](Submitted::detach), goes on for [`Limits::close_timeout`].
pub struct Pool<T, R, P = ()> {
    handle: Arc<Handle<T, R, P>>,
    /// Tasks at a time that keep all workers busy.
    width: usize,
}

/// Closes the pool when nobody holds it any more.
struct Handle<T, R, P> {
    shared: Arc<Shared<T, R, P>>,
    close_timeout: Duration,
}

impl<T, R> Pool<T, R>
where
    T: Send + 'static,
    R: Send + 'static,
{
    /// A pool of threads that all do the same; see [`Threads`] for more.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if the limits cannot be kept, or the keeper's thread does not start.
    pub fn threads(
        limits: Limits,
        run: impl Fn(T) -> R + Send + Sync + 'static,
    ) -> Result<Self, PoolError> {
        Threads::new(limits).start(move |task, _: &mut Running<'_>| run(task))
    }
}

impl<T, R, P> Pool<T, R, P> {
    fn new(shared: Arc<Shared<T, R, P>>, limits: &Limits) -> Self {
        let close_timeout = limits.close_timeout;
        let handle = Handle {
            shared,
            close_timeout,
        };
        Self {
            handle: Arc::new(handle),
            width: (*limits.workers.end() as usize).saturating_mul(2),
        }
    }

    /// Runs a task and waits for its result.
    ///
    /// # Errors
    ///
    /// [`TaskError`]; a task that never ran is in it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the task.
    pub async fn run(&self, task: T) -> Result<R, TaskError<T>> {
        self.submit(task, Terms::default())?.await
    }

    /// Runs a task on terms of its own and waits for its result.
    ///
    /// # Errors
    ///
    /// [`TaskError`]; a task that never ran is in it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the task.
    pub async fn run_with(&self, task: T, terms: Terms) -> Result<R, TaskError<T>> {
        self.submit(task, terms)?.await
    }

    /// Runs a task and waits without a runtime. Not for async code: it blocks the thread.
    ///
    /// # Errors
    ///
    /// [`TaskError`]; a task that never ran is in it.
    pub fn run_blocking(&self, task: T) -> Result<R, TaskError<T>> {
        self.submit(task, Terms::default())?.wait_blocking()
    }

    /// Hands a task over, and does not wait.
    ///
    /// # Errors
    ///
    /// [`TaskError::QueueFull`] and [`TaskError::Closed`] give the task back.
    pub fn try_run(&self, task: T) -> Result<Submitted<T, R, P>, TaskError<T>> {
        self.submit(task, Terms::default())
    }

    /// Hands a task over on terms of its own, and does not wait.
    ///
    /// # Errors
    ///
    /// [`TaskError::QueueFull`] and [`TaskError::Closed`] give the task back.
    pub fn submit(&self, task: T, terms: Terms) -> Result<Submitted<T, R, P>, TaskError<T>> {
        let plain = PlainTerms {
            priority: terms.priority,
            queue_timeout: terms.queue_timeout,
            run_timeout: terms.run_timeout,
        };
        let token = terms.cancel;
        // A task that is given up must not cancel what others do with the token.
        let own = token.as_ref().map(|token| token.child_token());
        let ticket = Arc::new(Ticket::new(own));
        let job = Job {
            task,
            ticket: Arc::clone(&ticket),
        };
        let shared = &self.handle.shared;
        match shared.submit(job, plain) {
            Ok(id) => Ok(Submitted::new(id, ticket, Arc::clone(&self.handle), token)),
            Err(Refused { task, why }) => Err(match why {
                Refusal::Full => {
                    shared.feed.tell(|| Event::Full);
                    TaskError::QueueFull(task.task)
                }
                Refusal::Closed => TaskError::Closed(task.task),
            }),
        }
    }

    /// Runs many tasks and gives their results in order. Tasks are taken from
    /// the iterator as there is room for them.
    pub fn map<I>(&self, tasks: I) -> Map<I::IntoIter, T, R, P>
    where
        I: IntoIterator<Item = T>,
    {
        Map::new(self.clone(), tasks.into_iter(), self.width)
    }

    /// Runs many tasks and gives their results as they come. Tasks are taken
    /// from the iterator as there is room for them.
    pub fn as_completed<I>(&self, tasks: I) -> AsCompleted<I::IntoIter, T, R, P>
    where
        I: IntoIterator<Item = T>,
    {
        AsCompleted::new(self.clone(), tasks.into_iter(), self.width)
    }

    /// Waits until the queue has room, or the pool is closed. Somebody else
    /// may be quicker.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn room(&self) {
        let shared = &self.handle.shared;
        shared.until(|state| state.has_room()).await;
    }

    /// Waits until every task that was accepted has ended. The pool stays open.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn drained(&self) {
        let shared = &self.handle.shared;
        shared.until(|state| state.machine.is_drained()).await;
    }

    /// Takes no more tasks, finishes those that it has, and waits until all
    /// threads have ended but those that are abandoned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the pool closing.
    pub async fn close(&self) {
        self.handle.shared.close(None);
        self.ended().await;
    }

    /// The same; what is not finished in this time is [destroyed](Self::destroy).
    ///
    /// # Errors
    ///
    /// [`CloseError`] if the time passed first: this one, or that of somebody
    /// else who closes the pool. It has ended all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the pool closing.
    ///
    /// # Node
    ///
    /// piscina's `closeTimeout` and tinypool's `terminateTimeout`, which are
    /// errors too.
    pub async fn close_within(&self, limit: Duration) -> Result<(), CloseError> {
        self.handle.shared.close(Some(limit));
        self.ended().await;
        match self.handle.shared.unfinished() {
            Some(Unfinished { waiting, running }) => Err(CloseError { waiting, running }),
            None => Ok(()),
        }
    }

    /// [`close`](Self::close) without a runtime. Not for async code: it blocks the thread.
    pub fn close_blocking(&self) {
        block_on(self.close());
    }

    /// Takes no more tasks, gives back those that wait, asks those that run to
    /// end, and waits until all threads have ended but those that are
    /// abandoned: for two grace periods at most.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the pool on its way to the end.
    pub async fn destroy(&self) {
        self.handle.shared.destroy();
        self.ended().await;
    }

    async fn ended(&self) {
        self.handle.shared.until(State::is_done).await;
    }

    /// Cancels all tasks that wait; those that run go on.
    pub fn cancel_waiting(&self) {
        let shared = &self.handle.shared;
        shared.with(None, |state, now| state.machine.cancel_waiting(now));
    }

    /// Replaces each worker as soon as it has finished what it has.
    pub fn recycle(&self) {
        let shared = &self.handle.shared;
        shared.with(None, |state, now| state.machine.recycle(now));
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.handle.shared.feed.listen()
    }

    /// How it is going.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats().0
    }

    /// Threads that are still busy with a task that has ended for everybody else.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.handle.shared.stats().1
    }
}

impl<T, R, P> Handle<T, R, P> {
    fn cancel(&self, id: TaskId) {
        self.shared
            .with(None, |state, now| state.machine.cancel(id, now));
    }
}

impl<T, R, P> Drop for Handle<T, R, P> {
    fn drop(&mut self) {
        self.shared.close(Some(self.close_timeout));
    }
}

impl<T, R, P> Clone for Pool<T, R, P> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            width: self.width,
        }
    }
}

impl<T, R, P> fmt::Debug for Pool<T, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("Pool")
            .field("workers", &stats.workers)
            .field("queued", &stats.queued)
            .field("running", &stats.running)
            .finish_non_exhaustive()
    }
}
