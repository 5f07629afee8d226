//! A listener, its workers and clients in virtual time (µs).
//!
//! Workers behave as Node does: each time around its loop a worker takes all that
//! waits in its socket and its channel, and serves one after the other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::super::{Mode, Options, Queue, QueueView, Selector, Spread, When};
use crate::cluster::balance::{Balance, Incoming, Load, Policy};
use crate::cluster::{Slot, WorkerId};

pub(super) const MS: u64 = 1_000;
pub(super) const S: u64 = 1_000_000;
const QUEUE_LIMIT: usize = 511;
const DEPTH: u32 = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    client: Option<u32>,
    came: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    id: u32,
    channel: VecDeque<Connection>,
    batch: VecDeque<Connection>,
    pub(super) alive: bool,
    pub(super) stopped: bool,
    pub(super) service: u64,
    born: u64,
    looping: bool,
    busy: u64,
    busy_before: u64,
    unconfirmed: u32,
    free_since: u64,
    pub(super) served: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival {
        client: Option<u32>,
        stream: u32,
    },
    Retry {
        client: Option<u32>,
        came: u64,
    },
    /// A worker is done with one connection, or wakes up.
    Loop {
        slot: usize,
        id: u32,
    },
    Tick {
        number: u64,
    },
}

pub(super) struct Simulation {
    pub(super) now: u64,
    epoch: Instant,
    random: u64,
    pub(super) spread: Spread,
    selector: Selector,
    pub(super) workers: Vec<Worker>,
    /// How many workers have a queue together.
    sharing: usize,
    /// Connections in the workers' sockets, which outlive them.
    pub(super) queues: Vec<VecDeque<Connection>>,
    primary: VecDeque<Connection>,
    arrived: u64,
    balance: Box<dyn Balance>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    rate: f64,
    stream: u32,
    /// The number of the tick that is due, if one is.
    tick: Option<u64>,
    last_cpu: u64,
    pub(super) knows_cpu: bool,
    /// Whether a stopped process is seen to be; else it just does nothing.
    pub(super) sees_stops: bool,
    /// Who served and how long the client waited.
    pub(super) done: Vec<(usize, u64)>,
    pub(super) came: u64,
    pub(super) dropped: u64,
    pub(super) ticks: u64,
    pub(super) stolen: u64,
    pub(super) switches: u32,
    pub(super) rested: u64,
    pub(super) handed_over: u64,
}

impl Simulation {
    pub(super) fn new(when: When, services: &[u64]) -> Self {
        Self::shared(when, services, 1)
    }

    /// As many workers have a queue together.
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    pub(super) fn shared(when: When, services: &[u64], sharing: usize) -> Self {
        let epoch = Instant::now();
        let mut simulation = Self {
            now: 0,
            epoch,
            random: 1,
            spread: Spread::new(when, Options::default(), epoch),
            selector: Selector::primary(),
            workers: Vec::new(),
            sharing,
            queues: Vec::new(),
            primary: VecDeque::new(),
            arrived: 0,
            balance: Policy::LeastBusy.balance(1),
            events: BinaryHeap::new(),
            sequence: 0,
            rate: 0.0,
            stream: 0,
            tick: None,
            last_cpu: 0,
            knows_cpu: true,
            sees_stops: true,
            done: Vec::new(),
            came: 0,
            dropped: 0,
            ticks: 0,
            stolen: 0,
            switches: 0,
            rested: 0,
            handed_over: 0,
        };
        for service in services {
            simulation.add(*service);
        }
        simulation
    }

    /// A slot more, with a worker. The first ones are as old as can be.
    pub(super) fn add(&mut self, service: u64) {
        self.workers.push(Worker {
            id: 0,
            channel: VecDeque::new(),
            batch: VecDeque::new(),
            alive: false,
            stopped: false,
            service,
            born: 0,
            looping: false,
            busy: 0,
            busy_before: 0,
            unconfirmed: 0,
            free_since: 0,
            served: 0,
        });
        let queues = self.workers.len().div_ceil(self.sharing);
        self.queues.resize_with(queues, VecDeque::new);
        self.start(self.workers.len() - 1);
    }

