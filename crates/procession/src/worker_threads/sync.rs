//! What `gate` synchronises with: std's here, loom's in `crates/models`.

pub(super) use std::sync::atomic::{AtomicBool, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard};
