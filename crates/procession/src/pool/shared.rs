//! The machine, and what is carried out for it.
//!
//! A pool over threads must not cost a task more than a channel does, so there
//! is no owner to ask: who submits and who has finished work the machine
//! themselves, under one lock that is held for the decision alone. Whatever
//! may take long or is somebody else's code (wakers, tokens, threads) happens
//! when it is released; see docs/design/pool.md.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use procession_core::pool::{
    Dispatcher, Intake, Refused, Stats, TaskId, Terms, Unfinished, Verdict, WorkerId,
};

use super::death::Death;
use super::error::TaskError;
use super::events::{Event, Feed};
use super::inbox::{Assignment, Bell, Mail};
use super::state::{After, Chores, Force, Job, State, ran};
use super::sync::{Mutex, MutexGuard, Notify};
use super::ticket::Ticket;
use super::trace;

pub(super) struct Shared<T, R, P> {
    state: Mutex<State<T, R, P>>,
    /// Locked alone, or after the state.
    intake: Apart<Mutex<Intake<Job<T, R, P>>>>,
    /// For the keeper.
    bell: Bell,
    pub(super) feed: Feed,
    /// For who waits for the pool itself: for room, for the last task, for the end.
    changed: Notify,
}

/// Not on the cache lines of its neighbours, which others write to.
#[repr(align(128))]
struct Apart<X>(X);