    pub(super) fn start(&mut self, slot: usize) {
        self.sequence += 1;
        let worker = &mut self.workers[slot];
        worker.id = u32::try_from(self.sequence).unwrap();
        (worker.alive, worker.stopped, worker.born) = (true, false, self.now);
        self.wake(slot);
        self.decide();
    }

    /// Kills a worker; what it had accepted is lost, and counted as done by nobody.
    pub(super) fn kill(&mut self, slot: usize) -> usize {
        let worker = &mut self.workers[slot];
        let lost = worker.batch.len();
        worker.alive = false;
        worker.looping = false;
        worker.unconfirmed = 0;
        worker.batch.clear();
        // What was not confirmed is kept by the primary.
        self.primary.extend(worker.channel.drain(..));
        self.decide();
        lost
    }

    pub(super) fn stop(&mut self, slot: usize) {
        self.workers[slot].stopped = true;
    }

    pub(super) fn go_on(&mut self, slot: usize) {
        self.workers[slot].stopped = false;
        self.workers[slot].looping = false;
        self.wake(slot);
    }

    /// From now on connections come at random, so many a second.
    pub(super) fn arrive(&mut self, rate: f64) {
        self.rate = rate;
        self.stream += 1;
        self.next_arrival();
    }

    /// So many clients that connect again as soon as they are answered.
    pub(super) fn clients(&mut self, number: u32) {
        for client in 0..number {
            let event = Event::Arrival {
                client: Some(client),
                stream: 0,
            };
            self.after(u64::from(client) * 7, event);
        }
    }

    /// So many connections at once.
    pub(super) fn burst(&mut self, number: u32) {
        for at in 0..number {
            self.after(
                u64::from(at) * 100,
                Event::Arrival {
                    client: None,
                    stream: 0,
                },
            );
        }
    }

    fn next_arrival(&mut self) {
        if self.rate > 0.0 {
            let gap = -(1.0 - self.uniform()).ln() / self.rate;
            let gap = u64::try_from(Duration::from_secs_f64(gap).as_micros()).unwrap();
            self.after(
                gap,
                Event::Arrival {
                    client: None,
                    stream: self.stream,
                },
            );
        }
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events
            .push(Reverse((self.now + delay, self.sequence, event)));
    }

