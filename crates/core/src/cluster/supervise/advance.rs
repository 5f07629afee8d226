//! What follows from what happened: timers, the fate of places, the stop plan.

use std::time::{Duration, Instant};

use super::super::restart::{Life, Verdict, When};
use super::super::{Slot, WorkerId};
use super::{
    At, Cause, Death, End, Fate, GaveUp, Mark, Notice, Order, Place, State, Step, Supervisor, Then,
    Vacancy, Worker,
};
use crate::signal::Signal;

impl Supervisor {
    /// Brings everything up to date that needs no time to pass.
    pub(super) fn advance(&mut self, now: Instant) {
        self.calm = None;
        self.fill_at = None;
        if self.state == State::Running {
            self.fill(now);
        }
        let complete = self.is_complete();
        if complete && !self.complete {
            self.tell(Notice::AllReady);
        }
        self.complete = complete;
        self.finish();
    }

    /// Starts what may be started for places that wait.
    fn fill(&mut self, now: Instant) {
        while let Some(Vacancy { slot, life, told }) = self.waiting.front().copied() {
            let hope = self.workers.values().any(may_prove_well);
            match self.pace.verdict(life, hope, now) {
                Verdict::Start => {
                    self.waiting.pop_front();
                    if !told {
                        let after = self.pace.wait(now);
                        self.tell(Notice::Restarting { slot, after });
                    }
                    self.place_mut(slot).restarts += 1;
                    let worker = self.start(slot);
                    self.pace.restarted(worker, life, now);
                }
                Verdict::Wait(until) => {
                    self.fill_at = until;
                    break;
                }
                Verdict::TooMany(budget) => self.give_up(GaveUp::TooManyRestarts {
                    starts: budget.starts,
                    within: budget.within,
                }),
                Verdict::Unproven => self.give_up(GaveUp::NeverReady {
                    starts: self.next.0 - 1,
                }),
            }
        }
        let after = self.pace.wait(now);
        for vacancy in self.waiting.iter_mut().filter(|vacancy| !vacancy.told) {
            vacancy.told = true;
            let slot = vacancy.slot;
            let notice = Notice::Restarting { slot, after };
            self.orders.push_back(Order::Tell(notice));
        }
    }

    fn is_complete(&self) -> bool {
        let mut wanted = self.places.iter().filter(|place| place.wanted).peekable();
        self.state == State::Running
            && wanted.peek().is_some()
            && wanted.all(|place| {
                let holder = place.holder.and_then(|worker| self.workers.get(&worker));
                holder.is_some_and(|worker| matches!(worker.at, At::Ready { .. }))
            })
    }

    fn finish(&mut self) {
        if !self.workers.is_empty() || !self.waiting.is_empty() {
            return;
        }
        let end = match self.state {
            State::Running if self.wanted() > 0 => End::Finished,
            State::GaveUp => End::GaveUp,
            State::Stopping => End::Stopped,
            State::Running | State::Over => return,
        };
        self.state = State::Over;
        self.tell(Notice::Over {
            end,
            signalled: self.signalled,
            killed: self.killed,
        });
    }

    pub(super) fn give_up(&mut self, why: GaveUp) {
        if self.state == State::Running {
            self.state = State::GaveUp;
            self.waiting.clear();
            self.tell(Notice::GaveUp(why));
        }
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.orders.push_back(Order::Tell(notice));
    }
}

/// Timers.
impl Supervisor {
    pub(super) fn timer(&self, worker: &Worker) -> Option<Instant> {
        match worker.at {
            At::Ordered => None,
            At::Starting { timer, .. } => timer,
            At::Ready { since, mark } => match mark {
                Mark::Settles => since.checked_add(self.plan.restart.settled),
                Mark::ProvesItself => since.checked_add(self.plan.restart.reset_after),
                Mark::None => None,
            },
            At::Leaving { step, .. } => match step {
                Step::Asked { signal_at } => signal_at,
                Step::Signalled { kill_at } => kill_at,
                Step::Unhurried | Step::Killed => None,
            },
        }
    }

    fn is_due(&self, worker: &Worker, now: Instant) -> bool {
        self.timer(worker).is_some_and(|at| at <= now)
    }

    pub(super) fn run_timers(&mut self, now: Instant) {
        let due = |machine: &Self| {
            let mut workers = machine.workers.iter();
            let first = workers.find(|(_, worker)| machine.is_due(worker, now));
            first.map(|(id, worker)| (*id, worker.at))
        };
        while let Some((worker, at)) = due(self) {
            match at {
                At::Starting {
                    then: Then::Ready, ..
                } => self.ready(worker, now),
                At::Starting {
                    then: Then::TooLate,
                    ..
                } => self.too_late(worker, now),
                At::Ready { .. } => self.run_marks(worker, now),
                At::Leaving {
                    step: Step::Signalled { .. },
                    ..
                } => self.kill(worker),
                At::Leaving { .. } => self.signal(worker, now),
                At::Ordered => unreachable!("an order has no timer"),
            }
        }
    }

