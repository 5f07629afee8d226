//! Tasks that are sent to a busy worker, so that it goes on without being told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::plan::{Order, Stopped, TaskId, Verdict, WorkerId};
use super::queue::Waiting;
use super::{At, Dispatcher, Run, State, Task, Why, Worker};

/// Who takes longer for a task is sent none ahead: there is nothing to gain, and
/// what was sent would wait for it.
const SHORT: Duration = Duration::from_millis(1);

/// A task that a worker has, and has not begun as far as we know.
#[derive(Debug)]
pub(super) struct Ahead {
    id: TaskId,
    since: Instant,
    run_timeout: Option<Duration>,
    recall: Recall,
}

/// Whether it was asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recall {
    No,
    /// Back into the queue.
    Requeue,
    /// It is to end: without having run, or as one that runs.
    End(Why),
    /// In vain. It may have to end as one that runs.
    Begun(Option<Why>),
}

/// What a worker has of them.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// It can give them back.
    pub(super) is_open: bool,
    pub(super) tasks: VecDeque<Ahead>,
    /// How long its last task took.
    last_run: Option<Duration>,
}

impl Line {
    /// Its worker goes on with what is in it.
    pub(super) fn is_used(&self) -> bool {
        self.is_open || !self.tasks.is_empty()
    }

    pub(super) fn ran(&mut self, time: Duration) {
        self.last_run = Some(time);
    }
}

impl<T> Dispatcher<T> {
    /// Whether this worker can be sent tasks while it runs one, and gives back
    /// what it has not begun; see [`Plan::ahead`](super::Plan::ahead).
    pub fn takes_ahead(&mut self, worker: WorkerId, takes: bool, now: Instant) {
        if let Some(this) = self.get(worker) {
            this.line.is_open = takes;
            self.advance(now);
        }
    }

    /// A worker has given back a task that was [recalled](Order::Recall), or
    /// that could not be sent: it has not begun, and never will there. One that
    /// has begun is not given back. Returns one that has ended meanwhile.
    #[must_use]
    pub fn recalled(&mut self, worker: WorkerId, id: TaskId, task: T, now: Instant) -> Option<T> {
        let Some(this) = self.get(worker) else {
            return Some(task);
        };
        let place = this.line.tasks.iter().position(|ahead| ahead.id == id);
        let left = if let Some(ahead) = place.and_then(|at| this.line.tasks.remove(at)) {
            let is_next = this.tasks.is_empty();
            self.tally.ahead -= 1;
            self.take_back(&ahead, task);
            if is_next {
                self.next_in_line(worker, now);
            }
            None
        } else if let Some(at) = self.find(worker, id) {
            self.call_off(worker, at, task, now)
        } else {
            Some(task)
        };
        self.see_off(worker, now);
        self.advance(now);
        left
    }

    /// A task that was [recalled](Order::Recall) has begun.
    pub fn begun(&mut self, worker: WorkerId, id: TaskId, now: Instant) {
        let Some(this) = self.get(worker) else {
            return;
        };
        let Some(ahead) = this.line.tasks.iter_mut().find(|ahead| ahead.id == id) else {
            return;
        };
        ahead.recall = Recall::Begun(ahead.end());
        if this.tasks.is_empty() {
            self.next_in_line(worker, now);
        }
        self.advance(now);
    }

    fn take_back(&mut self, ahead: &Ahead, task: T) {
        let waiting = ahead.waiting(task);
        match ahead.end() {
            Some(why) => self.give_back(waiting, why.before_it_ran()),
            None => self.wait_again(waiting),
        }
    }

    fn wait_again(&mut self, waiting: Waiting<T>) {
        match self.state {
            State::Open | State::Closing if self.starts.gave_up => {
                self.give_back(waiting, Verdict::NoWorker);
            }
            State::Open | State::Closing => self.queue.put_back(waiting),
            State::Destroying | State::Over => self.give_back(waiting, Verdict::Closed),
        }
    }

    /// We thought that it had begun: its worker died before.
    fn call_off(&mut self, worker: WorkerId, at: usize, task: T, now: Instant) -> Option<T> {
        let Some(this) = self.get(worker) else {
            return Some(task);
        };
        let called = this.tasks.swap_remove(at);
        this.given -= 1;
        self.disarm(called.alarm);
        self.next_in_line(worker, now);
        if called.at != Run::GivenUp {
            self.tally.running -= 1;
        }
        // While it is going, its alarm is the end of its run.
        let run_timeout = called.alarm.map(|(end, _)| end - called.since);
        let waiting = Waiting::new(called.id, task, called.since).with_limits(None, run_timeout);
        match called.at {
            Run::Going => self.wait_again(waiting),
            // It was told that its time is over, which cannot be taken back.
            Run::Asked(why @ Why::TimedOut) => {
                self.end_by(worker, called.id, why.verdict(Stopped::ByForce));
                return Some(waiting.task);
            }
            Run::Asked(why) => self.give_back(waiting, why.before_it_ran()),
            Run::GivenUp => return Some(waiting.task),
        }
        None
    }

