//! Pools over threads and processes: every task ends once, and nothing is left.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "pool/fields.rs"]
mod fields;
#[path = "pool/processes.rs"]
mod processes;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use procession::pool::{
    Discipline, Limits, Pool, PoolError, Running, Stopped, Submitted, TaskError, Terms, Threads,
};
use procession_testkit::leaks::Oracle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One for everything that is waited for; nothing takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(60);

/// A test within an oracle, on a runtime of one thread.
fn scene<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test()).await.unwrap() });
    drop(runtime);
    oracle.check();
}

fn limits(workers: u32) -> Limits {
    let mut limits = Limits::new(1..=workers);
    limits.grace = Duration::from_millis(100);
    limits
}

/// Holds a task until it is opened, or the task is to end.
#[derive(Clone, Debug, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Deaf: hears nothing but the gate.
    fn pass(&self) {
        while !self.is_open() {
            std::thread::yield_now();
        }
    }
}

/// Until something holds, with the threads running meanwhile.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_result_comes_back_in_every_way() {
    scene(|| async {
        let pool = Pool::threads(limits(2), |n: u64| n * n).unwrap();
        assert_eq!(pool.run(12).await.unwrap(), 144);
        assert_eq!(pool.try_run(3).unwrap().await.unwrap(), 9);
        let other = pool.clone();
        let blocking = tokio::task::spawn_blocking(move || other.run_blocking(5));
        assert_eq!(blocking.await.unwrap().unwrap(), 25);
        pool.close().await;
        assert_eq!(pool.stats().done, 3);
    });
}

#[test]
fn limits_that_contradict_each_other_are_named() {
    let limits_of = |min: u32, max| Limits::new(min..=max);
    let error = |limits| Pool::threads(limits, |n: u64| n).unwrap_err();
    let PoolError::Limits(cause) = error(limits_of(5, 4)) else {
        panic!("min is above max")
    };
    assert!(
        cause.to_string().contains("`workers` of a pool is 5..=4"),
        "{cause}"
    );
    let PoolError::Limits(cause) = error(limits_of(0, 0)) else {
        panic!("there can be no worker")
    };
    assert!(cause.to_string().contains("`workers.end()`"), "{cause}");
    let mut shared = Limits::new(1..=1);
    shared.concurrency = 2;
    assert!(matches!(error(shared), PoolError::Concurrency(2)));
}

#[test]
fn a_full_queue_gives_the_task_back() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let mut limits = limits(1);
        limits.queue = 1;
        let pool = Pool::threads(limits, move |n: String| {
            theirs.pass();
            n
        })
        .unwrap();
        let first = pool.try_run("first".to_owned()).unwrap();
        until(|| pool.stats().running == 1).await;
        let second = pool.try_run("second".to_owned()).unwrap();
        let error = pool.run("third".to_owned()).await.unwrap_err();
        assert!(matches!(error, TaskError::QueueFull(_)), "{error:?}");
        assert_eq!(error.into_task().unwrap(), "third");
        gate.open();
        assert_eq!(first.await.unwrap(), "first");
        assert_eq!(second.await.unwrap(), "second");
        pool.close().await;
    });
}

#[test]
fn a_panic_is_the_tasks_alone() {
    scene(|| async {
        let made = Arc::new(AtomicUsize::new(0));
        let torn_down = Arc::new(AtomicUsize::new(0));
        let (making, tearing) = (Arc::clone(&made), Arc::clone(&torn_down));
        let pool = Threads::new(limits(1))
            .name("fragile")
            .init(move |_| Ok(making.fetch_add(1, Ordering::SeqCst)))
            .teardown(move |_| {
                tearing.fetch_add(1, Ordering::SeqCst);
            })
            .start(|n: u32, running: &mut Running<'_, usize>| {
                assert!(n != 13, "unlucky");
                (
                    *running.state,
                    std::thread::current().name().map(str::to_owned),
                )
            })
            .unwrap();
        assert_eq!(
            pool.run(1).await.unwrap(),
            (0, Some("fragile-0".to_owned()))
        );
        let error = pool.run(13).await.unwrap_err();
        assert_eq!(error.to_string(), "task panicked: unlucky");
        assert_eq!(pool.run(2).await.unwrap().0, 1, "a fresh worker");
        pool.close().await;
        let ends = torn_down.load(Ordering::SeqCst);
        assert_eq!((made.load(Ordering::SeqCst), ends), (2, 2));
    });
}