    fn too_late(&mut self, worker: WorkerId, now: Instant) {
        self.pace.timed_out();
        let waited = self.plan.ready_timeout;
        self.tell(Notice::NotReady { worker, waited });
        self.depart(worker, Cause::TooLate, now);
    }

    /// Notes what a ready worker has proved until now.
    pub(super) fn run_marks(&mut self, worker: WorkerId, now: Instant) {
        while let Some(subject) = self.workers.get(&worker).copied()
            && let At::Ready { since, mark } = subject.at
            && self.is_due(&subject, now)
        {
            let mark = match mark {
                Mark::Settles => {
                    if self.pace.settled(worker, now) {
                        self.excuse();
                    }
                    Mark::ProvesItself
                }
                Mark::ProvesItself | Mark::None => {
                    self.pace.proved_itself(worker, now);
                    Mark::None
                }
            };
            self.put(worker, At::Ready { since, mark });
        }
    }
}

/// Places.
impl Supervisor {
    pub(super) fn place(&self, slot: Slot) -> Place {
        self.places[slot.0 as usize]
    }

    fn place_mut(&mut self, slot: Slot) -> &mut Place {
        &mut self.places[slot.0 as usize]
    }

    pub(super) fn slot_held_by(&self, worker: WorkerId) -> Option<usize> {
        let mut places = self.places.iter();
        places.position(|place| place.holder == Some(worker))
    }

    /// Wants one more worker, in the first place that has none.
    pub(super) fn open_place(&mut self) {
        let index = match self.places.iter().position(|place| !place.wanted) {
            Some(index) => index,
            None => {
                self.places.push(Place::default());
                self.places.len() - 1
            }
        };
        self.places[index].wanted = true;
        self.start(Slot(u32::try_from(index).unwrap_or(u32::MAX)));
    }

    pub(super) fn close_place(&mut self, index: usize, now: Instant) {
        let place = &mut self.places[index];
        place.wanted = false;
        let holder = place.holder.take();
        self.waiting
            .retain(|vacancy| vacancy.slot.0 as usize != index);
        if let Some(worker) = holder {
            self.depart(worker, Cause::Dismissed, now);
        }
    }

    fn start(&mut self, slot: Slot) -> WorkerId {
        let worker = self.next;
        // Whoever still lives after 2^32 others keeps its number.
        while {
            self.next = WorkerId(self.next.0.wrapping_add(1).max(1));
            self.workers.contains_key(&self.next)
        } {}
        let at = At::Ordered;
        self.workers.insert(worker, Worker { slot, at });
        let place = self.place_mut(slot);
        place.holder = Some(worker);
        let restarts = place.restarts;
        self.orders.push_back(Order::Start {
            worker,
            slot,
            restarts,
        });
        worker
    }

    /// What kept workers from starting is over: who waits for that has not to pay for it.
    fn excuse(&mut self) {
        for vacancy in &mut self.waiting {
            if vacancy.life == Life::Quick {
                vacancy.life = Life::Long;
            }
        }
    }

    /// What becomes of the place of a worker that is gone.
    pub(super) fn fate(&self, at: At, death: Death, now: Instant) -> Fate {
        let was_sent_away = match death {
            Death::Code(_) => false,
            Death::Signal(signal) => SENT_BY_PEOPLE.contains(&signal),
        };
        let up = match at {
            At::Leaving {
                cause: Cause::Dismissed,
                ..
            } => return Fate::Done,
            At::Leaving {
                cause: Cause::Restart,
                ..
            } => return Fate::Replace(Life::Long),
            At::Leaving {
                cause: Cause::TooLate,
                ..
            } => return self.fate_of_crash(Life::Quick),
            At::Leaving {
                cause: Cause::Own,
                up,
                ..
            } => return self.fate_of_leaver(self.pace.life(up, false)),
            At::Leaving {
                cause: Cause::Lost,
                up,
                ..
            } => up,
            At::Ordered | At::Starting { .. } => None,
            At::Ready { since, .. } => Some(now.saturating_duration_since(since)),
        };
        let life = self.pace.life(up, was_sent_away);
        match death {
            Death::Code(0) if self.plan.restart.when == When::OnCrash => Fate::Done,
            Death::Code(_) | Death::Signal(_) => self.fate_of_crash(life),
        }
    }

    pub(super) fn fate_of_crash(&self, life: Life) -> Fate {
        match self.plan.restart.when {
            When::Always | When::OnCrash => Fate::Replace(life),
            When::Never => Fate::Done,
        }
    }

    /// A worker that leaves on purpose costs nothing, unless it hardly served:
    /// else one that leaves as soon as it is started would be started forever.
    fn fate_of_leaver(&self, life: Life) -> Fate {
        match (self.plan.restart.when, life) {
            (When::Always, Life::Quick) => Fate::Replace(Life::Quick),
            (When::Always, Life::Short | Life::Long) => Fate::Replace(Life::Long),
            (When::OnCrash | When::Never, _) => Fate::Done,
        }
    }

