//! What a primary knows of a worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::Slot;
use super::super::WorkerId;
use super::super::balance::Load;
use super::{Arrival, ListenerId, Seen};

/// How long a worker rests at first that refused a connection or lost it, and at most.
const REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A worker that has left a connection unconfirmed for this long gets no second one.
const SLOW: Duration = Duration::from_millis(20);

/// How long a client waits for a worker that was stopped, before that is killed.
const STOPPED: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Leaving,
}

#[derive(Debug)]
pub(super) struct Worker<C> {
    pub(super) slot: Slot,
    pub(super) phase: Phase,
    /// By the number of the message that gave it: oldest first.
    pub(super) given: BTreeMap<u64, Given<C>>,
    pub(super) given_total: u64,
    pub(super) free_since: u64,
    latency: Option<Duration>,
    pub(super) cpu: Option<f32>,
    seen: Seen,
    /// Since when it is stopped.
    stopped_at: Option<Instant>,
    pub(super) ready_at: Option<Instant>,
    /// It gets nothing until it says that it listens.
    pub(super) is_held_back: bool,
    rests_until: Option<Instant>,
    rest: Duration,
    /// The connection that it was told of as stuck for.
    told_stuck: Option<u64>,
}

/// A connection that a worker was given and has not confirmed.
#[derive(Debug)]
pub(super) struct Given<C> {
    pub(super) listener: ListenerId,
    pub(super) at: Instant,
    /// Ours, once it came back from the channel.
    pub(super) arrival: Option<Arrival<C>>,
    /// What goes with it when it comes back.
    pub(super) about: About,
    /// What the worker said before it came back.
    pub(super) answer: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) peer: Option<std::net::IpAddr>,
    pub(super) first_bytes: Option<bytes::Bytes>,
}

impl About {
    pub(super) fn with<C>(self, conn: C) -> Arrival<C> {
        let Self { peer, first_bytes } = self;
        Arrival {
            conn,
            peer,
            first_bytes,
        }
    }
}

impl<C> Worker<C> {
    pub(super) fn new(slot: Slot) -> Self {
        Self {
            slot,
            phase: Phase::Open,
            given: BTreeMap::new(),
            given_total: 0,
            free_since: 0,
            latency: None,
            cpu: None,
            seen: Seen::Running,
            stopped_at: None,
            ready_at: None,
            is_held_back: false,
            rests_until: None,
            rest: REST,
            told_stuck: None,
        }
    }

    /// Whether it takes connections at all.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.seen == Seen::Running && !self.is_held_back
    }

    /// How many connections it has not confirmed.
    pub(super) fn in_flight(&self) -> u32 {
        u32::try_from(self.given.len()).unwrap_or(u32::MAX)
    }

    /// Whether it may be chosen now.
    pub(super) fn may_take(&self, now: Instant) -> bool {
        self.is_open() && self.rests_until.is_none_or(|until| until <= now)
    }

    /// Whether it has something unconfirmed for so long that it gets nothing more.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        self.oldest()
            .is_some_and(|(_, at)| now.saturating_duration_since(at) > SLOW)
    }

    fn oldest(&self) -> Option<(u64, Instant)> {
        let oldest = self.given.first_key_value();
        oldest.map(|(seq, given)| (*seq, given.at))
    }

    /// It refused one, or lost it: others first, for a while that doubles. Of
    /// what it was given at once, all refusals are one.
    pub(super) fn take_a_rest(&mut self, now: Instant) {
        if self.rests_until.is_some_and(|until| until > now) {
            return;
        }
        self.rests_until = now.checked_add(self.rest);
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    /// It confirmed one after so long.
    pub(super) fn confirmed(&mut self, after: Duration) {
        self.rest = REST;
        let old = self.latency.unwrap_or(after);
        self.latency = Some((old * 7 + after) / 8);
    }

    /// Ends its rest if that is due; says whether it was.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        let is_due = self.rests_until.is_some_and(|until| until <= now);
        if is_due {
            self.rests_until = None;
        }
        is_due
    }

    /// For how long it has left a connection unconfirmed, if that is too long: told
    /// once for each.
    pub(super) fn stuck_for(&mut self, now: Instant, after: Duration) -> Option<Duration> {
        let (seq, at) = self.oldest()?;
        if self.stuck_at(after)? > now || self.told_stuck == Some(seq) {
            return None;
        }
        self.told_stuck = Some(seq);
        Some(now.saturating_duration_since(at))
    }

    /// When it counts as stuck: a stopped process will not go on by itself, and has
    /// a client that waits.
    fn stuck_at(&self, after: Duration) -> Option<Instant> {
        let (_, at) = self.oldest()?;
        let usual = at.checked_add(after);
        let stopped = self.stopped_at.map(|stopped| stopped.max(at));
        let stopped = stopped.and_then(|at| at.checked_add(STOPPED));
        usual.into_iter().chain(stopped).min()
    }

    /// Says whether it can be given something again.
    pub(super) fn is_seen(&mut self, seen: Seen, now: Instant) -> bool {
        let was = std::mem::replace(&mut self.seen, seen);
        self.stopped_at = match seen {
            Seen::Stopped => self.stopped_at.or(Some(now)),
            Seen::Running | Seen::Busy => None,
        };
        was != Seen::Running && seen == Seen::Running
    }

    pub(super) fn deadline(&self, stuck_after: Duration) -> Option<Instant> {
        let untold = |(seq, _): &(u64, Instant)| self.told_stuck != Some(*seq);
        let stuck = self.oldest().filter(untold);
        let stuck = stuck.and_then(|_| self.stuck_at(stuck_after));
        stuck.into_iter().chain(self.rests_until).min()
    }

    pub(super) fn load(&self, worker: WorkerId, now: Instant) -> Load {
        let mut load = Load::new(worker, self.slot);
        load.in_flight = self.in_flight();
        load.given = self.given_total;
        load.free_since = self.free_since;
        load.latency = self.latency;
        load.cpu = self.cpu;
        load.age = self
            .ready_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        load
    }
}
