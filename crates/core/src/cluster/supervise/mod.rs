//! How many workers there are, and what each of them is at.
//!
//! A supervisor is told what happened and when, and answers with orders:
//! start this, signal that. It owns no process and no clock, so the driver may
//! be async or blocking, and hundreds of workers live and die in a test within
//! milliseconds.
//!
//! **Who is replaced.** There are to be so many workers, so with
//! [`When::Always`] each that ends is replaced, unless its end was ordered
//! (`stop`, `scale`, `retire`). A worker that left by itself after a
//! `disconnect` is no crash: if it had settled, it is replaced as soon as it
//! says so and outside of the budget, while it serves what it has. That happens
//! for one leaver a place at a time, so that there are never more than twice as
//! many processes; another waits for its own end. With [`When::OnCrash`] such a
//! worker, and one that ends with code 0, is not replaced. How soon, and when
//! it is given up: see [`restart`](super::restart).
//!
//! **Who is ready.** What [`Ready`] says, and nothing else: a worker that was
//! not ready in time is stopped, and counts as one that failed to start. If no
//! worker ever was ready, that is the end: another 30 s would not change it.
//!
//! **Giving up** starts nothing more and stops nobody: who is well keeps
//! serving. When the last of them is gone, it is over. A program that cannot be
//! executed is given up at once if it never could; if it could, its file is
//! probably just being replaced, and the back-off gives it time.
//!
//! **Stopping** is disconnect, grace, signal, a while, `SIGKILL` for the tree;
//! each worker gets its full time for each step, however late the driver is.
//! A second `stop` kills. Nothing is started after the first.
//!
//! # Node
//!
//! Node keeps no count of workers; its documentation's `cluster.on('exit', () => cluster.fork())`
//! replaces everything at once. A difference on purpose: cfork does not replace
//! a worker that left after `disconnect`.

mod advance;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use plan::{Death, End, GaveUp, Notice, Order, Phase, Plan, Ready, StartFailure, StopPlan};

use super::restart::{Life, Pace, When};
use super::{Slot, WorkerId};

/// Keeps as many workers as there are to be.
///
/// After each call, and when [`Supervisor::deadline`] has come, carry out what
/// [`Supervisor::poll`] gives until it gives nothing. What is told of a worker
/// that is gone is ignored, so the driver's events may come late.
#[derive(Debug)]
pub struct Supervisor {
    plan: Plan,
    pace: Pace,
    state: State,
    next: WorkerId,
    workers: BTreeMap<WorkerId, Worker>,
    places: Vec<Place>,
    /// Places to be filled again, in the order in which they became empty.
    waiting: VecDeque<Vacancy>,
    /// When the first of them may be, if only time stands before it.
    fill_at: Option<Instant>,
    orders: VecDeque<Order>,
    /// Nothing is to be done before, unless something is told.
    calm: Option<Calm>,
    /// Whether [`Notice::AllReady`] holds.
    complete: bool,
    signalled: u32,
    killed: u32,
}

/// Until when there is nothing to do; for ever, if there is no such time.
#[derive(Clone, Copy, Debug)]
struct Calm {
    until: Option<Instant>,
}

impl Calm {
    fn lasts(self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    GaveUp,
    Stopping,
    Over,
}

/// Where a worker is to be, or was.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    wanted: bool,
    /// Who has it. `None` in a wanted place: it waits for a restart, or will have none.
    holder: Option<WorkerId>,
    restarts: u32,
}

#[derive(Clone, Copy, Debug)]
struct Vacancy {
    slot: Slot,
    life: Life,
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    slot: Slot,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// The driver has not taken the order to start it.
    Ordered,
    Starting {
        timer: Option<Instant>,
        then: Then,
    },
    Ready {
        since: Instant,
        mark: Mark,
    },
    Leaving {
        cause: Cause,
        /// How long it was ready before.
        up: Option<Duration>,
        step: Step,
    },
}

/// What the time brings a starting worker.
#[derive(Clone, Copy, Debug)]
enum Then {
    TooLate,
    Ready,
}

/// What a ready worker proves next.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Settles,
    ProvesItself,
    None,
}

/// Why a worker leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It is not wanted any more.
    Dismissed,
    /// Another is to take its place.
    Restart,
    /// It was not ready in time.
    TooLate,
    /// It said so itself.
    Own,
    /// Its channel ended without a word.
    Lost,
}

