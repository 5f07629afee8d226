//! Whole pools in virtual time: workers that are slow, deaf, or die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// What becomes of a worker or a task, drawn when it is needed.
#[derive(Clone, Debug)]
struct Habits {
    seed: u64,
    /// Of 100 workers, how many fail to start.
    bad_starts: u64,
    /// Of 100 tasks, how many kill their worker.
    deadly: u64,
    /// Of 100 tasks, how many do not hear that they are to end.
    deaf: u64,
    /// Of 100 workers, how many do not leave when asked to.
    stubborn: u64,
    /// Of 100 tasks, how many are cancelled.
    canceled: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ready(WorkerId),
    Gone(WorkerId),
    Finish(WorkerId, TaskId),
    /// The pool hears of a task that has ended.
    Told(WorkerId),
    /// The next of those that it was asked for.
    Recall(WorkerId),
    Submit,
    Cancel(TaskId),
    Recycle,
}

struct World {
    now: Instant,
    base: Instant,
    pool: Dispatcher<u32>,
    intake: Intake<u32>,
    takes_in: bool,
    habits: Habits,
    events: BTreeSet<(Instant, u64, Event)>,
    count: u64,
    /// Who is there, and what it runs.
    alive: BTreeMap<WorkerId, BTreeMap<TaskId, u32>>,
    killed: BTreeSet<WorkerId>,
    /// What they were sent ahead.
    lines: BTreeMap<WorkerId, VecDeque<(TaskId, u32)>>,
    /// What of that they were asked for again, in turn.
    recalls: BTreeMap<WorkerId, VecDeque<TaskId>>,
    /// What they have ended, and the pool has not heard of.
    untold: BTreeMap<WorkerId, VecDeque<TaskId>>,
    /// Tasks that were sent ahead, and those of them that came back.
    sent: u32,
    came_back: u32,
    /// Accepted, and not ended.
    open: BTreeMap<TaskId, u32>,
    ran: BTreeSet<TaskId>,
    given_up: BTreeSet<TaskId>,
    last_run: Option<TaskId>,
    ended: u64,
    refused: u64,
    submissions: u32,
    /// Of them, those that were left at the intake.
    left: u32,
    /// Tasks that a worker took with it.
    went_on: u32,
    is_over: bool,
}

impl World {
    fn new(plan: Plan, habits: Habits) -> Self {
        let now = start();
        Self {
            now,
            base: now,
            pool: Dispatcher::new(plan).unwrap(),
            intake: Intake::default(),
            takes_in: false,
            habits,
            events: BTreeSet::new(),
            count: 0,
            alive: BTreeMap::new(),
            killed: BTreeSet::new(),
            lines: BTreeMap::new(),
            recalls: BTreeMap::new(),
            untold: BTreeMap::new(),
            sent: 0,
            came_back: 0,
            open: BTreeMap::new(),
            ran: BTreeSet::new(),
            given_up: BTreeSet::new(),
            last_run: None,
            ended: 0,
            refused: 0,
            submissions: 0,
            left: 0,
            went_on: 0,
            is_over: false,
        }
    }