    fn word(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random ^ (self.random >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11
    }

    fn uniform(&mut self) -> f64 {
        self.word() as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn run(&mut self, time: u64) {
        let end = self.now + time;
        while let Some(Reverse((at, _, event))) = self.events.peek().copied() {
            if at > end {
                break;
            }
            self.events.pop();
            self.now = at;
            self.on(event);
        }
        self.now = end;
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Arrival { client, stream } => {
                self.came += 1;
                self.connect(Connection {
                    client,
                    came: self.now,
                });
                if client.is_none() && stream == self.stream && stream > 0 {
                    self.next_arrival();
                }
            }
            Event::Retry { client, came } => self.connect(Connection { client, came }),
            Event::Loop { slot, id } => self.turn(slot, id),
            Event::Tick { number } if self.tick == Some(number) => self.decide(),
            Event::Tick { .. } => {}
        }
    }

    fn connect(&mut self, connection: Connection) {
        let total: u32 = self
            .selector
            .entries()
            .iter()
            .map(|(_, weight)| weight)
            .sum();
        let mut pick = u32::try_from(self.word() % u64::from(total)).unwrap();
        let mut entries = self.selector.entries().iter();
        let index = loop {
            let (index, weight) = entries.next().unwrap();
            if pick < *weight {
                break *index;
            }
            pick -= weight;
        };
        let Some(queue) = (index as usize).checked_sub(1) else {
            self.arrived += 1;
            self.primary.push_back(connection);
            self.hand_over();
            if self.tick.is_none() {
                self.decide();
            }
            return;
        };
        if self.queues[queue].len() >= QUEUE_LIMIT {
            self.dropped += 1;
            let Connection { client, came } = connection;
            return self.after(S, Event::Retry { client, came });
        }
        self.queues[queue].push_back(connection);
        self.wake_all_at(queue);
    }

    fn wake_all_at(&mut self, queue: usize) {
        // Who of them is there first takes it.
        let at = self.at(queue);
        let first = usize::try_from(self.word()).unwrap() % at.len();
        for slot in at.clone().skip(first).chain(at.take(first)) {
            self.wake(slot);
        }
    }

    /// Who has this queue.
    fn at(&self, queue: usize) -> std::ops::Range<usize> {
        let first = queue * self.sharing;
        first..(first + self.sharing).min(self.workers.len())
    }

    fn wake(&mut self, slot: usize) {
        let worker = &mut self.workers[slot];
        if worker.alive && !worker.stopped && !worker.looping {
            worker.looping = true;
            let id = worker.id;
            self.after(10, Event::Loop { slot, id });
        }
    }

    fn turn(&mut self, slot: usize, id: u32) {
        let worker = &mut self.workers[slot];
        if !worker.alive || worker.id != id || worker.stopped {
            return;
        }
        if worker.batch.is_empty() {
            worker
                .batch
                .extend(self.queues[slot / self.sharing].drain(..));
            worker.batch.extend(worker.channel.drain(..));
            if worker.unconfirmed > 0 {
                self.sequence += 1;
                worker.free_since = self.sequence;
                worker.unconfirmed = 0;
            }
        }
        let Some(connection) = worker.batch.pop_front() else {
            worker.looping = false;
            return;
        };
        worker.busy += worker.service;
        worker.served += 1;
        let (id, service) = (worker.id, worker.service);
        self.done.push((slot, self.now + service - connection.came));
        self.after(service, Event::Loop { slot, id });
        if connection.client.is_some() {
            let event = Event::Arrival {
                client: connection.client,
                stream: 0,
            };
            self.after(service + 100, event);
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let resting: Vec<Queue> = match self.primary.is_empty() {
            true => return,
            false => self.spread.resting().collect(),
        };
        while let Some(connection) = self.primary.front().copied() {
            let mut loads = Vec::with_capacity(self.workers.len());
            for (at, worker) in self.workers.iter().enumerate() {
                let slot = Slot(u32::try_from(at).unwrap());
                let queue = Queue(u32::try_from(at / self.sharing).unwrap());
                if worker.alive && worker.unconfirmed < DEPTH && !resting.contains(&queue) {
                    let mut load = Load::new(WorkerId(worker.id), slot);
                    load.in_flight = worker.unconfirmed;
                    load.free_since = worker.free_since;
                    loads.push(load);
                }
            }
            let Some(at) = self.balance.choose(&loads, &Incoming::default()) else {
                return;
            };
            let slot = loads[at].slot.0 as usize;
            self.primary.pop_front();
            self.handed_over += 1;
            self.workers[slot].unconfirmed += 1;
            self.workers[slot].channel.push_back(connection);
            self.wake(slot);
        }
    }

    fn views(&mut self) -> Vec<QueueView> {
        let span = self.now - self.last_cpu;
        let measured = span >= 100 * MS;
        let now = self.now;
        let cpu = |worker: &Worker| (worker.busy - worker.busy_before) as f32 / span.max(1) as f32;
        let view = |(at, queue): (usize, &VecDeque<Connection>)| {
            let who = &self.workers[self.at(at)];
            let alive = || who.iter().filter(|worker| worker.alive);
            let stops = |worker: &Worker| self.sees_stops && worker.stopped && !queue.is_empty();
            let running = alive().filter(|worker| !stops(worker)).count();
            let all = alive().count();
            let stopped = all > 0 && running == 0;
            QueueView {
                queue: Queue(u32::try_from(at).unwrap()),
                youngest: alive().map(|worker| WorkerId(worker.id)).max(),
                serving: u16::try_from(if stopped { all } else { running }).unwrap(),
                stopped,
                length: u32::try_from(queue.len()).unwrap(),
                limit: u32::try_from(QUEUE_LIMIT).unwrap(),
                cpu: alive()
                    .map(cpu)
                    .reduce(f32::max)
                    .filter(|_| self.knows_cpu && span >= 20 * MS),
                age: match alive().map(|worker| worker.born).min() {
                    Some(born) if born > 0 => Duration::from_micros(now - born),
                    _ => Duration::MAX / 8,
                },
            }
        };
        let views = self.queues.iter().enumerate().map(view).collect();
        if measured {
            self.last_cpu = now;
            for worker in &mut self.workers {
                worker.busy_before = worker.busy;
            }
        }
        views
    }

    /// A tick now, and the next one when it says.
    fn decide(&mut self) {
        self.ticks += 1;
        let views = self.views();
        let now = self.epoch + Duration::from_micros(self.now);
        let before = (self.spread.mode(), self.spread.resting().count());
        let decision = self
            .spread
            .tick(now, &views, std::mem::take(&mut self.arrived));
        let after = (self.spread.mode(), self.spread.resting().count());
        self.switches += u32::from(before.0 != after.0);
        self.rested += after.1.saturating_sub(before.1) as u64;
        if let Some(selector) = decision.selector {
            self.selector = selector;
        }
        for (queue, most) in decision.steal {
            let queue = &mut self.queues[queue.0 as usize];
            let number = queue.len().min(most as usize);
            self.stolen += number as u64;
            self.primary.extend(queue.drain(..number));
        }
        self.tick = decision.next_tick.map(|after| {
            let after = u64::try_from(after.as_micros()).unwrap();
            self.sequence += 1;
            let number = self.sequence;
            self.after(after, Event::Tick { number });
            number
        });
        self.hand_over();
    }

    pub(super) fn mode(&self) -> Mode {
        self.spread.mode()
    }

    pub(super) fn asleep(&self) -> bool {
        self.tick.is_none()
    }

    pub(super) fn selector(&self) -> &Selector {
        &self.selector
    }

    /// A handshake that began under an earlier selector ends in this queue.
    pub(super) fn straggler(&mut self, queue: usize) {
        self.came += 1;
        let connection = Connection {
            client: None,
            came: self.now,
        };
        self.queues[queue].push_back(connection);
        self.wake_all_at(queue);
    }

    pub(super) fn longest_wait(&self) -> u64 {
        self.done.iter().map(|(_, wait)| *wait).max().unwrap()
    }

    /// Connections that came and were not served.
    pub(super) fn unserved(&self) -> u64 {
        self.came - self.done.len() as u64
    }

    /// Forgets what was counted so far, but not who still waits.
    pub(super) fn reset(&mut self) {
        self.came = self.unserved();
        self.done.clear();
        (self.stolen, self.switches, self.rested, self.dropped) = (0, 0, 0, 0);
        (self.ticks, self.handed_over) = (0, 0);
        for worker in &mut self.workers {
            worker.served = 0;
        }
    }

    /// The time that all but one in a hundred waited at most, among those served by `slots`.
    pub(super) fn p99(&self, slots: &[usize]) -> u64 {
        let served = self.done.iter().filter(|(slot, _)| slots.contains(slot));
        let mut waits: Vec<u64> = served.map(|(_, wait)| *wait).collect();
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }

    pub(super) fn served(&self) -> Vec<u64> {
        self.workers.iter().map(|worker| worker.served).collect()
    }

    /// Most by least, among `slots`.
    pub(super) fn imbalance(&self, slots: &[usize]) -> f64 {
        let served = || slots.iter().map(|slot| self.workers[*slot].served);
        served().max().unwrap() as f64 / served().min().unwrap() as f64
    }
}