/// What becomes of a dead worker's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is filled again, as after such a life.
    Replace(Life),
    /// It stays empty.
    Done,
}

/// How far the stop plan has come.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It has all the time it wants.
    Unhurried,
    Asked {
        signal_at: Option<Instant>,
    },
    Signalled {
        kill_at: Option<Instant>,
    },
    Killed,
}

impl Supervisor {
    /// Orders the first workers; their starts are free.
    ///
    /// `seed` is for the jitter: give each app another.
    #[must_use]
    pub fn new(plan: Plan, seed: u64, now: Instant) -> Self {
        let workers = plan.workers;
        let mut supervisor = Self {
            pace: Pace::new(plan.restart.clone(), seed, now),
            plan,
            state: State::Running,
            next: WorkerId(1),
            workers: BTreeMap::new(),
            places: Vec::new(),
            waiting: VecDeque::new(),
            fill_at: None,
            orders: VecDeque::new(),
            calm: None,
            complete: false,
            signalled: 0,
            killed: 0,
        };
        supervisor.scale(workers, now);
        supervisor
    }

    /// The next thing to do.
    pub fn poll(&mut self, now: Instant) -> Option<Order> {
        // Asked again and again while connections come, and seldom for a reason.
        if self.calm.is_some_and(|calm| calm.lasts(now)) {
            return None;
        }
        self.run_timers(now);
        self.advance(now);
        let Some(order) = self.orders.pop_front() else {
            self.calm = Some(Calm {
                until: self.deadline(),
            });
            return None;
        };
        if let Order::Start { worker, .. } = order
            && let Some(worker) = self.workers.get_mut(&worker)
        {
            worker.at = At::Starting {
                timer: now.checked_add(self.plan.ready_timeout),
                then: Then::TooLate,
            };
        }
        Some(order)
    }

