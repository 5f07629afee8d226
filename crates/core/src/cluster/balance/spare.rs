//! Policies that look for whoever has time to spare.

use std::collections::HashMap;
use std::time::Duration;

use super::{Balance, Incoming, Load, Random};
use crate::cluster::Slot;

/// A worker gets its full share this long after it was ready: code is compiled
/// and caches are filled by then.
const SLOW_START: Duration = Duration::from_secs(3);

/// Confirmations faster than this do not tell workers apart.
const PROMPT: Duration = Duration::from_millis(1);

/// From this share of a core a worker counts as one step slower.
const BUSY_CPU: f32 = 0.9;

/// One choice in so many is made by waiting time alone, or a worker that was
/// slow once would never be given the chance to show that it no longer is.
const SECOND_CHANCE: u64 = 16;

/// The worker that will probably see to the connection first.
///
/// The costs of a worker are what it has unconfirmed, and this connection, times
/// how slow it is; among equals it is the one that is free the longest, so
/// that idle workers take turns.
#[derive(Debug)]
pub(super) struct LeastBusy {
    random: Random,
}

impl LeastBusy {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random(seed);
        Self { random }
    }
}

impl Balance for LeastBusy {
    fn choose(&mut self, workers: &[Load], _: &Incoming<'_>) -> Option<usize> {
        let forgiving = self.random.below(SECOND_CHANCE) == 0;
        let fastest = fastest(workers);
        let grown_up = workers.iter().any(|load| load.age >= SLOW_START);
        let mut best = None;
        for (at, load) in workers.iter().enumerate() {
            if grown_up && !steps_in(load, workers.len(), &mut self.random) {
                continue;
            }
            let slowness = if forgiving {
                0
            } else {
                slowness(load, fastest)
            };
            let rank = (cost(load, slowness), load.free_since);
            if best.is_none_or(|(lowest, _)| rank < lowest) {
                best = Some((rank, at));
            }
        }
        best.map(|(_, at)| at)
    }
}

/// Whether a worker among `number` takes part in this choice. A young one is kept
/// out of most, so it is the one that is free the longest and wins those that
/// it is let into: at most its share, times its age.
fn steps_in(load: &Load, number: usize, random: &mut Random) -> bool {
    let full = SLOW_START.as_millis();
    let age = load.age.as_millis().max(full / 10);
    age >= full || u128::from(random.next()) % (full * number as u128) < age
}

fn cost(load: &Load, slowness: u32) -> u64 {
    /// Keeps fractions when a weight divides.
    const SCALE: u64 = 1 << 16;
    let queue = (u64::from(load.in_flight) + 1) << slowness;
    queue * SCALE / u64::from(load.weight.max(1))
}

fn fastest(workers: &[Load]) -> Duration {
    let known = workers.iter().filter_map(|load| load.latency);
    known.min().unwrap_or(PROMPT).max(PROMPT)
}

/// How often the worker's time has to be halved to be that of the fastest: 0 to 4.
fn slowness(load: &Load, fastest: Duration) -> u32 {
    let times = load
        .latency
        .map_or(1, |latency| latency.as_nanos() / fastest.as_nanos());
    let busy = load.cpu.is_some_and(|cpu| cpu >= BUSY_CPU);
    times.max(1).ilog2().min(3) + u32::from(busy)
}

/// Node's order: the worker that is free the longest, one connection at a time.
#[derive(Debug)]
pub(super) struct RoundRobin;

impl Balance for RoundRobin {
    fn choose(&mut self, workers: &[Load], _: &Incoming<'_>) -> Option<usize> {
        (0..workers.len()).min_by_key(|at| workers[*at].free_since)
    }

    fn depth(&self) -> u32 {
        1
    }
}

/// The less busy of two that were picked at random: nearly as good as looking
/// at all of them, and never a crowd onto the one that looks best.
#[derive(Debug)]
pub(super) struct RandomTwo {
    random: Random,
}

impl RandomTwo {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random(seed);
        Self { random }
    }
}

impl Balance for RandomTwo {
    fn choose(&mut self, workers: &[Load], _: &Incoming<'_>) -> Option<usize> {
        if workers.len() < 2 {
            return workers.len().checked_sub(1);
        }
        let one = self.random.index(workers.len());
        let other = (one + 1 + self.random.index(workers.len() - 1)) % workers.len();
        let forgiving = self.random.below(SECOND_CHANCE) == 0;
        let fastest = fastest(workers);
        let costs = |at: usize| {
            let slowness = if forgiving {
                0
            } else {
                slowness(&workers[at], fastest)
            };
            cost(&workers[at], slowness)
        };
        Some(if costs(other) < costs(one) {
            other
        } else {
            one
        })
    }
}

/// By weight, and evenly mixed: 3 and 1 give `a a b a`, not `a a a b`.
///
/// At each choice everybody earns its weight, and who has the most pays for all.
#[derive(Debug)]
pub(super) struct Weighted {
    weights: Vec<u32>,
    credit: HashMap<Slot, i64>,
}

impl Weighted {
    pub(super) fn new(weights: Vec<u32>) -> Self {
        let credit = HashMap::new();
        Self { weights, credit }
    }

    fn weight(&self, load: &Load) -> i64 {
        /// Keeps the products and sums below what an `i64` holds.
        const MOST: u32 = 1_000_000;
        let place = usize::try_from(load.slot.0).ok();
        let weight = place.and_then(|place| self.weights.get(place));
        let capped = |weight: u32| i64::from(weight.clamp(1, MOST));
        capped(weight.copied().unwrap_or(1)) * capped(load.weight)
    }
}

impl Balance for Weighted {
    fn choose(&mut self, workers: &[Load], _: &Incoming<'_>) -> Option<usize> {
        let mut total = 0;
        let mut best = None;
        for (at, load) in workers.iter().enumerate() {
            let weight = self.weight(load);
            let credit = self.credit.entry(load.slot).or_default();
            *credit += weight;
            total += weight;
            if best.is_none_or(|(most, _)| *credit > most) {
                best = Some((*credit, at));
            }
        }
        let (_, at) = best?;
        *self.credit.entry(workers[at].slot).or_default() -= total;
        Some(at)
    }
}
