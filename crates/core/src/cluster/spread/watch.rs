//! One queue: whether its workers take what is in it.

use std::time::{Duration, Instant};

use super::{FULL, Options, QueueView};
use crate::cluster::WorkerId;

/// Looks that are closer together than this are one: ticks also come for other reasons.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A queue has not shrunk over so many looks before it says anything, when other
/// signs agree: it grows as if nothing were taken, or the process does not run.
const LOOKS: u32 = 3;

/// As many as it takes without other signs. A worker that is merely busy takes all that
/// waits each time around its loop, so its queue falls at most looks; but a queue of
/// one or two can be met again and again by chance.
const MANY_LOOKS: u32 = 12;

/// A process that uses less of a core while connections wait does not run.
const HARDLY_RUNS: f32 = 0.1;

/// Fewer connections than this, expected since the first look, prove nothing by coming.
const TELLING: f64 = 4.0;

/// A worker that comes back from a rest has these weights, each for [`STEP`]; from its
/// first it comes back with the last, from its second with the last two.
const STEPS: [u32; 3] = [FULL / 8, FULL / 4, FULL / 2];
const STEP: Duration = Duration::from_millis(500);

/// After so many of the longest rests without trouble, a worker's past is forgotten.
const FORGET_AFTER: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// Gets connections; since when, to know its trial's weight.
    Trusted {
        since: Instant,
    },
    /// Never had trouble, or long ago.
    Fit,
    Resting {
        until: Instant,
    },
}

/// What one look sees beside the queue itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) now: Instant,
    pub(super) options: &'a Options,
    /// The shortest queue among workers that have their full share, and time.
    pub(super) freest: Option<u32>,
    /// Connections a second that the kernel puts in this queue.
    pub(super) rate: f64,
}

/// A queue that does not shrink.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    since: Instant,
    /// The queue at first.
    began_with: u32,
    last: Instant,
    queue: u32,
    looks: u32,
}

impl Suspicion {
    fn look(&mut self, now: Instant, queue: u32) {
        if queue < self.queue {
            *self = Self::new(now, queue);
        } else if now.saturating_duration_since(self.last) >= BETWEEN_LOOKS {
            self.last = now;
            self.queue = queue;
            self.looks += 1;
        }
    }

    fn new(now: Instant, queue: u32) -> Self {
        Self {
            since: now,
            began_with: queue,
            last: now,
            queue,
            looks: 1,
        }
    }

    /// Whether about all that must have come is still there.
    fn keeps_all(&self, rate: f64) -> bool {
        let expected = rate
            * self
                .last
                .saturating_duration_since(self.since)
                .as_secs_f64();
        expected >= TELLING && f64::from(self.queue - self.began_with) >= expected / 2.0
    }
}

/// What is remembered of a queue and who has it.
#[derive(Debug)]
pub(super) struct Watch {
    youngest: Option<WorkerId>,
    standing: Standing,
    suspicion: Option<Suspicion>,
    /// Rests so far; each doubles the next.
    rests: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            youngest: None,
            standing: Standing::Fit,
            suspicion: None,
            rests: 0,
        }
    }
}

impl Watch {
    /// Takes a look, and says how many connections are to be stolen at most.
    pub(super) fn look(&mut self, view: &QueueView, around: &Around<'_>) -> u32 {
        if self.youngest != view.youngest {
            *self = Self::default();
            self.youngest = view.youngest;
        }
        if view.serving == 0 {
            self.suspicion = None;
            return if view.length > 0 { u32::MAX } else { 0 };
        }
        self.stand_up(around.now, around.options);
        if self.rests() {
            return view.length;
        }
        if view.stopped || self.is_stuck(view, around) {
            self.rest(around.now, around.options);
            return view.length;
        }
        0
    }

    fn stand_up(&mut self, now: Instant, options: &Options) {
        match self.standing {
            Standing::Resting { until } if now >= until => {
                self.standing = Standing::Trusted { since: now };
            }
            Standing::Trusted { since }
                if now.saturating_duration_since(since) >= options.longest_rest * FORGET_AFTER =>
            {
                self.standing = Standing::Fit;
                self.rests = 0;
            }
            Standing::Trusted { .. } | Standing::Fit | Standing::Resting { .. } => {}
        }
    }

    fn rest(&mut self, now: Instant, options: &Options) {
        let doubled = options.rest.saturating_mul(1 << self.rests.min(16));
        let until = now + doubled.min(options.longest_rest);
        self.standing = Standing::Resting { until };
        self.suspicion = None;
        self.rests += 1;
    }

    /// Whether it did not shrink for too long although somebody else has time.
    fn is_stuck(&mut self, view: &QueueView, around: &Around<'_>) -> bool {
        let others_have_time = around
            .freest
            .is_some_and(|freest| freest.saturating_mul(8) <= view.length);
        if view.length == 0 || !others_have_time {
            self.suspicion = None;
            return false;
        }
        let now = around.now;
        let seen = self
            .suspicion
            .get_or_insert_with(|| Suspicion::new(now, view.length));
        seen.look(now, view.length);
        let lasts = seen.last.saturating_duration_since(seen.since) >= around.options.stuck_after;
        let certain = seen.keeps_all(around.rate)
            || view.cpu.is_some_and(|cpu| cpu < HARDLY_RUNS)
            // Half full: soon the kernel drops what comes, and clients wait for a second.
            || view.length >= (view.limit / 2).max(2);
        lasts && seen.looks >= if certain { LOOKS } else { MANY_LOOKS }
    }

    /// What it gets in the selector; 0 while it rests.
    pub(super) fn weight(&self, now: Instant) -> u32 {
        match self.standing {
            Standing::Fit => FULL,
            Standing::Resting { .. } => 0,
            Standing::Trusted { since } => {
                let step = now.saturating_duration_since(since).as_millis() / STEP.as_millis();
                // The first rests may have been bad luck: a long batch of short requests.
                let begin = STEPS.len().saturating_sub(self.rests as usize);
                let step = usize::try_from(step).ok();
                let step = step.and_then(|step| step.checked_add(begin));
                step.and_then(|step| STEPS.get(step))
                    .copied()
                    .unwrap_or(FULL)
            }
        }
    }

    pub(super) fn rests(&self) -> bool {
        matches!(self.standing, Standing::Resting { .. })
    }

    pub(super) fn suspects(&self) -> bool {
        self.suspicion.is_some()
    }
}
