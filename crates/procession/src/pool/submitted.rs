//! A task on its way.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use procession_core::pool::TaskId;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Handle;
use super::error::TaskError;
use super::ticket::Ticket;

/// A task that was accepted: a future of its result.
///
/// Dropping it cancels the task; [`detach`](Self::detach) lets it go on.
#[must_use = "a task is cancelled when this is dropped"]
pub struct Submitted<T, R, P = ()> {
    id: TaskId,
    ticket: Arc<Ticket<T, R, P>>,
    /// Keeps the pool open.
    pool: Arc<Handle<T, R, P>>,
    canceled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    needs_cancel: bool,
}

impl<T, R, P> Submitted<T, R, P> {
    pub(super) fn new(
        id: TaskId,
        ticket: Arc<Ticket<T, R, P>>,
        pool: Arc<Handle<T, R, P>>,
        token: Option<CancellationToken>,
    ) -> Self {
        Self {
            id,
            ticket,
            pool,
            canceled: token.map(|token| Box::pin(token.cancelled_owned())),
            needs_cancel: true,
        }
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Cancels the task: at once if it waits, by asking it to end if it runs.
    /// The answer says how that went.
    pub fn cancel(&self) {
        self.pool.cancel(self.id);
    }

    /// Lets the task go on without anybody waiting for it.
    pub fn detach(mut self) {
        self.needs_cancel = false;
    }

    /// Waits for what the task tells next; `None` when it has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was not returned is returned next time.
    pub async fn next_progress(&mut self) -> Option<P> {
        poll_fn(|cx| {
            self.hear_token(cx);
            self.ticket.poll_progress(cx)
        })
        .await
    }

    /// Waits without a runtime. Not for async code: it blocks the thread.
    ///
    /// # Errors
    ///
    /// As [`Pool::run`](super::Pool::run).
    pub fn wait_blocking(self) -> Result<R, TaskError<T>> {
        block_on(self)
    }

    /// Passes the cancellation of the caller's token on to the pool, once.
    fn hear_token(&mut self, cx: &mut Context<'_>) {
        if let Some(canceled) = &mut self.canceled
            && canceled.as_mut().poll(cx).is_ready()
        {
            self.canceled = None;
            self.pool.cancel(self.id);
        }
    }
}

impl<T, R, P> Future for Submitted<T, R, P> {
    type Output = Result<R, TaskError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.hear_token(cx);
        let result = self.ticket.poll_result(cx);
        if result.is_ready() {
            self.needs_cancel = false;
        }
        result
    }
}

impl<T, R, P> Drop for Submitted<T, R, P> {
    fn drop(&mut self) {
        if self.needs_cancel {
            self.pool.cancel(self.id);
        }
    }
}

impl<T, R, P> fmt::Debug for Submitted<T, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitted")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Polls a future on this thread, which sleeps meanwhile.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
