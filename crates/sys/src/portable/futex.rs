//! Waiting for a cell by looking at it: POSIX has no wait for memory that processes share
//! but by objects that a peer which dies, or lies, can break.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::shared_memory::{WAITING, Waited};

pub(crate) const NOTIFIES_ARE_COUNTED: bool = false;

const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

pub(crate) fn wait(cell: &AtomicU32, expected: u32, limit: Option<Duration>) -> Waited {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    look(cell, expected, || is_over().then_some(Waited::TimedOut))
}

/// As `wait`, as long as `state` is `WAITING`.
pub(crate) fn wait_while(cell: &AtomicU32, expected: u32, state: &AtomicU32) -> Waited {
    let is_withdrawn = || state.load(Ordering::SeqCst) != WAITING;
    look(cell, expected, || {
        is_withdrawn().then_some(Waited::Withdrawn)
    })
}

fn look(cell: &AtomicU32, expected: u32, end: impl Fn() -> Option<Waited>) -> Waited {
    let is_changed = || cell.load(Ordering::SeqCst) != expected;
    if is_changed() {
        return Waited::NotEqual;
    }
    loop {
        if is_changed() {
            return Waited::Ok;
        }
        if let Some(end) = end() {
            return end;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// Nobody is woken, so nobody is counted: who waits looks.
pub(crate) fn notify(_: &AtomicU32, _: usize) -> usize {
    0
}