impl<T, R, P> Shared<T, R, P> {
    pub(super) fn new(machine: Dispatcher<Job<T, R, P>>, force: Force, bell: Bell) -> Self {
        Self {
            state: Mutex::new(State::new(machine, force, &bell)),
            intake: Apart(Mutex::default()),
            bell,
            feed: Feed::new(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R, P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn intake(&self) -> MutexGuard<'_, Intake<Job<T, R, P>>> {
        self.intake.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, which knows of all tasks.
    fn lock_all(&self) -> MutexGuard<'_, State<T, R, P>> {
        let mut state = self.lock();
        if std::mem::take(&mut state.takes_in) {
            state.machine.collect(&mut self.intake());
        }
        state
    }

    /// Takes a task. While all workers are busy nobody is disturbed for it.
    pub(super) fn submit(
        &self,
        job: Job<T, R, P>,
        terms: Terms,
    ) -> Result<TaskId, Refused<Job<T, R, P>>> {
        let now = Instant::now();
        let job = match terms.queue_timeout {
            Some(_) => job,
            None => match self.intake().offer(job, terms.run_timeout, now) {
                Ok(id) => return Ok(id),
                Err(job) => job,
            },
        };
        self.with(None, |state, now| state.machine.submit(job, terms, now))
    }

    /// Tells the machine something, and carries out what follows.
    ///
    /// `me` is the worker that is asking: it need not be woken.
    pub(super) fn with<X>(
        &self,
        me: Option<WorkerId>,
        tell: impl FnOnce(&mut State<T, R, P>, Instant) -> X,
    ) -> X {
        let mut after = After::default();
        // Not read under the lock: others wait for that.
        let now = Instant::now();
        let mut state = self.lock_all();
        let now = state.clock.after(now);
        let was_busy = self.feed.is_on() && !state.machine.is_drained();
        let said = tell(&mut state, now);
        self.settle(&mut state, me, now, &mut after);
        let is_drained = was_busy && state.machine.is_drained();
        drop(state);
        self.tell_if(is_drained);
        self.happen(after);
        said
    }

    /// Carries out what the machine wants, and sees that the intake takes
    /// tasks as long as nobody is idle, and not longer.
    fn settle(
        &self,
        state: &mut State<T, R, P>,
        me: Option<WorkerId>,
        now: Instant,
        after: &mut After<T, R, P>,
    ) {
        loop {
            state.carry_out(me, now, after);
            if !state.takes_in && !state.machine.is_saturated() {
                return;
            }
            let mut intake = self.intake();
            let any = state.machine.collect(&mut intake);
            state.takes_in = state.machine.allow(&mut intake);
            // What came in the meantime may be for somebody who is idle.
            if state.takes_in || !any {
                return;
            }
        }
    }

    fn happen(&self, after: After<T, R, P>) {
        if after.keeper {
            self.bell.ring();
        }
        for inbox in after.ring {
            inbox.ring();
        }
        for token in after.cancel {
            token.cancel();
        }
        for (ticket, error) in after.end {
            ticket.end(Err(error));
        }
        if after.tell {
            self.changed.notify_waiters();
        }
    }

    /// A worker has finished a task; what it is to do next comes by its inbox.
    pub(super) fn finished(
        &self,
        worker: WorkerId,
        id: TaskId,
        ticket: &Ticket<T, R, P>,
        result: Result<R, TaskError<T>>,
    ) {
        if let Some(next) = self.finished_next(worker, id, ticket, result) {
            let mut state = self.lock();
            if let Some(desk) = state.desk(worker) {
                // It is not asleep: it is who calls.
                let _is_awaited = desk.inbox.put(Mail::Run(next));
            }
        }
    }

    /// A worker has finished a task. It may be given the next one at once.
    pub(super) fn finished_next(
        &self,
        worker: WorkerId,
        id: TaskId,
        ticket: &Ticket<T, R, P>,
        result: Result<R, TaskError<T>>,
    ) -> Option<Assignment<T, R, P>> {
        let is_broken = matches!(result, Err(TaskError::Panicked { .. }));
        let is_canceled = ticket.sees_cancel();
        let now = Instant::now();
        let mut after = After::default();
        let mut state = self.lock();
        let now = state.clock.after(now);
        if state.machine.is_short() || !state.takes_in {
            let mut intake = self.intake();
            state.machine.collect(&mut intake);
            state.takes_in = state.machine.allow(&mut intake);
        }
        if is_broken {
            state.machine.recycle_worker(worker, now);
        }
        // It saw its caller's token before we did: that is why it ended.
        if is_canceled {
            state.machine.cancel(id, now);
        }
        let last = state.take_job(worker, id);
        let (verdict, next) = state.machine.finished_next(worker, id, now);
        let next = next.and_then(|(id, job)| state.assign(worker, id, job));
        if next.is_some() {
            state.mind(&mut after);
        } else {
            self.settle(&mut state, Some(worker), now, &mut after);
        }
        let is_drained = self.feed.is_on() && state.machine.is_drained();
        drop(state);
        drop(last);
        self.tell_if(is_drained);
        match verdict {
            Some(Verdict::Done) => ticket.end(result),
            Some(verdict) => ticket.end(Err(ran(verdict, Death::default))),
            // It was given up, and who waited was told.
            None => {}
        }
        self.happen(after);
        next
    }

    /// A worker's thread is about to end, or did not start.
    pub(super) fn left(&self, worker: WorkerId, death: Option<Death>) {
        trace::left(worker, death.as_ref());
        // Before anybody can tell of the next one.
        self.feed.tell(|| Event::Left {
            worker,
            death: death.clone(),
        });
        self.with(None, |state, now| {
            if let Some(death) = death {
                state.failure = death;
            }
            state.abandoned.remove(&worker);
            state.stuck.retain(|stuck| *stuck != worker);
            state.chores.join.push(worker);
            state.machine.gone(worker, now);
        });
    }

    /// A worker is ready for tasks.
    pub(super) fn started(&self, worker: WorkerId, pid: Option<u32>) {
        self.with(None, |state, now| state.machine.started(worker, now));
        trace::ready(worker, pid);
        self.feed.tell(|| Event::Ready { worker, pid });
    }

    /// Whether the worker can have tasks ahead.
    pub(super) fn takes_ahead(&self, worker: WorkerId, takes: bool) {
        self.with(None, |state, now| {
            state.machine.takes_ahead(worker, takes, now);
        });
    }

    /// A task that was sent ahead has not begun, and never will there.
    pub(super) fn recalled(&self, worker: WorkerId, id: TaskId, task: T) {
        let left = self.with(None, |state, now| {
            let Some(ticket) = state.job(worker, id).cloned() else {
                return (Some(task), None);
            };
            let job = Job { task, ticket };
            let left = state.machine.recalled(worker, id, job, now);
            if left.is_none() {
                state.take_job(worker, id);
            }
            (None, left)
        });
        // Its destructor is foreign code.
        drop(left);
    }

    /// A task that was to come back has begun.
    pub(super) fn begun(&self, worker: WorkerId, id: TaskId) {
        self.with(None, |state, now| state.machine.begun(worker, id, now));
    }

    fn tell_if(&self, is_drained: bool) {
        if is_drained {
            self.feed.tell(|| Event::Drained);
        }
    }

    /// Sleeps until the keeper has something to do. `None`: never again.
    pub(super) fn next_chores_blocking(&self) -> Option<Chores<T, R, P>> {
        loop {
            let mut state = match self.look() {
                Look::Do(chores) => return Some(chores),
                Look::Leave => return None,
                Look::Again => continue,
                Look::Sleep(state) => state,
            };
            let deadline = state.machine.deadline();
            state.keeper_until = deadline;
            drop(self.bell.wait_blocking(state, deadline));
        }
    }

    /// The same for a keeper that is a task.
    pub(super) async fn next_chores(&self) -> Option<Chores<T, R, P>> {
        loop {
            let deadline = match self.look() {
                Look::Do(chores) => return Some(chores),
                Look::Leave => return None,
                Look::Again => continue,
                Look::Sleep(mut state) => {
                    let deadline = state.machine.deadline();
                    state.keeper_until = deadline;
                    deadline
                }
            };
            self.bell.wait(deadline).await;
        }
    }

    fn look(&self) -> Look<'_, T, R, P> {
        // Time may have passed.
        self.with(None, |_, _| ());
        let mut state = self.lock();
        if !state.chores.is_empty() {
            let chores = std::mem::replace(&mut state.chores, Chores::new());
            drop(state);
            for (worker, _) in &chores.start {
                trace::started(*worker);
                self.feed.tell(|| Event::Started { worker: *worker });
            }
            return Look::Do(chores);
        }
        if state.is_over {
            return Look::Leave;
        }
        let deadline = state.machine.deadline();
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Look::Again;
        }
        Look::Sleep(state)
    }

