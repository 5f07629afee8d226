//! Which worker runs which task, and when there is another worker.
//!
//! A dispatcher is told what happened and when, and answers with orders: start
//! a worker, run this, ask that to end. It has no thread, no process and no
//! clock, so one machine serves pools over both, and a test sees hundreds of
//! workers die within milliseconds.
//!
//! **Each accepted task ends once**: its worker finishes it
//! ([`Dispatcher::finished`] says with which verdict), or an [`Order::End`]
//! says what became of it. A task that never ran comes back with it.
//!
//! **Cancelling** is asking first. A task that ends within the grace period
//! leaves its worker as good as before. One that does not is given up, and its
//! worker is killed, but not before its neighbours on that worker have ended.
//! A time-out goes the same way; the clock of the run begins with
//! [`Order::Run`], not with the submission.
//!
//! **A death loses the tasks of that worker** and nothing else. A worker that
//! dies without having been given a task counts as a failed start: there is a
//! pause before the next one, and if nobody is left after
//! [`Plan::start_attempts`] of them, the waiting tasks go back. The next
//! submission begins anew.
//!
//! **Workers** are started as tasks have to wait, and leave when they have been
//! idle for too long, had their number of tasks, their age or too much memory.
//!
//! ```
//! # #![expect(clippy::disallowed_methods, reason = "an example's clock")]
//! use std::time::Instant;
//! use procession_core::pool::{Dispatcher, Order, Plan, Terms, Verdict};
//!
//! let now = Instant::now();
//! let mut pool = Dispatcher::new(Plan::new(2))?;
//! let id = pool.submit("a task", Terms::default(), now).expect("there is room");
//! let Some(Order::Start { worker }) = pool.poll(now) else { panic!("a worker is needed") };
//! pool.started(worker, now);
//! assert_eq!(pool.poll(now), Some(Order::Run { worker, id, task: "a task" }));
//! assert_eq!(pool.finished(worker, id, now), Some(Verdict::Done));
//! # Ok::<(), procession_core::pool::PlanError>(())
//! ```

mod advance;
mod ahead;
mod balance;
mod histogram;
mod intake;
mod plan;
mod queue;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

pub use balance::{Balance, Load};
pub use histogram::Histogram;
pub use intake::Intake;
pub use plan::{
    Discipline, Held, Order, Plan, PlanError, Refusal, Refused, Stopped, TaskId, Terms, Unfinished,
    Verdict, WorkerId,
};
pub use queue::Rank;
pub use stats::Stats;

use queue::{Queue, Waiting};

/// Gives tasks to workers.
///
/// After each call, and when [`Dispatcher::deadline`] has come, carry out what
/// [`Dispatcher::poll`] gives until it gives nothing. What is told of a worker
/// that is gone is ignored, so the driver's news may come late.
pub struct Dispatcher<T> {
    plan: Plan,
    state: State,
    unfinished: Option<Unfinished>,
    queue: Queue<T>,
    balance: Option<Box<dyn Balance<T>>>,
    /// By slot.
    workers: Vec<Option<Worker>>,
    /// Slots of workers that have room, by how many tasks they have; in each
    /// the one that came last at the end.
    free: Vec<VecDeque<u32>>,
    tally: Tally,
    alarms: BTreeSet<(Instant, Alarm)>,
    orders: VecDeque<Order<T>>,
    starts: Starts,
    next_task: u64,
    next_worker: u64,
    stats: Stats,
}

/// How many there are, so that nobody has to count.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Who is not gone.
    alive: u32,
    /// Of them, who is being started.
    starting: u32,
    /// Who is being started, or takes tasks.
    staff: u32,
    /// Tasks that workers have and that have not ended.
    running: usize,
    /// Tasks that were sent to busy workers, and still wait.
    ahead: usize,
}

/// How starting goes.
#[derive(Clone, Copy, Debug, Default)]
struct Starts {
    /// Failures since a worker last finished a task.
    failures: u32,
    /// Nothing is started before.
    not_before: Option<Instant>,
    /// Nothing is started until a task comes.
    gave_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// What was accepted is still run.
    Closing,
    Destroying,
    Over,
}

