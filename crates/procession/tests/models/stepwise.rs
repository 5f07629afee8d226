//! What is made elsewhere, for us in one step each: before it, other threads may run.

use std::sync::{self, LockResult};

use shuttle::sync::MutexGuard;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::futures::Notified;

/// Other threads may run here.
fn step() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// shuttle's own lets others run once it is locked, not before.
#[derive(Debug, Default)]
pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(it: T) -> Self {
        Self(shuttle::sync::Mutex::new(it))
    }

    pub(super) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        step();
        self.0.lock()
    }
}

pub(super) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(super) fn new() -> Self {
        Self(tokio::sync::Notify::new())
    }

    pub(super) fn notified(&self) -> Notified<'_> {
        step();
        self.0.notified()
    }

    pub(super) fn notify_one(&self) {
        step();
        self.0.notify_one();
    }

    pub(super) fn notify_waiters(&self) {
        step();
        self.0.notify_waiters();
    }
}

#[derive(Debug)]
pub(super) struct OnceLock<T>(sync::OnceLock<T>);

impl<T> OnceLock<T> {
    pub(super) fn new() -> Self {
        Self(sync::OnceLock::new())
    }

    pub(super) fn get(&self) -> Option<&T> {
        step();
        self.0.get()
    }

    pub(super) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        step();
        self.0.get_or_init(make)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(it: T) -> Self {
        Self(it.into())
    }
}

/// Its push waits for a pop that is under way, and the reverse: to others both are one step.
#[cfg(feature = "worker-threads")]
pub(super) struct ConcurrentQueue<T>(concurrent_queue::ConcurrentQueue<T>);

#[cfg(feature = "worker-threads")]
impl<T> ConcurrentQueue<T> {
    pub(super) fn bounded(room: usize) -> Self {
        Self(concurrent_queue::ConcurrentQueue::bounded(room))
    }

    pub(super) fn unbounded() -> Self {
        Self(concurrent_queue::ConcurrentQueue::unbounded())
    }

    pub(super) fn push(&self, message: T) -> Result<(), concurrent_queue::PushError<T>> {
        step();
        self.0.push(message)
    }

    pub(super) fn pop(&self) -> Result<T, concurrent_queue::PopError> {
        step();
        self.0.pop()
    }

    pub(super) fn close(&self) -> bool {
        step();
        self.0.close()
    }

    pub(super) fn is_closed(&self) -> bool {
        step();
        self.0.is_closed()
    }
}
