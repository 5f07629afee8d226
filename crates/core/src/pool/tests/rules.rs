//! What the module's page promises, one by one.

use super::*;

#[test]
fn a_plan_that_cannot_be_followed_names_the_number() {
    let bad = |plan| Dispatcher::<u32>::new(plan).unwrap_err().to_string();
    assert_eq!(bad(Plan::new(0)), "`workers.end()` of a pool is 0");
    let plan = Plan {
        min: 5,
        ..Plan::new(4)
    };
    assert_eq!(
        bad(plan),
        "`workers` of a pool is 5..=4: it begins above its end"
    );
    let plan = Plan {
        max_tasks: Some(0),
        ..Plan::new(4)
    };
    assert_eq!(bad(plan), "`max_tasks` of a pool is 0");
}

#[test]
fn the_first_to_come_is_the_first_to_run() {
    let now = start();
    let (mut pool, _) = ready(Plan::new(1), now);
    for task in 0..10 {
        submit(&mut pool, task, now);
    }
    assert_eq!(order_of(&mut pool, now), (0..10).collect::<Vec<_>>());
}

#[test]
fn the_last_to_come_may_be_the_first() {
    let now = start();
    let plan = Plan {
        discipline: Discipline::Lifo,
        ..Plan::new(1)
    };
    let (mut pool, _) = ready(plan, now);
    for task in 0..4 {
        submit(&mut pool, task, now);
    }
    assert_eq!(order_of(&mut pool, now), [0, 3, 2, 1], "0 found it idle");
}

#[test]
fn priority_goes_before_arrival() {
    let now = start();
    let plan = Plan {
        discipline: Discipline::Priority,
        ..Plan::new(1)
    };
    let (mut pool, _) = ready(plan, now);
    for (task, priority) in [(0, 0), (1, 0), (2, 5), (3, -1), (4, 5)] {
        let terms = Terms {
            priority,
            ..Terms::default()
        };
        pool.submit(task, terms, now).unwrap();
    }
    assert_eq!(order_of(&mut pool, now), [0, 2, 4, 1, 3]);
}

#[test]
fn a_rank_of_ones_own_decides() {
    let now = start();
    let (pool, _) = ready(Plan::new(1), now);
    let mut pool = pool.with_rank(Box::new(|task: &u32, _: i32| i64::from(task % 3)));
    for task in [9, 5, 4, 3, 8, 7, 6] {
        submit(&mut pool, task, now);
    }
    assert_eq!(order_of(&mut pool, now), [9, 3, 6, 4, 7, 5, 8]);
}

#[test]
fn a_full_queue_gives_the_task_back() {
    let now = start();
    let plan = Plan {
        queue: 2,
        ..Plan::new(1)
    };
    let (mut pool, _) = ready(plan, now);
    for task in 0..3 {
        submit(&mut pool, task, now);
    }
    let refused = pool.submit(3, Terms::default(), now).unwrap_err();
    assert_eq!((refused.task, refused.why), (3, Refusal::Full));
    assert_eq!(pool.queued(), 2);
}

/// `maxQueue: 0` of piscina: run now or not at all.
#[test]
fn without_a_queue_only_what_a_worker_can_take_is_accepted() {
    let now = start();
    let plan = Plan {
        queue: 0,
        ..Plan::new(2)
    };
    let mut pool = Dispatcher::new(plan).unwrap();
    submit(&mut pool, 1, now);
    submit(&mut pool, 2, now);
    assert!(!pool.has_room(), "one task for each that can be started");
    assert!(pool.submit(3, Terms::default(), now).is_err());
}

