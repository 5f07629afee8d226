//! What primaries and workers say to each other, in Node's words.
//!
//! Each message has a number, `seq`, that its sender counts; an answer names
//! the number of what it answers, `ack`. Bodies here are what
//! [`Internal::Cluster`](crate::ipc::internal::Internal::Cluster) holds.
//!
//! A worker's words are not trusted: whatever it says is a value or a
//! [`BadClusterMessage`].
//!
//! ```
//! use procession_core::cluster::protocol::{WorkerAct, decode_from_worker};
//! use procession_core::ipc::Serialization::Json;
//!
//! let body = br#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":3}"#;
//! let said = decode_from_worker(Json, body)?;
//! assert_eq!(said.act, WorkerAct::Answer { ack: 1, accepted: Some(true) });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod query;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::ipc::{advanced, json};
pub use query::{AddressType, Query};
pub use read::{decode_from_primary, decode_from_worker};
pub use write::{encode_to_primary, encode_to_worker};

/// A listener's name between a primary and its workers; only the primary knows what is in it.
pub type Key = Arc<str>;

/// A message from a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct FromWorker {
    /// The worker's number for it.
    pub seq: u64,
    /// What it says.
    pub act: WorkerAct,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorkerAct {
    /// `online`: its program runs.
    Online,
    /// `queryServer`: it wants to listen, and waits for [`ToWorker::Listener`].
    QueryServer(Box<Query>),
    /// `listening`: it listens. The port is the one that it has got.
    Listening(Box<Query>),
    /// `close`: it no longer listens there.
    Close {
        /// Which listener.
        key: Key,
    },
    /// `exitedAfterDisconnect`: it leaves on purpose, and waits for [`ToWorker::ExitAllowed`].
    ExitedAfterDisconnect,
    /// The answer to a connection.
    Answer {
        /// The number of the message that is answered.
        ack: u64,
        /// Whether it serves the connection; Node takes nothing for no.
        accepted: Option<bool>,
    },
    /// Something that this version does not know, to be ignored.
    Unknown {
        /// Its `act`.
        act: String,
    },
}

/// A message from a primary.
#[derive(Clone, Debug, PartialEq)]
pub struct FromPrimary {
    /// The primary's number for it.
    pub seq: u64,
    /// What it says.
    pub act: ToWorker,
}

/// What a primary says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ToWorker {
    /// `newconn`: serve the connection that comes with this.
    NewConn {
        /// For which listener.
        key: Key,
    },
    /// `disconnect`: close all listeners, finish, leave.
    Disconnect,
    /// The answer to [`WorkerAct::QueryServer`]. With a handle, that is the
    /// listener; without one, connections will come one by one.
    Listener(Box<Listener>),
    /// The answer to [`WorkerAct::ExitedAfterDisconnect`].
    ExitAllowed {
        /// The number of the message that is answered.
        ack: u64,
    },
    /// Something that this version does not know, to be ignored.
    Unknown {
        /// Its `act`.
        act: String,
    },
}

/// What became of a worker's wish to listen.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The number of the message that is answered.
    pub ack: u64,
    /// The listener's name from now on; one worker has no two of the same name.
    pub key: Key,
    /// 0, or what went wrong: the system's number, negative (`-98` is `EADDRINUSE` on Linux).
    pub errno: i32,
    /// Where it listens, if that is TCP and connections come one by one.
    pub sockname: Option<SocketAddr>,
    /// What the first worker that listened there gave to all others: the
    /// ticket keys of TLS servers.
    pub data: Option<Value>,
}

/// A cluster message that says nothing of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadClusterMessage {
    /// It is no JSON, or a member has a wrong type.
    #[error("cluster message cannot be read")]
    Json(#[from] json::DecodeError),
    /// It is no value of V8's, or a member has a wrong type.
    #[error("cluster message cannot be read")]
    Advanced(#[from] advanced::DecodeError),
    /// What it needs is not there.
    #[error("cluster message has no `{member}`")]
    Missing {
        /// The name of the member.
        member: &'static str,
    },
    /// A number is none of its kind.
    #[error("cluster message has {value} as `{member}`")]
    OutOfRange {
        /// The name of the member.
        member: &'static str,
        /// The number.
        value: i64,
    },
}