    /// A worker without a task has begun the next that it was sent, or is free.
    pub(super) fn next_in_line(&mut self, worker: WorkerId, now: Instant) {
        let Some(this) = self.get(worker) else {
            return;
        };
        let is_up = this.at == At::Up;
        let Some(ahead) = this.line.tasks.pop_front_if(|next| !next.is_recalled()) else {
            return match this.line.tasks.is_empty() {
                true if is_up => self.offer(worker.slot, 0),
                true => self.see_off(worker, now),
                // Who was asked for the next says soon which of both it is.
                false => {}
            };
        };
        self.tally.ahead -= 1;
        // Whatever it was to be killed for is over.
        self.set_alarm(worker, None);
        let task = self.begin(worker, &ahead.waiting(()), now);
        self.tally.running += 1;
        if let Some(this) = self.get(worker) {
            this.tasks.push(task);
            self.retire_worn(worker, now);
        }
        if let Some(why) = ahead.end() {
            self.ask(worker, 0, why, now);
        }
    }

    /// Sends tasks to workers that are busy, and takes them from those that are for too long.
    pub(super) fn look_ahead(&mut self, now: Instant) {
        if self.tally.ahead > 0 {
            self.recall_stale(now);
        }
        while self.queue.len() > 0 && self.sends_ahead() {
            let Some(slot) = self.shortest_line(now) else {
                return;
            };
            if !self.fill(slot) {
                return;
            }
        }
    }

    /// Whether nobody could tell the difference but by the time that it takes.
    fn sends_ahead(&self) -> bool {
        self.state == State::Open
            && self.plan.ahead > 0
            && self.plan.concurrency == 1
            && self.plan.max_memory.is_none()
            && self.queue.is_fifo()
            && self.balance.is_none()
            && self.tally.starting == 0
            && self.tally.alive >= self.plan.max
            && self.least_busy().is_none()
    }

    /// The slot of a worker whose line may grow.
    fn shortest_line(&self, now: Instant) -> Option<u32> {
        let workers = self.workers.iter().flatten();
        let open = workers.filter(|this| this.may_take(now) && self.wants_more(this));
        let shortest = open.min_by_key(|this| this.line.tasks.len())?;
        Some(shortest.id.slot)
    }

    /// Whether somebody might be sent a task that comes now.
    pub(super) fn has_open_line(&self) -> bool {
        let mut workers = self.workers.iter().flatten();
        let is_open = |this: &Worker| this.is_quick() && self.wants_more(this);
        self.sends_ahead() && workers.any(is_open)
    }

    /// A line is filled once it is half empty, so that tasks go out together, and once
    /// all is back that was to come back: that goes first.
    fn wants_more(&self, worker: &Worker) -> bool {
        let tasks = &worker.line.tasks;
        tasks.len() <= self.plan.ahead as usize / 2 && !tasks.iter().any(Ahead::is_recalled)
    }

    /// Sends one worker its share of what waits; says whether that is anything.
    fn fill(&mut self, slot: u32) -> bool {
        let share = self.queue.len().div_ceil(self.plan.max as usize);
        let Some(this) = self.workers.get_mut(slot as usize).and_then(Option::as_mut) else {
            return false;
        };
        let left = self.plan.max_tasks.unwrap_or(u64::MAX) - this.given;
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let most = most.min(self.plan.ahead as usize);
        let room = most.saturating_sub(this.line.tasks.len());
        let before = self.tally.ahead;
        for _ in 0..room.min(share) {
            // One that may leave the queue by itself stays where that is simple.
            let Some(waiting) = self.queue.pop_if(|next| next.expires().is_none()) else {
                break;
            };
            let (worker, id) = (this.id, waiting.id);
            this.line.tasks.push_back(Ahead {
                id,
                since: waiting.since,
                run_timeout: waiting.run_timeout(),
                recall: Recall::No,
            });
            self.tally.ahead += 1;
            let task = waiting.task;
            self.orders.push_back(Order::Ahead { worker, id, task });
        }
        self.tally.ahead > before
    }

