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

use procession_core::pool::{Dispatcher, Held, Order, Stats, Stopped, TaskId, Verdict, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::error::TaskError;
use super::inbox::{Bell, Inbox, Mail, Post};
use super::ticket::{Slip, Ticket};

/// What waits in the machine's queue.
pub(super) struct Job<T, R, P> {
    pub(super) task: T,
    pub(super) ticket: Slip<T, R, P>,
}

pub(super) struct Shared<T, R, P> {
    state: Mutex<State<T, R, P>>,
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

impl<T, R, P> Shared<T, R, P> {
    pub(super) fn new(machine: Dispatcher<Job<T, R, P>>, force: Force, bell: Bell) -> Self {
        let state = State {
            machine,
            desks: Vec::new(),
            chores: Chores::new(),
            abandoned: BTreeSet::new(),
            force,
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
            bell,
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R, P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the machine something, and carries out what follows.
    ///
    /// `me` is the worker that is asking: it need not be woken.
    pub(super) fn with<X>(
        &self,
        me: Option<WorkerId>,
        tell: impl FnOnce(&mut State<T, R, P>, Instant) -> X,
    ) -> X {
        let mut after = After {
            ring: Vec::new(),
            end: Vec::new(),
            cancel: Vec::new(),
            keeper: false,
            tell: false,
        };
        let mut state = self.lock();
        // Read under the lock, so that the machine's time never runs backwards.
        let now = Instant::now();
        let said = tell(&mut state, now);
        state.carry_out(me, now, &mut after);
        drop(state);
        self.happen(after);
        said
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

    /// A worker has finished a task.
    pub(super) fn finished(
        &self,
        worker: WorkerId,
        id: TaskId,
        ticket: &Ticket<T, R, P>,
        result: Result<R, TaskError<T>>,
    ) {
        let is_broken = matches!(result, Err(TaskError::Panicked { .. }));
        let is_canceled = ticket.sees_cancel();
        let verdict = self.with(Some(worker), |state, now| {
            if is_broken {
                state.machine.recycle_worker(worker, now);
            }
            // It saw its caller's token before we did: that is why it ended.
            if is_canceled {
                state.machine.cancel(id, now);
            }
            drop(state.take_job(worker, id));
            state.machine.finished(worker, id, now)
        });
        match verdict {
            Some(Verdict::Done) => ticket.end(result),
            Some(verdict) => ticket.end(Err(ran(verdict, String::new()))),
            // It was given up, and who waited was told.
            None => {}
        }
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
            if holds(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn stats(&self) -> (Stats, usize) {
        let state = self.lock();
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
                let Job { task, ticket } = task;
                let Some(desk) = self.desk(worker) else {
                    return;
                };
                desk.jobs.push((id, Arc::clone(&ticket)));
                desk.inbox.put(Mail::Run { id, task, ticket });
                if me != Some(worker) {
                    after.ring.push(Arc::clone(&desk.inbox));
                }
            }
            Order::Ask { worker, id } => {
                let ticket = self.job(worker, id);
                after.cancel.extend(ticket.and_then(Ticket::ask));
                if let (Force::Kill, Some(desk)) = (self.force, self.desk(worker)) {
                    desk.inbox.put(Mail::Cancel { id });
                    after.ring.push(Arc::clone(&desk.inbox));
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
            Order::Stop { worker } => self.dismiss(worker, after),
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

    fn dismiss(&mut self, worker: WorkerId, after: &mut After<T, R, P>) {
        if let Some(desk) = self.desk(worker) {
            desk.inbox.put(Mail::Stop);
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
                self.dismiss(worker, after);
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
