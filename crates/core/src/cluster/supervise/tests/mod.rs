//! Whole apps in virtual time: workers are scripts, and each order is checked.

mod crashes;
mod properties;
mod stops;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::restart::{Budget, Restart};
use super::super::{Slot, WorkerId};
use super::*;
use crate::signal::Signal;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Any instant will do: the machine only compares and adds.
#[expect(clippy::disallowed_methods, reason = "a base for virtual time")]
fn start() -> Instant {
    Instant::now()
}

/// How a worker behaves.
#[derive(Clone, Copy, Debug)]
struct Script {
    /// Why it cannot be started.
    fails: Option<StartFailure>,
    /// When it is ready, after its start.
    boot: Option<Duration>,
    /// When it dies by itself, after it was ready or else after its start.
    dies: Option<(Duration, Death)>,
    /// How long it needs to leave when asked; `None`: it does not.
    on_disconnect: Option<Duration>,
    /// The same for the signal.
    on_signal: Option<Duration>,
}

const GOOD: Script = Script {
    fails: None,
    boot: Some(Duration::from_millis(50)),
    dies: None,
    on_disconnect: Some(Duration::from_millis(20)),
    on_signal: Some(Duration::from_millis(5)),
};

/// Exits with 1 before it is ready.
const BROKEN: Script = Script {
    boot: None,
    dies: Some((Duration::from_millis(30), Death::Code(1))),
    ..GOOD
};

const NEVER_READY: Script = Script { boot: None, ..GOOD };

fn lives_for(up: Duration, death: Death) -> Script {
    Script {
        dies: Some((up, death)),
        ..GOOD
    }
}

#[derive(Clone, Copy, Debug)]
enum Fact {
    Ready,
    Exited(Death),
}

#[derive(Clone, Copy, Debug)]
struct Sim {
    slot: Slot,
    script: Script,
    ready: bool,
    /// It was ordered to go, or said that it goes.
    leaving: bool,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    at: Instant,
    worker: WorkerId,
    slot: Slot,
    restarts: u32,
}

/// A driver of processes that do not exist.
struct World {
    supervisor: Supervisor,
    now: Instant,
    began: Instant,
    live: BTreeMap<WorkerId, Sim>,
    agenda: BTreeMap<(Instant, usize), (WorkerId, Fact)>,
    entries: usize,
    program: Box<dyn FnMut(WorkerId, Duration) -> Script>,
    starts: Vec<Start>,
    notices: Vec<(Duration, Notice)>,
    orders: Vec<Order>,
    stopped: bool,
    gave_up: bool,
}

impl World {
    /// `program` says how each worker behaves, by its number and the time.
    fn new(plan: Plan, program: impl FnMut(WorkerId, Duration) -> Script + 'static) -> Self {
        let now = start();
        let mut world = Self {
            supervisor: Supervisor::new(plan, 7, now),
            now,
            began: now,
            live: BTreeMap::new(),
            agenda: BTreeMap::new(),
            entries: 0,
            program: Box::new(program),
            starts: Vec::new(),
            notices: Vec::new(),
            orders: Vec::new(),
            stopped: false,
            gave_up: false,
        };
        world.drain();
        world
    }

    fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    fn later(&mut self, after: Duration, worker: WorkerId, fact: Fact) {
        self.entries += 1;
        self.agenda
            .insert((self.now + after, self.entries), (worker, fact));
    }

