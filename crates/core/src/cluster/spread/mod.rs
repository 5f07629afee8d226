//! Which worker should the *kernel* give a connection, and when is that put right?
//!
//! Two workers have a listening socket together, a [`Queue`], and the primary has
//! one; all of one address are a group in which the kernel picks by a program that we
//! set, the [`Selector`]. Index 0 is the primary's socket, index 1 + *n* that
//! of queue *n*. Sockets stay in the group until the whole listener closes: a
//! queue without a worker is merely not picked, and the primary empties it,
//! so no handshake meets a closed socket.
//!
//! Of two workers one is free more often than a lone one, and takes what has come
//! for both: nobody waits behind a worker that is slow or stopped. With more of
//! them to a queue each connection would wake all who are idle.
//!
//! *Hand-over* is the selector "always 0": the primary accepts everything and
//! gives it to whom a policy chooses. It balances best and costs two
//! messages a connection. *Spread* is "random over the healthy workers": it
//! costs nothing, and pays when connections are many. [`Spread`] decides
//! between the two, watches the queues, and steals from who cannot serve.

mod pace;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pace::Pace;
use watch::{Around, Watch};

use super::{Slot, WorkerId};

/// One of the sockets from which workers take connections themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue(pub u32);

impl Queue {
    /// How many slots share one.
    pub const SLOTS: u32 = 2;

    /// The one of a slot: neighbours share theirs.
    #[must_use]
    pub fn of(slot: Slot) -> Self {
        Self(slot.0 / Self::SLOTS)
    }

    /// Where its socket is in the group.
    fn index(self) -> u32 {
        self.0.saturating_add(1)
    }
}

/// When the kernel spreads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While connections are many: policy `auto`.
    Busy,
    /// Always: policy `spread`.
    Always,
}

/// Who distributes connections now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The primary accepts and hands over.
    HandOver,
    /// The kernel, among the workers' sockets.
    Spread,
}

/// Limits of [`Spread`]. The defaults are for servers with short requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Connections a second from which spreading pays. 1,500: handing one over costs
    /// about 0.07 ms of CPU more than letting the kernel do it, so at this rate
    /// some 10 % of a core; below, it is worth more that nobody waits
    /// in the queue of a worker that is slow or stopped.
    pub busy: f64,
    /// Connections a second below which it is given up. 900: far enough from `busy`
    /// that the error of an estimate cannot bridge it.
    pub calm: f64,
    /// For how long the rate has to be above `busy`. 0.3 s: a thousand keep-alive
    /// clients that connect at once are no rate, and should be dealt out evenly.
    pub busy_for: Duration,
    /// For how long the rate has to be below `calm`: 1 s.
    pub calm_for: Duration,
    /// How long a queue does not shrink, while another worker has time, until its worker
    /// counts as stuck: 40 ms.
    pub stuck_after: Duration,
    /// How long a stuck worker is left out at first: 100 ms. It doubles each time.
    pub rest: Duration,
    /// How long it is left out at most: 5 s.
    pub longest_rest: Duration,
    /// How long a worker is young and gets less than its share: 3 s.
    pub slow_start: Duration,
    /// After how long without a connection nothing is looked at any more, until
    /// one comes: 5 s.
    pub sleep_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            busy: 1500.0,
            calm: 900.0,
            busy_for: Duration::from_millis(300),
            calm_for: Duration::from_secs(1),
            stuck_after: Duration::from_millis(40),
            rest: Duration::from_millis(100),
            longest_rest: Duration::from_secs(5),
            slow_start: Duration::from_secs(3),
            sleep_after: Duration::from_secs(5),
        }
    }
}

/// What the kernel is told: an index gets a connection with the chance of its
/// weight among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    entries: Vec<(u32, u32)>,
}

impl Selector {
    /// Most entries that a program for the kernel has room for.
    pub const MOST: usize = 512;

    /// Every connection to the primary.
    #[must_use]
    pub fn primary() -> Self {
        Self {
            entries: vec![(0, 1)],
        }
    }

    /// Index and weight, at least one, at most [`MOST`](Self::MOST), by rising
    /// index; no weight is 0.
    #[must_use]
    pub fn entries(&self) -> &[(u32, u32)] {
        &self.entries
    }

