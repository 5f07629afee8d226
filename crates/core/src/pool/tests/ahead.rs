//! Tasks that are sent to a busy worker.

use super::*;

/// A pool whose workers take tasks ahead, and each have done a short one.
fn quick(max: u32, now: Instant) -> (Dispatcher<u32>, Vec<WorkerId>) {
    let plan = Plan {
        ahead: 4,
        ..Plan::new(max)
    };
    let (mut pool, workers) = ready(plan, now);
    for worker in &workers {
        pool.takes_ahead(*worker, true, now);
    }
    for _ in &workers {
        submit(&mut pool, 0, now);
    }
    for (worker, id, _) in runs(&mut pool, now) {
        pool.finished(worker, id, now);
    }
    (pool, workers)
}

fn runs(pool: &mut Dispatcher<u32>, now: Instant) -> Vec<(WorkerId, TaskId, u32)> {
    let runs = orders(pool, now).into_iter();
    runs.map(|order| match order {
        Order::Run { worker, id, task } => (worker, id, task),
        other => panic!("{other:?}"),
    })
    .collect()
}

/// What is sent ahead now, and to whom.
fn sent(pool: &mut Dispatcher<u32>, now: Instant) -> Vec<(WorkerId, TaskId, u32)> {
    let sent = orders(pool, now).into_iter();
    sent.map(|order| match order {
        Order::Ahead { worker, id, task } => (worker, id, task),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn recalls(pool: &mut Dispatcher<u32>, now: Instant) -> Vec<TaskId> {
    let recalls = orders(pool, now).into_iter();
    recalls
        .map(|order| match order {
            Order::Recall { id, .. } => id,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_worker_goes_on_with_what_it_was_sent() {
    let now = start();
    let (mut pool, workers) = quick(1, now);
    let ids: Vec<TaskId> = (1..=7).map(|n| submit(&mut pool, n, now)).collect();
    let first = runs_and_sent(&mut pool, now);
    assert_eq!(first, ([1].into(), [2, 3, 4].into()));
    assert_eq!((pool.queued(), pool.stats(now).running), (6, 1));
    // Nobody has to say that 2 runs now; what it was sent is filled up by halves.
    let more = [[5, 6].as_slice(), &[], &[7], &[], &[], &[], &[]];
    for (id, more) in ids.iter().zip(more) {
        assert_eq!(pool.finished(workers[0], *id, now), Some(Verdict::Done));
        let tasks: Vec<u32> = sent(&mut pool, now).iter().map(|it| it.2).collect();
        assert_eq!(tasks, more);
    }
    assert!(pool.is_drained());
}

fn runs_and_sent(pool: &mut Dispatcher<u32>, now: Instant) -> (Vec<u32>, Vec<u32>) {
    let (mut runs, mut sent) = (Vec::new(), Vec::new());
    for order in orders(pool, now) {
        match order {
            Order::Run { task, .. } => runs.push(task),
            Order::Ahead { task, .. } => sent.push(task),
            other => panic!("{other:?}"),
        }
    }
    (runs, sent)
}

#[test]
fn nobody_slow_or_new_is_sent_any() {
    let now = start();
    let plan = Plan {
        ahead: 4,
        ..Plan::new(1)
    };
    let (mut pool, workers) = ready(plan, now);
    pool.takes_ahead(workers[0], true, now);
    let ids: Vec<TaskId> = (1..=4).map(|n| submit(&mut pool, n, now)).collect();
    assert_eq!(runs_and_sent(&mut pool, now), ([1].into(), [].into()));
    // It took too long.
    pool.finished(workers[0], ids[0], now + MS);
    assert_eq!(runs_and_sent(&mut pool, now + MS), ([2].into(), [].into()));
    pool.finished(workers[0], ids[1], now + MS * 3 / 2);
    let now = now + MS * 3 / 2;
    assert_eq!(runs_and_sent(&mut pool, now), ([3].into(), [4].into()));
}

#[test]
fn what_waits_at_a_worker_can_be_cancelled() {
    let now = start();
    let (mut pool, workers) = quick(1, now);
    let ids: Vec<TaskId> = (1..=3).map(|n| submit(&mut pool, n, now)).collect();
    orders(&mut pool, now);
    // This one comes back,
    pool.cancel(ids[2], now);
    assert_eq!(recalls(&mut pool, now), [ids[2]]);
    pool.cancel(ids[2], now);
    assert_eq!(recalls(&mut pool, now), [], "once is enough");
    assert_eq!(pool.recalled(workers[0], ids[2], 3, now), None);
    let verdict = Verdict::Canceled(Stopped::InQueue);
    let (id, held) = (ids[2], Held::Back(3));
    assert_eq!(orders(&mut pool, now), [Order::End { id, verdict, held }]);
    // and this one has begun: it is asked when we learn that.
    pool.cancel(ids[1], now);
    assert_eq!(recalls(&mut pool, now), [ids[1]]);
    pool.finished(workers[0], ids[0], now);
    let (worker, id) = (workers[0], ids[1]);
    assert_eq!(orders(&mut pool, now), [Order::Ask { worker, id }]);
    let verdict = pool.finished(worker, id, now);
    assert_eq!(verdict, Some(Verdict::Canceled(Stopped::InTime)));
}

#[test]
fn a_death_loses_what_had_begun_and_nothing_else() {
    let now = start();
    let (mut pool, workers) = quick(1, now);
    let ids: Vec<TaskId> = (1..=4).map(|n| submit(&mut pool, n, now)).collect();
    orders(&mut pool, now);
    pool.takes_ahead(workers[0], false, now);
    // In any order.
    for n in [4, 2, 3] {
        assert_eq!(pool.recalled(workers[0], ids[n as usize - 1], n, now), None);
    }
    pool.gone(workers[0], now);
    let orders = orders(&mut pool, now);
    let Order::End { id, verdict, .. } = orders[0] else {
        panic!("{orders:?}")
    };
    assert_eq!((id, verdict), (ids[0], Verdict::Lost));
    let Order::Start { worker } = orders[1] else {
        panic!("{orders:?}")
    };
    pool.started(worker, now);
    assert_eq!(order_of(&mut pool, now), [2, 3, 4]);
}

#[test]
fn who_is_idle_gets_what_others_were_sent() {
    let now = start();
    let (mut pool, workers) = quick(2, now);
    let ids: Vec<TaskId> = (1..=4).map(|n| submit(&mut pool, n, now)).collect();
    let (runs, sent) = runs_and_sent(&mut pool, now);
    assert_eq!((runs, sent), ([1, 2].into(), [3, 4].into()));
    let has = |pool: &Dispatcher<u32>, worker: WorkerId, id: TaskId| {
        let this = pool.workers[worker.slot as usize].as_ref().unwrap();
        this.tasks.iter().any(|task| task.id == id)
    };
    let is_first = has(&pool, workers[0], ids[0]);
    let (busy, quick) = if is_first {
        (workers[0], workers[1])
    } else {
        (workers[1], workers[0])
    };
    pool.finished(quick, ids[1], now);
    assert_eq!(orders(&mut pool, now), []);
    let next = if has(&pool, quick, ids[2]) {
        ids[2]
    } else {
        ids[3]
    };
    pool.finished(quick, next, now);
    let waits = if next == ids[2] { ids[3] } else { ids[2] };
    assert_eq!(recalls(&mut pool, now), [waits]);
    assert_eq!(pool.recalled(busy, waits, 9, now), None);
    let (worker, id, task) = (quick, waits, 9);
    assert_eq!(orders(&mut pool, now), [Order::Run { worker, id, task }]);
}

/// A task comes back that we thought had begun: the one before it ended meanwhile.
#[test]
fn what_comes_back_late_waits_again() {
    let now = start();
    let (mut pool, workers) = quick(1, now);
    let ids: Vec<TaskId> = (1..=3).map(|n| submit(&mut pool, n, now)).collect();
    orders(&mut pool, now);
    pool.recycle_worker(workers[0], now);
    assert_eq!(recalls(&mut pool, now), [ids[1], ids[2]]);
    pool.finished(workers[0], ids[0], now);
    assert_eq!((pool.queued(), pool.stats(now).running), (1, 1));
    assert_eq!(pool.recalled(workers[0], ids[1], 2, now), None);
    assert_eq!(pool.recalled(workers[0], ids[2], 3, now), None);
    let orders = orders(&mut pool, now);
    let worker = workers[0];
    assert_eq!(orders[0], Order::Stop { worker });
    pool.gone(worker, now);
    let Some(Order::Start { worker }) = pool.poll(now) else {
        panic!("nobody is left")
    };
    pool.started(worker, now);
    assert_eq!(order_of(&mut pool, now), [2, 3]);
}

/// What we gave up may have ended by itself, and its neighbour begun.
#[test]
fn nobody_dies_of_what_was_given_up_but_has_ended() {
    for comes_back in [true, false] {
        let mut now = start();
        let (mut pool, workers) = quick(1, now);
        let ids: Vec<TaskId> = (1..=2).map(|n| submit(&mut pool, n, now)).collect();
        orders(&mut pool, now);
        let worker = workers[0];
        pool.cancel(ids[0], now);
        orders(&mut pool, now);
        now += pool.plan().grace;
        let given_up = orders(&mut pool, now);
        assert!(
            given_up.contains(&Order::Recall { worker, id: ids[1] }),
            "{given_up:?}"
        );
        assert!(!given_up.contains(&Order::Kill { worker }), "{given_up:?}");
        if comes_back {
            assert_eq!(pool.recalled(worker, ids[1], 2, now), None);
            assert_eq!(orders(&mut pool, now), [Order::Kill { worker }]);
        } else {
            assert_eq!(pool.finished(worker, ids[0], now), None);
            now += pool.plan().grace;
            assert_eq!(orders(&mut pool, now), []);
            assert_eq!(pool.finished(worker, ids[1], now), Some(Verdict::Done));
            assert_eq!(orders(&mut pool, now), [Order::Stop { worker }]);
        }
    }
}

/// A worker that neither gives back nor goes on.
#[test]
fn who_holds_on_to_what_it_was_sent_is_killed() {
    let mut now = start();
    let (mut pool, workers) = quick(1, now);
    let ids: Vec<TaskId> = (1..=2).map(|n| submit(&mut pool, n, now)).collect();
    orders(&mut pool, now);
    let worker = workers[0];
    pool.cancel(ids[0], now);
    for _ in 0..2 {
        orders(&mut pool, now);
        now += pool.plan().grace;
    }
    assert_eq!(orders(&mut pool, now), [Order::Kill { worker }]);
    pool.gone(worker, now);
    let (id, verdict, held) = (ids[1], Verdict::Lost, Held::By(worker));
    assert_eq!(pool.poll(now), Some(Order::End { id, verdict, held }));
}
