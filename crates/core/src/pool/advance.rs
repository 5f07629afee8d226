//! What follows from what happened: who gets what, who starts, who goes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ahead::Line;
use super::balance::Load;
use super::plan::{Held, Order, Stopped, TaskId, Unfinished, Verdict, WorkerId};
use super::queue::Waiting;
use super::{Alarm, At, Dispatcher, Run, State, Task, Why, Worker};

/// The pause after the first start that failed; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// From the queue to the workers.
impl<T> Dispatcher<T> {
    pub(super) fn advance(&mut self, now: Instant) {
        if self.queue.len() > 0 {
            self.dispatch(now);
        }
        while self.wants_worker() && self.starts.not_before.is_none_or(|at| at <= now) {
            self.start(now);
        }
        if self.plan.ahead > 0 {
            self.look_ahead(now);
        }
        if self.state != State::Open {
            self.wind_up(now);
        }
    }

    fn dispatch(&mut self, now: Instant) {
        while let Some(slot) = self.choose(now) {
            let Some(waiting) = self.queue.pop() else {
                return;
            };
            if let Some(expires) = waiting.expires() {
                self.alarms.remove(&(expires, Alarm::Queue(waiting.id)));
            }
            self.assign(slot, waiting, now);
        }
    }

    /// The slot of who gets the next task.
    fn choose(&mut self, now: Instant) -> Option<u32> {
        let Some(balance) = &mut self.balance else {
            return self.least_busy();
        };
        let task = self.queue.peek()?;
        let slots = self.free.iter().flatten();
        let with_room = slots.filter_map(|slot| self.workers.get(*slot as usize)?.as_ref());
        let loads: Vec<Load> = with_room.map(|worker| worker.load(now)).collect();
        if loads.is_empty() {
            return None;
        }
        let index = balance.choose(task, &loads)?;
        loads.get(index).map(|load| load.worker.slot)
    }

    pub(super) fn least_busy(&self) -> Option<u32> {
        self.free.iter().find_map(VecDeque::back).copied()
    }

    /// Gives a task to a worker that has room.
    pub(super) fn assign(&mut self, slot: u32, waiting: Waiting<T>, now: Instant) {
        let worker = self.id_in(slot).expect("a slot that is free has a worker");
        let task = self.begin(worker, &waiting, now);
        let this = self.get(worker).expect("it is in its slot");
        let active = this.tasks.len();
        this.tasks.push(task);
        self.withdraw(slot, active);
        if !self.retire_worn(worker, now) {
            self.offer(slot, active + 1);
        }
        self.tally.running += 1;
        let (id, task) = (waiting.id, waiting.task);
        self.orders.push_back(Order::Run { worker, id, task });
    }

    /// Who has its last task takes no more.
    pub(super) fn retire_worn(&mut self, worker: WorkerId, now: Instant) -> bool {
        let most = self.plan.max_tasks.unwrap_or(u64::MAX);
        let is_worn = self
            .get(worker)
            .is_some_and(|this| this.given >= most && this.at == At::Up);
        if is_worn {
            self.stats.recycled += 1;
            self.retire(worker, now);
        }
        is_worn
    }

    /// Notes that a worker is given a task, and when that has to end.
    pub(super) fn begin<X>(&mut self, worker: WorkerId, next: &Waiting<X>, now: Instant) -> Task {
        let waited = now.saturating_duration_since(next.since);
        self.stats.wait.record(waited);
        let id = next.id;
        let limit = next.run_timeout().or(self.plan.run_timeout);
        let end = limit.and_then(|limit| now.checked_add(limit));
        let alarm = end.map(|at| (at, Alarm::Run(worker, id)));
        self.alarms.extend(alarm);
        if let Some(this) = self.get(worker) {
            this.given += 1;
            this.changed = now;
        }
        Task {
            id,
            since: now,
            at: Run::Going,
            alarm,
        }
    }

    /// Says that a worker with so many tasks has room, if it has.
    pub(super) fn offer(&mut self, slot: u32, active: usize) {
        if active >= self.plan.concurrency as usize {
            return;
        }
        if self.free.len() <= active {
            self.free.resize_with(active + 1, VecDeque::new);
        }
        self.free[active].push_back(slot);
    }

    pub(super) fn withdraw(&mut self, slot: u32, active: usize) {
        let Some(slots) = self.free.get_mut(active) else {
            return;
        };
        if slots.back() == Some(&slot) {
            slots.pop_back();
        } else if let Some(at) = slots.iter().position(|other| *other == slot) {
            slots.remove(at);
        }
    }