    /// The keeper was torn away, and all workers with it.
    pub(super) fn keeper_lost(&self) {
        self.with(None, |state, now| {
            state.is_closing = true;
            state.failure = Death::from("its runtime has ended".to_owned());
            state.machine.destroy(now);
            let workers = state.desks.iter().flatten().map(|desk| desk.worker);
            for worker in workers.collect::<Vec<_>>() {
                state.machine.gone(worker, now);
            }
        });
        self.keeper_left();
    }

    /// The keeper has left, and with it all threads but those that are abandoned.
    pub(super) fn keeper_left(&self) {
        self.lock().has_keeper = false;
        self.feed.end();
        self.changed.notify_waiters();
    }

    pub(super) fn close(&self, limit: Option<Duration>) {
        self.with(None, |state, now| {
            state.is_closing = true;
            state.machine.close(limit, now);
        });
    }

    pub(super) fn destroy(&self) {
        self.with(None, |state, now| {
            state.is_closing = true;
            state.machine.destroy(now);
        });
    }

    /// What the limit of a close left undone.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        self.lock().machine.unfinished()
    }

    /// Waits until something holds.
    pub(super) async fn until(&self, holds: impl Fn(&State<T, R, P>) -> bool) {
        let _counted = Waiter::new(self);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.lock_all()) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn stats(&self) -> (Stats, usize) {
        let state = self.lock_all();
        let stats = state.machine.stats(Instant::now());
        (stats, state.abandoned.len() + state.stuck.len())
    }
}

/// What the keeper sees.
enum Look<'a, T, R, P> {
    Do(Chores<T, R, P>),
    Sleep(MutexGuard<'a, State<T, R, P>>),
    Again,
    Leave,
}

/// Counts who waits, so that nobody is told when nobody does.
struct Waiter<'a, T, R, P>(&'a Shared<T, R, P>);

impl<'a, T, R, P> Waiter<'a, T, R, P> {
    fn new(shared: &'a Shared<T, R, P>) -> Self {
        shared.lock().waiters += 1;
        Self(shared)
    }
}

impl<T, R, P> Drop for Waiter<'_, T, R, P> {
    fn drop(&mut self) {
        self.0.lock().waiters -= 1;
    }
}