    /// Who is idle gets what others were sent; who takes longer than it seemed loses it.
    fn recall_stale(&mut self, now: Instant) {
        if self.tally.staff < 2 {
            return;
        }
        let is_idle = self.queue.len() == 0 && self.least_busy().is_some();
        let lines = self.workers.iter().flatten();
        let stale = lines.filter(|this| {
            let has_any = this.line.tasks.iter().any(|it| it.recall == Recall::No);
            has_any && (is_idle || !this.may_take(now))
        });
        for worker in stale.map(|this| this.id).collect::<Vec<_>>() {
            self.recall_line(worker, None);
        }
    }

    /// Asks a worker for all that it has not begun: to be ended so, or else to wait again.
    pub(super) fn recall_line(&mut self, worker: WorkerId, end: Option<Why>) {
        let recall = end.map_or(Recall::Requeue, Recall::End);
        self.recall(worker, recall, |_| true);
    }

    /// Ends a task that was sent ahead, if it is one; says whether it is.
    pub(super) fn end_ahead(&mut self, id: TaskId, why: Why) -> bool {
        if self.tally.ahead == 0 {
            return false;
        }
        let mut workers = self.workers.iter().flatten();
        let has_it = |this: &&Worker| this.line.tasks.iter().any(|ahead| ahead.id == id);
        let Some(worker) = workers.find(has_it).map(|this| this.id) else {
            return false;
        };
        self.recall(worker, Recall::End(why), |own| own == id);
        true
    }

    fn recall(&mut self, worker: WorkerId, recall: Recall, is_meant: impl Fn(TaskId) -> bool) {
        let Some(this) = self.get(worker) else {
            return;
        };
        // The last first: the worker goes on from the other end, so nobody is overtaken.
        let meant = this.line.tasks.iter_mut().rev();
        let meant = meant.filter(|it| is_meant(it.id));
        let new: Vec<TaskId> = meant.filter_map(|it| it.recall(recall)).collect();
        let orders = new.into_iter().map(|id| Order::Recall { worker, id });
        self.orders.extend(orders);
    }

    /// The worker has ended a task of which we did not know that it had begun.
    pub(super) fn finished_ahead(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        now: Instant,
    ) -> Option<Verdict> {
        let this = self.get(worker)?;
        let at = this.line.tasks.iter().position(|ahead| ahead.id == id)?;
        let ahead = this.line.tasks.remove(at)?;
        this.done += 1;
        let is_next = this.tasks.is_empty();
        self.tally.ahead -= 1;
        let task = self.begin(worker, &ahead.waiting(()), now);
        self.disarm(task.alarm);
        self.retire_worn(worker, now);
        if is_next {
            self.next_in_line(worker, now);
        }
        let verdict = ahead.end().map_or(Verdict::Done, Why::after_it_ran);
        self.stats.count(verdict);
        Some(verdict)
    }

    /// Its worker died, and did not give it back: it had begun.
    pub(super) fn lose_ahead(&mut self, worker: WorkerId, line: Line) {
        for ahead in line.tasks {
            self.tally.ahead -= 1;
            let end = ahead.end().map(|why| why.verdict(Stopped::ByForce));
            let verdict = end.unwrap_or(Verdict::Lost);
            self.end_by(worker, ahead.id, verdict);
        }
    }
}

impl Ahead {
    /// The first end that it was told is its end. Gives the number of one that nobody
    /// has asked for before.
    fn recall(&mut self, recall: Recall) -> Option<TaskId> {
        let is_new = self.recall == Recall::No;
        self.recall = match (self.recall, recall) {
            (Recall::No | Recall::Requeue, recall) => recall,
            (Recall::Begun(None), Recall::End(why)) => Recall::Begun(Some(why)),
            (before, _) => before,
        };
        is_new.then_some(self.id)
    }

    /// Whether nobody knows whether it has begun.
    fn is_recalled(&self) -> bool {
        match self.recall {
            Recall::Requeue | Recall::End(_) => true,
            Recall::No | Recall::Begun(_) => false,
        }
    }

    fn end(&self) -> Option<Why> {
        match self.recall {
            Recall::End(why) | Recall::Begun(Some(why)) => Some(why),
            Recall::No | Recall::Requeue | Recall::Begun(None) => None,
        }
    }

    fn waiting<X>(&self, task: X) -> Waiting<X> {
        Waiting::new(self.id, task, self.since).with_limits(None, self.run_timeout)
    }
}

impl Worker {
    fn is_quick(&self) -> bool {
        self.line.is_open && self.line.last_run.is_some_and(|time| time < SHORT)
    }

    /// Whether it is quick, and was all the time.
    fn may_take(&self, now: Instant) -> bool {
        let is_new = |task: &Task| {
            task.at == Run::Going && now.saturating_duration_since(task.since) < SHORT
        };
        self.at == At::Up
            && self.is_quick()
            && matches!(self.tasks.as_slice(), [task] if is_new(task))
    }
}