    /// The share of all connections that an index gets, from 0 to 1.
    #[must_use]
    pub fn share(&self, index: u32) -> f64 {
        let weight = |of: &mut dyn Iterator<Item = &(u32, u32)>| -> f64 {
            of.map(|(_, weight)| f64::from(*weight)).sum()
        };
        let mut own = self.entries.iter().filter(|(at, _)| *at == index);
        weight(&mut own) / weight(&mut self.entries.iter())
    }
}

/// What is seen of a queue at a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueView {
    /// Which one.
    pub queue: Queue,
    /// The youngest worker that has it now.
    pub youngest: Option<WorkerId>,
    /// Workers that take from it: ready, with this listener, not leaving, and not
    /// [stopped](Self::stopped) while another runs.
    pub serving: u16,
    /// The processes of all that serve it are stopped (state `T`). Only asked about
    /// while `length` is not 0.
    pub stopped: bool,
    /// Connections that wait in it.
    pub length: u32,
    /// How many can wait there before the kernel drops them.
    pub limit: u32,
    /// Share of a core that the busiest of those who serve it used lately, if known.
    pub cpu: Option<f32>,
    /// Time since the oldest of them was ready.
    pub age: Duration,
}

impl QueueView {
    fn serves(&self) -> bool {
        self.serving > 0 && !self.stopped
    }
}

/// What to do after a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be set now; `None` leaves the one that is set.
    pub selector: Option<Selector>,
    /// From whose sockets to accept, and at most how many; they go where connections
    /// of index 0 go. Stop early when a queue is empty.
    pub steal: Vec<(Queue, u32)>,
    /// When to look again. `None`: nothing can happen before the next connection at index 0,
    /// so tick after that one. In any case tick when a worker comes, becomes
    /// ready, leaves or dies.
    pub next_tick: Option<Duration>,
}

/// Decides for one listener whose sockets form a group.
#[derive(Debug)]
pub struct Spread {
    options: Options,
    pace: Pace,
    watches: BTreeMap<Queue, Watch>,
    selector: Selector,
    /// Until when handshakes that began under an earlier selector may still end up
    /// in a queue that is no longer picked.
    stragglers_until: Option<Instant>,
}

/// A worker that is in order has this weight in the selector.
const FULL: u32 = 64;

/// How soon to look again: while something may be stuck.
const SOON: Duration = Duration::from_millis(20);
/// While the kernel spreads.
const SPREADING: Duration = Duration::from_millis(25);
/// While it spreads little.
const SPREADING_LITTLE: Duration = Duration::from_millis(250);
/// While handshakes may end in a queue that nobody else empties.
const STRAGGLERS: Duration = Duration::from_secs(1);
/// How long a handshake can take: five retries, as Linux is set.
const HANDSHAKE: Duration = Duration::from_secs(64);

impl Spread {
    /// A listener without connections so far; the selector is [`Selector::primary`],
    /// which is to be set before the first connection.
    #[must_use]
    pub fn new(when: When, options: Options, now: Instant) -> Self {
        Self {
            options,
            pace: Pace::new(when, options, now),
            watches: BTreeMap::new(),
            selector: Selector::primary(),
            stragglers_until: None,
        }
    }

    /// Looks at all queues, with or without a worker, and decides.
    ///
    /// `arrived_at_primary` counts the connections that were accepted at index 0
    /// since the last tick; those that were stolen do not count.
    pub fn tick(
        &mut self,
        now: Instant,
        queues: &[QueueView],
        arrived_at_primary: u64,
    ) -> Decision {
        let share = self.selector.share(0);
        let waiting = queues.iter().any(|view| view.length > 0);
        self.pace.arrived(now, arrived_at_primary, share, waiting);

        let steal = self.watch(now, queues);
        let wanted = self.wanted(now, queues);
        let selector = (wanted != self.selector).then(|| wanted.clone());
        if selector.is_some() {
            self.stragglers_until = now.checked_add(HANDSHAKE);
            self.selector = wanted;
        }
        let next_tick = self.next_tick(now, queues, &steal);
        Decision {
            selector,
            steal,
            next_tick,
        }
    }

