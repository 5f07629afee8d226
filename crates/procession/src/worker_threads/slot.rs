//! Who has a message that was posted: its receiver, or its poster again?

use std::sync::{Arc, PoisonError};

use super::sync::Mutex;

/// A message at both ends of its way. Whoever takes it first has it.
pub(super) struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    pub(super) fn new(message: T) -> Self {
        Self(Arc::new(Mutex::new(Some(message))))
    }

    /// The same, for the other end.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(super) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
