//! Which connections of a thread have something to do.
//!
//! A thread polls its connections itself, so that they share its buffer and its
//! tally without a lock. Each has a waker of its own, which notes its number here.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The connections of one thread that were woken; each is in it once at most.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<Woken>);

#[derive(Debug, Default)]
struct Woken {
    numbers: Vec<u32>,
    thread: Option<Waker>,
}

impl Ready {
    /// Says whom to wake when there is something to do.
    pub(super) fn belongs_to(&self, thread: &Waker) {
        self.lock().thread = Some(thread.clone());
    }

    /// Moves the numbers into `numbers`, which is empty.
    pub(super) fn take(&self, numbers: &mut Vec<u32>) {
        mem::swap(&mut self.lock().numbers, numbers);
    }

    fn note(&self, number: u32) {
        let mut woken = self.lock();
        woken.numbers.push(number);
        if let ([_], Some(thread)) = (&woken.numbers[..], &woken.thread) {
            thread.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Woken> {
        // A list of numbers is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes one connection.
#[derive(Debug)]
pub(super) struct Bell {
    number: u32,
    rung: AtomicBool,
    ready: Arc<Ready>,
}

impl Bell {
    pub(super) fn new(number: u32, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self {
            number,
            rung: AtomicBool::new(false),
            ready: Arc::clone(ready),
        })
    }

    /// From now on it can be rung again; to be called before the connection is polled.
    pub(super) fn heard(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ready.note(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Count(std::sync::atomic::AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_is_rung_twice_is_noted_once_and_the_thread_is_woken_once() {
        let (ready, count) = (Arc::new(Ready::default()), Arc::new(Count::default()));
        ready.belongs_to(&Waker::from(Arc::clone(&count)));
        let bells = [3, 5].map(|number| Bell::new(number, &ready));
        for bell in [&bells[0], &bells[1], &bells[0]] {
            bell.wake_by_ref();
        }
        let mut numbers = Vec::new();
        ready.take(&mut numbers);
        assert_eq!(numbers, [3, 5]);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        bells[0].heard();
        for bell in &bells {
            bell.wake_by_ref();
        }
        numbers.clear();
        ready.take(&mut numbers);
        assert_eq!(numbers, [3], "the other was not polled yet");
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
