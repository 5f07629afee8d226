//! What happens in a cluster.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use procession_core::cluster::protocol::{AddressType, BadClusterMessage, Query};
use procession_core::cluster::supervise::{End, GaveUp};
use procession_core::cluster::{Slot, WorkerId};

use crate::child_process::{Exit, SpawnError, Usage};
use crate::ipc::{Message, ReceiveError};

/// Something that happened in a cluster, in Node's order:
/// fork, online, listening, disconnect and exit (in either order).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A worker was started. Node: `fork`.
    Fork {
        /// Who.
        worker: WorkerId,
        /// Its place.
        slot: Slot,
        /// Its process.
        pid: u32,
        /// How often this place was filled again before.
        restarts: u32,
    },
    /// A worker could not be started.
    StartFailed {
        /// Who it would have been.
        worker: WorkerId,
        /// Why.
        error: SpawnError,
    },
    /// Its program runs. Node: `online`.
    Online {
        /// Who.
        worker: WorkerId,
    },
    /// It listens. Node: `listening`.
    Listening {
        /// Who.
        worker: WorkerId,
        /// Where.
        at: Address,
        /// It bound that itself (Bun does): we do not balance it.
        self_bound: bool,
    },
    /// It could not listen: the program sees the same error.
    ListenFailed {
        /// Who.
        worker: WorkerId,
        /// Where.
        at: Address,
        /// Node's code: `EADDRINUSE`.
        code: &'static str,
        /// Who holds the port, if that can be seen: pid and name.
        holder: Option<(u32, String)>,
    },
    /// It is ready, by [`Spec::ready`](super::Spec::ready).
    Ready {
        /// Who.
        worker: WorkerId,
    },
    /// All workers that there are to be are ready.
    AllReady,
    /// It was not ready in time and is stopped.
    NotReady {
        /// Who.
        worker: WorkerId,
        /// How long it had.
        waited: Duration,
    },
    /// It sent a message. Node: `message`.
    Message {
        /// Who.
        worker: WorkerId,
        /// What.
        message: Message,
    },
    /// It wrote to standard output or error, whole lines mostly.
    Output {
        /// Who.
        worker: WorkerId,
        /// Where to.
        output: Output,
        /// What.
        bytes: Bytes,
        /// How many bytes were dropped before these because nobody took events.
        dropped: u64,
    },
    /// What it sent was no message, or nonsense: its channel was closed.
    ChannelError {
        /// Who.
        worker: WorkerId,
        /// What was wrong.
        error: ReceiveError,
    },
    /// What it sent to the primary in the cluster's name was nonsense, and ignored.
    ClusterError {
        /// Who.
        worker: WorkerId,
        /// What was wrong.
        error: BadClusterMessage,
    },
    /// It left a connection unanswered for too long and is killed.
    Stuck {
        /// Who.
        worker: WorkerId,
        /// For how long.
        waited: Duration,
    },
    /// Its channel is closed. Node: `disconnect`.
    Disconnect {
        /// Who.
        worker: WorkerId,
    },
    /// Its process ended. Node: `exit`.
    Exit {
        /// Who.
        worker: WorkerId,
        /// How and why.
        exit: WorkerExit,
    },
    /// A place will be filled again.
    Restarting {
        /// Which.
        slot: Slot,
        /// After this long at the earliest.
        after: Duration,
    },
    /// Nothing is started any more; who is ready keeps serving.
    GaveUp(GaveUp),
    /// Nobody is left and nobody will come: the last event.
    Over {
        /// Why.
        end: End,
        /// How many workers a stop had to end by the signal.
        signalled: u32,
        /// How many it had to kill.
        killed: u32,
    },
}

/// How a worker ended, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerExit {
    /// Its process.
    pub pid: u32,
    /// Code or signal.
    pub exit: Exit,
    /// It was told to, or said that it would. Node: `exitedAfterDisconnect`.
    pub expected: bool,
    /// The kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// How long it lived.
    pub lived: Duration,
    /// What it used.
    pub usage: Option<Usage>,
    /// The last lines that it wrote to standard error, 16 at most.
    pub last_lines: Vec<String>,
}

impl fmt::Display for WorkerExit {
    /// In one line: `was ended by SIGKILL (killed) after 3.2 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lived = self.lived.as_secs_f64();
        if self.out_of_memory {
            return write!(f, "was killed for want of memory after {lived:.1} s");
        }
        write!(f, "{} after {lived:.1} s", self.exit)
    }
}

/// Which output of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where a worker listens.
///
/// # Node
///
/// The second argument of `listening`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Address {
    /// What kind.
    pub address_type: Option<AddressType>,
    /// An IP address or a path; none for all interfaces.
    pub address: Option<String>,
    /// The port; none for a path.
    pub port: Option<u16>,
    /// The descriptor of ours that it asked for.
    pub fd: Option<i32>,
}

impl Address {
    /// As a worker says it; `at` is where that turned out to be.
    pub(super) fn of(query: &Query, at: Option<SocketAddr>) -> Self {
        let asked = query.port.and_then(|port| u16::try_from(port).ok());
        Self {
            address_type: query.address_type,
            address: query.address.clone(),
            port: at.map(|at| at.port()).or(asked),
            fd: query.fd.filter(|fd| *fd >= 0),
        }
    }
}

impl fmt::Display for Address {
    /// `http`-like where that makes sense: `127.0.0.1:8000`, `*:8000`, `/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_v6 = self.address.as_deref().is_some_and(|a| a.contains(':'));
        match (&self.address, self.port) {
            (Some(address), Some(port)) if is_v6 => write!(f, "[{address}]:{port}"),
            (Some(address), Some(port)) => write!(f, "{address}:{port}"),
            (None, Some(port)) => write!(f, "*:{port}"),
            (Some(path), None) => f.write_str(path),
            (None, None) => write!(f, "descriptor {}", self.fd.unwrap_or(-1)),
        }
    }
}
