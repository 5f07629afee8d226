//! What a panic was, as a value.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use super::is_main_thread;

/// What a worker's body said when it panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panic {
    /// The text; for a payload that is none, that it is none.
    pub message: String,
    /// Where, as `file:line:column`. `None` if the panic hook was replaced after
    /// the first worker was started, or the panic was resumed.
    pub location: Option<String>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "panicked at {location}: {}", self.message),
            None => write!(f, "panicked: {}", self.message),
        }
    }
}

thread_local! {
    static LAST_LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has the location of panics in workers remembered. Nobody but the hook is
/// told it; the hook that was there still does what it did.
pub(super) fn watch() {
    static WATCHED: Mutex<bool> = Mutex::new(false);
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    // A thread that unwinds must not touch the hook; a later worker will.
    if *watched || std::thread::panicking() {
        return;
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_main_thread() {
            let location = info.location().map(ToString::to_string);
            // A thread that is ending may have no place for it; nobody will ask.
            let _ = LAST_LOCATION.try_with(|last| last.replace(location));
        }
        before(info);
    }));
    *watched = true;
}

/// Runs it; a panic is a value.
pub(super) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    LAST_LOCATION.set(None);
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let panic = Panic {
            message: text(payload.as_ref()),
            location: LAST_LOCATION.take(),
        };
        // The payload is the program's, and may panic when it is dropped. Then it is left alone.
        if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        panic
    })
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a payload that is no text").to_owned()
}