    /// The next number of a small generator: the same seed, the same world.
    fn draw(&mut self, below: u64) -> u64 {
        let seed = &mut self.habits.seed;
        *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn chance(&mut self, of_100: u64) -> bool {
        self.draw(100) < of_100
    }

    /// After at most so many steps: of a millisecond, or short ones with now and
    /// then a long one where tasks have to be short to be sent ahead.
    fn later(&mut self, most: u64, event: Event) {
        let is_fine = self.pool.plan().ahead > 0 && !self.chance(3);
        let step = if is_fine { MS / 50 } else { MS };
        let after = step * u32::try_from(self.draw(most) + 1).unwrap();
        self.count += 1;
        self.events.insert((self.now + after, self.count, event));
    }

    /// Before the pool is told anything.
    fn enter(&mut self) {
        if std::mem::take(&mut self.takes_in) {
            self.pool.collect(&mut self.intake);
        }
    }

    /// After it, as a driver does it.
    fn carry_out(&mut self) {
        loop {
            self.follow();
            let any = self.pool.collect(&mut self.intake);
            self.takes_in = self.pool.allow(&mut self.intake);
            if self.takes_in || !any {
                return;
            }
        }
    }

    fn follow(&mut self) {
        while let Some(order) = self.pool.poll(self.now) {
            assert!(!self.is_over, "{order:?} after the end");
            match order {
                Order::Start { worker } => {
                    let fresh = self.alive.insert(worker, BTreeMap::new());
                    assert!(fresh.is_none(), "{worker:?} twice");
                    let slots = self.alive.keys().filter(|w| w.slot == worker.slot);
                    assert_eq!(slots.count(), 1, "a slot has one worker");
                    let fails = self.chance(self.habits.bad_starts);
                    let event = if fails {
                        Event::Gone(worker)
                    } else {
                        Event::Ready(worker)
                    };
                    self.later(50, event);
                }
                Order::Run { worker, id, task } => self.run(worker, id, task),
                Order::Ahead { worker, id, task } => self.send(worker, id, task),
                Order::Recall { worker, id } => {
                    self.recalls.entry(worker).or_default().push_back(id);
                    self.later(3, Event::Recall(worker));
                }
                Order::Ask { worker, id } => {
                    let is_untold = |ids: &VecDeque<TaskId>| ids.contains(&id);
                    let has_it = self.alive[&worker].contains_key(&id);
                    assert!(has_it || self.untold.get(&worker).is_some_and(is_untold));
                    if !self.chance(self.habits.deaf) {
                        self.later(90, Event::Finish(worker, id));
                    }
                }
                Order::End { id, verdict, held } => self.end(id, verdict, &held),
                Order::Stop { worker } => {
                    assert!(self.alive[&worker].is_empty(), "it has tasks");
                    if !self.chance(self.habits.stubborn) {
                        self.later(90, Event::Gone(worker));
                    }
                }
                Order::Kill { worker } => {
                    assert!(self.killed.insert(worker), "killed twice");
                    let tasks = self.alive[&worker].keys();
                    let all_over = tasks.into_iter().all(|id| self.given_up.contains(id));
                    assert!(all_over, "a neighbour would die");
                    self.later(5, Event::Gone(worker));
                }
                Order::Over => self.is_over = true,
            }
            self.check();
        }
        let deadline = self.pool.deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "nothing was done");
    }

    fn run(&mut self, worker: WorkerId, id: TaskId, task: u32) {
        assert!(self.ran.insert(id), "{id:?} ran twice");
        assert_eq!(self.open.get(&id), Some(&task));
        let plan = self.pool.plan();
        if plan.discipline == Discipline::Fifo && (plan.ahead == 0 || plan.max == 1) {
            assert!(self.last_run < Some(id), "overtaken");
            self.last_run = Some(id);
        }
        let tasks = self.alive.get_mut(&worker).expect("it is alive");
        tasks.insert(id, task);
        assert!(tasks.len() <= self.pool.plan().concurrency as usize);
        if self.chance(self.habits.deadly) {
            self.later(40, Event::Gone(worker));
        } else if !self.chance(self.habits.deaf / 2) {
            self.later(60, Event::Finish(worker, id));
        }
    }

    /// A worker that has nothing to do begins at once.
    fn send(&mut self, worker: WorkerId, id: TaskId, task: u32) {
        assert!(!self.ran.contains(&id));
        let line = self.lines.entry(worker).or_default();
        line.push_back((id, task));
        assert!(line.len() <= self.pool.plan().ahead as usize);
        self.sent += 1;
        self.go_on(worker);
    }

    fn go_on(&mut self, worker: WorkerId) {
        if self.alive[&worker].is_empty()
            && let Some(line) = self.lines.get_mut(&worker)
            && let Some((id, task)) = line.pop_front()
        {
            self.run(worker, id, task);
        }
    }