/// workerpool's best idea: a worker that cleans up in time is kept.
#[test]
fn a_cancelled_task_that_ends_in_time_leaves_its_worker() {
    scene(|| async {
        let started = Gate::default();
        let (theirs, mut limits) = (started.clone(), limits(1));
        limits.grace = LIMIT;
        let pool = Threads::new(limits)
            .start(move |patient: bool, running: &mut Running<'_>| {
                theirs.open();
                while patient && !running.is_canceled() {
                    std::thread::yield_now();
                }
                std::thread::current().id()
            })
            .unwrap();
        let worker = pool.run(false).await.unwrap();
        let token = CancellationToken::new();
        let terms = Terms {
            cancel: Some(token.clone()),
            ..Terms::default()
        };
        let task = pool.submit(true, terms).unwrap();
        until(|| pool.stats().running == 1 && started.is_open()).await;
        token.cancel();
        // Without a poll: the task sees it, ends, and that is no success.
        until(|| pool.stats().running == 0).await;
        let error = task.await.unwrap_err();
        assert!(
            matches!(error, TaskError::Canceled(Stopped::InTime)),
            "{error:?}"
        );
        assert_eq!(pool.run(false).await.unwrap(), worker);
        // Another way to say so.
        let task = pool.try_run(true).unwrap();
        task.cancel();
        let error = task.await.unwrap_err();
        assert!(matches!(error, TaskError::Canceled(_)), "{error:?}");
        assert_eq!(pool.run(false).await.unwrap(), worker);
        assert_eq!(pool.stats().started, 1);
        pool.close().await;
    });
}

#[test]
fn the_token_of_a_task_is_cancelled_with_it() {
    scene(|| async {
        let pool = Threads::new(limits(1))
            .start(|(): (), running: &mut Running<'_>| {
                let token = running.token();
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.build().unwrap();
                runtime.block_on(token.cancelled());
            })
            .unwrap();
        let terms = Terms {
            run_timeout: Some(Duration::from_millis(20)),
            ..Terms::default()
        };
        let error = pool.run_with((), terms).await.unwrap_err();
        assert!(
            matches!(error, TaskError::TimedOut(Stopped::InTime)),
            "{error:?}"
        );
        pool.close().await;
    });
}

#[test]
fn a_deaf_task_is_abandoned_and_its_thread_replaced() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let pool = Pool::threads(limits(1), move |deaf: bool| {
            if deaf {
                theirs.pass();
            }
        })
        .unwrap();
        let terms = || Terms {
            run_timeout: Some(Duration::from_millis(10)),
            ..Terms::default()
        };
        let error = pool.run_with(true, terms()).await.unwrap_err();
        assert!(
            matches!(error, TaskError::TimedOut(Stopped::ByForce)),
            "{error:?}"
        );
        assert_eq!(pool.abandoned(), 1);
        pool.run(false).await.unwrap();
        // The second is one too many: its thread keeps the only place.
        let error = pool.run_with(true, terms()).await.unwrap_err();
        assert!(
            matches!(error, TaskError::TimedOut(Stopped::ByForce)),
            "{error:?}"
        );
        let waits = pool.try_run(false).unwrap();
        assert_eq!((pool.abandoned(), pool.stats().started), (2, 2));
        gate.open();
        waits.await.unwrap();
        until(|| pool.abandoned() == 0).await;
        pool.close().await;
    });
}

#[test]
fn a_dropped_future_cancels_and_a_detached_one_does_not() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let running = Arc::clone(&ran);
        let pool = Pool::threads(limits(1), move |n: u32| {
            theirs.pass();
            running.lock().unwrap().push(n);
        })
        .unwrap();
        pool.try_run(1).unwrap().detach();
        until(|| pool.stats().running == 1).await;
        drop(pool.try_run(2).unwrap());
        pool.try_run(3).unwrap().detach();
        gate.open();
        pool.drained().await;
        assert_eq!(*ran.lock().unwrap(), [1, 3]);
        assert_eq!(pool.stats().canceled, 1);
        pool.close().await;
    });
}

#[test]
fn progress_arrives_while_the_task_runs() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let pool = Threads::new(limits(1))
            .start(move |steps: u32, running: &mut Running<'_, (), u32>| {
                running.progress(0);
                theirs.pass();
                for step in 1..=steps {
                    running.progress(step);
                }
                "done"
            })
            .unwrap();
        let mut task = pool.try_run(100).unwrap();
        assert_eq!(task.next_progress().await, Some(0));
        gate.open();
        until(|| pool.stats().done == 1).await;
        let mut last = Vec::new();
        while let Some(step) = task.next_progress().await {
            last.push(step);
        }
        assert_eq!(last, (37..=100).collect::<Vec<_>>(), "the last 64");
        assert_eq!(task.await.unwrap(), "done");
        pool.close().await;
    });
}

