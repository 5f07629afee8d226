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
    for order in orders(&mut pool, now) {
        if let Order::Run { worker, id, .. } = order {
            pool.finished(worker, id, now);
        }
    }
    (pool, workers)
}

/// One quick worker, and so many tasks, which have been given out as far as they are.
fn busy(tasks: u32, now: Instant) -> (Dispatcher<u32>, WorkerId, Vec<TaskId>) {
    let (mut pool, workers) = quick(1, now);
    let ids = (1..=tasks).map(|n| submit(&mut pool, n, now)).collect();
    orders(&mut pool, now);
    (pool, workers[0], ids)
}

/// The tasks that are to begin now, and those that are sent ahead.
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
        assert_eq!(runs_and_sent(&mut pool, now), ([].into(), more.into()));
    }
    assert!(pool.is_drained());
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
    let (mut pool, worker, ids) = busy(3, now);
    // This one comes back,
    pool.cancel(ids[2], now);
    assert_eq!(recalls(&mut pool, now), [ids[2]]);
    pool.cancel(ids[2], now);
    assert_eq!(recalls(&mut pool, now), [], "once is enough");
    assert_eq!(pool.recalled(worker, ids[2], 3, now), None);
    let verdict = Verdict::Canceled(Stopped::InQueue);
    let (id, held) = (ids[2], Held::Back(3));
    assert_eq!(orders(&mut pool, now), [Order::End { id, verdict, held }]);
    // and this one has begun: it is asked when we learn that.
    pool.cancel(ids[1], now);
    assert_eq!(recalls(&mut pool, now), [ids[1]]);
    pool.finished(worker, ids[0], now);
    assert_eq!(orders(&mut pool, now), []);
    pool.begun(worker, ids[1], now);
    let id = ids[1];
    assert_eq!(orders(&mut pool, now), [Order::Ask { worker, id }]);
    let verdict = pool.finished(worker, id, now);
    assert_eq!(verdict, Some(Verdict::Canceled(Stopped::InTime)));
}

#[test]
fn a_death_loses_what_had_begun_and_nothing_else() {
    let now = start();
    let (mut pool, worker, ids) = busy(4, now);
    pool.takes_ahead(worker, false, now);
    // In any order.
    for n in [4, 2, 3] {
        assert_eq!(pool.recalled(worker, ids[n as usize - 1], n, now), None);
    }
    pool.gone(worker, now);
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

/// As long as nobody knows whether it has begun, nobody is told that it has.
#[test]
fn what_comes_back_late_waits_again() {
    let now = start();
    let (mut pool, worker, ids) = busy(3, now);
    pool.recycle_worker(worker, now);
    assert_eq!(recalls(&mut pool, now), [ids[2], ids[1]]);
    pool.finished(worker, ids[0], now);
    assert_eq!((pool.queued(), pool.stats(now).running), (2, 0));
    assert_eq!(orders(&mut pool, now), []);
    assert_eq!(pool.recalled(worker, ids[1], 2, now), None);
    assert_eq!(pool.recalled(worker, ids[2], 3, now), None);
    let orders = orders(&mut pool, now);
    assert_eq!(orders[0], Order::Stop { worker });
    pool.gone(worker, now);
    let Some(Order::Start { worker }) = pool.poll(now) else {
        panic!("nobody is left")
    };
    pool.started(worker, now);
    assert_eq!(order_of(&mut pool, now), [2, 3]);
}

/// It could not be sent, but the task before it ended before that was known.
#[test]
fn what_was_never_sent_waits_again() {
    let now = start();
    let (mut pool, worker, ids) = busy(2, now);
    pool.finished(worker, ids[0], now);
    assert_eq!((pool.queued(), pool.stats(now).running), (0, 1));
    assert_eq!(pool.recalled(worker, ids[1], 2, now), None);
    let (id, task) = (ids[1], 2);
    assert_eq!(orders(&mut pool, now), [Order::Run { worker, id, task }]);
    assert_eq!((pool.queued(), pool.stats(now).running), (0, 1));
    assert_eq!(pool.finished(worker, ids[1], now), Some(Verdict::Done));
}

/// What may come back goes before what has not been sent yet.
#[test]
fn nobody_is_sent_more_while_some_are_to_come_back() {
    let now = start();
    for is_back in [true, false] {
        let (mut pool, worker, ids) = busy(6, now);
        pool.cancel(ids[3], now);
        assert_eq!(recalls(&mut pool, now), [ids[3]]);
        pool.finished(worker, ids[0], now);
        assert_eq!(orders(&mut pool, now), []);
        if is_back {
            assert_eq!(pool.recalled(worker, ids[3], 4, now), None);
            assert!(matches!(pool.poll(now), Some(Order::End { .. })));
        } else {
            pool.begun(worker, ids[3], now);
        }
        assert_eq!(runs_and_sent(&mut pool, now), ([].into(), [5, 6].into()));
    }
}

/// What ends has begun, though it was asked for and nobody has said so.
#[test]
fn what_ends_had_begun() {
    for first in [true, false] {
        let now = start();
        let (mut pool, worker, ids) = busy(2, now);
        pool.cancel(ids[1], now);
        orders(&mut pool, now);
        if first {
            pool.begun(worker, ids[1], now);
        }
        pool.finished(worker, ids[0], now);
        let verdict = pool.finished(worker, ids[1], now);
        assert_eq!(verdict, Some(Verdict::Canceled(Stopped::InTime)));
        pool.begun(worker, ids[1], now);
        assert!(pool.is_drained());
        assert_eq!(pool.stats(now).idle, 1);
    }
}

/// What we gave up may have ended by itself, and its neighbour begun.
#[test]
fn nobody_dies_of_what_was_given_up_but_has_ended() {
    for comes_back in [true, false] {
        let mut now = start();
        let (mut pool, worker, ids) = busy(2, now);
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
            pool.begun(worker, ids[1], now);
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
    let (mut pool, worker, ids) = busy(2, now);
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