    /// Who distributes now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.pace.mode()
    }

    /// New connections a second, lately: counted, or estimated while the kernel spreads.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.pace.rate()
    }

    /// The selector as it was last decided, for a socket that joins the group.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Queues whose workers are left out because they were stopped or stuck.
    pub fn resting(&self) -> impl Iterator<Item = Queue> + '_ {
        let resting = self.watches.iter().filter(|(_, watch)| watch.rests());
        resting.map(|(queue, _)| *queue)
    }

    /// Judges every queue, and says from which to take what.
    fn watch(&mut self, now: Instant, queues: &[QueueView]) -> Vec<(Queue, u32)> {
        let able = queues.iter().any(QueueView::serves);
        let freest = self.freest(now, queues);
        let rate = self.pace.rate();
        let mut steal = Vec::new();
        for view in queues {
            let around = Around {
                now,
                options: &self.options,
                freest,
                rate: rate * self.selector.share(view.queue.index()),
            };
            let most = self
                .watches
                .entry(view.queue)
                .or_default()
                .look(view, &around);
            // With nobody to give them to they wait better in the kernel.
            if most > 0 && able {
                steal.push((view.queue, most));
            }
        }
        steal
    }

    /// The shortest queue whose workers have time, and their full share: who has less
    /// is idle because he gets little.
    fn freest(&self, now: Instant, queues: &[QueueView]) -> Option<u32> {
        /// Who uses more of its core has none to spare, however short its queue.
        const SATURATED: f32 = 0.9;
        let has_time = |view: &&QueueView| {
            let watch = self.watches.get(&view.queue);
            let whole = watch.is_none_or(|watch| watch.weight(now) == FULL);
            let spare = view.cpu.is_none_or(|cpu| cpu < SATURATED);
            view.serves() && whole && spare
        };
        queues.iter().filter(has_time).map(|view| view.length).min()
    }

    fn wanted(&self, now: Instant, queues: &[QueueView]) -> Selector {
        if !self.pace.spreads() {
            return Selector::primary();
        }
        let older = queues
            .iter()
            .any(|view| view.serving > 0 && view.age >= self.options.slow_start);
        let mut entries = Vec::with_capacity(queues.len() + 1);
        entries.push((0, 0));
        for view in queues {
            let watched = self
                .watches
                .get(&view.queue)
                .map_or(0, |watch| watch.weight(now));
            let grown = if older {
                grown(view.age, self.options.slow_start)
            } else {
                FULL
            };
            let weight = watched.min(grown) * u32::from(view.serving);
            if view.serves() && weight > 0 {
                entries.push((view.queue.index(), weight));
            }
        }
        if entries.len() == 1 || entries.len() > Selector::MOST {
            return Selector::primary();
        }
        entries.sort_unstable();
        let others: u32 = entries.iter().map(|(_, weight)| weight).sum();
        entries[0].1 = (others / (self.pace.sample() - 1)).max(1);
        Selector { entries }
    }

    fn next_tick(
        &self,
        now: Instant,
        queues: &[QueueView],
        steal: &[(Queue, u32)],
    ) -> Option<Duration> {
        if !steal.is_empty() || self.watches.values().any(Watch::suspects) {
            return Some(SOON);
        }
        if self.pace.spreads() {
            let little = self.pace.rate() < 10.0;
            return Some(if little { SPREADING_LITTLE } else { SPREADING });
        }
        if self.pace.counts() {
            return Some(pace::WINDOW);
        }
        let unattended = queues.iter().any(|view| !view.serves() || view.length > 0);
        let stragglers = self.stragglers_until.is_some_and(|until| now < until);
        (unattended && stragglers).then_some(STRAGGLERS)
    }
}

/// The weight of workers of that age: in quarters, so that the selector changes
/// three times and not at every tick.
fn grown(age: Duration, full: Duration) -> u32 {
    let quarter = (1..4u32).find(|quarter| age < full * *quarter / 4);
    quarter.map_or(FULL, |quarter| FULL / 4 * quarter)
}