    /// Ends a task that waits; says whether it did.
    pub(super) fn drop_waiting(&mut self, id: TaskId, verdict: Verdict) -> bool {
        let Some(waiting) = self.queue.remove(id) else {
            return false;
        };
        self.give_back(waiting, verdict);
        true
    }

    pub(super) fn empty_queue(&mut self, verdict: Verdict) {
        while let Some(waiting) = self.queue.pop() {
            self.give_back(waiting, verdict);
        }
    }

    pub(super) fn give_back(&mut self, waiting: Waiting<T>, verdict: Verdict) {
        if let Some(expires) = waiting.expires() {
            self.alarms.remove(&(expires, Alarm::Queue(waiting.id)));
        }
        self.stats.count(verdict);
        self.orders.push_back(Order::End {
            id: waiting.id,
            verdict,
            held: Held::Back(waiting.task),
        });
    }
}

/// Time.
impl<T> Dispatcher<T> {
    pub(super) fn run_timers(&mut self, now: Instant) {
        while let Some((at, alarm)) = self.alarms.first().copied()
            && at <= now
        {
            self.alarms.pop_first();
            self.ring(alarm, now);
        }
        while self.idle_deadline().is_some_and(|at| at <= now) {
            let longest = self.free.first().and_then(VecDeque::front).copied();
            if let Some(worker) = longest.and_then(|slot| self.id_in(slot)) {
                self.retire(worker, now);
            }
        }
    }

    fn ring(&mut self, alarm: Alarm, now: Instant) {
        match alarm {
            Alarm::Queue(id) => {
                self.drop_waiting(id, Verdict::QueueTimedOut);
            }
            Alarm::Run(worker, id) => {
                if let Some(at) = self.find(worker, id) {
                    self.ask(worker, at, Why::TimedOut, now);
                }
            }
            Alarm::Grace(worker, id) => self.give_up(worker, id, now),
            Alarm::Start(worker) | Alarm::Leave(worker) => self.kill(worker),
            Alarm::Age(worker) => self.recycle_worker(worker, now),
            Alarm::Close => self.cut_short(now),
        }
    }

    /// The time to close has passed, unless somebody has destroyed it before.
    fn cut_short(&mut self, now: Instant) {
        if self.state == State::Closing {
            self.unfinished = Some(Unfinished {
                waiting: self.queued(),
                running: self.tally.running,
            });
            self.destroy(now);
        }
    }

    /// When the worker that has been idle the longest may leave.
    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        if self.tally.staff <= self.plan.min {
            return None;
        }
        let longest = self.free.first()?.front()?;
        let worker = self.workers.get(*longest as usize)?.as_ref()?;
        worker.changed.checked_add(self.plan.idle)
    }

    pub(super) fn set_alarm(&mut self, worker: WorkerId, alarm: Option<(Instant, Alarm)>) {
        if let Some(this) = self.get(worker) {
            let old = std::mem::replace(&mut this.alarm, alarm);
            self.disarm(old);
            self.alarms.extend(alarm);
        }
    }

    pub(super) fn disarm(&mut self, alarm: Option<(Instant, Alarm)>) {
        if let Some(alarm) = alarm {
            self.alarms.remove(&alarm);
        }
    }
}

/// From asking to force.
impl<T> Dispatcher<T> {
    /// Asks the task at this place of a worker to end.
    pub(super) fn ask(&mut self, worker: WorkerId, at: usize, why: Why, now: Instant) {
        let grace = self.plan.grace;
        let Some(task) = self.get(worker).and_then(|this| this.tasks.get_mut(at)) else {
            return;
        };
        match task.at {
            Run::Going => {}
            Run::Asked(_) | Run::GivenUp => return,
        }
        let id = task.id;
        let alarm = now
            .checked_add(grace)
            .map(|at| (at, Alarm::Grace(worker, id)));
        task.at = Run::Asked(why);
        let old = std::mem::replace(&mut task.alarm, alarm);
        self.disarm(old);
        self.alarms.extend(alarm);
        self.orders.push_back(Order::Ask { worker, id });
    }

    /// Ends a task that did not end when asked to.
    fn give_up(&mut self, worker: WorkerId, id: TaskId, now: Instant) {
        let Some(at) = self.find(worker, id) else {
            return;
        };
        let Some(task) = self.get(worker).and_then(|this| this.tasks.get_mut(at)) else {
            return;
        };
        let Run::Asked(why) = task.at else {
            return;
        };
        task.at = Run::GivenUp;
        task.alarm = None;
        self.end_given(worker, id, why.verdict(Stopped::ByForce));
        self.retire(worker, now);
        self.see_off(worker, now);
    }