#[test]
fn a_worker_above_the_minimum_leaves_when_idle() {
    let now = start();
    let plan = Plan {
        min: 1,
        idle: SECOND,
        ..Plan::new(3)
    };
    let mut pool = Dispatcher::new(plan).unwrap();
    for task in 0..3 {
        submit(&mut pool, task, now);
    }
    let mut running = Vec::new();
    let mut queue: VecDeque<_> = orders(&mut pool, now).into();
    while let Some(order) = queue.pop_front() {
        match order {
            Order::Start { worker } => pool.started(worker, now),
            Order::Run { worker, id, .. } => running.push((worker, id)),
            other => panic!("{other:?}"),
        }
        queue.extend(orders(&mut pool, now));
    }
    assert_eq!(running.len(), 3);
    for (i, (worker, id)) in running.iter().enumerate() {
        pool.finished(*worker, *id, now + MS * u32::try_from(i).unwrap());
    }
    assert_eq!(pool.poll(now + SECOND - MS), None);
    assert_eq!(pool.deadline(), Some(now + SECOND));
    let left = orders(&mut pool, now + SECOND * 9);
    let expected: Vec<_> = running[..2]
        .iter()
        .map(|(worker, _)| Order::Stop { worker: *worker })
        .collect();
    assert_eq!(left, expected, "who was busy last stays");
}

#[test]
fn the_two_time_outs_have_clocks_of_their_own() {
    let now = start();
    let plan = Plan {
        queue_timeout: Some(SECOND * 5),
        run_timeout: Some(SECOND * 2),
        ..Plan::new(1)
    };
    let (mut pool, workers) = ready(plan, now);
    let first = submit(&mut pool, 1, now);
    let second = submit(&mut pool, 2, now);
    let third = submit(&mut pool, 3, now);
    orders(&mut pool, now);
    let then = now + SECOND * 2;
    let worker = workers[0];
    assert_eq!(orders(&mut pool, then), [Order::Ask { worker, id: first }]);
    let verdict = pool.finished(worker, first, then + MS);
    assert_eq!(verdict, Some(Verdict::TimedOut(Stopped::InTime)));
    let started = then + MS;
    assert_eq!(given(&orders(&mut pool, started)), [2], "the same worker");
    assert_eq!(pool.deadline(), Some(started + SECOND * 2), "its full time");
    let verdict = pool.finished(worker, second, started + MS);
    assert_eq!(verdict, Some(Verdict::Done));
    let late = now + SECOND * 5;
    let _ = third;
    submit(&mut pool, 4, late - SECOND);
    let ended = orders(&mut pool, late - SECOND);
    assert_eq!(given(&ended), [3]);
    pool.cancel(third, late);
    let ended = orders(&mut pool, late + SECOND * 6);
    let held = Held::Back(4);
    assert!(
        ended.iter().any(|order| matches!(
            order,
            Order::End { verdict: Verdict::QueueTimedOut, held: got, .. } if *got == held
        )),
        "{ended:?}"
    );
}

#[test]
fn a_worker_that_cleans_up_in_time_is_used_again() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(1), now);
    let id = submit(&mut pool, 1, now);
    submit(&mut pool, 2, now);
    orders(&mut pool, now);
    pool.cancel(id, now);
    let worker = workers[0];
    assert_eq!(orders(&mut pool, now), [Order::Ask { worker, id }]);
    let soon = now + SECOND - MS;
    assert_eq!(
        given(&orders(&mut pool, soon)),
        [0_u32; 0],
        "it is cleaning up"
    );
    let verdict = pool.finished(worker, id, soon);
    assert_eq!(verdict, Some(Verdict::Canceled(Stopped::InTime)));
    assert_eq!(given(&orders(&mut pool, soon)), [2]);
    assert_eq!(pool.stats(soon).killed, 0);
}

#[test]
fn one_that_does_not_is_killed_and_replaced() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(1), now);
    let id = submit(&mut pool, 1, now);
    submit(&mut pool, 2, now);
    orders(&mut pool, now);
    pool.cancel(id, now);
    orders(&mut pool, now);
    let worker = workers[0];
    let then = now + SECOND;
    let verdict = Verdict::Canceled(Stopped::ByForce);
    let held = Held::By(worker);
    assert_eq!(
        orders(&mut pool, then),
        [Order::End { id, verdict, held }, Order::Kill { worker }]
    );
    assert_eq!(pool.finished(worker, id, then), None, "it has ended");
    pool.gone(worker, then);
    let [Order::Start { worker: next }] = orders(&mut pool, then)[..] else {
        panic!("it is to be replaced");
    };
    assert_eq!(
        (next.slot, next.number > worker.number),
        (worker.slot, true)
    );
    pool.started(next, then);
    assert_eq!(given(&orders(&mut pool, then)), [2]);
}

