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
    /// It is to end, if it has not begun.
    End(Verdict),
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
            self.tally.ahead -= 1;
            self.take_back(&ahead, task);
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

    fn take_back(&mut self, ahead: &Ahead, task: T) {
        let waiting = ahead.waiting(task);
        match ahead.recall {
            Recall::End(verdict) => self.give_back(waiting, verdict),
            Recall::No | Recall::Requeue => self.wait_again(waiting),
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

    /// We thought that it had begun: the task before it ended while it was under way back.
    fn call_off(&mut self, worker: WorkerId, at: usize, task: T, now: Instant) -> Option<T> {
        let Some(this) = self.get(worker) else {
            return Some(task);
        };
        let called = this.tasks.swap_remove(at);
        this.given -= 1;
        self.disarm(called.alarm);
        self.next_in_line(worker, now);
        let verdict = match called.at {
            Run::Going => None,
            Run::Asked(Why::Destroyed) => Some(Verdict::Closed),
            Run::Asked(why) => Some(why.verdict(Stopped::InQueue)),
            Run::GivenUp => return Some(task),
        };
        self.tally.running -= 1;
        // While it is going, its alarm is the end of its run.
        let run_timeout = called.alarm.map(|(end, _)| end - called.since);
        let waiting = Waiting::new(called.id, task, called.since).with_limits(None, run_timeout);
        match verdict {
            Some(verdict) => self.give_back(waiting, verdict),
            None => self.wait_again(waiting),
        }
        None
    }

    /// A worker without a task has begun the next that it was sent, or is free.
    pub(super) fn next_in_line(&mut self, worker: WorkerId, now: Instant) {
        let Some(this) = self.get(worker) else {
            return;
        };
        let is_up = this.at == At::Up;
        let Some(ahead) = this.line.tasks.pop_front() else {
            return if is_up {
                self.offer(worker.slot, 0);
            } else {
                self.see_off(worker, now);
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
        match ahead.recall {
            Recall::End(Verdict::Canceled(_)) => self.ask(worker, 0, Why::Canceled, now),
            Recall::End(Verdict::Closed) => self.ask(worker, 0, Why::Destroyed, now),
            // Whoever wanted it comes too late.
            Recall::End(_) | Recall::Requeue | Recall::No => {}
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

    /// The slot of a worker whose line may grow. One that has begun to be short
    /// is filled, so that tasks go out together.
    fn shortest_line(&self, now: Instant) -> Option<u32> {
        let most = self.plan.ahead as usize / 2;
        let workers = self.workers.iter().flatten();
        let open = workers.filter(|this| this.may_take(now) && this.line.tasks.len() <= most);
        let shortest = open.min_by_key(|this| this.line.tasks.len())?;
        Some(shortest.id.slot)
    }

    /// Whether somebody might be sent a task that comes now.
    pub(super) fn has_open_line(&self) -> bool {
        let most = self.plan.ahead as usize / 2;
        let mut workers = self.workers.iter().flatten();
        let is_open = |this: &Worker| this.is_quick() && this.line.tasks.len() <= most;
        self.sends_ahead() && workers.any(is_open)
    }

    /// Sends one worker its share of what waits; says whether that is anything.
    fn fill(&mut self, slot: u32) -> bool {
        let share = self.queue.len().div_ceil(self.plan.max as usize);
        let Some(this) = self.workers.get_mut(slot as usize).and_then(Option::as_mut) else {
            return false;
        };
        let line = this.line.tasks.len();
        let room = (self.plan.ahead as usize).saturating_sub(line);
        let left = self
            .plan
            .max_tasks
            .map(|most| most.saturating_sub(this.given));
        let left = left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        let room = room.min(left.saturating_sub(line));
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
    pub(super) fn recall_line(&mut self, worker: WorkerId, end: Option<Verdict>) {
        let Some(this) = self.get(worker) else {
            return;
        };
        let ids: Vec<TaskId> = this.line.tasks.iter().map(|ahead| ahead.id).collect();
        for id in ids {
            self.recall(worker, id, end.map_or(Recall::Requeue, Recall::End));
        }
    }

    /// Ends a task that was sent ahead, if it is one and has not begun; says whether it is.
    pub(super) fn end_ahead(&mut self, id: TaskId, verdict: Verdict) -> bool {
        if self.tally.ahead == 0 {
            return false;
        }
        let mut workers = self.workers.iter().flatten();
        let has_it = |this: &&Worker| this.line.tasks.iter().any(|ahead| ahead.id == id);
        let Some(worker) = workers.find(has_it).map(|this| this.id) else {
            return false;
        };
        self.recall(worker, id, Recall::End(verdict));
        true
    }

    fn recall(&mut self, worker: WorkerId, id: TaskId, recall: Recall) {
        let Some(this) = self.get(worker) else {
            return;
        };
        let mut tasks = this.line.tasks.iter_mut();
        let Some(ahead) = tasks.find(|ahead| ahead.id == id) else {
            return;
        };
        let is_new = ahead.recall == Recall::No;
        // The first end that it was told is its end.
        if !matches!(ahead.recall, Recall::End(_)) {
            ahead.recall = recall;
        }
        if is_new {
            self.orders.push_back(Order::Recall { worker, id });
        }
    }

    /// The worker has ended a task that it was sent and that was not its turn:
    /// it cannot be written, or the worker does as it likes.
    pub(super) fn finished_ahead(&mut self, worker: WorkerId, id: TaskId) -> Option<Verdict> {
        let tasks = &mut self.get(worker)?.line.tasks;
        let at = tasks.iter().position(|ahead| ahead.id == id)?;
        let ahead = tasks.remove(at)?;
        self.tally.ahead -= 1;
        let verdict = match ahead.recall {
            Recall::End(Verdict::Canceled(_)) => Verdict::Canceled(Stopped::InTime),
            Recall::End(_) | Recall::Requeue | Recall::No => Verdict::Done,
        };
        self.stats.count(verdict);
        Some(verdict)
    }

    /// Its worker died, and did not give it back: it had begun.
    pub(super) fn lose_ahead(&mut self, worker: WorkerId, line: Line) {
        for ahead in line.tasks {
            self.tally.ahead -= 1;
            // `end_given` ends one that runs.
            self.tally.running += 1;
            let verdict = match ahead.recall {
                Recall::End(Verdict::Canceled(_)) => Verdict::Canceled(Stopped::ByForce),
                Recall::End(Verdict::Closed) => Verdict::Destroyed,
                Recall::End(_) | Recall::Requeue | Recall::No => Verdict::Lost,
            };
            self.end_given(worker, ahead.id, verdict);
        }
    }
}

impl Ahead {
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
