//! What the fields of `Limits` do, and what a pool says of itself: on threads, by public names alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procession::pool::{
    CloseError, Discipline, Pool, Running, Stopped, Submitted, TaskError, Terms, Threads,
};
use tokio::sync::mpsc;

use super::{Gate, LIMIT, limits, scene, until};

const MS: Duration = Duration::from_millis(1);

/// Tasks that end when they are asked to, and not before.
fn patient(limits: procession::pool::Limits) -> Pool<u32, u32> {
    let wait = |n, running: &mut Running<'_>| {
        while !running.is_canceled() {
            std::thread::yield_now();
        }
        n
    };
    Threads::new(limits).start(wait).unwrap()
}

#[test]
fn a_close_whose_limit_passes_says_what_it_cut() {
    scene(|| async {
        let mut limits = limits(1);
        limits.grace = LIMIT;
        let pool = patient(limits);
        let runs = pool.try_run(1).unwrap();
        until(|| pool.stats().running == 1).await;
        let (second, third) = (pool.try_run(2).unwrap(), pool.try_run(3).unwrap());
        let error = pool.close_within(MS).await.unwrap_err();
        let CloseError {
            waiting, running, ..
        } = error;
        assert_eq!((waiting, running), (2, 1));
        assert_eq!(
            error.to_string(),
            "the pool did not close in time: 2 of its tasks waited, 1 ran"
        );
        assert_eq!(runs.await.unwrap(), 1, "it ended when it was asked to");
        for task in [second, third] {
            let error = task.await.unwrap_err();
            assert!(matches!(error, TaskError::Closed(_)), "{error:?}");
        }
        assert_eq!(pool.close_within(LIMIT).await, Err(error), "as it was");
    });
}

#[test]
fn a_close_that_is_in_time_is_well() {
    scene(|| async {
        let pool = Pool::threads(limits(2), |n: u32| n).unwrap();
        let tasks: Vec<_> = (0..50).map(|n| pool.try_run(n).unwrap()).collect();
        assert_eq!(pool.close_within(LIMIT).await, Ok(()));
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap(), n);
        }
    });
}

#[test]
fn the_last_to_come_may_be_next() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let mut limits = limits(1);
        limits.discipline = Discipline::Lifo;
        let (tell, mut told) = mpsc::channel(10);
        let pool = Pool::threads(limits, move |n: u32| {
            theirs.pass();
            tell.blocking_send(n).unwrap();
        })
        .unwrap();
        pool.try_run(0).unwrap().detach();
        until(|| pool.stats().running == 1).await;
        for n in 1..=3 {
            pool.try_run(n).unwrap().detach();
        }
        gate.open();
        for expected in [0, 3, 2, 1] {
            assert_eq!(told.recv().await, Some(expected));
        }
        pool.close().await;
    });
}

#[test]
fn a_task_that_waits_too_long_comes_back() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let mut limits = limits(1);
        limits.queue_timeout = Some(MS);
        let pool = Pool::threads(limits, move |n: u32| {
            theirs.pass();
            n
        })
        .unwrap();
        // This one may wait until there is a thread.
        let terms = Terms {
            queue_timeout: Some(LIMIT),
            ..Terms::default()
        };
        let first = pool.submit(1, terms).unwrap();
        until(|| pool.stats().running == 1).await;
        let error = pool.run(2).await.unwrap_err();
        assert!(matches!(error, TaskError::QueueTimedOut(2)), "{error:?}");
        gate.open();
        assert_eq!(first.await.unwrap(), 1);
        let stats = pool.stats();
        assert_eq!((stats.queue_timed_out, stats.done), (1, 1));
        pool.close().await;
    });
}

#[test]
fn a_task_that_runs_too_long_is_asked_to_end() {
    scene(|| async {
        let mut limits = limits(1);
        (limits.run_timeout, limits.grace) = (Some(MS), LIMIT);
        let pool = patient(limits);
        let error = pool.run(1).await.unwrap_err();
        assert!(
            matches!(error, TaskError::TimedOut(Stopped::InTime)),
            "{error:?}"
        );
        assert_eq!((pool.stats().timed_out, pool.stats().started), (1, 1));
        pool.close().await;
    });
}

