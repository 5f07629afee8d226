//! The machine, and what is carried out for it.
//!
//! A pool over threads must not cost a task more than a channel does, so there
//! is no owner to ask: who submits and who has finished work the machine
//! themselves, under one lock that is held for the decision alone. Whatever
//! may take long or is somebody else's code (wakers, tokens, threads) happens
//! when it is released; see docs/design/pool.md.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession_core::pool::{
    Dispatcher, Held, Intake, Order, Refused, Stats, Stopped, TaskId, Terms, Verdict, WorkerId,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::error::TaskError;
use super::inbox::{Assignment, Bell, Inbox, Mail, Post};
use super::ticket::{Slip, Ticket};

/// What waits in the machine's queue.
pub(super) struct Job<T, R, P> {
    pub(super) task: T,
    pub(super) ticket: Slip<T, R, P>,
}

pub(super) struct Shared<T, R, P> {
    state: Mutex<State<T, R, P>>,
    /// Locked alone, or after the state.
    intake: Apart<Mutex<Intake<Job<T, R, P>>>>,
    /// For the keeper.
    bell: Bell,
    /// For who waits for the pool itself: for room, for the last task, for the end.
    changed: Notify,
}

pub(super) struct State<T, R, P> {
    pub(super) machine: Dispatcher<Job<T, R, P>>,
    /// By slot.
    desks: Vec<Option<Desk<T, R, P>>>,
    chores: Chores<T, R, P>,
    /// Threads that go on with what they were asked to end, and were replaced.
    abandoned: BTreeSet<WorkerId>,
    force: Force,
    /// Whether tasks may be left at the intake.
    takes_in: bool,
    clock: Clock,
    /// What the workers' inboxes are to have.
    kind: Bell,
    /// Threads that should be replaced, and are not: too many were.
    stuck: Vec<WorkerId>,
    /// Until when the keeper sleeps.
    keeper_until: Option<Instant>,
    /// Why a worker was not ready.
    failure: String,
    waiters: usize,
    is_closing: bool,
    is_over: bool,
    has_keeper: bool,
}

/// Not on the cache lines of its neighbours, which others write to.
#[repr(align(128))]
struct Apart<X>(X);

/// What can be done about a worker that does not end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Force {
    /// It is a thread: it is left alone, and replaced while there are fewer than so many.
    Abandon(usize),
    /// It is a process.
    Kill,
}

/// What the driver knows of a worker.
struct Desk<T, R, P> {
    worker: WorkerId,
    inbox: Post<T, R, P>,
    jobs: Vec<(TaskId, Slip<T, R, P>)>,
}

/// Time that never runs backwards, though those who read it take turns.
struct Clock(Instant);

impl Clock {
    fn after(&mut self, now: Instant) -> Instant {
        self.0 = self.0.max(now);
        self.0
    }
}

/// What the keeper is to do.
pub(super) struct Chores<T, R, P> {
    pub(super) start: Vec<(WorkerId, Post<T, R, P>)>,
    /// Threads that have nothing more to do than to end.
    pub(super) join: Vec<WorkerId>,
}

/// What is to happen when the lock is released.
struct After<T, R, P> {
    ring: Vec<Post<T, R, P>>,
    end: Vec<(Slip<T, R, P>, TaskError<T>)>,
    cancel: Vec<CancellationToken>,
    keeper: bool,
    tell: bool,
}

impl<T, R, P> Default for After<T, R, P> {
    fn default() -> Self {
        Self {
            ring: Vec::new(),
            end: Vec::new(),
            cancel: Vec::new(),
            keeper: false,
            tell: false,
        }
    }
}

