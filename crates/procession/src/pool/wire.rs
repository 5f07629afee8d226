//! What a pool and a worker in another process say to each other, as ordinary
//! messages of the channel, so that any program that has one can be a worker.

use serde::{Deserialize, Serialize};

/// The variable that tells a worker the number of its place.
pub(super) const SLOT: &str = "PROCESSION_POOL_SLOT";

/// To the worker: `{"run":{"id":1,"task":…}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToWorker<T> {
    Run { id: u64, task: T },
    Cancel { id: u64 },
}

/// From the worker: `"ready"` first, then `{"done":{"id":1,"value":…}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FromWorker<R, P> {
    Ready,
    Done { id: u64, value: R },
    Failed { id: u64, message: String },
    Panicked { id: u64, message: String },
    Progress { id: u64, value: P },
}
