//! What a pool and a worker in another process say to each other, as ordinary
//! messages of the channel, so that any program that has one can be a worker.

use serde::{Deserialize, Serialize};

/// The variable that tells a worker the number of its place.
pub(super) const SLOT: &str = "PROCESSION_POOL_SLOT";

/// The variable that tells a worker how many tasks it has at a time.
pub(super) const CONCURRENCY: &str = "PROCESSION_POOL_CONCURRENCY";

/// The variable that tells a worker what its threads are called.
pub(super) const NAME: &str = "PROCESSION_POOL_NAME";

/// The variable that tells a worker that results may be [shared](super::Payload).
pub(super) const SHARES: &str = "PROCESSION_POOL_SHARES";

/// The variable that tells a worker whether tasks may come ahead: 1 or 0.
pub(super) const CLAIMS: &str = "PROCESSION_POOL_CLAIMS";

/// To the worker: `{"run":{"id":1,"task":…}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToWorker<T> {
    Run {
        id: u64,
        task: T,
        /// It comes ahead: by this it has to be [claimed](super::claims) before it begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claim: Option<u32>,
    },
    Cancel {
        id: u64,
    },
    /// What a task's large payloads are in is here, as a handle.
    Blob {
        id: u64,
    },
    /// The places of tasks that come ahead, as a handle.
    Claims,
}

/// From the worker: `"ready"` first, then `{"done":{"id":1,"value":…}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FromWorker<R, P> {
    Ready,
    /// Tasks may be shared as well.
    Shares,
    /// Tasks may come ahead, once it has places for them.
    Claims,
    /// It has them.
    HasClaims,
    Done {
        id: u64,
        value: R,
    },
    Failed {
        id: u64,
        message: String,
    },
    Panicked {
        id: u64,
        message: String,
    },
    Progress {
        id: u64,
        value: P,
    },
}
