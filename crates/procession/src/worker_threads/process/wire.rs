//! What a hub and its members say to each other.

use serde::{Deserialize, Serialize};

use crate::ipc::Limits;

/// The longest message that a hub takes.
pub(super) const MOST_BYTES: usize = 1024 * 1024;

/// The longest name.
pub(super) const MOST_NAME: usize = 256;

/// How many locks one member may hold or wait for, and how many names it may listen under.
pub(super) const MOST_PLACES: usize = 1024;

/// How many members there may be.
pub(super) const MOST_MEMBERS: usize = 1024;

/// How many of them may have their seat from one that the root seated, and from those in turn.
pub(super) const MOST_FAMILY: usize = 128;

/// From a member.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHub {
    /// The first: who it says it is.
    Hello { pid: u32 },
    /// It listens to a name; wants [`FromHub::Done`].
    Listen { id: u64, name: String },
    /// Nobody in it listens to that name any more.
    Leave { name: String },
    /// To all that listen but its own listener of that number.
    Post {
        name: String,
        from: u64,
        body: String,
    },
    /// Wants a lock: [`FromHub::Done`] or, unless it waits, [`FromHub::NotAvailable`].
    Request {
        id: u64,
        name: String,
        is_shared: bool,
        waits: bool,
    },
    /// Does not want it any more.
    Release { id: u64 },
    /// Wants [`FromHub::Locks`].
    Query { id: u64 },
    /// With a socket, whose other end is a new member's.
    Seat,
}

/// To a member.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromHub {
    /// The first.
    Welcome,
    /// The lock is held, the name listened to.
    Done {
        id: u64,
    },
    NotAvailable {
        id: u64,
    },
    Locks {
        id: u64,
        all: Vec<Asked>,
    },
    /// Somebody posted; if it was a listener of the member itself, which.
    Told {
        name: String,
        from: Option<u64>,
        body: String,
    },
    /// So many posts did not fit into the member's queue.
    Missed {
        name: String,
        count: u64,
    },
}

/// A lock that is held or waited for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) is_shared: bool,
    pub(super) is_held: bool,
}

/// What a hub takes of a member.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_frame = MOST_BYTES;
    limits.max_queue = MOST_BYTES;
    limits
}

/// What a member takes of a hub, which it trusts.
pub(super) fn member_limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_queue = MOST_BYTES;
    limits
}
