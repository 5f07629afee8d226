//! What happens in a pool, for who wants to see it.

use std::fmt;
use std::sync::{Arc, PoisonError};

use procession_core::pool::WorkerId;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{self, Receiver, Sender};

use super::death::Death;
use super::submitted::block_on;
use super::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use crate::ipc::Message;

/// Events that are kept for who has not looked yet; then the oldest are dropped.
const KEPT: usize = 1024;

/// Something that happened in a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A worker is being started.
    Started {
        /// Which one.
        worker: WorkerId,
    },
    /// A worker is ready for tasks.
    Ready {
        /// Which one.
        worker: WorkerId,
        /// Its process, if it is one.
        pid: Option<u32>,
    },
    /// A worker has ended, or never was ready.
    Left {
        /// Which one.
        worker: WorkerId,
        /// How; always known of a process, of a thread only if it did not become ready.
        death: Option<Death>,
    },
    /// A task was refused: the queue is full.
    Full,
    /// A worker had the last task of all that were accepted, and it has ended.
    Drained,
    /// A worker that is a process sent what is no part of its work: by
    /// `process.send` in a Node module, for instance.
    Message {
        /// Which one.
        worker: WorkerId,
        /// What it sent.
        message: Arc<Message>,
    },
    /// So many events are missing here: they were not taken in time.
    Missed(u64),
}

/// The events of a pool, from when [`Pool::events`](super::Pool::events) was called.
///
/// Nothing waits for who listens. The last 1024 events are kept for each
/// listener; where older ones are missing, [`Event::Missed`] says how many.
///
/// # Node
///
/// piscina's `workerCreate`, `workerDestroy`, `drain` and `message`;
/// workerpool's `onCreateWorker` and `onTerminateWorker`.
pub struct Events {
    /// `None`: the pool had ended before.
    heard: Option<Receiver<Event>>,
}

impl Events {
    /// Waits for the next event; `None` when the pool has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        match self.heard.as_mut()?.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// Takes an event that is here already.
    pub fn try_next(&mut self) -> Option<Event> {
        match self.heard.as_mut()?.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// [`next`](Self::next) without a runtime. Not for async code: it blocks the thread.
    pub fn next_blocking(&mut self) -> Option<Event> {
        block_on(self.next())
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Where a pool tells its events. Costs a look when nobody listens.
pub(super) struct Feed {
    is_on: AtomicBool,
    told: Mutex<Told>,
}

enum Told {
    ToNobody,
    To(Sender<Event>),
    Over,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            told: Mutex::new(Told::ToNobody),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listen(&self) -> Events {
        let mut told = self.lock();
        let heard = match &*told {
            Told::To(sender) => Some(sender.subscribe()),
            Told::Over => None,
            Told::ToNobody => {
                let (sender, heard) = broadcast::channel(KEPT);
                *told = Told::To(sender);
                self.is_on.store(true, Ordering::Relaxed);
                Some(heard)
            }
        };
        Events { heard }
    }

    /// Whether somebody listens, or did.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Not under the pool's lock: it wakes who listens.
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        if !self.is_on() {
            return;
        }
        let sender = match &*self.lock() {
            Told::To(sender) => sender.clone(),
            Told::ToNobody | Told::Over => return,
        };
        // Who listened has gone: it is nothing to them.
        let _ = sender.send(event());
    }

    /// Nothing follows.
    pub(super) fn end(&self) {
        *self.lock() = Told::Over;
    }
}
