//! Whole pools in virtual time: workers that are slow, deaf, or die.

use std::collections::{BTreeMap, BTreeSet};

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
    Submit,
    Cancel(TaskId),
    Recycle,
}

struct World {
    now: Instant,
    base: Instant,
    pool: Dispatcher<u32>,
    habits: Habits,
    events: BTreeSet<(Instant, u64, Event)>,
    count: u64,
    /// Who is there, and what it runs.
    alive: BTreeMap<WorkerId, BTreeMap<TaskId, u32>>,
    killed: BTreeSet<WorkerId>,
    /// Accepted, and not ended.
    open: BTreeMap<TaskId, u32>,
    ran: BTreeSet<TaskId>,
    given_up: BTreeSet<TaskId>,
    last_run: Option<TaskId>,
    ended: u64,
    refused: u64,
    submissions: u32,
    is_over: bool,
}

impl World {
    fn new(plan: Plan, habits: Habits) -> Self {
        let now = start();
        Self {
            now,
            base: now,
            pool: Dispatcher::new(plan).unwrap(),
            habits,
            events: BTreeSet::new(),
            count: 0,
            alive: BTreeMap::new(),
            killed: BTreeSet::new(),
            open: BTreeMap::new(),
            ran: BTreeSet::new(),
            given_up: BTreeSet::new(),
            last_run: None,
            ended: 0,
            refused: 0,
            submissions: 0,
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

    fn later(&mut self, most_ms: u64, event: Event) {
        let after = Duration::from_millis(self.draw(most_ms) + 1);
        self.count += 1;
        self.events.insert((self.now + after, self.count, event));
    }

    fn carry_out(&mut self) {
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
                Order::Ask { worker, id } => {
                    assert!(self.alive[&worker].contains_key(&id));
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
        if self.pool.plan().discipline == Discipline::Fifo {
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
        let now = self.now;
        match event {
            Event::Ready(worker) => {
                if self.alive.contains_key(&worker) {
                    self.pool.started(worker, now);
                }
            }
            Event::Gone(worker) => {
                if self.alive.remove(&worker).is_some() {
                    self.pool.gone(worker, now);
                }
                // Once more does no harm.
                self.pool.gone(worker, now);
            }
            Event::Finish(worker, id) => {
                let had = self.alive.get_mut(&worker).and_then(|t| t.remove(&id));
                if had.is_some() {
                    let verdict = self.pool.finished(worker, id, now);
                    let was_open = self.open.remove(&id).is_some();
                    assert_eq!(verdict.is_some(), was_open, "{verdict:?}");
                    self.ended += u64::from(was_open);
                }
            }
            Event::Submit => self.submit(),
            Event::Cancel(id) => self.pool.cancel(id, now),
            Event::Recycle => self.pool.recycle(now),
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
        match self.pool.submit(self.submissions, terms, self.now) {
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
                self.carry_out();
            }
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
    (sizes, discipline, recycle).prop_map(
        |((min, more, concurrency, queue), discipline, (max_tasks, max_age))| Plan {
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
        world.carry_out();
        world.base = world.now;
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
    world.pool.close(None, world.now);
    world.base = world.now;
    world.live();
    assert!(world.is_over && world.open.is_empty());
    let stats = world.pool.stats(world.now);
    assert!(stats.crashed > 100 && stats.killed > 100, "{stats:?}");
    assert!(stats.done > 10_000 && stats.canceled > 1_000, "{stats:?}");
}