    fn end_given(&mut self, worker: WorkerId, id: TaskId, verdict: Verdict) {
        self.tally.running -= 1;
        self.end_by(worker, id, verdict);
    }

    pub(super) fn end_by(&mut self, worker: WorkerId, id: TaskId, verdict: Verdict) {
        self.stats.count(verdict);
        let held = Held::By(worker);
        self.orders.push_back(Order::End { id, verdict, held });
    }

    /// Gives a worker no more tasks; without one, it leaves.
    pub(super) fn retire(&mut self, worker: WorkerId, now: Instant) {
        let Some(this) = self.get(worker) else {
            return;
        };
        let (at, active) = (this.at, this.tasks.len());
        match at {
            At::Up => self.withdraw(worker.slot, active),
            At::Starting => self.tally.starting -= 1,
            At::Retiring | At::Leaving | At::Killed => return,
        }
        self.tally.staff -= 1;
        self.put(worker, At::Retiring);
        self.recall_line(worker, None);
        self.see_off(worker, now);
    }

    /// Lets a worker go that takes no more tasks, if nobody would miss it.
    pub(super) fn see_off(&mut self, worker: WorkerId, now: Instant) {
        let alarm = now.checked_add(self.plan.grace);
        let alarm = alarm.map(|at| (at, Alarm::Leave(worker)));
        let Some(this) = self.get(worker) else {
            return;
        };
        if this.at != At::Retiring {
            return;
        }
        let is_over = this.tasks.iter().all(|task| task.at == Run::GivenUp);
        if !this.line.tasks.is_empty() {
            // What it does not give back it has begun: what we gave up has ended.
            if is_over && this.alarm.is_none() {
                self.set_alarm(worker, alarm);
            }
        } else if this.tasks.is_empty() {
            self.put(worker, At::Leaving);
            self.set_alarm(worker, alarm);
            self.orders.push_back(Order::Stop { worker });
        } else if is_over {
            self.kill(worker);
        }
    }

    fn kill(&mut self, worker: WorkerId) {
        let Some(this) = self.get(worker) else {
            return;
        };
        match this.at {
            At::Killed => return,
            At::Starting => {
                self.tally.starting -= 1;
                self.tally.staff -= 1;
            }
            At::Up => self.tally.staff -= 1,
            At::Retiring | At::Leaving => {}
        }
        self.put(worker, At::Killed);
        self.set_alarm(worker, None);
        self.stats.killed += 1;
        self.orders.push_back(Order::Kill { worker });
    }
}

/// Births and deaths.
impl<T> Dispatcher<T> {
    /// Whether there is to be one more worker, as soon as that is allowed.
    pub(super) fn wants_worker(&self) -> bool {
        let may = self.tally.alive < self.plan.max && !self.starts.gave_up;
        let coming = self.tally.starting.saturating_mul(self.plan.concurrency);
        let is_short = self.queue.len() > coming as usize;
        match self.state {
            State::Open => may && (self.tally.staff < self.plan.min || is_short),
            State::Closing => may && is_short,
            State::Destroying | State::Over => false,
        }
    }

    fn start(&mut self, now: Instant) {
        let slot = self.workers.iter().position(Option::is_none);
        let slot = slot.unwrap_or_else(|| {
            self.workers.push(None);
            self.workers.len() - 1
        });
        let worker = WorkerId {
            slot: u32::try_from(slot).expect("there are at most `max` workers"),
            number: self.next_worker,
        };
        self.next_worker += 1;
        let start_timeout = now.checked_add(self.plan.start_timeout);
        let this = Worker {
            id: worker,
            at: At::Starting,
            tasks: Vec::new(),
            line: Line::default(),
            was_ready: false,
            given: 0,
            done: 0,
            born: now,
            changed: now,
            alarm: start_timeout.map(|at| (at, Alarm::Start(worker))),
            age_alarm: None,
        };
        self.alarms.extend(this.alarm);
        self.workers[slot] = Some(this);
        self.tally.alive += 1;
        self.tally.starting += 1;
        self.tally.staff += 1;
        self.stats.started += 1;
        self.orders.push_back(Order::Start { worker });
    }