/// piscina#934: aborting a task killed those beside it.
#[test]
fn a_kill_waits_for_the_neighbours() {
    let now = start();
    let plan = Plan {
        concurrency: 2,
        ..Plan::new(1)
    };
    let (mut pool, workers) = ready(plan, now);
    let stuck = submit(&mut pool, 1, now);
    let neighbour = submit(&mut pool, 2, now);
    orders(&mut pool, now);
    pool.cancel(stuck, now);
    let then = now + SECOND;
    let end = orders(&mut pool, then);
    assert!(
        matches!(end[..], [Order::Ask { .. }, Order::End { .. }]),
        "{end:?}"
    );
    submit(&mut pool, 3, then);
    assert_eq!(orders(&mut pool, then), [], "it takes no more");
    let worker = workers[0];
    let verdict = pool.finished(worker, neighbour, then);
    assert_eq!(verdict, Some(Verdict::Done));
    assert_eq!(orders(&mut pool, then), [Order::Kill { worker }]);
}

#[test]
fn a_death_loses_the_tasks_of_that_worker() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(2), now);
    let tasks = [1, 2, 3].map(|task| submit(&mut pool, task, now));
    let runs = orders(&mut pool, now);
    let Order::Run { worker, id, .. } = runs[0] else {
        panic!("{runs:?}")
    };
    assert!(workers.contains(&worker) && id == tasks[0]);
    pool.gone(worker, now);
    let verdict = Verdict::Lost;
    let held = Held::By(worker);
    let after = orders(&mut pool, now);
    assert_eq!(after[0], Order::End { id, verdict, held });
    assert!(matches!(after[1..], [Order::Start { .. }]), "{after:?}");
    assert_eq!((pool.stats(now).running, pool.queued()), (1, 1));
}

#[test]
fn each_task_may_have_a_worker_of_its_own() {
    let now = start();
    let plan = Plan {
        max_tasks: Some(1),
        ..Plan::new(1)
    };
    let (mut pool, workers) = ready(plan, now);
    let first = submit(&mut pool, 1, now);
    submit(&mut pool, 2, now);
    assert_eq!(given(&orders(&mut pool, now)), [1]);
    let worker = workers[0];
    pool.finished(worker, first, now);
    assert_eq!(orders(&mut pool, now), [Order::Stop { worker }]);
    pool.gone(worker, now);
    assert!(matches!(orders(&mut pool, now)[..], [Order::Start { .. }]));
}

#[test]
fn age_and_memory_replace_a_worker_too() {
    let now = start();
    let plan = Plan {
        max_age: Some(SECOND),
        max_memory: Some(1000),
        ..Plan::new(2)
    };
    let (mut pool, workers) = ready(plan, now);
    pool.weighed(workers[0], 1000, now);
    assert_eq!(orders(&mut pool, now), []);
    pool.weighed(workers[0], 1001, now);
    let (heavy, old) = (workers[0], workers[1]);
    assert_eq!(orders(&mut pool, now), [Order::Stop { worker: heavy }]);
    let then = now + SECOND - MS;
    pool.gone(heavy, then);
    orders(&mut pool, then);
    assert_eq!(pool.deadline(), Some(now + SECOND));
    assert_eq!(
        orders(&mut pool, now + SECOND),
        [Order::Stop { worker: old }]
    );
}

#[test]
fn a_start_that_takes_long_makes_nobody_old() {
    let now = start();
    let plan = Plan {
        min: 1,
        max_age: Some(SECOND),
        ..Plan::new(1)
    };
    let mut pool = Dispatcher::new(plan).unwrap();
    let worker = match orders(&mut pool, now)[..] {
        [Order::Start { worker }] => worker,
        ref other => panic!("{other:?}"),
    };
    let ready = now + SECOND * 2;
    assert_eq!(orders(&mut pool, ready), []);
    pool.started(worker, ready);
    assert_eq!(orders(&mut pool, ready), [], "it is new");
    assert_eq!(orders(&mut pool, ready + SECOND), [Order::Stop { worker }]);
}

