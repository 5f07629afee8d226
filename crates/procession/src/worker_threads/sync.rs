//! What is synchronised by hand here is made of these; `tests/models` has shuttle's in their place.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard};
pub(super) use std::thread;

pub(super) use concurrent_queue::{ConcurrentQueue, PopError, PushError};
pub(super) use tokio::sync::Notify;
