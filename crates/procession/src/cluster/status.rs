//! A cluster at a glance.

use std::time::Duration;

use procession_core::cluster::spread::Mode;
use procession_core::cluster::supervise::Phase;
use procession_core::cluster::{Slot, WorkerId};

use super::event::Address;

/// A cluster at a glance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// How many workers there are to be.
    pub wanted: u32,
    /// Those that there are, in order of age.
    pub workers: Vec<WorkerStatus>,
    /// Where they listen.
    pub listeners: Vec<ListenerStatus>,
    /// Since when the cluster runs.
    pub up: Duration,
    /// Workers that were started in place of others.
    pub restarts: u64,
    /// Nothing is started any more.
    pub gave_up: bool,
    /// Events that nobody took in time.
    pub dropped_events: u64,
}

/// A worker at a glance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Who.
    pub worker: WorkerId,
    /// Its place.
    pub slot: Slot,
    /// Its process.
    pub pid: u32,
    /// What it is at.
    pub phase: Phase,
    /// How long it has been there.
    pub up: Duration,
    /// How often its place was filled again.
    pub restarts: u32,
    /// Connections that we handed to it; none of those that the kernel gave it.
    pub given: u64,
    /// Of them, those that it has not confirmed.
    pub in_flight: u32,
    /// CPU time since its start, where it can be seen.
    pub cpu: Option<Duration>,
    /// Memory, in bytes, where it can be seen.
    pub rss: Option<u64>,
}

/// A listener at a glance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerStatus {
    /// Where.
    pub at: Address,
    /// Who distributes now, where that can change.
    pub mode: Option<Mode>,
    /// New connections a second, lately; estimated while the kernel spreads.
    pub rate: Option<f64>,
    /// Connections that we accepted.
    pub accepted: u64,
    /// Connections that wait in us for a worker.
    pub waiting: usize,
    /// Workers that hold it.
    pub holders: Vec<WorkerId>,
}