    /// When [`Self::poll`] has something to do without anything else happening.
    ///
    /// After a `poll` that gave nothing this is in the future, or never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if let Some(calm) = self.calm {
            return calm.until;
        }
        let timers = self.workers.values().filter_map(|w| self.timer(w)).min();
        timers.into_iter().chain(self.fill_at).min()
    }

    /// The process exists: [`Order::Start`] was carried out.
    pub fn started(&mut self, worker: WorkerId, now: Instant) {
        let Some(Worker {
            at: At::Starting { .. },
            ..
        }) = self.workers.get(&worker)
        else {
            return;
        };
        match self.plan.ready {
            Ready::Listening | Ready::Message(_) => {}
            Ready::Started => self.ready(worker, now),
            Ready::After(time) => {
                let timer = now.checked_add(time);
                self.put(
                    worker,
                    At::Starting {
                        timer,
                        then: Then::Ready,
                    },
                );
            }
        }
    }

    /// It could not be started.
    pub fn start_failed(&mut self, worker: WorkerId, failure: StartFailure, now: Instant) {
        let Some(gone) = self.take(worker) else {
            return;
        };
        let holds = self.place(gone.slot).holder == Some(worker);
        if holds && failure == StartFailure::Permanent && !self.pace.is_proven() {
            self.give_up(GaveUp::CannotStart { slot: gone.slot });
        }
        let fate = self.fate_of_crash(Life::Quick);
        self.vacate(worker, gone.slot, fate, now);
        self.advance(now);
    }

    /// It is ready, in the sense of [`Plan::ready`]; more than once does no harm.
    pub fn ready(&mut self, worker: WorkerId, now: Instant) {
        let Some(Worker {
            at: At::Starting { .. },
            slot,
        }) = self.workers.get(&worker).copied()
        else {
            return;
        };
        let mark = Mark::Settles;
        self.put(worker, At::Ready { since: now, mark });
        self.pace.ready(worker, now);
        self.tell(Notice::Ready { worker, slot });
        self.advance(now);
    }

    /// It leaves by itself: its `exitedAfterDisconnect` came.
    ///
    /// One that was ready has all the time it wants for what it serves.
    pub fn leaving(&mut self, worker: WorkerId, now: Instant) {
        let Some(leaver) = self.workers.get(&worker).copied() else {
            return;
        };
        let up = match leaver.at {
            At::Ordered | At::Leaving { .. } => return,
            At::Starting { .. } => None,
            At::Ready { since, .. } => Some(now.saturating_duration_since(since)),
        };
        let alone = !self
            .workers
            .values()
            .any(|other| other.slot == leaver.slot && other.leaves_by_itself());
        self.leave(worker, Cause::Own, up);
        let settled = self.pace.life(up, false) != Life::Quick;
        if settled && alone && self.plan.restart.when == When::Always {
            self.vacate(worker, leaver.slot, Fate::Replace(Life::Long), now);
        }
        if up.is_none() {
            self.hurry(worker, now);
        }
        self.advance(now);
    }

    /// Its channel has ended. It has the stop plan's time to end as well:
    /// nothing can be given to it or asked of it any more.
    pub fn disconnected(&mut self, worker: WorkerId, now: Instant) {
        let Some(Worker { at, .. }) = self.workers.get(&worker).copied() else {
            return;
        };
        match at {
            At::Ordered | At::Leaving { .. } => {}
            At::Starting { .. } => self.leave(worker, Cause::Lost, None),
            At::Ready { since, .. } => {
                let up = now.saturating_duration_since(since);
                self.leave(worker, Cause::Lost, Some(up));
            }
        }
        self.hurry(worker, now);
        self.advance(now);
    }

    /// It is gone, and its tree with it.
    pub fn exited(&mut self, worker: WorkerId, death: Death, now: Instant) {
        // What it proved before it died counts, however late we are told.
        self.run_marks(worker, now);
        let Some(gone) = self.take(worker) else {
            return;
        };
        self.count_cut(gone.at);
        let fate = self.fate(gone.at, death, now);
        self.vacate(worker, gone.slot, fate, now);
        self.advance(now);
    }

    /// There are to be so many workers. The last places go first; new ones are
    /// free starts. Once it was given up there are never to be more; in a stop
    /// this does nothing.
    pub fn scale(&mut self, workers: u32, now: Instant) {
        match self.state {
            State::Running => {
                while self.wanted() < workers {
                    self.open_place();
                }
            }
            State::GaveUp => {}
            State::Stopping | State::Over => return,
        }
        while self.wanted() > workers {
            let Some(last) = self.places.iter().rposition(|place| place.wanted) else {
                break;
            };
            self.close_place(last, now);
        }
        self.advance(now);
    }

    /// Stops this worker by the stop plan and starts another when it is gone,
    /// without delay or cost. Does nothing once it was given up: that would
    /// only end one that serves.
    pub fn restart_worker(&mut self, worker: WorkerId, now: Instant) {
        if self.state == State::Running && self.slot_held_by(worker).is_some() {
            self.depart(worker, Cause::Restart, now);
            self.advance(now);
        }
    }

    /// Stops this worker by the stop plan: there is one worker fewer from now on.
    pub fn retire(&mut self, worker: WorkerId, now: Instant) {
        if let Some(slot) = self.slot_held_by(worker) {
            self.close_place(slot, now);
            self.advance(now);
        }
    }

    /// Stops all by the stop plan. A second call is [`Self::kill_now`].
    pub fn stop(&mut self, now: Instant) {
        match self.state {
            State::Running | State::GaveUp => {
                self.begin_stop(now);
                self.advance(now);
            }
            State::Stopping => self.kill_now(now),
            State::Over => {}
        }
    }

    /// Kills all at once, and starts nothing more.
    pub fn kill_now(&mut self, now: Instant) {
        if self.state == State::Over {
            return;
        }
        self.begin_stop(now);
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            self.kill(worker);
        }
        self.advance(now);
    }

    /// How many workers there are to be.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        let wanted = self.places.iter().filter(|place| place.wanted).count();
        u32::try_from(wanted).unwrap_or(u32::MAX)
    }

    /// Who is alive or being started, in order of age.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, Slot, Phase)> + '_ {
        self.workers
            .iter()
            .map(|(id, worker)| (*id, worker.slot, worker.phase()))
    }

    /// Whether nothing can happen any more: [`Notice::Over`] is told, or about to be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

impl Worker {
    fn phase(&self) -> Phase {
        match self.at {
            At::Ordered | At::Starting { .. } => Phase::Starting,
            At::Ready { .. } => Phase::Ready,
            At::Leaving { .. } => Phase::Leaving,
        }
    }

    fn leaves_by_itself(&self) -> bool {
        matches!(
            self.at,
            At::Leaving {
                cause: Cause::Own,
                ..
            }
        )
    }
}
