//! The modules of `pool`, and what has to hold of them in any order.

#[path = "../../../src/pool/events.rs"]
mod events;
#[path = "../../../src/pool/inbox.rs"]
mod inbox;
#[path = "../../../src/pool/places.rs"]
mod places;
#[path = "../../../src/pool/shared.rs"]
mod shared;
#[path = "../../../src/pool/state.rs"]
mod state;
#[path = "../../../src/pool/ticket.rs"]
mod ticket;
#[path = "../../../src/pool/trace.rs"]
mod trace;

mod accepted;
mod asked;
mod claimed;
mod mail;

mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
    pub(super) use shuttle::sync::{Condvar, MutexGuard};

    pub(super) use crate::stepwise::{Mutex, Notify, OnceLock};
}

mod death {
    pub(super) use procession::pool::Death;
}

mod error {
    pub(super) use procession::pool::TaskError;
}

mod submitted {
    pub(super) use shuttle::future::block_on;
}
