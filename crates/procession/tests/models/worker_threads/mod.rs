//! The modules of `worker_threads`, and what has to hold of them in any order.

#[path = "../../../src/worker_threads/blocking.rs"]
mod blocking;
#[path = "../../../src/worker_threads/error.rs"]
#[expect(dead_code, reason = "most of it is of other modules")]
mod error;
#[path = "../../../src/worker_threads/gate.rs"]
mod gate;
#[path = "../../../src/worker_threads/line.rs"]
mod line;
#[path = "../../../src/worker_threads/port.rs"]
mod port;
#[path = "../../../src/worker_threads/shared.rs"]
mod shared;

mod cut;
mod parked;
mod room;
mod sleeper;

mod sync {
    pub(super) use concurrent_queue::{PopError, PushError};
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
    pub(super) use shuttle::thread;

    pub(super) use crate::stepwise::{ConcurrentQueue, Notify};
}

use procession::worker_threads::{Panic, ThreadId};
