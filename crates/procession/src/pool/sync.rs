//! What is synchronised by hand here is made of these; `tests/models` has shuttle's in their place.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

pub(super) use tokio::sync::Notify;
