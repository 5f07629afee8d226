//! One test at a time.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::thread::gettid;

static GATE: Mutex<Gate> = Mutex::new(Gate {
    holder: None,
    waiting: BTreeSet::new(),
});
static OPENED: Condvar = Condvar::new();

#[derive(Debug)]
struct Gate {
    /// The thread that was let in.
    holder: Option<u32>,
    waiting: BTreeSet<u32>,
}

/// Keeps every other caller of [`exclusive`] in this process waiting until dropped.
#[derive(Debug)]
#[must_use = "others are let in as soon as it is dropped"]
pub struct Exclusive(());

/// Waits until no other test of this process holds the guard, and takes it.
///
/// [`Oracle::start`](super::Oracle::start) does it by itself. A test without
/// an oracle in the same file takes it too if it starts children or opens
/// descriptors: the oracle of its neighbour could not tell them from leaks.
///
/// Unlike a mutex, a test that panics does not spoil it for the others, and
/// the guard may move to another thread.
///
/// # Panics
///
/// When the thread that took the guard asks again while it is held: it would
/// wait for itself.
pub fn exclusive() -> Exclusive {
    let this = thread_id();
    let mut gate = lock();
    assert!(
        gate.holder != Some(this),
        "this thread already holds `leaks::exclusive()` (an `Oracle` holds it too)"
    );
    gate.waiting.insert(this);
    while gate.holder.is_some() {
        gate = OPENED.wait(gate).unwrap_or_else(PoisonError::into_inner);
    }
    gate.waiting.remove(&this);
    gate.holder = Some(this);
    Exclusive(())
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        lock().holder = None;
        OPENED.notify_one();
    }
}

/// The threads that wait to be let in: tests of the same process whose turn has not come.
pub(super) fn waiting() -> BTreeSet<u32> {
    lock().waiting.clone()
}

fn lock() -> MutexGuard<'static, Gate> {
    // Every change under the lock is a single assignment, so a panic leaves it whole.
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thread_id() -> u32 {
    gettid().as_raw_nonzero().get().unsigned_abs()
}
