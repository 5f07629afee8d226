//! What the connections of one thread share.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Display;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::events::Events;
use super::limits::{Allowance, Halt, Limits};
use super::plan::Plan;
use crate::http1::{Answer, Writer};
use crate::schedule::Latency;
use crate::tally::Tally;
use crate::{Class, Event};

/// How much is read at a time, for all connections of a thread.
const READ_BYTES: usize = 64 * 1024;

/// What the threads of a load have in common.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) limits: Arc<Limits>,
    pub(super) halt: Arc<Halt>,
    pub(super) events: Events,
    /// The start: all times are since then.
    pub(super) epoch: Instant,
}

/// What the connections of one thread share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) shared: Shared,
    /// Since the start, at the last look at the clock.
    pub(super) now: Duration,
    /// The clock was read in this turn.
    is_fresh: bool,
    pub(super) tally: Tally,
    /// Answers of this turn of the thread: other threads are told once for all of them.
    untold: u64,
    pub(super) buffer: Box<[u8]>,
    /// Requests of the connection whose turn it is, on their way out; empty between turns.
    pub(super) out: Vec<u8>,
    /// For each target, for each request.
    pub(super) writers: Vec<Vec<Writer>>,
    /// When to look at which connection.
    alarms: BinaryHeap<Reverse<(Duration, u32)>>,
    /// Connections that have more to do.
    pub(super) again: Vec<u32>,
    /// Connections that may still make a request.
    pub(super) alive: usize,
    /// Connections that found no local port, and those that found no descriptor.
    pub(super) no_ports: u64,
    pub(super) no_descriptors: u64,
}

impl Core {
    pub(super) fn new(shared: Shared, writers: Vec<Vec<Writer>>) -> Self {
        Self {
            now: Duration::ZERO,
            is_fresh: false,
            tally: Tally::new(&shared.plan.spec),
            untold: 0,
            buffer: vec![0; READ_BYTES].into(),
            out: Vec::new(),
            writers,
            alarms: BinaryHeap::new(),
            again: Vec::new(),
            alive: 0,
            no_ports: 0,
            no_descriptors: 0,
            shared,
        }
    }

    /// Looks at the clock.
    pub(super) fn clock(&mut self) {
        self.now = self.shared.epoch.elapsed();
        self.is_fresh = true;
    }

    /// The next connection has its turn.
    pub(super) fn next_turn(&mut self) {
        self.is_fresh = false;
    }

    /// Looks at the clock unless something was just read.
    pub(super) fn clock_if_stale(&mut self) {
        if !self.is_fresh {
            self.clock();
        }
    }

    /// The time of schedules: they begin when the connections are there.
    pub(super) fn scheduled(&self) -> Duration {
        self.now.saturating_sub(self.shared.plan.lead)
    }

    /// Polls a connection again at that time.
    pub(super) fn alarm(&mut self, at: Duration, number: u32) {
        self.alarms.push(Reverse((at, number)));
        debug_assert!(
            self.alarms.len() <= 8 * self.shared.plan.spec.connections,
            "a connection sets an alarm only if it has none that is soon enough"
        );
    }

    /// Moves the connections whose time has come to those that have something to do.
    pub(super) fn ring(&mut self) {
        while let Some(Reverse((at, number))) = self.alarms.peek()
            && *at <= self.now
        {
            self.again.push(*number);
            self.alarms.pop();
        }
    }

    /// When the next alarm is.
    pub(super) fn next_alarm(&self) -> Duration {
        let next = self.alarms.peek();
        next.map_or(Duration::MAX, |Reverse((at, _))| *at)
    }

    /// Counts an answer; after the last failure that counts, a wrong one is unfinished.
    pub(super) fn answered(&mut self, answer: &Answer, latency: Latency) {
        let class = if !answer.matches {
            Some(Class::Mismatch)
        } else if !(200..300).contains(&answer.status) {
            Some(Class::Non2xx)
        } else {
            None
        };
        if let Some(class) = class {
            if !self.may_fail() {
                self.tally.unfinished += 1;
                return;
            }
            let status = answer.status;
            self.tell(class, &format_args!("an answer with status {status}"));
        }
        self.tally.answer(answer, latency, self.now);
        self.untold += 1;
    }

    /// Tells how many answers there were since the last time.
    pub(super) fn tell_answers(&mut self) {
        if self.untold > 0 {
            let more = mem::take(&mut self.untold);
            self.shared.events.count_answers(more);
        }
    }

    /// No further request is begun.
    pub(super) fn drains(&self) -> bool {
        self.shared.halt.drains()
    }

    /// Counts a request that is lost; after the last failure that counts it is unfinished.
    pub(super) fn fail(&mut self, class: Class, why: &dyn Display) {
        if !self.may_fail() {
            self.tally.unfinished += 1;
            return;
        }
        self.tally.fail(class, self.now, || why.to_string());
        self.tell(class, why);
    }

    fn may_fail(&self) -> bool {
        let allowance = self.shared.limits.fail();
        if allowance == Allowance::Last {
            self.shared.halt.now();
        }
        allowance != Allowance::Over
    }

    fn tell(&self, class: Class, why: &dyn Display) {
        let at = self.now;
        self.shared.events.tell_often(|| Event::Failed {
            class,
            at,
            example: why.to_string(),
        });
    }

    /// What was counted since the last time.
    pub(super) fn take_tally(&mut self) -> Tally {
        let empty = Tally::new(&self.shared.plan.spec);
        mem::replace(&mut self.tally, empty)
    }
}