#[test]
fn priority_decides_who_is_next() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let mut limits = limits(1);
        limits.discipline = Discipline::Priority;
        let (tell, mut told) = mpsc::channel(10);
        let pool = Pool::threads(limits, move |n: i32| {
            theirs.pass();
            tell.blocking_send(n).unwrap();
        })
        .unwrap();
        pool.try_run(0).unwrap().detach();
        until(|| pool.stats().running == 1).await;
        for priority in [1, 3, 2] {
            let terms = Terms {
                priority,
                ..Terms::default()
            };
            pool.submit(priority, terms).unwrap().detach();
        }
        gate.open();
        for expected in [0, 3, 2, 1] {
            assert_eq!(told.recv().await, Some(expected));
        }
        pool.close().await;
    });
}

#[test]
fn an_own_rule_that_panics_does_not_break_the_pool() {
    scene(|| async {
        let pool = Threads::new(limits(2))
            .rank(|_: &u32, _: i32| -> i64 { panic!("no rank") })
            .balance(|_: &u32, _: &[procession::pool::Load]| -> Option<usize> {
                panic!("no choice")
            })
            .start(|n, _: &mut Running<'_>| n)
            .unwrap();
        for n in 0..20 {
            assert_eq!(pool.run(n).await.unwrap(), n);
        }
        pool.close().await;
    });
}

#[test]
fn a_worker_that_cannot_start_says_why_and_gives_the_task_back() {
    scene(|| async {
        let tries = Arc::new(AtomicUsize::new(0));
        let trying = Arc::clone(&tries);
        let mut limits = limits(1);
        limits.workers = 0..=1;
        let pool = Threads::new(limits)
            .init(move |_| {
                trying.fetch_add(1, Ordering::SeqCst);
                Err::<(), _>("no such database".into())
            })
            .start(|n: u32, _: &mut Running<'_>| n)
            .unwrap();
        let error = pool.run(7).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no worker could be started: init failed: no such database"
        );
        assert_eq!(error.into_task(), Some(7));
        assert_eq!(tries.load(Ordering::SeqCst), 3);
        pool.close().await;
    });
}

#[test]
fn map_keeps_the_order_and_the_bounds() {
    scene(|| async {
        let mut limits = limits(3);
        limits.queue = 2;
        let most = Arc::new(AtomicUsize::new(0));
        let pool = Pool::threads(limits, |n: u64| n * 2).unwrap();
        let taken = AtomicUsize::new(0);
        let tasks = (0..2_000).inspect(|_| {
            taken.fetch_add(1, Ordering::SeqCst);
        });
        let mut results = pool.map(tasks).width(1_000);
        for n in 0..2_000_usize {
            let result = results.next().await.unwrap();
            assert_eq!(result.unwrap(), n as u64 * 2);
            most.fetch_max(taken.load(Ordering::SeqCst) - n, Ordering::SeqCst);
        }
        assert!(results.next().await.is_none());
        // One result is held for each that waits in turn, whatever the width.
        assert!(most.load(Ordering::SeqCst) <= 1_001, "{most:?}");
        let mut results = pool.as_completed(0..500_u64);
        let mut seen = BTreeSet::new();
        while let Some((index, result)) = results.next().await {
            assert_eq!(result.unwrap(), index as u64 * 2);
            assert!(seen.insert(index));
        }
        assert_eq!(seen.len(), 500);
        drop(results);
        pool.close().await;
    });
}

/// Others have the queue, and `map` has nothing of its own to wait for.
#[test]
fn map_waits_for_room_that_others_take() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let mut limits = limits(1);
        limits.queue = 1;
        let pool = Pool::threads(limits, move |n: u64| {
            theirs.pass();
            n
        })
        .unwrap();
        pool.try_run(1).unwrap().detach();
        until(|| pool.stats().running == 1).await;
        pool.try_run(2).unwrap().detach();
        let mut results = pool.map([7]);
        tokio::select! {
            biased;
            result = results.next() => panic!("{result:?}"),
            () = until(|| pool.stats().refused == 1) => {}
        }
        gate.open();
        assert_eq!(results.next().await.unwrap().unwrap(), 7);
        drop(results);
        pool.close().await;
    });
}

