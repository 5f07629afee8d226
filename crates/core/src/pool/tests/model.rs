//! Any operations in any order, beside a model that says after each what has to be so.
//!
//! The model does not start workers or choose among them. It knows what has become of each
//! task and worker, which task is next, when something is due, and what may not wait.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens next; numbers choose among those that are there.
#[derive(Clone, Debug)]
enum Op {
    Submit {
        terms: Terms,
    },
    Started(usize),
    Finish(usize),
    /// The same, and the worker goes on with the next.
    FinishNext(usize),
    Gone(usize),
    Cancel(usize),
    CancelWaiting,
    Recycle,
    Pass(Duration),
    Close(Option<Duration>),
    Destroy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TaskAt {
    Going { until: Option<Instant> },
    Asked { why: Why, until: Instant },
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerAt {
    Starting {
        until: Instant,
    },
    Up,
    /// It was asked to leave.
    Leaving {
        until: Instant,
    },
    Killed,
}

#[derive(Debug)]
struct ModelWorker {
    at: WorkerAt,
    tasks: BTreeMap<TaskId, TaskAt>,
    /// When it is too old, once.
    old_at: Option<Instant>,
    since: Instant,
    given: u64,
    was_ready: bool,
    /// It takes no more.
    is_closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct ModelWaiting {
    id: TaskId,
    terms: Terms,
    expires: Option<Instant>,
}

/// Why a task may end or be asked to right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Time,
    Cancel(TaskId),
    CancelWaiting,
    Death(WorkerId),
    Destroy,
}

struct Model {
    plan: Plan,
    now: Instant,
    pool: Dispatcher<u32>,
    waiting: Vec<ModelWaiting>,
    workers: BTreeMap<WorkerId, ModelWorker>,
    /// Who has just died, until its tasks have ended.
    dead: BTreeMap<WorkerId, ModelWorker>,
    tasks: u32,
    accepted: u64,
    ended: BTreeMap<&'static str, u64>,
    /// Starts that failed since a worker last finished something, and until when nothing starts.
    failures: u32,
    pause: Option<Instant>,
    /// Nothing starts until somebody asks again.
    gave_up: bool,
    closes: Option<Instant>,
    state: State,
}

impl Model {
    fn new(plan: Plan) -> Self {
        Self {
            now: start(),
            pool: Dispatcher::new(plan.clone()).unwrap(),
            plan,
            waiting: Vec::new(),
            workers: BTreeMap::new(),
            dead: BTreeMap::new(),
            tasks: 0,
            accepted: 0,
            ended: BTreeMap::new(),
            failures: 0,
            pause: None,
            gave_up: false,
            closes: None,
            state: State::Open,
        }
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        let mut cause = Cause::Time;
        match *op {
            Op::Submit { terms } => self.submit(terms),
            Op::Started(n) => {
                let starting = |w: &ModelWorker| matches!(w.at, WorkerAt::Starting { .. });
                if let Some(id) = self.nth(n, starting) {
                    self.pool.started(id, now);
                    let old_at = self.plan.max_age.map(|age| now + age);
                    let worker = self.worker(id);
                    (worker.at, worker.since, worker.was_ready) = (WorkerAt::Up, now, true);
                    worker.old_at = old_at;
                }
            }
            Op::Finish(n) => self.finish(n, false),
            Op::FinishNext(n) => self.finish(n, true),
            Op::Gone(n) => {
                if let Some(id) = self.nth(n, |_| true) {
                    cause = Cause::Death(id);
                    self.mourn(id);
                    self.pool.gone(id, now);
                }
            }
            Op::Cancel(n) => {
                let id = TaskId(n as u64 % (self.accepted + 1));
                cause = Cause::Cancel(id);
                self.pool.cancel(id, now);
            }
            Op::CancelWaiting => {
                cause = Cause::CancelWaiting;
                self.pool.cancel_waiting(now);
            }
            Op::Recycle => {
                self.pool.recycle(now);
                for worker in self.workers.values_mut() {
                    worker.is_closed |= worker.at == WorkerAt::Up;
                }
            }
            Op::Pass(time) => return self.pass(now + time),
            Op::Close(limit) => {
                let end = limit.map(|limit| now + limit);
                self.closes = self.closes.into_iter().chain(end).min();
                self.state = self.state.max_close();
                self.pool.close(limit, now);
            }
            Op::Destroy => {
                cause = Cause::Destroy;
                self.destroy();
                self.pool.destroy(now);
            }
        }
        self.carry_out(cause);
        for (_, dead) in std::mem::take(&mut self.dead) {
            let all_over = dead.tasks.values().all(|task| *task == TaskAt::GivenUp);
            assert!(all_over, "{dead:?} took tasks with it that have not ended");
        }
        self.check();
    }

    fn pass(&mut self, until: Instant) {
        loop {
            let due = self.pool.deadline().filter(|at| *at <= until);
            self.now = due.unwrap_or(until);
            for worker in self.workers.values_mut() {
                let is_old = worker.old_at.take_if(|at| *at <= self.now).is_some();
                worker.is_closed |= is_old && worker.at == WorkerAt::Up;
            }
            let mut cause = Cause::Time;
            if self.closes.is_some_and(|at| at <= self.now) && self.state != State::Over {
                self.closes = None;
                cause = Cause::Destroy;
                self.destroy();
            }
            self.carry_out(cause);
            self.check();
            if due.is_none() {
                return;
            }
        }
    }

    fn destroy(&mut self) {
        if self.state != State::Over {
            self.state = State::Destroying;
        }
        for worker in self.workers.values_mut() {
            worker.is_closed = true;
        }
    }

    fn submit(&mut self, terms: Terms) {
        self.tasks += 1;
        let has_room = self.has_room();
        match self.pool.submit(self.tasks, terms, self.now) {
            Ok(id) => {
                assert!(has_room && self.state == State::Open, "there was no room");
                self.accepted += 1;
                assert_eq!(id, TaskId(self.accepted));
                let limit = terms.queue_timeout.or(self.plan.queue_timeout);
                let expires = limit.map(|limit| self.now + limit);
                self.waiting.push(ModelWaiting { id, terms, expires });
                if self.gave_up {
                    (self.failures, self.pause, self.gave_up) = (0, None, false);
                }
            }
            Err(refused) => {
                assert_eq!(refused.task, self.tasks, "another came back");
                let why = if self.state == State::Open {
                    assert!(!has_room, "there was room");
                    Refusal::Full
                } else {
                    Refusal::Closed
                };
                assert_eq!(refused.why, why);
            }
        }
    }

    /// Whoever is idle or could be started takes tasks beside the queue.
    fn has_room(&self) -> bool {
        let starting = |w: &&ModelWorker| matches!(w.at, WorkerAt::Starting { .. });
        let starting = self.workers.values().filter(starting).count();
        let coming = starting + self.plan.max as usize - self.workers.len();
        let beside = coming * self.plan.concurrency as usize;
        self.waiting.len() < self.plan.queue + beside
            || self.waiting.is_empty() && self.workers.values().any(|w| self.is_free(w))
    }

    fn is_free(&self, worker: &ModelWorker) -> bool {
        let room = worker.tasks.len() < self.plan.concurrency as usize;
        worker.at == WorkerAt::Up && !worker.is_closed && room && !self.is_worn(worker)
    }

    /// It had its number of tasks.
    fn is_worn(&self, worker: &ModelWorker) -> bool {
        self.plan.max_tasks.is_some_and(|most| worker.given >= most)
    }

    fn finish(&mut self, n: usize, goes_on: bool) {
        let running: Vec<(WorkerId, TaskId)> = self
            .workers
            .iter()
            .flat_map(|(worker, this)| this.tasks.keys().map(|id| (*worker, *id)))
            .collect();
        let Some(&(worker, id)) = running.get(n % running.len().max(1)) else {
            return;
        };
        let expected = match self.worker(worker).tasks.remove(&id) {
            None | Some(TaskAt::GivenUp) => None,
            Some(TaskAt::Going { .. }) => Some(Verdict::Done),
            Some(TaskAt::Asked { why, .. }) => Some(match why {
                Why::Destroyed => Verdict::Done,
                Why::Canceled | Why::TimedOut => why.verdict(Stopped::InTime),
            }),
        };
        self.worker(worker).since = self.now;
        self.failures = 0;
        let (verdict, next) = if goes_on {
            self.pool.finished_next(worker, id, self.now)
        } else {
            (self.pool.finished(worker, id, self.now), None)
        };
        assert_eq!(verdict, expected);
        if let Some(verdict) = verdict {
            self.count(verdict);
        }
        if let Some((id, _)) = next {
            self.run(worker, id);
        }
    }

    fn carry_out(&mut self, cause: Cause) {
        while let Some(order) = self.pool.poll(self.now) {
            match order {
                Order::Start { worker } => self.begin_start(worker),
                Order::Run { worker, id, .. } => self.run(worker, id),
                Order::Ahead { .. } | Order::Recall { .. } => panic!("nobody takes any"),
                Order::Ask { worker, id } => self.ask(worker, id, cause),
                Order::End { id, verdict, held } => {
                    match held {
                        Held::Back(_) => self.end_waiting(id, verdict, cause),
                        Held::By(worker) => self.end_given(worker, id, verdict, cause),
                    }
                    self.count(verdict);
                }
                Order::Stop { worker } => self.stop(worker),
                Order::Kill { worker } => self.kill(worker),
                Order::Over => {
                    assert!(self.waiting.is_empty() && self.workers.is_empty());
                    assert!(matches!(self.state, State::Closing | State::Destroying));
                    self.state = State::Over;
                }
            }
        }
    }

    fn begin_start(&mut self, id: WorkerId) {
        assert!(self.workers.len() < self.plan.max as usize, "one too many");
        assert!(self.pause.is_none_or(|at| at <= self.now), "in the pause");
        let worker = ModelWorker {
            at: WorkerAt::Starting {
                until: self.now + self.plan.start_timeout,
            },
            tasks: BTreeMap::new(),
            old_at: None,
            since: self.now,
            given: 0,
            was_ready: false,
            is_closed: false,
        };
        assert!(self.workers.insert(id, worker).is_none(), "{id:?} twice");
    }

    fn run(&mut self, worker: WorkerId, id: TaskId) {
        let next = self.waiting.iter().enumerate();
        let next = match self.plan.discipline {
            Discipline::Fifo => next.min_by_key(|(_, it)| it.id),
            Discipline::Lifo => next.max_by_key(|(_, it)| it.id),
            Discipline::Priority => {
                next.max_by_key(|(_, it)| (it.terms.priority, std::cmp::Reverse(it.id)))
            }
        };
        let (at, next) = next.map(|(at, it)| (at, *it)).expect("somebody waits");
        assert_eq!(next.id, id, "it is not its turn");
        self.waiting.remove(at);
        assert!(
            self.is_free(&self.workers[&worker]),
            "{worker:?} has no room"
        );
        let limit = next.terms.run_timeout.or(self.plan.run_timeout);
        let until = limit.map(|limit| self.now + limit);
        let now = self.now;
        let this = self.worker(worker);
        this.tasks.insert(id, TaskAt::Going { until });
        this.given += 1;
        this.since = now;
    }

    fn ask(&mut self, worker: WorkerId, id: TaskId, cause: Cause) {
        let until = self.now + self.plan.grace;
        let now = self.now;
        let task = self.worker(worker).tasks.get_mut(&id);
        let task = task.expect("it has that task");
        let TaskAt::Going { until: limit } = *task else {
            panic!("{id:?} was asked before")
        };
        let is_late = limit.is_some_and(|at| at <= now);
        let why = match cause {
            Cause::Cancel(canceled) if canceled == id => Why::Canceled,
            // Of a time-out and an end in the same moment the time-out is first.
            Cause::Destroy if !is_late => Why::Destroyed,
            _ => Why::TimedOut,
        };
        assert!(why != Why::TimedOut || is_late, "it still has time");
        *task = TaskAt::Asked { why, until };
    }

    fn end_waiting(&mut self, id: TaskId, verdict: Verdict, cause: Cause) {
        let at = self.waiting.iter().position(|it| it.id == id);
        let it = self.waiting.remove(at.expect("it waited"));
        let fits = match verdict {
            Verdict::QueueTimedOut => it.expires.is_some_and(|at| at <= self.now),
            Verdict::Canceled(Stopped::InQueue) => {
                cause == Cause::Cancel(id) || cause == Cause::CancelWaiting
            }
            Verdict::Closed => self.state == State::Destroying,
            Verdict::NoWorker => self.gave_up,
            _ => false,
        };
        assert!(fits, "{verdict:?} of one that waited, {cause:?}");
    }

    fn end_given(&mut self, worker: WorkerId, id: TaskId, verdict: Verdict, cause: Cause) {
        let is_dead = cause == Cause::Death(worker);
        let now = self.now;
        let task = self.worker(worker).tasks.get_mut(&id);
        let task = task.expect("it has that task");
        let expected = match *task {
            TaskAt::Going { .. } => is_dead.then_some(Verdict::Lost),
            TaskAt::Asked { why, until } => {
                (is_dead || until <= now).then(|| why.verdict(Stopped::ByForce))
            }
            TaskAt::GivenUp => None,
        };
        assert_eq!(Some(verdict), expected, "{task:?}, {cause:?}");
        *task = TaskAt::GivenUp;
        self.worker(worker).is_closed = true;
    }

    fn stop(&mut self, id: WorkerId) {
        let (now, plan, state) = (self.now, self.plan.clone(), self.state);
        let crew = self.workers.values().filter(|w| !w.is_closed).count();
        let worker = self.worker(id);
        assert!(worker.tasks.is_empty(), "it has tasks");
        let is_idle = worker.since + plan.idle <= now && crew > plan.min as usize;
        let is_worn = plan.max_tasks.is_some_and(|most| worker.given >= most);
        let has_reason = worker.is_closed || is_worn || is_idle || state != State::Open;
        assert!(has_reason, "{worker:?} is sent away");
        worker.is_closed = true;
        worker.at = WorkerAt::Leaving {
            until: now + plan.grace,
        };
    }

    fn kill(&mut self, id: WorkerId) {
        let now = self.now;
        let worker = self.worker(id);
        let all_given_up = worker.tasks.values().all(|task| *task == TaskAt::GivenUp);
        let fits = match worker.at {
            WorkerAt::Starting { until } | WorkerAt::Leaving { until } => until <= now,
            WorkerAt::Up => !worker.tasks.is_empty() && all_given_up,
            WorkerAt::Killed => false,
        };
        assert!(fits, "{worker:?} is killed");
        worker.at = WorkerAt::Killed;
        worker.is_closed = true;
    }

    /// A worker that dies without having had a task could not be started.
    fn mourn(&mut self, id: WorkerId) {
        let Some(dead) = self.workers.remove(&id) else {
            return;
        };
        let failed = match dead.at {
            WorkerAt::Starting { .. } => true,
            WorkerAt::Up => dead.given == 0 && !dead.is_closed,
            WorkerAt::Leaving { .. } => false,
            WorkerAt::Killed => !dead.was_ready,
        };
        if failed {
            self.failures += 1;
            let pause = MS * 100 * 2_u32.pow((self.failures - 1).min(16));
            self.pause = Some(self.now + pause);
            let takes_more = |w: &ModelWorker| !w.is_closed && !self.is_worn(w);
            let has_staff = self.workers.values().any(takes_more);
            self.gave_up |= self.failures >= self.plan.start_attempts && !has_staff;
        }
        self.dead.insert(id, dead);
    }

    /// What has to be so when there is nothing more to do.
    fn check(&self) {
        let now = self.now;
        assert!(self.pool.deadline().is_none_or(|at| at > now), "overdue");
        let is_late = |it: &ModelWaiting| it.expires.is_some_and(|at| at <= now);
        assert!(!self.waiting.iter().any(is_late), "waited too long");
        for (id, worker) in &self.workers {
            let is_late = match worker.at {
                WorkerAt::Starting { until } | WorkerAt::Leaving { until } => until <= now,
                WorkerAt::Up | WorkerAt::Killed => false,
            };
            assert!(!is_late, "{id:?} {worker:?}");
            let is_late = |task: &TaskAt| match task {
                TaskAt::Going { until } => until.is_some_and(|at| at <= now),
                TaskAt::Asked { until, .. } => *until <= now,
                TaskAt::GivenUp => false,
            };
            assert!(!worker.tasks.values().any(is_late), "{id:?} {worker:?}");
            let is_lost = !worker.tasks.is_empty()
                && worker.tasks.values().all(|task| *task == TaskAt::GivenUp);
            assert!(!is_lost || worker.at == WorkerAt::Killed, "{id:?} lives");
            let is_idle = worker.at == WorkerAt::Up && worker.tasks.is_empty();
            assert!(!is_idle || !worker.is_closed, "{id:?} {worker:?} stays");
        }
        self.check_crew();
        self.check_counts();
    }

    /// Nobody waits beside one who is free, or for one that nobody starts.
    fn check_crew(&self) {
        let is_free = self.workers.values().any(|worker| self.is_free(worker));
        assert!(self.waiting.is_empty() || !is_free, "it waits for nothing");
        let starts = |w: &&ModelWorker| matches!(w.at, WorkerAt::Starting { .. });
        let starting = self.workers.values().filter(starts).count();
        let staff = self.workers.values().filter(|w| !w.is_closed).count();
        let is_paused = self.gave_up || self.pause.is_some_and(|at| at > self.now);
        let can_start = self.workers.len() < self.plan.max as usize && !is_paused;
        let coming = starting * self.plan.concurrency as usize;
        match self.state {
            State::Open | State::Closing => {
                assert!(
                    !can_start || self.waiting.len() <= coming,
                    "nobody is started"
                );
            }
            State::Destroying | State::Over => assert!(self.waiting.is_empty()),
        }
        if self.state == State::Open {
            assert!(!can_start || staff >= self.plan.min as usize, "too few");
        }
    }

    fn check_counts(&self) {
        let stats = self.pool.stats(self.now);
        let count = |verdict| self.ended.get(verdict).copied().unwrap_or_default();
        let tasks = self.workers.values().flat_map(|w| w.tasks.values());
        let running = tasks.filter(|task| **task != TaskAt::GivenUp).count();
        assert_eq!(stats.running, running);
        assert_eq!(stats.queued, self.waiting.len());
        assert_eq!(stats.workers as usize, self.workers.len());
        assert_eq!(stats.accepted, self.accepted);
        let seen = [stats.done, stats.canceled, stats.timed_out, stats.lost];
        let expected = ["done", "canceled", "timed out", "lost"].map(count);
        assert_eq!(seen, expected);
        let seen = [stats.queue_timed_out, stats.returned, stats.destroyed];
        let expected = ["queue timed out", "returned", "destroyed"].map(count);
        assert_eq!(seen, expected);
    }

    fn count(&mut self, verdict: Verdict) {
        let name = match verdict {
            Verdict::Done => "done",
            Verdict::Canceled(_) => "canceled",
            Verdict::TimedOut(_) => "timed out",
            Verdict::QueueTimedOut => "queue timed out",
            Verdict::Closed | Verdict::NoWorker => "returned",
            Verdict::Destroyed => "destroyed",
            Verdict::Lost => "lost",
        };
        *self.ended.entry(name).or_default() += 1;
    }

    fn nth(&self, n: usize, is_one: impl Fn(&ModelWorker) -> bool) -> Option<WorkerId> {
        let these = self.workers.iter().filter(|(_, worker)| is_one(worker));
        let these: Vec<WorkerId> = these.map(|(id, _)| *id).collect();
        these.get(n % these.len().max(1)).copied()
    }

    fn worker(&mut self, id: WorkerId) -> &mut ModelWorker {
        let alive = self.workers.get_mut(&id);
        { alive }
            .or_else(|| self.dead.get_mut(&id))
            .expect("it is there")
    }
}

impl State {
    /// After a close.
    fn max_close(self) -> Self {
        match self {
            Self::Open | Self::Closing => Self::Closing,
            Self::Destroying | Self::Over => self,
        }
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let time = || (1_u64..120).prop_map(Duration::from_millis);
    let terms = (
        0_i32..3,
        prop::option::weighted(0.2, time()),
        prop::option::weighted(0.2, time()),
    );
    let submit = terms.prop_map(|(priority, queue_timeout, run_timeout)| Op::Submit {
        terms: Terms {
            priority,
            queue_timeout,
            run_timeout,
        },
    });
    let n = || 0_usize..64;
    prop_oneof![
        16 => submit,
        8 => n().prop_map(Op::Started),
        8 => n().prop_map(Op::Finish),
        8 => n().prop_map(Op::FinishNext),
        3 => n().prop_map(Op::Gone),
        4 => n().prop_map(Op::Cancel),
        1 => Just(Op::CancelWaiting),
        1 => Just(Op::Recycle),
        12 => time().prop_map(Op::Pass),
    ]
}

fn any_end() -> impl Strategy<Value = Op> {
    let time = (1_u64..300).prop_map(Duration::from_millis);
    prop_oneof![
        prop::option::of(time).prop_map(Op::Close),
        Just(Op::Destroy)
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let discipline = prop_oneof![
        Just(Discipline::Fifo),
        Just(Discipline::Lifo),
        Just(Discipline::Priority),
    ];
    let time = |most: u64| prop::option::of((10..most).prop_map(Duration::from_millis));
    let sizes = (0_u32..3, 1_u32..4, 1_u32..3, 0_usize..6);
    let limits = (time(200), time(200), prop::option::of(1_u64..5), time(300));
    (sizes, discipline, limits).prop_map(|((min, more, concurrency, queue), discipline, limits)| {
        Plan {
            min,
            concurrency,
            queue,
            discipline,
            idle: MS * 70,
            queue_timeout: limits.0,
            run_timeout: limits.1,
            grace: MS * 50,
            start_timeout: MS * 150,
            max_tasks: limits.2,
            max_age: limits.3,
            ..Plan::new(min + more)
        }
    })
}

proptest! {
    /// After each of any operations: what ended did so for a reason and once, what is due was
    /// done, it was the next one's turn, nobody waits for nothing, and the counts are right.
    #[test]
    fn any_operations_leave_it_as_the_model_says(
        plan in any_plan(),
        ops in prop::collection::vec(any_op(), 1..120),
        end in any_end(),
        after in prop::collection::vec(any_op(), 0..40),
    ) {
        let mut model = Model::new(plan);
        model.carry_out(Cause::Time);
        for op in ops.iter().chain([&end]).chain(&after) {
            model.apply(op);
        }
        // Whoever is still there dies, and then nothing is left.
        model.apply(&Op::Destroy);
        while model.state != State::Over {
            let before = model.workers.len();
            model.apply(&Op::Gone(0));
            prop_assert!(model.workers.len() < before, "{:?}", model.pool);
        }
        prop_assert_eq!(model.ended.values().sum::<u64>(), model.accepted);
    }
}
