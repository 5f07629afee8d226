//! One message for everybody in the tree who listens under a name.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_core::ipc::json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::super::{Lagged, blocking};
use super::error::{BroadcastError, HubError};
use super::hub::{Hub, check_name};
use super::wire::ToHub;

/// How many messages are kept for a listener, unless it says otherwise.
const KEPT: usize = 64;

/// A channel by name: what one posts, all others of this name at the hub receive,
/// in this process and in others, all in the same order.
///
/// Two bounds, and nobody is held up at either: for each listener a number of messages
/// is kept, 64 unless [asked otherwise](Self::with_capacity), and the oldest are
/// lost; for a process that does not even read, the hub keeps 1 MiB, and what comes
/// then is lost. The next `recv` says [how many](Lagged). Closed by being dropped.
///
/// # Node
///
/// `BroadcastChannel`, within one process there, and without a bound.
pub struct BroadcastChannel<T> {
    hub: Hub,
    name: String,
    id: u64,
    inbox: Arc<Inbox>,
    types: PhantomData<fn(T) -> T>,
}

/// What came for one listener.
#[derive(Default)]
pub(super) struct Inbox {
    kept: usize,
    came: Mutex<Came>,
    /// Told whenever something came; the listener alone waits for it.
    news: Notify,
}

#[derive(Default)]
struct Came {
    messages: VecDeque<Arc<str>>,
    missed: u64,
    is_closed: bool,
}

impl Inbox {
    pub(super) fn push(&self, message: Arc<str>) {
        let mut came = self.lock();
        if came.messages.len() >= self.kept {
            came.messages.pop_front();
            came.missed += 1;
        }
        came.messages.push_back(message);
        drop(came);
        self.news.notify_one();
    }

    pub(super) fn miss(&self, count: u64) {
        self.lock().missed += count;
        self.news.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Came> {
        // Nothing panics between two changes that belong together.
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Serialize + DeserializeOwned> BroadcastChannel<T> {
    /// Listens under this name from now on, and may post to the others.
    ///
    /// # Errors
    ///
    /// [`HubError::Name`], [`HubError::TooMany`], [`HubError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call listens to nothing.
    pub async fn open(hub: &Hub, name: &str) -> Result<Self, HubError> {
        Self::with_capacity(hub, name, KEPT).await
    }

    /// As [`open`](Self::open); so many messages, at least one, are kept for this listener.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn with_capacity(hub: &Hub, name: &str, kept: usize) -> Result<Self, HubError> {
        check_name(name)?;
        let inbox = Arc::new(Inbox {
            kept: kept.max(1),
            ..Inbox::default()
        });
        let listener = Self {
            hub: hub.clone(),
            name: name.to_owned(),
            id: hub.place.add_listener(name, &inbox)?,
            inbox,
            types: PhantomData,
        };
        let mut question = hub.place.ask();
        let (id, name) = (question.id, name.to_owned());
        hub.place.say(&ToHub::Listen { id, name }).await?;
        question.answer().await?;
        Ok(listener)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Posts to everybody else of this name. Waits only while 1 MiB waits for the hub to read it.
    ///
    /// # Errors
    ///
    /// [`HubError::Closed`], [`HubError::Message`].
    ///
    /// # Cancel safety
    ///
    /// A dropped post has posted nothing.
    pub async fn post(&self, message: &T) -> Result<(), HubError> {
        self.hub.place.say(&self.letter(message)?).await
    }

    /// Posts if there is room.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post), and [`HubError::Full`].
    pub fn try_post(&self, message: &T) -> Result<(), HubError> {
        self.hub.place.try_say(&self.letter(message)?)
    }

    /// As [`post`](Self::post), for threads beside the runtime.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn post_blocking(&self, message: &T) -> Result<(), HubError> {
        blocking::wait(self.post(message))
    }

    fn letter(&self, message: &T) -> Result<ToHub, HubError> {
        let mut body = Vec::new();
        json::encode(message, &mut body).map_err(|error| self.hub.place.cannot_encode(error))?;
        Ok(ToHub::Post {
            name: self.name.clone(),
            from: self.id,
            // JSON is UTF-8.
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// Waits for the next message of another one.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`]. After [`BroadcastError::Closed`] nothing comes any more;
    /// what had come before is received first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no message.
    pub async fn recv(&mut self) -> Result<T, BroadcastError> {
        loop {
            if let Some(message) = self.try_recv()? {
                return Ok(message);
            }
            // One that came since we looked has left a permit.
            self.inbox.news.notified().await;
        }
    }

    /// As [`recv`](Self::recv), for threads beside the runtime.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn recv_blocking(&mut self) -> Result<T, BroadcastError> {
        blocking::wait(self.recv())
    }

    /// Takes a message that is there already; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`].
    pub fn try_recv(&mut self) -> Result<Option<T>, BroadcastError> {
        let mut came = self.inbox.lock();
        let missed = std::mem::take(&mut came.missed);
        if missed > 0 {
            return Err(Lagged { missed }.into());
        }
        let Some(body) = came.messages.pop_front() else {
            return if came.is_closed {
                Err(BroadcastError::Closed)
            } else {
                Ok(None)
            };
        };
        drop(came);
        let message = json::decode(body.as_bytes(), json::MAX_DEPTH);
        message.map(Some).map_err(|source| BroadcastError::Decode {
            name: self.name.clone(),
            source,
        })
    }
}

impl<T> Drop for BroadcastChannel<T> {
    fn drop(&mut self) {
        self.hub.place.remove_listener(&self.name, self.id);
    }
}

impl<T> fmt::Debug for BroadcastChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastChannel")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