    fn give_back(&mut self, worker: WorkerId) {
        let asked = self.recalls.get_mut(&worker).and_then(VecDeque::pop_front);
        let Some(id) = asked else {
            return;
        };
        let line = self.lines.entry(worker).or_default();
        let place = line.iter().position(|(own, _)| *own == id);
        if let Some((id, task)) = place.and_then(|at| line.remove(at)) {
            self.came_back += 1;
            let left = self.pool.recalled(worker, id, task, self.now);
            assert_eq!(left.is_some(), !self.open.contains_key(&id));
        } else {
            self.pool.begun(worker, id, self.now);
        }
    }

    /// All that it has said is heard, and what it has not begun is ours again.
    fn die(&mut self, worker: WorkerId) {
        self.pool.takes_ahead(worker, false, self.now);
        self.carry_out();
        while self.untold.get(&worker).is_some_and(|ids| !ids.is_empty()) {
            self.told(worker);
        }
        self.enter();
        let line = self.lines.remove(&worker).unwrap_or_default();
        for (id, task) in line {
            self.came_back += 1;
            let left = self.pool.recalled(worker, id, task, self.now);
            assert_eq!(left.is_some(), !self.open.contains_key(&id));
        }
        self.alive.remove(&worker);
        self.pool.gone(worker, self.now);
    }

    fn end(&mut self, id: TaskId, verdict: Verdict, held: &Held<u32>) {
        let task = self.open.remove(&id).expect("each ends once");
        match held {
            Held::Back(back) => {
                assert_eq!(*back, task);
                assert!(!self.ran.contains(&id), "{verdict:?} gives back what ran");
            }
            Held::By(worker) => {
                assert!(self.ran.contains(&id));
                if self.alive.contains_key(worker) {
                    self.given_up.insert(id);
                }
            }
        }
        self.ended += 1;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Finish(worker, id) => return self.finish(worker, id),
            Event::Told(worker) => return self.told(worker),
            Event::Submit => return self.submit(),
            _ => self.enter(),
        }
        let now = self.now;
        match event {
            Event::Ready(worker) => {
                if self.alive.contains_key(&worker) {
                    self.pool.started(worker, now);
                    if self.pool.plan().ahead > 0 {
                        self.pool.takes_ahead(worker, true, now);
                    }
                }
            }
            Event::Gone(worker) => {
                if self.alive.contains_key(&worker) {
                    self.die(worker);
                }
                // Once more does no harm.
                self.pool.gone(worker, now);
            }
            Event::Cancel(id) => self.pool.cancel(id, now),
            Event::Recall(worker) => self.give_back(worker),
            Event::Recycle => self.pool.recycle(now),
            Event::Finish(..) | Event::Told(_) | Event::Submit => unreachable!("see above"),
        }
        self.carry_out();
    }

    /// A worker has finished a task, and may go on with the next one at once.
    fn finish(&mut self, worker: WorkerId, id: TaskId) {
        let had = self.alive.get_mut(&worker).and_then(|t| t.remove(&id));
        if had.is_none() {
            return;
        }
        self.untold.entry(worker).or_default().push_back(id);
        if self.pool.plan().ahead == 0 {
            return self.told(worker);
        }
        self.go_on(worker);
        self.later(3, Event::Told(worker));
    }

    fn told(&mut self, worker: WorkerId) {
        let told = self.untold.get_mut(&worker).and_then(VecDeque::pop_front);
        let Some(id) = told else {
            return;
        };
        if self.pool.is_short() || !self.takes_in {
            self.pool.collect(&mut self.intake);
            self.takes_in = self.pool.allow(&mut self.intake);
        }
        let (verdict, next) = self.pool.finished_next(worker, id, self.now);
        let was_open = self.open.remove(&id).is_some();
        assert_eq!(verdict.is_some(), was_open, "{verdict:?}");
        self.ended += u64::from(was_open);
        if let Some((id, task)) = next {
            self.went_on += 1;
            self.run(worker, id, task);
            self.check();
            assert_eq!(self.pool.poll(self.now), None, "nothing else is due");
        } else {
            self.carry_out();
        }
    }

    fn submit(&mut self) {
        self.submissions += 1;
        let priority = i32::try_from(self.draw(3)).unwrap();
        let mut terms = Terms {
            priority,
            ..Terms::default()
        };
        if self.chance(10) {
            terms.queue_timeout = Some(MS * 30);
        }
        if self.chance(10) {
            terms.run_timeout = Some(MS * 30);
        }
        let mut taken = None;
        if terms.queue_timeout.is_none() {
            let task = self.submissions;
            taken = self.intake.offer(task, terms.run_timeout, self.now).ok();
        }
        self.left += u32::from(taken.is_some());
        let submitted = taken.map(Ok).unwrap_or_else(|| {
            self.enter();
            self.pool.submit(self.submissions, terms, self.now)
        });
        match submitted {
            Ok(id) => {
                self.open.insert(id, self.submissions);
                if self.chance(self.habits.canceled) {
                    self.later(120, Event::Cancel(id));
                }
            }
            Err(refused) => {
                assert_eq!(refused.task, self.submissions);
                self.refused += 1;
            }
        }
        if taken.is_none() {
            self.carry_out();
        }
    }

    fn check(&self) {
        let plan = self.pool.plan();
        assert!(self.alive.len() <= plan.max as usize, "too many workers");
        let most = plan.queue + (plan.max * plan.concurrency) as usize;
        assert!(self.pool.queued() <= most, "the queue has no bound");
        let stats = self.pool.stats(self.now);
        let sum = stats.ended() + stats.queued as u64 + stats.running as u64;
        assert_eq!(stats.accepted, sum, "{stats:?}");
    }

    /// Lets it live until nothing more comes.
    fn live(&mut self) {
        self.enter();
        self.carry_out();
        loop {
            let event = self.events.first().map(|(at, ..)| *at);
            let next = event.into_iter().chain(self.pool.deadline()).min();
            let Some(next) = next else {
                break;
            };
            // A stubborn world would never end: idle workers are replaced for their age.
            if next > self.base + SECOND * 100 {
                break;
            }
            self.now = next;
            while let Some((at, _, event)) = self.events.first().copied()
                && at <= self.now
            {
                self.events.pop_first();
                self.happen(event);
            }
            self.enter();
            self.carry_out();
        }
    }
}

