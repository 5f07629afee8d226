//! Waiting for a future on a thread that has no runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::sync::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Parks this thread until the future is ready.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    match wait_until(future, None) {
        Some(output) => output,
        None => unreachable!("there is no deadline"),
    }
}

/// Parks this thread until the future is ready; `None` when the deadline came first.
pub(super) fn wait_until<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    panic_in_async_code();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                Some(_) | None => return None,
            },
        }
    }
}

/// As [`panic_in_async_code`], for a call that most often need not wait, which a third of its
/// time would go to. In a release build it is looked at only by one that waits.
pub(super) fn might_wait() {
    if cfg!(debug_assertions) {
        panic_in_async_code();
    }
}

/// A blocking call among a runtime's tasks stops all of them, for ever if the
/// awaited one is among them. tokio alone knows where we are, and says so by a panic.
pub(super) fn panic_in_async_code() {
    if Handle::try_current().is_err() {
        // A thread of nobody's, which is the usual and has to be quick.
        return;
    }
    let (tx, rx) = oneshot::channel();
    if tx.send(()).is_ok() {
        // It is there already.
        drop(rx.blocking_recv());
    }
}

/// When a wait of this length ends; none for one that is too long to be counted.
pub(super) fn deadline(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}
