//! What is told while a load runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::{Class, Report, Sample};

/// How many events wait to be taken; further ones are dropped.
const MOST_WAITING: usize = 1024;
/// How many of these places are kept free of failures, which can come by the thousand.
const KEPT_FREE: usize = 256;

/// What is told while a load runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The warm-up is over; now it counts.
    Warmed,
    /// A piece of the time line is complete.
    Sample(Sample),
    /// A request failed.
    Failed {
        /// How.
        class: Class,
        /// When, since the start.
        at: Duration,
        /// In words, without the class.
        example: String,
    },
    /// It is over. The last event.
    Done(Box<Report>),
}

/// Where events go.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    /// None: nothing is told.
    waiting: Option<mpsc::Sender<Event>>,
    dropped: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
}

impl Events {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (waiting, taken) = mpsc::channel(MOST_WAITING);
        let events = Self {
            waiting: Some(waiting),
            dropped: Arc::default(),
            answered: Arc::default(),
        };
        (events, taken)
    }

    /// For a load of which nothing is told.
    pub(crate) fn silent() -> Self {
        Self {
            waiting: None,
            dropped: Arc::default(),
            answered: Arc::default(),
        }
    }

    /// How many found no place.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// How many answers there were.
    pub(crate) fn answered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.answered)
    }

    /// So many more answers.
    pub(super) fn count_answers(&self, more: u64) {
        self.answered.fetch_add(more, Ordering::Relaxed);
    }

    /// Tells what is told seldom.
    pub(crate) fn tell(&self, event: Event) {
        if let Some(waiting) = &self.waiting
            && waiting.try_send(event).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells what may come by the thousand; it is made only if there is a place for it.
    pub(super) fn tell_often(&self, event: impl FnOnce() -> Event) {
        let Some(waiting) = &self.waiting else {
            return;
        };
        if waiting.capacity() > KEPT_FREE {
            self.tell(event());
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