#[derive(Debug)]
struct Worker {
    id: WorkerId,
    at: At,
    tasks: Vec<Task>,
    line: ahead::Line,
    /// Whether it ever was ready.
    was_ready: bool,
    given: u64,
    done: u64,
    born: Instant,
    /// When its number of tasks last changed.
    changed: Instant,
    alarm: Option<(Instant, Alarm)>,
    age_alarm: Option<(Instant, Alarm)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Starting,
    /// Takes tasks.
    Up,
    /// Takes no more, and still has some.
    Retiring,
    /// Was asked to leave.
    Leaving,
    Killed,
}

#[derive(Clone, Copy, Debug)]
struct Task {
    id: TaskId,
    since: Instant,
    at: Run,
    alarm: Option<(Instant, Alarm)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Going,
    Asked(Why),
    /// It has ended for all but its worker.
    GivenUp,
}

/// Why a running task was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Canceled,
    TimedOut,
    Destroyed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Queue(TaskId),
    Run(WorkerId, TaskId),
    Grace(WorkerId, TaskId),
    Start(WorkerId),
    Leave(WorkerId),
    Age(WorkerId),
    Close,
}

impl<T> Dispatcher<T> {
    /// A pool without workers; the first [`poll`](Self::poll) orders some.
    ///
    /// # Errors
    ///
    /// [`PlanError`] names the number that is wrong.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        plan.check()?;
        Ok(Self {
            state: State::Open,
            unfinished: None,
            queue: Queue::new(plan.discipline),
            plan,
            balance: None,
            workers: Vec::new(),
            free: Vec::new(),
            tally: Tally::default(),
            alarms: BTreeSet::new(),
            orders: VecDeque::new(),
            starts: Starts::default(),
            next_task: 1,
            next_worker: 1,
            stats: Stats::default(),
        })
    }

    /// Orders the queue by one's own rule, in place of [`Plan::discipline`].
    #[must_use]
    pub fn with_rank(mut self, rank: Box<dyn Rank<T>>) -> Self {
        self.queue = Queue::ranked(rank);
        self
    }

    /// Chooses workers by one's own rule.
    #[must_use]
    pub fn with_balance(mut self, balance: Box<dyn Balance<T>>) -> Self {
        self.balance = Some(balance);
        self
    }

    /// Takes a task.
    ///
    /// # Errors
    ///
    /// [`Refused`] gives it back: the queue is full, or the pool closed.
    pub fn submit(&mut self, task: T, terms: Terms, now: Instant) -> Result<TaskId, Refused<T>> {
        if self.state != State::Open {
            let why = Refusal::Closed;
            return Err(Refused { task, why });
        }
        if !self.has_room() {
            self.stats.refused += 1;
            let why = Refusal::Full;
            return Err(Refused { task, why });
        }
        if self.starts.gave_up {
            self.starts = Starts::default();
        }
        let id = TaskId(self.next_task);
        self.next_task += 1;
        self.stats.accepted += 1;
        let queue_timeout = terms.queue_timeout.or(self.plan.queue_timeout);
        let expires = queue_timeout.and_then(|limit| now.checked_add(limit));
        let waiting = Waiting::new(id, task, now).with_limits(expires, terms.run_timeout);
        if self.queue.len() == 0
            && self.balance.is_none()
            && let Some(slot) = self.least_busy()
        {
            self.assign(slot, waiting, now);
            return Ok(id);
        }
        if let Some(expires) = expires {
            self.alarms.insert((expires, Alarm::Queue(id)));
        }
        self.queue.push(waiting, terms.priority);
        self.advance(now);
        Ok(id)
    }

    /// Whether [`submit`](Self::submit) would not say that the queue is full.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let spare = self.tally.starting + (self.plan.max - self.tally.alive);
        let spare = spare.saturating_mul(self.plan.concurrency) as usize;
        let has_idle = self.free.iter().any(|slots| !slots.is_empty());
        self.queued() < self.plan.queue.saturating_add(spare) || (self.queue.len() == 0 && has_idle)
    }

    /// Ends a task: one that waits at once, one that runs by asking it to end.
    /// Does nothing if it has ended.
    pub fn cancel(&mut self, id: TaskId, now: Instant) {
        let verdict = Verdict::Canceled(Stopped::InQueue);
        if self.drop_waiting(id, verdict) || self.end_ahead(id, Why::Canceled) {
            return self.advance(now);
        }
        let place = self.workers.iter().flatten().find_map(|worker| {
            let at = worker.tasks.iter().position(|task| task.id == id)?;
            Some((worker.id, at))
        });
        if let Some((worker, at)) = place {
            self.ask(worker, at, Why::Canceled, now);
        }
    }

    /// Ends all tasks that wait.
    pub fn cancel_waiting(&mut self, now: Instant) {
        self.empty_queue(Verdict::Canceled(Stopped::InQueue));
        for worker in self.all() {
            self.recall_line(worker, Some(Why::Canceled));
        }
        self.advance(now);
    }

    /// The worker is ready.
    pub fn started(&mut self, worker: WorkerId, now: Instant) {
        let max_age = self.plan.max_age;
        if let Some(this) = self.get(worker)
            && this.at == At::Starting
        {
            this.at = At::Up;
            this.was_ready = true;
            this.changed = now;
            // Its age counts from here: a start that takes long makes nobody old.
            let old = max_age.and_then(|age| now.checked_add(age));
            this.age_alarm = old.map(|at| (at, Alarm::Age(worker)));
            let age_alarm = this.age_alarm;
            self.alarms.extend(age_alarm);
            self.tally.starting -= 1;
            self.set_alarm(worker, None);
            self.offer(worker.slot, 0);
            self.advance(now);
        }
    }

    /// The worker has finished a task, whatever came out. Says how the task
    /// ended; `None` if it had ended before.
    ///
    /// A task that was asked to end by its own account does not count as
    /// [`Verdict::Done`] any more; one that only finished while the pool was
    /// destroyed does.
    pub fn finished(&mut self, worker: WorkerId, id: TaskId, now: Instant) -> Option<Verdict> {
        let Some(at) = self.find(worker, id) else {
            let verdict = self.finished_ahead(worker, id, now);
            self.advance(now);
            return verdict;
        };
        let this = self.get(worker)?;
        let task = this.tasks.swap_remove(at);
        let active = this.tasks.len();
        let is_up = this.at == At::Up;
        let time = now.saturating_duration_since(task.since);
        this.done += 1;
        this.changed = now;
        this.line.ran(time);
        self.starts.failures = 0;
        self.disarm(task.alarm);
        self.stats.run.record(time);
        let verdict = match task.at {
            Run::GivenUp => None,
            Run::Going => Some(Verdict::Done),
            Run::Asked(why) => Some(why.after_it_ran()),
        };
        if let Some(verdict) = verdict {
            self.tally.running -= 1;
            self.stats.count(verdict);
        }
        if is_up {
            self.withdraw(worker.slot, active + 1);
        }
        if active == 0 {
            self.next_in_line(worker, now);
        } else if is_up {
            self.offer(worker.slot, active);
        } else {
            self.see_off(worker, now);
        }
        self.advance(now);
        verdict
    }

    /// [`finished`](Self::finished), and the worker takes the next task with it
    /// where that is plainly its own: the same as an [`Order::Run`], and no
    /// order is due beside it.
    pub fn finished_next(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        now: Instant,
    ) -> (Option<Verdict>, Option<(TaskId, T)>) {
        if !self.goes_on(worker, id, now) {
            return (self.finished(worker, id, now), None);
        }
        let Some(waiting) = self.queue.pop() else {
            return (self.finished(worker, id, now), None);
        };
        if let Some(expires) = waiting.expires() {
            self.alarms.remove(&(expires, Alarm::Queue(waiting.id)));
        }
        let task = self.begin(worker, &waiting, now);
        if let Some(this) = self.get(worker) {
            this.done += 1;
            let last = std::mem::replace(&mut this.tasks[0], task);
            self.disarm(last.alarm);
            self.stats
                .run
                .record(now.saturating_duration_since(last.since));
        }
        self.starts.failures = 0;
        self.stats.count(Verdict::Done);
        (Some(Verdict::Done), Some((waiting.id, waiting.task)))
    }

    /// Whether this worker may go from its only task to the next in the queue.
    fn goes_on(&mut self, worker: WorkerId, id: TaskId, now: Instant) -> bool {
        let is_due = self.deadline().is_some_and(|at| at <= now);
        let is_usual = !is_due
            && self.state == State::Open
            && self.plan.concurrency == 1
            && self.balance.is_none()
            && self.orders.is_empty();
        let most = self.plan.max_tasks.unwrap_or(u64::MAX);
        is_usual
            && self.get(worker).is_some_and(|this| {
                let own = this.tasks.first().is_some_and(|task| task.is_going(id));
                own && this.at == At::Up && !this.line.is_used() && this.given + 1 < most
            })
    }

    /// The worker uses so many bytes; see [`Plan::max_memory`].
    pub fn weighed(&mut self, worker: WorkerId, bytes: u64, now: Instant) {
        if self.plan.max_memory.is_some_and(|most| bytes > most) {
            self.recycle_worker(worker, now);
        }
    }

    /// Replaces a worker as soon as it has finished what it has.
    pub fn recycle_worker(&mut self, worker: WorkerId, now: Instant) {
        if self.get(worker).is_some_and(|this| this.at == At::Up) {
            self.stats.recycled += 1;
            self.retire(worker, now);
            self.advance(now);
        }
    }

    /// Replaces all workers, each as soon as it has finished what it has.
    pub fn recycle(&mut self, now: Instant) {
        for worker in self.all() {
            self.recycle_worker(worker, now);
        }
    }

    /// The worker is gone, ordered or not, or could not be started.
    pub fn gone(&mut self, worker: WorkerId, now: Instant) {
        if let Some(dead) = self.bury(worker, now) {
            self.mourn(dead, now);
            self.advance(now);
        }
    }

    /// Takes no more tasks; ends when those that it has are finished. After
    /// this time it is [destroyed](Self::destroy), and remembers what was
    /// [unfinished](Self::unfinished).
    pub fn close(&mut self, limit: Option<Duration>, now: Instant) {
        if let Some(end) = limit.and_then(|limit| now.checked_add(limit)) {
            self.alarms.insert((end, Alarm::Close));
        }
        if self.state == State::Open {
            self.state = State::Closing;
        }
        self.advance(now);
    }

    /// Takes no more tasks, gives back those that wait, asks those that run to
    /// end, and ends when all workers are gone: at the latest, as far as that
    /// is in its power, after two grace periods.
    pub fn destroy(&mut self, now: Instant) {
        if matches!(self.state, State::Open | State::Closing) {
            self.begin_end(now);
            self.advance(now);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self, now: Instant) -> Option<Order<T>> {
        if self.orders.is_empty() {
            self.run_timers(now);
            self.advance(now);
        }
        self.orders.pop_front()
    }

    /// When [`Self::poll`] has something to do without anything else happening.
    ///
    /// After a `poll` that gave nothing this is in the future, or never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let start = self.starts.not_before.filter(|_| self.wants_worker());
        [alarm, self.idle_deadline(), start]
            .into_iter()
            .flatten()
            .min()
    }

    /// Tasks that wait for a worker.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len() + self.tally.ahead
    }

    /// Whether what was left at an [`Intake`] is next.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.queue.len() == 0
    }

    /// Whether every task that was accepted has ended.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.queued() == 0 && self.tally.running == 0
    }

    /// Whether [`Order::Over`] was given, or is about to be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What was left when the limit of a [`close`](Self::close) passed, if one did.
    #[must_use]
    pub fn unfinished(&self) -> Option<Unfinished> {
        self.unfinished
    }

    /// What it was told to be.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl Task {
    fn is_going(&self, id: TaskId) -> bool {
        self.id == id && self.at == Run::Going
    }
}

impl Why {
    fn verdict(self, stopped: Stopped) -> Verdict {
        match self {
            Self::Canceled => Verdict::Canceled(stopped),
            Self::TimedOut => Verdict::TimedOut(stopped),
            Self::Destroyed => Verdict::Destroyed,
        }
    }

    /// Of a task that never ran.
    fn before_it_ran(self) -> Verdict {
        match self {
            Self::Destroyed => Verdict::Closed,
            Self::Canceled | Self::TimedOut => self.verdict(Stopped::InQueue),
        }
    }

    /// Of one that its worker has finished.
    fn after_it_ran(self) -> Verdict {
        match self {
            Self::Destroyed => Verdict::Done,
            Self::Canceled | Self::TimedOut => self.verdict(Stopped::InTime),
        }
    }
}

impl<T> Debug for Dispatcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("state", &self.state)
            .field("queue", &self.queue)
            .field("tally", &self.tally)
            .field("starts", &self.starts)
            .finish_non_exhaustive()
    }
}
