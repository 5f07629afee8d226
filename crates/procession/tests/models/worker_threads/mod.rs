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
#[path = "../../../src/worker_threads/messaging.rs"]
mod messaging;
#[path = "../../../src/worker_threads/port.rs"]
mod port;
#[path = "../../../src/worker_threads/shared.rs"]
mod shared;
#[path = "../../../src/worker_threads/slot.rs"]
mod slot;

mod cut;
mod parked;
mod receipt;
mod room;
mod sleeper;

/// Threads of shuttle's have numbers of their own, in each test the same ones.
mod environment {
    use std::fmt;
    use std::thread;

    use shuttle::current::{self, TaskId};

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub(super) struct ThreadId(thread::ThreadId, TaskId);

    impl ThreadId {
        pub(super) fn current() -> Self {
            Self(thread::current().id(), current::me())
        }
    }

    impl fmt::Display for ThreadId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Debug::fmt(self, f)
        }
    }
}

mod sync {
    pub(super) use concurrent_queue::{PopError, PushError};
    pub(super) use shuttle::sync::MutexGuard;
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
    pub(super) use shuttle::thread;

    pub(super) use crate::stepwise::{ConcurrentQueue, Mutex, Notify};
}

use environment::ThreadId;
use procession::worker_threads::Panic;
