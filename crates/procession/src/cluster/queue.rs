//! The events that wait for whoever asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::event::Event;

/// Events that may wait. Messages then wait in their workers; of all else the
/// new is dropped and counted: a primary does not stop because nobody listens.
const WAITING: usize = 256;

/// Of these, places that output does not take: a flood of it crowds out nothing else.
const RESERVED: usize = 64;

/// Tells events.
#[derive(Clone, Debug)]
pub(super) struct EventSender {
    events: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
}

impl EventSender {
    pub(super) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(WAITING);
        let dropped = Arc::default();
        (Self { events, dropped }, receiver)
    }

    /// Waits until there is room.
    pub(super) async fn send(&self, event: Event) {
        // Nobody listens: as good as told.
        let _ = self.events.send(event).await;
    }

    /// As [`tell`](Self::tell), for output.
    pub(super) fn tell_output(&self, event: Event) -> bool {
        self.events.capacity() > RESERVED && self.tell(event)
    }

    /// Says whether there was room.
    pub(super) fn tell(&self, event: Event) -> bool {
        let told = !matches!(
            self.events.try_send(event),
            Err(mpsc::error::TrySendError::Full(_))
        );
        if !told {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        told
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
