//! Which worker gets a connection that the primary has accepted?
//!
//! ```
//! use procession_core::cluster::balance::{Incoming, Load, Policy};
//! use procession_core::cluster::{Slot, WorkerId};
//!
//! let policy: Policy = "least-busy".parse()?;
//! let mut balance = policy.balance(1);
//! let mut busy = Load::new(WorkerId(1), Slot(0));
//! busy.in_flight = 2;
//! let free = Load::new(WorkerId(2), Slot(1));
//! assert_eq!(balance.choose(&[busy, free], &Incoming::default()), Some(1));
//! # Ok::<(), procession_core::cluster::balance::PolicyError>(())
//! ```

mod cookie;
mod policy;
mod spare;
mod sticky;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

pub use policy::{Policy, PolicyError};

use super::{Slot, WorkerId};

/// What is known of a worker that can be given a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Who it is.
    pub worker: WorkerId,
    /// Whose place it has.
    pub slot: Slot,
    /// Connections that it was given and has not confirmed.
    pub in_flight: u32,
    /// Connections that it was given so far.
    pub given: u64,
    /// A number that was counted up when it last became free: the lowest is
    /// free the longest.
    pub free_since: u64,
    /// Smoothed time from giving a connection to its confirmation.
    pub latency: Option<Duration>,
    /// Share of a core that it used lately: 1.0 is one whole core.
    pub cpu: Option<f32>,
    /// How much of the work it is meant to get beside the others. 1 is usual,
    /// 0 counts as 1: who is to get nothing is not passed.
    pub weight: u32,
    /// Time since it was ready.
    pub age: Duration,
}

impl Load {
    /// A worker that has been there for long and has nothing to do.
    #[must_use]
    pub fn new(worker: WorkerId, slot: Slot) -> Self {
        Self {
            worker,
            slot,
            in_flight: 0,
            given: 0,
            free_since: 0,
            latency: None,
            cpu: None,
            weight: 1,
            age: Duration::MAX,
        }
    }
}

/// So many of a client's first bytes are looked at, and no more are waited for.
pub const FIRST_BYTES: usize = 16 * 1024;

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incoming<'a> {
    /// The client's address; a Unix socket has none.
    pub peer: Option<IpAddr>,
    /// What the client has sent so far, if that was asked for.
    pub first_bytes: Option<&'a [u8]>,
}

/// What a policy has to know of a connection before it chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing.
    Nothing,
    /// The client's address. Such a policy is passed all ready workers, also
    /// those that have no room: clients wait for theirs.
    Address,
    /// The first bytes too, peeked at and left in the socket; again all ready workers.
    FirstBytes,
}

/// Chooses a worker for a connection.
///
/// Own policies implement this. Unless [`wants`](Self::wants) says otherwise,
/// only workers that can be chosen are passed: ready, with fewer than
/// [`depth`](Self::depth) connections unconfirmed, and not resting after a refusal.
pub trait Balance: Send + Debug {
    /// The index in `workers` of the one that gets the connection; `None`
    /// leaves it waiting for the next change.
    fn choose(&mut self, workers: &[Load], incoming: &Incoming<'_>) -> Option<usize>;

    /// What has to be known before [`choose`](Self::choose) is called.
    fn wants(&self) -> Wants {
        Wants::Nothing
    }

    /// How many connections one worker may have unconfirmed.
    fn depth(&self) -> u32 {
        8
    }

    /// Whether more bytes would change nothing. Asked by those who want
    /// [`Wants::FirstBytes`], when some have come; bounded by the caller's patience
    /// and by [`FIRST_BYTES`].
    fn enough(&self, first_bytes: &[u8]) -> bool {
        !first_bytes.is_empty()
    }
}

/// A small generator (SplitMix64): choices need to be even, not secret.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0. The bias of a remainder is nothing
    /// at numbers of workers.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("it is below a usize")
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
