//! What a task's worker and who waits for it share.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::CancellationToken;

use super::error::TaskError;
use super::sync::{AtomicBool, Mutex, MutexGuard, OnceLock, Ordering};

/// A ticket, held at both ends.
pub(super) type Slip<T, R, P> = Arc<Ticket<T, R, P>>;

/// Progress that is kept for who has not looked yet; then the oldest is dropped.
pub(super) const PROGRESS: usize = 64;

#[derive(Debug)]
pub(super) struct Ticket<T, R, P> {
    inside: Mutex<Inside<T, R, P>>,
    /// Both only change under the lock.
    is_asked: AtomicBool,
    token: OnceLock<CancellationToken>,
    /// Where it was submitted.
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

#[derive(Debug)]
struct Inside<T, R, P> {
    result: Option<Result<R, TaskError<T>>>,
    is_over: bool,
    waiting: Option<Waker>,
    #[expect(
        clippy::box_collection,
        reason = "most tasks tell nothing, and are the smaller for it"
    )]
    progress: Option<Box<VecDeque<P>>>,
}

impl<T, R, P> Ticket<T, R, P> {
    pub(super) fn new(token: Option<CancellationToken>) -> Self {
        let inside = Inside {
            result: None,
            is_over: false,
            waiting: None,
            progress: None,
        };
        Self {
            inside: Mutex::new(inside),
            is_asked: AtomicBool::new(false),
            token: token.map_or_else(OnceLock::new, OnceLock::from),
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }

    /// Runs something within the span that was current when the task was submitted.
    pub(super) fn in_span<X>(&self, run: impl FnOnce() -> X) -> X {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        run()
    }

    /// Nothing that can panic, and no foreign code, runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Inside<T, R, P>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how the task ended; only the first time counts.
    pub(super) fn end(&self, result: Result<R, TaskError<T>>) {
        let waiting = {
            let mut inside = self.lock();
            if inside.is_over {
                return;
            }
            inside.is_over = true;
            inside.result = Some(result);
            inside.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    pub(super) fn poll_result(&self, cx: &Context<'_>) -> Poll<Result<R, TaskError<T>>> {
        let mut inside = self.lock();
        if let Some(result) = inside.result.take() {
            return Poll::Ready(result);
        }
        inside.wait(cx);
        Poll::Pending
    }

    /// What the task told last; `None` once it has ended and all was read.
    pub(super) fn poll_progress(&self, cx: &Context<'_>) -> Poll<Option<P>> {
        let mut inside = self.lock();
        if let Some(progress) = inside.progress.as_mut().and_then(|told| told.pop_front()) {
            return Poll::Ready(Some(progress));
        }
        if inside.is_over {
            return Poll::Ready(None);
        }
        inside.wait(cx);
        Poll::Pending
    }

    /// Whether the task can know that it is to end.
    pub(super) fn sees_cancel(&self) -> bool {
        let token = self.token.get();
        self.is_asked.load(Ordering::Acquire) || token.is_some_and(CancellationToken::is_cancelled)
    }

    /// Remembers that the task is to end. The token is for the caller to
    /// cancel, under no lock.
    pub(super) fn ask(&self) -> Option<CancellationToken> {
        let _inside = self.lock();
        self.is_asked.store(true, Ordering::Release);
        self.token.get().cloned()
    }
}

impl<T, R, P> Inside<T, R, P> {
    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// What a running task sees of its ticket, whatever its type.
pub(super) trait Link<P>: Sync {
    fn is_canceled(&self) -> bool;
    fn token(&self) -> CancellationToken;
    fn tell(&self, progress: P);
}

impl<T: Send, R: Send, P: Send> Link<P> for Ticket<T, R, P> {
    fn is_canceled(&self) -> bool {
        self.sees_cancel()
    }

    fn token(&self) -> CancellationToken {
        let inside = self.lock();
        let is_asked = self.is_asked.load(Ordering::Acquire);
        let token = self.token.get_or_init(CancellationToken::new).clone();
        drop(inside);
        if is_asked {
            token.cancel();
        }
        token
    }

    fn tell(&self, progress: P) {
        let (waiting, oldest) = {
            let mut inside = self.lock();
            if inside.is_over {
                return;
            }
            let told = inside.progress.get_or_insert_default();
            let is_full = told.len() >= PROGRESS;
            let oldest = is_full.then(|| told.pop_front());
            told.push_back(progress);
            (inside.waiting.take(), oldest)
        };
        // Its destructor is foreign code.
        drop(oldest);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}