    /// Lets this much time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        loop {
            let fact = self.agenda.keys().next().map(|(at, _)| *at);
            let next = fact.into_iter().chain(self.supervisor.deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.agenda.first_entry()
                && entry.key().0 <= self.now
            {
                let (worker, fact) = entry.remove();
                self.deliver(worker, fact);
            }
            self.drain();
        }
        self.now = end;
    }

    fn deliver(&mut self, worker: WorkerId, fact: Fact) {
        match fact {
            Fact::Ready => {
                let Some(sim) = self.live.get_mut(&worker) else {
                    return;
                };
                sim.ready = true;
                let dies = sim.script.dies;
                self.supervisor.ready(worker, self.now);
                if let Some((after, death)) = dies {
                    self.later(after, worker, Fact::Exited(death));
                }
            }
            Fact::Exited(death) => self.die(worker, death),
        }
    }

    /// It dies now, unless it is dead.
    fn die(&mut self, worker: WorkerId, death: Death) {
        if self.live.remove(&worker).is_some() {
            self.supervisor.exited(worker, death, self.now);
            self.drain();
        }
    }

    fn kill(&mut self, worker: WorkerId) {
        self.die(worker, Death::Signal(Signal::KILL));
    }

    /// It says that it leaves, or its channel ends.
    fn leaves(&mut self, worker: WorkerId, how: fn(&mut Supervisor, WorkerId, Instant)) {
        self.live.get_mut(&worker).unwrap().leaving = true;
        how(&mut self.supervisor, worker, self.now);
        self.drain();
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.supervisor.stop(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let mut steps = 0;
        while let Some(order) = self.supervisor.poll(self.now) {
            self.carry_out(&order);
            self.orders.push(order);
            steps += 1;
            assert!(steps < 100_000, "it never comes to rest");
        }
        assert!(
            self.supervisor.deadline().is_none_or(|at| at > self.now),
            "a deadline that has passed and nothing to do: a driver would spin"
        );
        assert!(!self.supervisor.is_over() || self.supervisor.deadline().is_none());
    }

    fn carry_out(&mut self, order: &Order) {
        match order {
            Order::Start {
                worker,
                slot,
                restarts,
            } => self.begin(*worker, *slot, *restarts),
            Order::Disconnect { worker } => {
                let script = self.send_away(*worker);
                if let Some(after) = script.on_disconnect {
                    self.later(after, *worker, Fact::Exited(Death::Code(0)));
                }
            }
            Order::Signal { worker, signal } => {
                let script = self.send_away(*worker);
                if let Some(after) = script.on_signal {
                    self.later(after, *worker, Fact::Exited(Death::Signal(*signal)));
                }
            }
            Order::Kill { worker } => {
                self.send_away(*worker);
                self.later(MS, *worker, Fact::Exited(Death::Signal(Signal::KILL)));
            }
            Order::Tell(notice) => {
                assert!(
                    !matches!(self.notices.last(), Some((_, Notice::Over { .. }))),
                    "told after the last word: {notice:?}"
                );
                if matches!(notice, Notice::GaveUp(_)) {
                    assert!(!self.gave_up, "given up twice");
                    self.gave_up = true;
                }
                if matches!(notice, Notice::Over { .. }) {
                    assert!(self.live.is_empty(), "somebody is left");
                }
                self.notices.push((self.elapsed(), notice.clone()));
            }
        }
    }

    fn begin(&mut self, worker: WorkerId, slot: Slot, restarts: u32) {
        assert!(!self.stopped, "started {worker} after the stop");
        assert!(!self.gave_up, "started {worker} after it was given up");
        let last = self.starts.last().map_or(WorkerId(0), |start| start.worker);
        assert!(worker > last, "a number was used again");
        let staying = self.live.values().filter(|sim| !sim.leaving);
        assert!(
            staying.clone().all(|sim| sim.slot != slot),
            "two workers in one place"
        );
        let staying = u32::try_from(staying.count()).unwrap();
        assert!(staying < self.supervisor.wanted(), "too many workers");
        let at = self.now;
        self.starts.push(Start {
            at,
            worker,
            slot,
            restarts,
        });
        let elapsed = self.elapsed();
        let script = (self.program)(worker, elapsed);
        if let Some(failure) = script.fails {
            return self.supervisor.start_failed(worker, failure, at);
        }
        let sim = Sim {
            slot,
            script,
            ready: false,
            leaving: false,
        };
        self.live.insert(worker, sim);
        self.supervisor.started(worker, at);
        match (script.boot, script.dies) {
            (Some(boot), _) => self.later(boot, worker, Fact::Ready),
            (None, Some((after, death))) => self.later(after, worker, Fact::Exited(death)),
            (None, None) => {}
        }
    }

    fn send_away(&mut self, worker: WorkerId) -> Script {
        let sim = self.live.get_mut(&worker).expect("an order for the dead");
        sim.leaving = true;
        sim.script
    }

    fn ready(&self) -> usize {
        self.live.values().filter(|sim| sim.ready).count()
    }

    fn told(&self, wanted: impl Fn(&Notice) -> bool) -> Option<Duration> {
        let notice = self.notices.iter().find(|(_, notice)| wanted(notice));
        notice.map(|(at, _)| *at)
    }

    fn gave_up(&self) -> Option<(Duration, GaveUp)> {
        self.notices.iter().find_map(|(at, notice)| {
            if let Notice::GaveUp(why) = notice {
                Some((*at, *why))
            } else {
                None
            }
        })
    }

    fn end(&self) -> Option<(End, u32, u32)> {
        match self.notices.last() {
            Some((
                _,
                Notice::Over {
                    end,
                    signalled,
                    killed,
                },
            )) => Some((*end, *signalled, *killed)),
            _ => None,
        }
    }
}

fn plan(workers: u32) -> Plan {
    Plan {
        workers,
        ..Plan::default()
    }
}

fn unbounded() -> Restart {
    Restart {
        first: Duration::ZERO,
        budget: None,
        ..Restart::default()
    }
}
