//! What the machine's orders mean for inboxes, tickets and threads.
//!
//! All of it happens under the lock of [`Shared`](super::shared::Shared), so
//! nothing here waits or runs foreign code: what does is noted in [`After`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use procession_core::pool::{Dispatcher, Held, Order, Stopped, TaskId, Verdict, WorkerId};
use tokio_util::sync::CancellationToken;

use super::death::Death;
use super::error::TaskError;
use super::inbox::{Assignment, Bell, Inbox, Mail, Post};
use super::ticket::Slip;

/// What waits in the machine's queue.
pub(super) struct Job<T, R, P> {
    pub(super) task: T,
    pub(super) ticket: Slip<T, R, P>,
}

/// What lies under the lock.
pub(super) struct State<T, R, P> {
    pub(super) machine: Dispatcher<Job<T, R, P>>,
    /// By slot.
    pub(super) desks: Vec<Option<Desk<T, R, P>>>,
    pub(super) chores: Chores<T, R, P>,
    /// Threads that go on with what they were asked to end, and were replaced.
    pub(super) abandoned: BTreeSet<WorkerId>,
    pub(super) force: Force,
    /// Whether tasks may be left at the intake.
    pub(super) takes_in: bool,
    pub(super) clock: Clock,
    /// What the workers' inboxes are to have.
    pub(super) kind: Bell,
    /// Threads that should be replaced, and are not: too many were.
    pub(super) stuck: Vec<WorkerId>,
    /// Until when the keeper sleeps.
    pub(super) keeper_until: Option<Instant>,
    /// Why a worker was not ready.
    pub(super) failure: Death,
    pub(super) waiters: usize,
    pub(super) is_closing: bool,
    pub(super) is_over: bool,
    pub(super) has_keeper: bool,
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
pub(super) struct Desk<T, R, P> {
    pub(super) worker: WorkerId,
    pub(super) inbox: Post<T, R, P>,
    pub(super) jobs: Vec<(TaskId, Slip<T, R, P>)>,
}

/// Time that never runs backwards, though those who read it take turns.
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    pub(super) fn after(&mut self, now: Instant) -> Instant {
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
pub(super) struct After<T, R, P> {
    pub(super) ring: Vec<Post<T, R, P>>,
    pub(super) end: Vec<(Slip<T, R, P>, TaskError<T>)>,
    pub(super) cancel: Vec<CancellationToken>,
    pub(super) keeper: bool,
    pub(super) tell: bool,
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

impl<T, R, P> State<T, R, P> {
    pub(super) fn new(machine: Dispatcher<Job<T, R, P>>, force: Force, bell: &Bell) -> Self {
        Self {
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
            failure: Death::default(),
            waiters: 0,
            is_closing: false,
            is_over: false,
            has_keeper: true,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        !self.has_keeper
    }

    /// Or nothing to wait for.
    pub(super) fn has_room(&self) -> bool {
        self.is_closing || self.machine.has_room()
    }

    pub(super) fn carry_out(
        &mut self,
        me: Option<WorkerId>,
        now: Instant,
        after: &mut After<T, R, P>,
    ) {
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
    pub(super) fn mind(&mut self, after: &mut After<T, R, P>) {
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

    pub(super) fn carry(
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
            Order::Ahead { worker, id, task } => {
                if let Some(assignment) = self.assign(worker, id, task) {
                    self.post(worker, Mail::Ahead(assignment), me, after);
                }
            }
            Order::Recall { worker, id } => self.post(worker, Mail::Recall { id }, me, after),
            Order::Ask { worker, id } => {
                let ticket = self.job(worker, id);
                after.cancel.extend(ticket.and_then(|ticket| ticket.ask()));
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
                        after
                            .end
                            .push((ticket, ran(verdict, || self.failure.clone())));
                    }
                }
            },
            Order::Stop { worker } => self.post(worker, Mail::Stop, me, after),
            Order::Kill { worker } => self.kill(worker, now, after),
            Order::Over => self.is_over = true,
        }
    }

    pub(super) fn prepare(&mut self, worker: WorkerId) {
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
    pub(super) fn assign(
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

    pub(super) fn post(
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

    pub(super) fn kill(&mut self, worker: WorkerId, now: Instant, after: &mut After<T, R, P>) {
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

    pub(super) fn abandon(&mut self, worker: WorkerId, now: Instant) {
        self.abandoned.insert(worker);
        self.machine.gone(worker, now);
    }

    pub(super) fn desk(&mut self, worker: WorkerId) -> Option<&mut Desk<T, R, P>> {
        let desk = self.desks.get_mut(worker.slot as usize)?.as_mut()?;
        (desk.worker == worker).then_some(desk)
    }

    pub(super) fn job(&mut self, worker: WorkerId, id: TaskId) -> Option<&Slip<T, R, P>> {
        let jobs = &self.desk(worker)?.jobs;
        let (_, ticket) = jobs.iter().find(|(job, _)| *job == id)?;
        Some(ticket)
    }

    pub(super) fn take_job(&mut self, worker: WorkerId, id: TaskId) -> Option<Slip<T, R, P>> {
        let jobs = &mut self.desk(worker)?.jobs;
        let at = jobs.iter().position(|(job, _)| *job == id)?;
        Some(jobs.swap_remove(at).1)
    }

    /// The error of a task that never ran.
    pub(super) fn waited(&self, verdict: Verdict, task: T) -> TaskError<T> {
        match verdict {
            Verdict::QueueTimedOut => TaskError::QueueTimedOut(task),
            Verdict::NoWorker => TaskError::NoWorker {
                task,
                death: Box::new(self.failure.clone()),
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
pub(super) fn ran<T>(verdict: Verdict, death: impl FnOnce() -> Death) -> TaskError<T> {
    match verdict {
        Verdict::Canceled(stopped) => TaskError::Canceled(stopped),
        Verdict::TimedOut(stopped) => TaskError::TimedOut(stopped),
        Verdict::Destroyed => TaskError::Destroyed,
        Verdict::QueueTimedOut | Verdict::NoWorker | Verdict::Closed => {
            TaskError::Canceled(Stopped::InQueue)
        }
        Verdict::Lost | Verdict::Done => TaskError::WorkerDied {
            death: Box::new(death()),
        },
    }
}

impl<T, R, P> Chores<T, R, P> {
    pub(super) fn new() -> Self {
        Self {
            start: Vec::new(),
            join: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start.is_empty() && self.join.is_empty()
    }
}