#[test]
fn a_program_that_never_starts_gives_the_tasks_back() {
    let mut now = start();
    let mut pool = Dispatcher::new(Plan::new(1)).unwrap();
    submit(&mut pool, 7, now);
    let mut starts = 0;
    let back = loop {
        match pool.poll(now) {
            Some(Order::Start { worker }) => {
                starts += 1;
                pool.gone(worker, now);
            }
            Some(Order::End { verdict, held, .. }) => break (verdict, held),
            Some(other) => panic!("{other:?}"),
            None => now = pool.deadline().unwrap(),
        }
    };
    assert_eq!(back, (Verdict::NoWorker, Held::Back(7)));
    assert_eq!(starts, 3);
    assert_eq!((pool.poll(now), pool.deadline()), (None, None), "it rests");
    submit(&mut pool, 8, now);
    assert!(
        matches!(pool.poll(now), Some(Order::Start { .. })),
        "tried anew"
    );
}

#[test]
fn a_worker_that_is_never_ready_is_killed() {
    let now = start();
    let mut pool = Dispatcher::new(Plan::new(1)).unwrap();
    submit(&mut pool, 1, now);
    let Some(Order::Start { worker }) = pool.poll(now) else {
        panic!("a worker is needed")
    };
    assert_eq!(pool.poll(now + SECOND * 29), None);
    assert_eq!(pool.poll(now + SECOND * 30), Some(Order::Kill { worker }));
    pool.gone(worker, now + SECOND * 30);
    assert_eq!(pool.stats(now).failed_starts, 1);
}

#[test]
fn closing_finishes_what_was_accepted() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(1), now);
    let first = submit(&mut pool, 1, now);
    let second = submit(&mut pool, 2, now);
    orders(&mut pool, now);
    pool.close(None, now);
    let refused = pool.submit(3, Terms::default(), now).unwrap_err();
    assert_eq!((refused.task, refused.why), (3, Refusal::Closed));
    let worker = workers[0];
    pool.finished(worker, first, now);
    assert_eq!(given(&orders(&mut pool, now)), [2]);
    pool.finished(worker, second, now);
    assert_eq!(orders(&mut pool, now), [Order::Stop { worker }]);
    pool.gone(worker, now);
    assert_eq!(orders(&mut pool, now), [Order::Over]);
    assert_eq!(pool.unfinished(), None);
}

#[test]
fn a_close_that_takes_too_long_destroys() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(1), now);
    let running = submit(&mut pool, 1, now);
    let waiting = submit(&mut pool, 2, now);
    orders(&mut pool, now);
    pool.close(Some(SECOND), now);
    assert_eq!(orders(&mut pool, now), []);
    assert_eq!(pool.unfinished(), None);
    let worker = workers[0];
    let (verdict, held) = (Verdict::Closed, Held::Back(2));
    assert_eq!(
        orders(&mut pool, now + SECOND),
        [
            Order::End {
                id: waiting,
                verdict,
                held
            },
            Order::Ask {
                worker,
                id: running
            }
        ]
    );
    let (verdict, held) = (Verdict::Destroyed, Held::By(worker));
    assert_eq!(
        orders(&mut pool, now + SECOND * 2),
        [
            Order::End {
                id: running,
                verdict,
                held
            },
            Order::Kill { worker }
        ]
    );
    pool.gone(worker, now + SECOND * 2);
    assert_eq!(pool.poll(now + SECOND * 2), Some(Order::Over));
    assert!(pool.deadline().is_none());
    let (waiting, running) = (1, 1);
    let unfinished = Unfinished { waiting, running };
    assert_eq!(pool.unfinished(), Some(unfinished));
}

#[test]
fn a_close_that_only_waits_for_its_workers_can_be_too_slow_as_well() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(1), now);
    let worker = workers[0];
    pool.close(Some(MS), now);
    assert_eq!(orders(&mut pool, now), [Order::Stop { worker }]);
    assert_eq!(orders(&mut pool, now + MS), [], "it has its grace period");
    pool.gone(worker, now + MS);
    let (waiting, running) = (0, 0);
    let unfinished = Unfinished { waiting, running };
    assert_eq!(pool.unfinished(), Some(unfinished));
}

