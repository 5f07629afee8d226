//! Tasks are left at the intake only while they could do nothing but wait.

use super::*;

/// A pool of one worker, which is busy.
fn busy(plan: Plan, now: Instant) -> (Dispatcher<u32>, WorkerId, TaskId) {
    let (mut pool, workers) = ready(plan, now);
    let id = submit(&mut pool, 0, now);
    assert_eq!(given(&orders(&mut pool, now)), [0]);
    (pool, workers[0], id)
}

/// Whether a task may be left.
fn takes(pool: &Dispatcher<u32>, now: Instant) -> bool {
    let mut intake = Intake::default();
    let opens = pool.allow(&mut intake);
    assert_eq!(opens, pool.is_saturated());
    intake.offer(9, None, now).is_ok()
}

#[test]
fn while_all_are_busy() {
    let now = start();
    let (mut pool, worker, id) = busy(Plan::new(1), now);
    assert!(takes(&pool, now));
    pool.finished(worker, id, now);
    assert!(!takes(&pool, now), "somebody is idle");
}

#[test]
fn not_while_there_can_be_more_workers() {
    let now = start();
    let mut pool = Dispatcher::new(Plan::new(2)).unwrap();
    assert_eq!(orders(&mut pool, now).len(), 1);
    submit(&mut pool, 0, now);
    assert!(!takes(&pool, now));
    submit(&mut pool, 1, now);
    assert_eq!(orders(&mut pool, now).len(), 1, "the second starts");
    assert!(takes(&pool, now), "both are on their way");
}

#[test]
fn not_when_the_order_is_another() {
    let now = start();
    for discipline in [Discipline::Lifo, Discipline::Priority] {
        let plan = Plan {
            discipline,
            ..Plan::new(1)
        };
        assert!(!takes(&busy(plan, now).0, now), "{discipline:?}");
    }
    let (pool, ..) = busy(Plan::new(1), now);
    let ranked = pool.with_rank(Box::new(|task: &u32, _| i64::from(*task)));
    assert!(!takes(&ranked, now));
    let (pool, ..) = busy(Plan::new(1), now);
    let balanced = pool.with_balance(Box::new(|_: &u32, _: &[Load]| Some(0)));
    assert!(!takes(&balanced, now));
}

#[test]
fn not_when_they_may_expire_or_the_pool_is_closed() {
    let now = start();
    let plan = Plan {
        queue_timeout: Some(SECOND),
        ..Plan::new(1)
    };
    assert!(!takes(&busy(plan, now).0, now));
    let (mut pool, ..) = busy(Plan::new(1), now);
    pool.close(None, now);
    assert!(!takes(&pool, now));
}

#[test]
fn not_when_nobody_would_come_for_them() {
    let now = start();
    let plan = Plan {
        start_attempts: 1,
        ..Plan::new(1)
    };
    let mut pool = Dispatcher::new(plan).unwrap();
    submit(&mut pool, 0, now);
    let worker = match orders(&mut pool, now)[..] {
        [Order::Start { worker }] => worker,
        ref other => panic!("{other:?}"),
    };
    assert!(takes(&pool, now), "it is being started");
    let later = now + pool.plan().start_timeout;
    assert_eq!(orders(&mut pool, later), [Order::Kill { worker }]);
    pool.gone(worker, later);
    let back = orders(&mut pool, later);
    assert!(matches!(back[..], [Order::End { .. }]), "{back:?}");
    assert!(
        !takes(&pool, later),
        "only a submission starts the next one"
    );
}

#[test]
fn as_many_as_the_queue_has_room_for() {
    let now = start();
    let plan = Plan {
        queue: 5,
        ..Plan::new(1)
    };
    let (mut pool, worker, id) = busy(plan, now);
    submit(&mut pool, 1, now);
    let mut intake = Intake::default();
    assert!(pool.allow(&mut intake));
    for task in 2..6 {
        let left = intake.offer(task, None, now).unwrap();
        assert_eq!(left, TaskId(u64::from(task) + 1), "numbers go on");
    }
    assert_eq!(intake.offer(6, None, now), Err(6));
    assert!(pool.collect(&mut intake));
    assert_eq!(pool.queued(), 5);
    let refused = pool.submit(6, Terms::default(), now).unwrap_err();
    assert_eq!((refused.task, refused.why), (6, Refusal::Full));
    // One goes, one may come: it is behind the others, and its number above theirs.
    let (verdict, next) = pool.finished_next(worker, id, now);
    assert_eq!((verdict, next), (Some(Verdict::Done), Some((TaskId(2), 1))));
    assert!(pool.allow(&mut intake));
    assert_eq!(intake.offer(6, Some(SECOND), now), Ok(TaskId(7)));
    assert_eq!(intake.offer(7, None, now), Err(7));
    pool.collect(&mut intake);
    assert_eq!(intake.offer(7, None, now), Err(7), "collected is closed");
    pool.finished(worker, TaskId(2), now);
    assert_eq!(order_of(&mut pool, now), [2, 3, 4, 5, 6]);
}

#[test]
fn a_time_limit_goes_with_it() {
    let now = start();
    let (mut pool, worker, id) = busy(Plan::new(1), now);
    let mut intake = Intake::default();
    assert!(pool.allow(&mut intake));
    let limited = intake.offer(1, Some(SECOND), now).unwrap();
    pool.collect(&mut intake);
    let (_, next) = pool.finished_next(worker, id, now);
    assert_eq!(next, Some((limited, 1)));
    assert_eq!(pool.deadline(), Some(now + SECOND));
    let asked = Order::Ask {
        worker,
        id: limited,
    };
    assert_eq!(orders(&mut pool, now + SECOND), [asked]);
}

#[test]
fn no_worker_goes_on_while_something_is_due() {
    let now = start();
    let (mut pool, worker, id) = busy(Plan::new(1), now);
    let terms = Terms {
        queue_timeout: Some(SECOND),
        ..Terms::default()
    };
    pool.submit(1, terms, now).unwrap();
    submit(&mut pool, 2, now);
    pool.cancel(id, now);
    let (verdict, next) = pool.finished_next(worker, id, now);
    let canceled = Verdict::Canceled(Stopped::InTime);
    assert_eq!(
        (verdict, next),
        (Some(canceled), None),
        "it was asked to end"
    );
}
