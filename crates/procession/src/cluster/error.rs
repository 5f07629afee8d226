//! What can go wrong with a cluster as a whole.

use std::io;

use procession_core::cluster::WorkerId;

use crate::ipc::{Handle, SendError};

/// A cluster that was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no tokio runtime here.
    #[error("a cluster needs a tokio runtime with I/O and time")]
    NoRuntime,
    /// There are to be no workers.
    #[error("a cluster of 0 workers serves nobody")]
    NoWorkers,
    /// We cannot listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Who holds the port, if that can be seen: pid and name.
        holder: Option<(u32, String)>,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A request to a cluster that could not be met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The cluster is over.
    #[error("the cluster is over")]
    Over,
    /// There is no such worker any more.
    #[error("worker {0} is gone")]
    NoWorker(WorkerId),
    /// It has no channel, or that is closed.
    #[error("cannot send to worker {worker}")]
    Send {
        /// To whom.
        worker: WorkerId,
        /// Why; what was to go along comes back with it.
        #[source]
        source: Box<SendError>,
    },
}

impl ControlError {
    /// The handle that was not sent, still open.
    #[must_use]
    pub fn into_handle(self) -> Option<Handle> {
        match self {
            Self::Over | Self::NoWorker(_) => None,
            Self::Send { source, .. } => source.into_handle(),
        }
    }
}