    /// Forgets a worker, and ends what it had.
    pub(super) fn bury(&mut self, worker: WorkerId, now: Instant) -> Option<Worker> {
        self.get(worker)?;
        let mut dead = self.workers.get_mut(worker.slot as usize)?.take()?;
        self.tally.alive -= 1;
        match dead.at {
            At::Starting => {
                self.tally.starting -= 1;
                self.tally.staff -= 1;
            }
            At::Up => {
                self.tally.staff -= 1;
                self.withdraw(worker.slot, dead.tasks.len());
            }
            At::Retiring | At::Leaving | At::Killed => {}
        }
        self.disarm(dead.alarm);
        self.disarm(dead.age_alarm);
        self.stats.lifetime += now.saturating_duration_since(dead.born);
        for task in &dead.tasks {
            self.stats.busy += now.saturating_duration_since(task.since);
            self.disarm(task.alarm);
            match task.at {
                Run::Going => self.end_given(worker, task.id, Verdict::Lost),
                Run::Asked(why) => {
                    self.end_given(worker, task.id, why.verdict(Stopped::ByForce));
                }
                Run::GivenUp => {}
            }
        }
        self.lose_ahead(worker, std::mem::take(&mut dead.line));
        // What it was still to be asked or given makes no sense any more.
        self.orders.retain(|order| match order {
            Order::Start { worker: whom }
            | Order::Ask { worker: whom, .. }
            | Order::Recall { worker: whom, .. }
            | Order::Stop { worker: whom }
            | Order::Kill { worker: whom } => *whom != worker,
            Order::Run { .. } | Order::Ahead { .. } | Order::End { .. } | Order::Over => true,
        });
        Some(dead)
    }

    /// Draws the lesson from a death.
    pub(super) fn mourn(&mut self, dead: Worker, now: Instant) {
        let failed = match dead.at {
            At::Starting => true,
            At::Up => dead.given == 0,
            At::Killed => !dead.was_ready,
            At::Retiring | At::Leaving => false,
        };
        if !failed {
            let crashed = matches!(dead.at, At::Up | At::Retiring);
            self.stats.crashed += u64::from(crashed);
            return;
        }
        self.stats.failed_starts += 1;
        self.starts.failures = self.starts.failures.saturating_add(1);
        let doublings = (self.starts.failures - 1).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings);
        self.starts.not_before = now.checked_add(pause.min(LONGEST_PAUSE));
        if self.starts.failures >= self.plan.start_attempts && self.tally.staff == 0 {
            self.starts.gave_up = true;
            self.empty_queue(Verdict::NoWorker);
        }
    }

    pub(super) fn begin_end(&mut self, now: Instant) {
        self.state = State::Destroying;
        self.empty_queue(Verdict::Closed);
        for worker in self.all() {
            self.recall_line(worker, Some(Why::Destroyed));
            let tasks = self.get(worker).map_or(0, |this| this.tasks.len());
            for at in 0..tasks {
                self.ask(worker, at, Why::Destroyed, now);
            }
            self.retire(worker, now);
        }
    }

    /// On the way to the end: who has nothing to do any more goes.
    fn wind_up(&mut self, now: Instant) {
        if self.state == State::Over || self.queue.len() > 0 {
            return;
        }
        let idle = self.workers.iter().flatten();
        let idle: Vec<_> = idle
            .filter(|this| this.tasks.is_empty() && this.line.tasks.is_empty())
            .map(|this| this.id)
            .collect();
        for worker in idle {
            self.retire(worker, now);
        }
        if self.tally.alive == 0 {
            self.state = State::Over;
            self.alarms.clear();
            self.orders.push_back(Order::Over);
        }
    }

    pub(super) fn get(&mut self, worker: WorkerId) -> Option<&mut Worker> {
        let this = self.workers.get_mut(worker.slot as usize)?.as_mut()?;
        (this.id == worker).then_some(this)
    }

    pub(super) fn all(&self) -> Vec<WorkerId> {
        self.workers.iter().flatten().map(|this| this.id).collect()
    }

    fn id_in(&self, slot: u32) -> Option<WorkerId> {
        Some(self.workers.get(slot as usize)?.as_ref()?.id)
    }

    pub(super) fn find(&mut self, worker: WorkerId, id: TaskId) -> Option<usize> {
        let tasks = &self.get(worker)?.tasks;
        tasks.iter().position(|task| task.id == id)
    }

    fn put(&mut self, worker: WorkerId, at: At) {
        if let Some(this) = self.get(worker) {
            this.at = at;
        }
    }
}

impl Worker {
    fn load(&self, now: Instant) -> Load {
        Load {
            worker: self.id,
            active: u32::try_from(self.tasks.len()).unwrap_or(u32::MAX),
            done: self.done,
            unchanged: now.saturating_duration_since(self.changed),
        }
    }
}
