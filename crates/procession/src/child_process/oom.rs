//! Whether a `SIGKILL` that we did not send came from the out-of-memory killer.
//!
//! The kernel tells nobody directly. It counts. The count of a control group
//! with the memory controller is sure. Else that of the machine is read before
//! the first child, and again when a child was killed and nobody here did it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::supervise::Supervised;
use super::{Exit, Signal};

const UNREAD: u64 = u64::MAX;
static LAST_SEEN: AtomicU64 = AtomicU64::new(UNREAD);

/// Reads the count, the first time that it is called.
pub(super) fn begin() {
    if LAST_SEEN.load(Ordering::Relaxed) == UNREAD {
        LAST_SEEN.store(procession_sys::oom_kills().unwrap_or(0), Ordering::Relaxed);
    }
}

/// Whether the killer ended this child: surely where its group has a count; else
/// if it has struck somewhere since the last look, and this end fits.
pub(super) fn struck(exit: Exit, supervised: &Supervised) -> bool {
    let killed = exit.signal() == Some(Signal::KILL) && supervised.reason.is_none();
    match supervised.oom {
        Some(false) => false,
        Some(true) => {
            // Told: the next one that is killed is not taken for this one.
            has_struck_again();
            true
        }
        None => killed && has_struck_again(),
    }
}

fn has_struck_again() -> bool {
    let now = procession_sys::oom_kills().unwrap_or(0);
    now > LAST_SEEN.swap(now, Ordering::Relaxed)
}