fn any_habits() -> impl Strategy<Value = Habits> {
    let part = || prop_oneof![2 => Just(0_u64), 3 => 0_u64..40];
    (any::<u64>(), part(), part(), part(), part(), part()).prop_map(
        |(seed, bad_starts, deadly, deaf, stubborn, canceled)| Habits {
            seed,
            bad_starts,
            deadly,
            deaf,
            stubborn,
            canceled,
        },
    )
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let discipline = prop_oneof![
        3 => Just(Discipline::Fifo),
        1 => Just(Discipline::Lifo),
        1 => Just(Discipline::Priority),
    ];
    let sizes = (0_u32..4, 1_u32..8, 1_u32..4, 0_usize..50);
    let recycle = (
        prop::option::of(1_u64..5),
        prop::option::of((20_u64..300).prop_map(Duration::from_millis)),
    );
    // Most of what rules it out is likely.
    let ahead = prop_oneof![1 => Just(0_u32), 1 => 1_u32..6];
    (sizes, discipline, recycle, ahead).prop_map(
        |((min, more, concurrency, queue), discipline, (max_tasks, max_age), ahead)| Plan {
            ahead,
            min,
            max: min + more,
            concurrency,
            queue,
            discipline,
            idle: MS * 40,
            grace: MS * 50,
            // Every deaf task ends some day.
            run_timeout: Some(MS * 200),
            start_timeout: MS * 500,
            max_tasks,
            max_age,
            ..Plan::new(1)
        },
    )
}