    /// Takes a worker's place away from it, if it has one.
    pub(super) fn vacate(&mut self, worker: WorkerId, slot: Slot, fate: Fate, now: Instant) {
        let place = self.place_mut(slot);
        if place.holder == Some(worker) {
            place.holder = None;
            if let Fate::Replace(life) = fate
                && self.state == State::Running
            {
                if life == Life::Quick {
                    self.pace.died_quickly(worker, self.next, now);
                }
                self.waiting.push_back(Vacancy {
                    slot,
                    life,
                    told: false,
                });
            }
        }
        self.pace.gone(worker, now);
    }
}

/// The stop plan.
impl Supervisor {
    pub(super) fn put(&mut self, worker: WorkerId, at: At) {
        self.calm = None;
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.at = at;
        }
    }

    /// Forgets a worker, and what was still to be done to it.
    pub(super) fn take(&mut self, worker: WorkerId) -> Option<Worker> {
        let gone = self.workers.remove(&worker)?;
        self.orders.retain(|order| subject(order) != Some(worker));
        Some(gone)
    }

    pub(super) fn leave(&mut self, worker: WorkerId, cause: Cause, up: Option<Duration>) {
        let step = Step::Unhurried;
        self.put(worker, At::Leaving { cause, up, step });
    }

    /// Gives one that leaves at its leisure the stop plan's time.
    pub(super) fn hurry(&mut self, worker: WorkerId, now: Instant) {
        let signal_at = now.checked_add(self.plan.stop.grace);
        if let Some(worker) = self.workers.get_mut(&worker)
            && let At::Leaving { step, .. } = &mut worker.at
            && matches!(step, Step::Unhurried)
        {
            *step = Step::Asked { signal_at };
        }
    }

    /// Begins the stop plan for a worker, wherever it is in its life.
    pub(super) fn depart(&mut self, worker: WorkerId, why: Cause, now: Instant) {
        let Some(subject) = self.workers.get_mut(&worker) else {
            return;
        };
        let up = match &mut subject.at {
            At::Ordered if why == Cause::Dismissed => {
                self.take(worker);
                return self.pace.gone(worker, now);
            }
            // It is not even there yet: as good as restarted.
            At::Ordered => return,
            At::Leaving { cause, .. } => {
                if why == Cause::Dismissed || matches!(cause, Cause::Own | Cause::Lost) {
                    *cause = why;
                }
                return self.hurry(worker, now);
            }
            At::Starting { .. } => None,
            At::Ready { since, .. } => Some(now.saturating_duration_since(*since)),
        };
        self.leave(worker, why, up);
        if self.plan.stop.grace.is_zero() {
            self.signal(worker, now);
        } else {
            self.hurry(worker, now);
            self.orders.push_back(Order::Disconnect { worker });
        }
    }

    fn signal(&mut self, worker: WorkerId, now: Instant) {
        let signal = self.plan.stop.signal;
        if signal == Signal::KILL {
            return self.kill(worker);
        }
        let kill_at = now.checked_add(self.plan.stop.term);
        self.step(worker, Step::Signalled { kill_at });
        self.orders.push_back(Order::Signal { worker, signal });
    }

    pub(super) fn kill(&mut self, worker: WorkerId) {
        if self.step(worker, Step::Killed) {
            // What is gentler would come too late.
            self.orders.retain(|order| subject(order) != Some(worker));
            self.orders.push_back(Order::Kill { worker });
        }
    }

    /// Whether that was a step forward.
    fn step(&mut self, worker: WorkerId, to: Step) -> bool {
        if let Some(worker) = self.workers.get_mut(&worker)
            && let At::Leaving { step, .. } = &mut worker.at
            && !matches!(step, Step::Killed)
        {
            *step = to;
            return true;
        }
        false
    }

    pub(super) fn begin_stop(&mut self, now: Instant) {
        if self.state == State::Stopping {
            return;
        }
        self.state = State::Stopping;
        self.waiting.clear();
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            self.depart(worker, Cause::Dismissed, now);
        }
    }

    /// Counts a worker that had to be made to go when all were to go.
    pub(super) fn count_cut(&mut self, at: At) {
        let At::Leaving { step, .. } = at else {
            return;
        };
        if self.state == State::Stopping {
            match step {
                Step::Unhurried | Step::Asked { .. } => {}
                Step::Signalled { .. } => self.signalled += 1,
                Step::Killed => self.killed += 1,
            }
        }
    }
}

/// Signals that a program does not get of itself.
const SENT_BY_PEOPLE: [Signal; 4] = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP];

fn may_prove_well(worker: &Worker) -> bool {
    match worker.at {
        At::Ordered | At::Starting { .. } => true,
        At::Ready { mark, .. } => matches!(mark, Mark::Settles),
        At::Leaving { .. } => false,
    }
}

fn subject(order: &Order) -> Option<WorkerId> {
    match order {
        Order::Start { worker, .. }
        | Order::Disconnect { worker }
        | Order::Signal { worker, .. }
        | Order::Kill { worker } => Some(*worker),
        Order::Tell(_) => None,
    }
}