#[test]
fn a_close_within_a_limit_that_somebody_destroys_was_not_too_slow() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(1), now);
    submit(&mut pool, 1, now);
    orders(&mut pool, now);
    pool.close(Some(SECOND), now);
    pool.destroy(now);
    orders(&mut pool, now + SECOND);
    pool.gone(workers[0], now + SECOND);
    orders(&mut pool, now + SECOND);
    assert!(pool.is_over() && pool.unfinished().is_none());
}

#[test]
fn a_balance_of_ones_own_may_also_let_a_task_wait() {
    let now = start();
    let (pool, workers) = ready(Plan::new(2), now);
    let even = |task: &u32, loads: &[Load]| {
        let slot = task % 2;
        loads.iter().position(|load| load.worker.slot == slot)
    };
    let mut pool = pool.with_balance(Box::new(even));
    for task in [0, 2, 1] {
        submit(&mut pool, task, now);
    }
    let runs = orders(&mut pool, now);
    assert_eq!(given(&runs), [0], "2 waits for the same one, 1 behind it");
    let Order::Run { worker, id, .. } = runs[0] else {
        panic!("{runs:?}")
    };
    assert_eq!(worker, workers[0]);
    pool.finished(worker, id, now);
    assert_eq!(given(&orders(&mut pool, now)), [2, 1]);
}

#[test]
fn a_task_that_runs_or_has_died_counts_as_work() {
    let now = start();
    let (mut pool, workers) = ready(Plan::new(2), now);
    assert!(pool.stats(now).utilization() < 1e-9, "no time has passed");
    let long = submit(&mut pool, 1, now);
    orders(&mut pool, now);
    let used = |pool: &Dispatcher<u32>, now| (pool.stats(now).utilization() * 100.0).round();
    let later = now + SECOND * 10;
    assert_eq!(pool.stats(later).busy, SECOND * 10);
    assert_eq!(
        used(&pool, later),
        50.0,
        "one of two, and it has finished none"
    );
    let worker = workers[1];
    assert_eq!(pool.finished(worker, long, later), Some(Verdict::Done));
    assert_eq!(used(&pool, later), 50.0, "it is not counted twice");
    assert_eq!(used(&pool, later + SECOND * 10), 25.0);
    // It dies with its next task, and the other one has nothing to do.
    let later = later + SECOND * 10;
    submit(&mut pool, 2, later);
    orders(&mut pool, later);
    pool.gone(worker, later + SECOND * 20);
    let stats = pool.stats(later + SECOND * 20);
    assert_eq!((stats.lost, stats.run.count()), (1, 1));
    assert_eq!((stats.busy, stats.lifetime), (SECOND * 30, SECOND * 80));
}

#[test]
fn tasks_side_by_side_are_a_share_each() {
    let now = start();
    let plan = Plan {
        concurrency: 4,
        ..Plan::new(1)
    };
    let (mut pool, _) = ready(plan, now);
    for task in 0..3 {
        submit(&mut pool, task, now);
    }
    orders(&mut pool, now);
    let stats = pool.stats(now + SECOND);
    assert_eq!(stats.busy, SECOND * 3);
    assert!((stats.utilization() - 0.75).abs() < 1e-9, "{stats:?}");
}

/// Tasks that leave the middle of a queue leave nothing behind.
#[test]
fn cancelled_tasks_do_not_fill_the_queue() {
    let now = start();
    let (mut pool, _) = ready(Plan::new(1), now);
    submit(&mut pool, 0, now);
    submit(&mut pool, 1, now);
    let mut middle = submit(&mut pool, 2, now);
    for task in 3..10_000 {
        let last = submit(&mut pool, task, now);
        pool.cancel(middle, now);
        middle = last;
        while pool.poll(now).is_some() {}
    }
    assert_eq!(pool.queued(), 2);
    assert!(pool.queue.places() <= 2 * 2 + 64, "{}", pool.queue.places());
}