#[test]
fn a_worker_that_is_old_is_replaced() {
    scene(|| async {
        let mut limits = limits(1);
        limits.max_age = Some(MS);
        let made = Arc::new(AtomicUsize::new(0));
        let making = Arc::clone(&made);
        let pool = Threads::new(limits)
            .init(move |_| Ok(making.fetch_add(1, Ordering::SeqCst)))
            .start(|(): (), running: &mut Running<'_, usize>| *running.state)
            .unwrap();
        until(|| pool.stats().recycled >= 1).await;
        assert!(pool.run(()).await.unwrap() >= 1, "the first one has left");
        pool.close().await;
        assert_eq!(pool.stats().crashed + pool.stats().killed, 0);
    });
}

/// Beyond that nobody takes the place of a thread that is deaf.
#[test]
fn so_many_abandoned_threads_are_replaced() {
    for most in [0, 2] {
        scene(|| async {
            let gate = Gate::default();
            let theirs = gate.clone();
            let mut limits = limits(1);
            limits.abandoned = Some(most);
            (limits.run_timeout, limits.grace) = (Some(MS), MS);
            let pool = Pool::threads(limits, move |(): ()| theirs.pass()).unwrap();
            for deaf in 1..=most + 1 {
                let error = pool.run(()).await.unwrap_err();
                assert!(
                    matches!(error, TaskError::TimedOut(Stopped::ByForce)),
                    "{error:?}"
                );
                assert_eq!(pool.abandoned(), deaf as usize);
                let replaced = deaf.min(most);
                assert_eq!(pool.stats().started, u64::from(1 + replaced));
            }
            gate.open();
            until(|| pool.abandoned() == 0).await;
            pool.close().await;
        });
    }
}

#[test]
fn all_that_wait_can_be_cancelled_together() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let pool = Pool::threads(limits(1), move |n: u32| {
            theirs.pass();
            n
        })
        .unwrap();
        let runs = pool.try_run(0).unwrap();
        until(|| pool.stats().running == 1).await;
        let waiting: Vec<Submitted<u32, u32>> = (1..=3).map(|n| pool.try_run(n).unwrap()).collect();
        pool.cancel_waiting();
        for (n, task) in (1..).zip(waiting) {
            let error = task.await.unwrap_err();
            assert!(
                matches!(error, TaskError::CanceledInQueue(back) if back == n),
                "{error:?}"
            );
        }
        let later = pool.try_run(4).unwrap();
        gate.open();
        assert_eq!((runs.await.unwrap(), later.await.unwrap()), (0, 4));
        assert_eq!(pool.stats().canceled, 3);
        pool.close().await;
    });
}

/// By clocks of our own, which begin later and end sooner.
#[test]
fn the_histograms_hold_how_long_tasks_waited_and_ran() {
    scene(|| async {
        let (gate, begun) = (Gate::default(), Gate::default());
        let (theirs, begins) = (gate.clone(), begun.clone());
        let pool = Pool::threads(limits(1), move |(): ()| {
            let began = Instant::now();
            begins.open();
            theirs.pass();
            began.elapsed()
        })
        .unwrap();
        let submitted = Instant::now();
        let first = pool.try_run(()).unwrap();
        until(|| begun.is_open()).await;
        let second = pool.try_run(()).unwrap();
        let canceled = pool.try_run(()).unwrap();
        canceled.cancel();
        canceled.await.unwrap_err();
        let waits = Instant::now();
        // Most of the first one's run is still to come.
        let before = waits - submitted;
        until(|| waits.elapsed() > before + MS).await;
        let waited = waits.elapsed();
        gate.open();
        let ran = [first.await.unwrap(), second.await.unwrap()];
        let whole = submitted.elapsed();
        let stats = pool.stats();
        let (wait, run) = (&stats.wait, &stats.run);
        assert_eq!((wait.count(), run.count()), (2, 2), "one never ran");
        assert!(wait.max() >= waited, "{wait:?} {waited:?}");
        assert!(run.max() >= ran[0].max(ran[1]), "{run:?} {ran:?}");
        assert!(run.total() >= ran[0] + ran[1], "{run:?} {ran:?}");
        assert!(run.total() <= whole && wait.max() <= whole, "{whole:?}");
        assert_eq!(run.quantile(1.0), run.max());
        assert!(wait.quantile(0.5) <= wait.max() && wait.max() <= wait.total());
        assert!(stats.busy >= run.total() && stats.utilization() > 0.0);
        pool.close().await;
    });
}

#[test]
fn a_worker_with_one_long_task_is_no_idler() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let pool = Pool::threads(limits(1), move |(): ()| theirs.pass()).unwrap();
        let task = pool.try_run(()).unwrap();
        until(|| pool.stats().utilization() > 0.0).await;
        assert_eq!(pool.stats().done, 0);
        gate.open();
        task.await.unwrap();
        pool.close().await;
    });
}

#[test]
fn a_task_knows_its_number_and_its_place() {
    scene(|| async {
        let mut limits = limits(2);
        limits.workers = 2..=2;
        // Both at once, so that nobody has both.
        let both = Arc::new(std::sync::Barrier::new(2));
        let pool = Threads::new(limits)
            .init(Ok)
            .start(move |(): (), running: &mut Running<'_, u32>| {
                both.wait();
                assert_eq!(*running.state, running.slot());
                (running.id(), running.slot())
            })
            .unwrap();
        for _ in 0..20 {
            let (one, two) = (pool.try_run(()).unwrap(), pool.try_run(()).unwrap());
            let ids = (one.id(), two.id());
            assert!(ids.0 < ids.1);
            let (one, two) = (one.await.unwrap(), two.await.unwrap());
            assert_eq!((one.0, two.0), ids);
            assert_eq!(one.1.min(two.1)..=one.1.max(two.1), 0..=1);
        }
        pool.close().await;
    });
}