impl<T, R, P> Shared<T, R, P> {
    pub(super) fn new(machine: Dispatcher<Job<T, R, P>>, force: Force, bell: Bell) -> Self {
        let state = State {
            machine,
            desks: Vec::new(),
            chores: Chores::new(),
            abandoned: BTreeSet::new(),
            force,
            takes_in: false,
            clock: Clock(Instant::now()),
            kind: bell.another(),
            stuck: Vec::new(),
            keeper_until: None,
            failure: String::new(),
            waiters: 0,
            is_closing: false,
            is_over: false,
            has_keeper: true,
        };
        Self {
            state: Mutex::new(state),
            intake: Apart(Mutex::default()),
            bell,
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
        let said = tell(&mut state, now);
        self.settle(&mut state, me, now, &mut after);
        drop(state);
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
        if state.machine.queued() == 0 || !state.takes_in {
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
        drop(state);
        drop(last);
        match verdict {
            Some(Verdict::Done) => ticket.end(result),
            Some(verdict) => ticket.end(Err(ran(verdict, String::new()))),
            // It was given up, and who waited was told.
            None => {}
        }
        self.happen(after);
        next
    }

    /// A worker's thread is about to end, or did not start.
    pub(super) fn left(&self, worker: WorkerId, failure: Option<String>) {
        self.with(None, |state, now| {
            if let Some(failure) = failure {
                state.failure = failure;
            }
            state.abandoned.remove(&worker);
            state.stuck.retain(|stuck| *stuck != worker);
            state.chores.join.push(worker);
            state.machine.gone(worker, now);
        });
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
            return Look::Do(std::mem::replace(&mut state.chores, Chores::new()));
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
            "its runtime has ended".clone_into(&mut state.failure);
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

impl<T, R, P> State<T, R, P> {
    pub(super) fn is_done(&self) -> bool {
        !self.has_keeper
    }

    /// Or nothing to wait for.
    pub(super) fn has_room(&self) -> bool {
        self.is_closing || self.machine.has_room()
    }

    fn carry_out(&mut self, me: Option<WorkerId>, now: Instant, after: &mut After<T, R, P>) {
        while let Some(order) = self.machine.poll(now) {
            self.carry(order, me, now, after);
        }
        if self.is_closing && !self.stuck.is_empty() {
            for worker in std::mem::take(&mut self.stuck) {
                self.abandon(worker, now);
            }
            return self.carry_out(me, now, after);
        }
        self.mind(after);
    }

    /// Sees that the keeper and those who wait learn what concerns them.
    fn mind(&mut self, after: &mut After<T, R, P>) {
        let deadline = self.machine.deadline();
        let sooner = match (deadline, self.keeper_until) {
            (Some(at), Some(until)) => at < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner {
            self.keeper_until = deadline;
        }
        after.keeper |= sooner || self.is_over || !self.chores.is_empty();
        after.tell |= self.waiters > 0;
    }

    fn carry(
        &mut self,
        order: Order<Job<T, R, P>>,
        me: Option<WorkerId>,
        now: Instant,
        after: &mut After<T, R, P>,
    ) {
        match order {
            Order::Start { worker } => self.prepare(worker),
            Order::Run { worker, id, task } => {
                if let Some(assignment) = self.assign(worker, id, task) {
                    self.post(worker, Mail::Run(assignment), me, after);
                }
            }
            Order::Ask { worker, id } => {
                let ticket = self.job(worker, id);
                after.cancel.extend(ticket.and_then(Ticket::ask));
                if let Force::Kill = self.force {
                    self.post(worker, Mail::Cancel { id }, me, after);
                }
            }
            Order::End { id, verdict, held } => match held {
                Held::Back(Job { task, ticket }) => {
                    let error = self.waited(verdict, task);
                    after.end.push((ticket, error));
                }
                Held::By(worker) => {
                    if let Some(ticket) = self.take_job(worker, id) {
                        after.end.push((ticket, ran(verdict, self.failure.clone())));
                    }
                }
            },
            Order::Stop { worker } => self.post(worker, Mail::Stop, me, after),
            Order::Kill { worker } => self.kill(worker, now, after),
            Order::Over => self.is_over = true,
        }
    }

    fn prepare(&mut self, worker: WorkerId) {
        let slot = worker.slot as usize;
        if self.desks.len() <= slot {
            self.desks.resize_with(slot + 1, || None);
        }
        let inbox = Arc::new(Inbox::new(self.kind.another()));
        self.chores.start.push((worker, Arc::clone(&inbox)));
        self.desks[slot] = Some(Desk {
            worker,
            inbox,
            jobs: Vec::new(),
        });
    }

    /// Notes who has a task.
    fn assign(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        job: Job<T, R, P>,
    ) -> Option<Assignment<T, R, P>> {
        let Job { task, ticket } = job;
        let desk = self.desk(worker)?;
        desk.jobs.push((id, Arc::clone(&ticket)));
        Some(Assignment { id, task, ticket })
    }

    fn post(
        &mut self,
        worker: WorkerId,
        mail: Mail<T, R, P>,
        me: Option<WorkerId>,
        after: &mut After<T, R, P>,
    ) {
        if let Some(desk) = self.desk(worker)
            && desk.inbox.put(mail)
            && me != Some(worker)
        {
            after.ring.push(Arc::clone(&desk.inbox));
        }
    }

    fn kill(&mut self, worker: WorkerId, now: Instant, after: &mut After<T, R, P>) {
        match self.force {
            Force::Kill => {
                if let Some(desk) = self.desk(worker) {
                    after.cancel.push(desk.inbox.kill.clone());
                }
            }
            Force::Abandon(most) => {
                // It leaves when it has finished, if it ever does.
                self.post(worker, Mail::Stop, None, after);
                if self.is_closing || self.abandoned.len() < most {
                    self.abandon(worker, now);
                } else {
                    self.stuck.push(worker);
                }
            }
        }
    }

    fn abandon(&mut self, worker: WorkerId, now: Instant) {
        self.abandoned.insert(worker);
        self.machine.gone(worker, now);
    }

    fn desk(&mut self, worker: WorkerId) -> Option<&mut Desk<T, R, P>> {
        let desk = self.desks.get_mut(worker.slot as usize)?.as_mut()?;
        (desk.worker == worker).then_some(desk)
    }

    fn job(&mut self, worker: WorkerId, id: TaskId) -> Option<&Ticket<T, R, P>> {
        let jobs = &self.desk(worker)?.jobs;
        let (_, ticket) = jobs.iter().find(|(job, _)| *job == id)?;
        Some(ticket)
    }

    fn take_job(&mut self, worker: WorkerId, id: TaskId) -> Option<Slip<T, R, P>> {
        let jobs = &mut self.desk(worker)?.jobs;
        let at = jobs.iter().position(|(job, _)| *job == id)?;
        Some(jobs.swap_remove(at).1)
    }

    /// The error of a task that never ran.
    fn waited(&self, verdict: Verdict, task: T) -> TaskError<T> {
        match verdict {
            Verdict::QueueTimedOut => TaskError::QueueTimedOut(task),
            Verdict::NoWorker => TaskError::NoWorker {
                task,
                reason: self.failure.clone(),
            },
            Verdict::Canceled(_) => TaskError::CanceledInQueue(task),
            Verdict::Closed
            | Verdict::Done
            | Verdict::TimedOut(_)
            | Verdict::Destroyed
            | Verdict::Lost => TaskError::Closed(task),
        }
    }
}

/// The error of a task that ran.
fn ran<T>(verdict: Verdict, reason: String) -> TaskError<T> {
    match verdict {
        Verdict::Canceled(stopped) => TaskError::Canceled(stopped),
        Verdict::TimedOut(stopped) => TaskError::TimedOut(stopped),
        Verdict::Destroyed => TaskError::Destroyed,
        Verdict::QueueTimedOut | Verdict::NoWorker | Verdict::Closed => {
            TaskError::Canceled(Stopped::InQueue)
        }
        Verdict::Lost | Verdict::Done => TaskError::WorkerDied { reason },
    }
}

impl<T, R, P> Chores<T, R, P> {
    fn new() -> Self {
        Self {
            start: Vec::new(),
            join: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.start.is_empty() && self.join.is_empty()
    }
}
