//! What a process was sent while it has a task, as the task that owns it sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use procession_core::pool::{TaskId, WorkerId};

use super::claims::Claims;
use super::payload;
use super::shared::Shared;
use crate::ipc::Handle;

/// A longer task is not sent ahead. So all of them fit into the socket, and a
/// cancellation is not held up behind them.
const SMALL: usize = 8 * 1024;

/// The tasks that a worker may have taken, or not.
pub(super) struct Ahead<T, R, P> {
    shared: Arc<Shared<T, R, P>>,
    worker: WorkerId,
    places: Places,
    /// Whether the pool sends any.
    is_open: bool,
    tasks: BTreeMap<TaskId, (u32, T)>,
}

/// How far the worker is with places for tasks.
enum Places {
    None,
    Asked,
    /// They are on their way to it.
    Sent(Claims),
    Shared(Claims),
}

impl<T, R, P> Ahead<T, R, P> {
    pub(super) fn new(shared: Arc<Shared<T, R, P>>, worker: WorkerId) -> Self {
        Self {
            shared,
            worker,
            places: Places::None,
            is_open: false,
            tasks: BTreeMap::new(),
        }
    }

    /// The worker asks for places; says whether that is new.
    pub(super) fn asked(&mut self) -> bool {
        let is_new = matches!(self.places, Places::None);
        if is_new {
            self.places = Places::Asked;
        }
        is_new
    }

    /// Places for tasks, to be sent to the worker.
    pub(super) fn claims(&mut self) -> Option<Handle> {
        // Without memory for them it goes as it does with others.
        let claims = Claims::new().ok()?;
        let handle = claims.to_handle().ok()?;
        self.places = Places::Sent(claims);
        Some(handle)
    }

    /// The worker has the places.
    pub(super) fn ready(&mut self) {
        self.places = match std::mem::replace(&mut self.places, Places::None) {
            Places::Sent(claims) | Places::Shared(claims) => Places::Shared(claims),
            unsent @ (Places::None | Places::Asked) => unsent,
        };
    }

    fn shared_claims(&self) -> Option<&Claims> {
        match &self.places {
            Places::Shared(claims) => Some(claims),
            Places::None | Places::Asked | Places::Sent(_) => None,
        }
    }

    /// A task was sent in its turn: those that come next will be as long.
    pub(super) fn learn(&mut self, is_small: bool) {
        self.open(is_small && self.shared_claims().is_some());
    }

    /// Nothing is to come for now.
    pub(super) fn close(&mut self) {
        self.open(false);
    }

    fn open(&mut self, is_open: bool) {
        if self.is_open != is_open {
            self.is_open = is_open;
            self.shared.takes_ahead(self.worker, is_open);
        }
    }

    /// A place for a task that is about to be sent.
    pub(super) fn offer(&mut self) -> Option<u32> {
        match &mut self.places {
            Places::Shared(claims) => claims.offer(),
            Places::None | Places::Asked | Places::Sent(_) => None,
        }
    }

    /// It was sent.
    pub(super) fn sent(&mut self, id: TaskId, claim: u32, task: T) {
        self.tasks.insert(id, (claim, task));
    }

    /// It was not sent, for want of room: all that follows is to wait.
    pub(super) fn unsent(&mut self, id: TaskId, task: T) {
        self.close();
        self.shared.recalled(self.worker, id, task);
    }

    /// Nothing was sent for which there was a place.
    pub(super) fn leave(&self, claim: u32) {
        if let Some(claims) = self.shared_claims() {
            claims.take(claim);
        }
    }

    /// Gets a task back that has not begun; says whether it did.
    pub(super) fn recall(&mut self, id: TaskId) -> bool {
        let is_back = |(claim, _): &(u32, T)| {
            let claims = self.shared_claims();
            claims.is_some_and(|claims| claims.take(*claim))
        };
        if !self.tasks.get(&id).is_some_and(is_back) {
            return false;
        }
        if let Some((_, task)) = self.tasks.remove(&id) {
            self.shared.recalled(self.worker, id, task);
        }
        true
    }

    /// The same for all: the worker is dead.
    pub(super) fn recall_all(&mut self) {
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            self.recall(id);
        }
    }

    /// It has ended.
    pub(super) fn ended(&mut self, id: TaskId) {
        self.tasks.remove(&id);
    }
}

/// Whether the task that is being written, of this length so far, may go ahead.
pub(super) fn is_small(length: usize) -> bool {
    length <= SMALL && !payload::is_shared()
}