proptest! {
    /// Whatever happens: each accepted task ends once, none runs twice, order
    /// and bounds are kept, no neighbour is killed, and a closed pool is over.
    #[test]
    fn every_task_ends_once(plan in any_plan(), habits in any_habits(), destroys in any::<bool>()) {
        let mut world = World::new(plan, habits);
        for _ in 0..150 {
            world.later(400, Event::Submit);
        }
        world.later(400, Event::Recycle);
        world.live();
        prop_assert!(world.open.is_empty(), "{:?} of {:?}", world.open, world.pool);
        // Once more, and away.
        for _ in 0..20 {
            world.submit();
        }
        world.base = world.now;
        world.enter();
        if destroys {
            world.pool.destroy(world.now);
        } else {
            world.pool.close(Some(SECOND * 5), world.now);
        }
        world.live();
        prop_assert!(world.is_over && world.alive.is_empty(), "{:?}", world.pool);
        prop_assert!(world.open.is_empty());
        prop_assert_eq!(world.ended + world.refused, u64::from(world.submissions));
    }
}

#[test]
fn hundreds_of_workers_live_and_die() {
    let plan = Plan {
        min: 20,
        concurrency: 3,
        queue: 5_000,
        idle: MS * 40,
        grace: MS * 50,
        run_timeout: Some(MS * 200),
        max_tasks: Some(50),
        ..Plan::new(300)
    };
    let habits = Habits {
        seed: 7,
        bad_starts: 5,
        deadly: 3,
        deaf: 5,
        stubborn: 5,
        canceled: 20,
    };
    let mut world = World::new(plan, habits);
    for _ in 0..30_000 {
        world.later(1_500, Event::Submit);
    }
    world.live();
    world.enter();
    world.pool.close(None, world.now);
    world.base = world.now;
    world.live();
    assert!(world.is_over && world.open.is_empty());
    let stats = world.pool.stats(world.now);
    assert!(stats.crashed > 100 && stats.killed > 100, "{stats:?}");
    assert!(world.left > 1_000 && world.went_on == 0, "{stats:?}");
    assert!(stats.done > 10_000 && stats.canceled > 1_000, "{stats:?}");
}

#[test]
fn a_busy_pool_is_left_alone() {
    let plan = Plan {
        queue: 5_000,
        ..Plan::new(4)
    };
    let habits = Habits {
        seed: 7,
        bad_starts: 0,
        deadly: 1,
        deaf: 0,
        stubborn: 0,
        canceled: 1,
    };
    let mut world = World::new(plan, habits);
    for _ in 0..4_000 {
        world.later(1_000, Event::Submit);
    }
    world.live();
    assert!(world.open.is_empty());
    assert_eq!(world.pool.stats(world.now).ended(), 4_000);
    assert!(world.left > 3_000, "{} were left", world.left);
    assert!(world.went_on > 3_000, "{} times", world.went_on);
}

#[test]
fn what_was_sent_ahead_runs_once_or_comes_back() {
    let plan = Plan {
        queue: 20_000,
        ahead: 8,
        grace: MS * 50,
        run_timeout: Some(MS * 200),
        ..Plan::new(3)
    };
    let habits = Habits {
        seed: 7,
        bad_starts: 1,
        deadly: 1,
        deaf: 5,
        stubborn: 1,
        canceled: 10,
    };
    let mut world = World::new(plan, habits);
    for _ in 0..20_000 {
        world.later(20_000, Event::Submit);
    }
    for _ in 0..50 {
        world.later(20_000, Event::Recycle);
    }
    world.live();
    assert!(world.open.is_empty());
    let stats = world.pool.stats(world.now);
    assert_eq!(stats.ended(), 20_000, "{stats:?}");
    assert!(stats.lost > 20 && stats.killed > 5, "{stats:?}");
    let (sent, back) = (world.sent, world.came_back);
    assert!(sent > 5_000 && back > 200, "{sent} sent, {back} came back");
}