#[test]
fn destroying_gives_back_what_waits_and_asks_what_runs() {
    scene(|| async {
        let pool = Threads::new(limits(1))
            .start(|n: u32, running: &mut Running<'_>| {
                while !running.is_canceled() {
                    std::thread::yield_now();
                }
                n
            })
            .unwrap();
        let runs = pool.try_run(1).unwrap();
        until(|| pool.stats().running == 1).await;
        let waits = pool.try_run(2).unwrap();
        pool.destroy().await;
        assert_eq!(runs.await.unwrap(), 1, "it ended well, only sooner");
        let error = waits.await.unwrap_err();
        assert!(matches!(error, TaskError::Closed(2)), "{error:?}");
        let error = pool.run(3).await.unwrap_err();
        assert!(matches!(error, TaskError::Closed(3)), "{error:?}");
    });
}

#[test]
fn the_last_handle_closes_the_pool_and_finishes_its_tasks() {
    let oracle = Oracle::start();
    let ran = Arc::new(AtomicUsize::new(0));
    let running = Arc::clone(&ran);
    let pool = Pool::threads(limits(2), move |(): ()| {
        running.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    for _ in 0..100 {
        pool.try_run(()).unwrap().detach();
    }
    drop(pool);
    let end = Instant::now() + LIMIT;
    while ran.load(Ordering::SeqCst) < 100 {
        assert!(Instant::now() < end, "{ran:?} of 100");
        std::thread::yield_now();
    }
    oracle.check();
}

#[test]
fn workers_come_and_go() {
    scene(|| async {
        let gate = Gate::default();
        let theirs = gate.clone();
        let mut limits = limits(4);
        limits.idle = Duration::from_millis(1);
        let pool = Pool::threads(limits, move |(): ()| theirs.pass()).unwrap();
        let tasks: Vec<Submitted<(), ()>> = (0..4).map(|_| pool.try_run(()).unwrap()).collect();
        until(|| pool.stats().running == 4).await;
        gate.open();
        for task in tasks {
            task.await.unwrap();
        }
        until(|| pool.stats().workers == 1).await;
        pool.recycle();
        until(|| pool.stats().started == 5 && pool.stats().idle == 1).await;
        pool.close().await;
    });
}

/// What each of many tasks is to do.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Return,
    Panic,
    /// Until it is asked to end.
    Wait,
}

/// Random panics, time-outs and cancels: every task ends once, with its own verdict.
#[test]
fn a_storm_of_tasks() {
    scene(|| async {
        let mut limits = limits(4);
        limits.grace = LIMIT;
        limits.queue = 50_000;
        limits.max_tasks = Some(1_000);
        std::panic::set_hook(Box::new(|_| {}));
        let ran = Arc::new(AtomicU64::new(0));
        let running = Arc::clone(&ran);
        let pool = Threads::new(limits)
            .start(move |(n, deed): (u64, Deed), link: &mut Running<'_>| {
                running.fetch_add(1, Ordering::Relaxed);
                match deed {
                    Deed::Return => {}
                    Deed::Panic => panic!("{n}"),
                    Deed::Wait => {
                        while !link.is_canceled() {
                            std::thread::yield_now();
                        }
                    }
                }
                n
            })
            .unwrap();
        let mut seed = 1_u64;
        let mut tasks = Vec::new();
        for n in 0..20_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let deed = match seed >> 57 {
                0 => Deed::Panic,
                1..4 => Deed::Wait,
                _ => Deed::Return,
            };
            let run_timeout = matches!(deed, Deed::Wait).then_some(Duration::from_millis(1));
            let terms = Terms {
                run_timeout,
                ..Terms::default()
            };
            let task = pool.submit((n, deed), terms).unwrap();
            let cancels = (seed >> 50).is_multiple_of(8);
            if cancels {
                task.cancel();
            }
            tasks.push((n, deed, cancels, task));
        }
        let mut never_ran = 0;
        for (n, deed, cancels, task) in tasks {
            match (deed, task.await) {
                (Deed::Return, Ok(result)) => assert_eq!(result, n),
                (Deed::Panic, Err(TaskError::Panicked { message })) => {
                    assert_eq!(message, n.to_string());
                }
                (Deed::Wait, Err(TaskError::TimedOut(Stopped::InTime))) => {}
                (_, Err(TaskError::Canceled(Stopped::InTime))) if cancels => {}
                (_, Err(TaskError::CanceledInQueue((back, _)))) if cancels => {
                    assert_eq!(back, n);
                    never_ran += 1;
                }
                (deed, other) => panic!("{n} {deed:?} {other:?}"),
            }
        }
        pool.close().await;
        drop(std::panic::take_hook());
        assert_eq!(ran.load(Ordering::Relaxed) + never_ran, 20_000);
        let stats = pool.stats();
        assert_eq!((stats.ended(), stats.lost, stats.killed), (20_000, 0, 0));
        assert!(never_ran > 1_000 && stats.timed_out > 100, "{stats:?}");
    });
}
