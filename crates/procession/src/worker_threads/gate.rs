//! Where the receiver of a port sleeps.

use std::sync::PoisonError;
use std::task::Waker;

use super::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// Lets one sleeper be woken by many, who pay a look at a flag when nobody sleeps.
///
/// The sleeper says that it [waits](Self::wait), then looks once more for what
/// it waits for. Who brings it does so by a sequentially consistent operation,
/// and then [opens](Self::open) the gate. One of the two sees the other;
/// `tests/models` tries the orders in which they can run.
pub(super) struct Gate {
    is_awaited: AtomicBool,
    sleeper: Mutex<Option<Waker>>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            is_awaited: AtomicBool::new(false),
            sleeper: Mutex::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.sleeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is woken.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut sleeper = self.lock();
        match &mut *sleeper {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        self.is_awaited.store(true, Ordering::SeqCst);
    }

    /// Nobody sleeps after all.
    pub(super) fn leave(&self) {
        self.is_awaited.store(false, Ordering::Relaxed);
    }

    /// Wakes the sleeper, if there is one.
    pub(super) fn open(&self) {
        if self.is_awaited.load(Ordering::SeqCst) {
            let sleeper = {
                let mut sleeper = self.lock();
                self.is_awaited.store(false, Ordering::Relaxed);
                sleeper.take()
            };
            if let Some(sleeper) = sleeper {
                sleeper.wake();
            }
        }
    }
}
