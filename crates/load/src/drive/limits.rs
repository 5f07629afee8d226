//! What all threads of a load count together.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::{Spec, Until};

/// Ends a load from anywhere.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    over: AtomicBool,
    drains: AtomicBool,
    threads: Mutex<Vec<Waker>>,
}

impl Halt {
    /// It is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Ends it now, and tells the threads that registered.
    pub(crate) fn now(&self) {
        self.over.store(true, Ordering::Release);
        for thread in self.lock().drain(..) {
            thread.wake();
        }
    }

    /// No further request is begun.
    pub(super) fn drains(&self) -> bool {
        self.drains.load(Ordering::Acquire)
    }

    /// From now on no request is begun; wakes the threads that registered.
    pub(crate) fn drain(&self) {
        self.drains.store(true, Ordering::Release);
        self.lock().iter().for_each(Waker::wake_by_ref);
    }

    /// Has a thread woken when it is over or drains; it looks at both after that.
    pub(super) fn register(&self, thread: &Waker) {
        self.lock().push(thread.clone());
    }

    /// Nobody is there any more to be woken.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests and failures are left; no limit is `None`.
#[derive(Debug)]
pub(super) struct Limits {
    requests: Option<AtomicU64>,
    failures: Option<AtomicU64>,
}

/// What a failure means for the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// It goes on.
    More,
    /// This is the last one that counts.
    Last,
    /// It was over before.
    Over,
}

impl Limits {
    pub(super) fn of(spec: &Spec) -> Self {
        let until = match spec.until {
            Until::Requests(most) => Some(most),
            Until::Elapsed(_) | Until::Stopped => None,
        };
        let most = [until, spec.most_requests].into_iter().flatten().min();
        let counter = |most: NonZeroU64| AtomicU64::new(most.get());
        Self {
            requests: most.map(counter),
            failures: spec.bailout.map(counter),
        }
    }

    /// Takes one of the requests that are left.
    pub(super) fn take(&self) -> bool {
        let Some(left) = &self.requests else {
            return true;
        };
        take(left).is_some()
    }

    /// Counts a failure.
    pub(super) fn fail(&self) -> Allowance {
        match self.failures.as_ref().map(take) {
            None | Some(Some(2..)) => Allowance::More,
            Some(Some(_)) => Allowance::Last,
            Some(None) => Allowance::Over,
        }
    }
}

/// Takes one, and says how many there were; `None` if there was none.
fn take(left: &AtomicU64) -> Option<u64> {
    let one_less = |left: u64| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    #[test]
    fn the_smaller_limit_holds_and_is_used_up_exactly() {
        let mut spec = Spec::new(Target::parse("http://localhost").unwrap());
        assert!(Limits::of(&spec).take());
        assert_eq!(Limits::of(&spec).fail(), Allowance::More);
        spec.until = Until::Requests(NonZeroU64::new(5).unwrap());
        spec.most_requests = NonZeroU64::new(3);
        spec.bailout = NonZeroU64::new(2);
        let limits = Limits::of(&spec);
        assert_eq!((0..9).filter(|_| limits.take()).count(), 3);
        let failures: Vec<_> = (0..4).map(|_| limits.fail()).collect();
        assert_eq!(
            failures,
            [
                Allowance::More,
                Allowance::Last,
                Allowance::Over,
                Allowance::Over
            ]
        );
    }
}
