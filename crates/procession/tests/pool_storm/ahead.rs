//! Tasks that a busy worker is sent, one by one.

use std::future::poll_fn;
use std::task::Poll;

use procession::pool::{Processes, Stopped, TaskError};
use procession_testkit::wait;

use super::*;

type Workers = Pool<Task, u64>;
type Sent = Submitted<Task, u64>;

/// So often it is tried to be quick enough. What is tested holds either way.
const ATTEMPTS: u32 = 50;

/// A pool of so many processes that have this and that to do, the latter ahead where
/// that can be; and their ledger.
async fn busy(oracle: &Oracle, workers: u32, deeds: &[Deed]) -> (Workers, Ledger, Vec<Sent>) {
    let mut attempt = 0;
    loop {
        let ledger = Ledger::new();
        let pool = start(oracle, &ledger, workers);
        let is_warm = || {
            let pids = ledger.read().into_values().flatten();
            pids.collect::<BTreeSet<_>>().len() == workers as usize
        };
        while !is_warm() {
            warm_up(&pool, workers).await;
        }
        let begin = Instant::now();
        warm_up(&pool, workers).await;
        let sent: Vec<Sent> = deeds
            .iter()
            .zip(1_u64..)
            .map(|(deed, id)| send(&pool, id, *deed))
            .collect();
        attempt += 1;
        if begin.elapsed() < Duration::from_millis(1) || attempt == ATTEMPTS {
            let_others_go().await;
            wait::until("the first to begin", || {
                ledger.read().contains_key(&1).then_some(())
            });
            return (pool, ledger, sent);
        }
        // A busy machine: the pool may have taken them for long ones.
        drop(sent);
        pool.destroy().await;
    }
}

fn start(oracle: &Oracle, ledger: &Ledger, workers: u32) -> Workers {
    let mut command = Command::new(procession_testkit::example("pool_storm_worker"));
    command
        .ipc(Serialization::Json)
        .envs([oracle.tag()])
        .env("RUST_BACKTRACE", "0")
        .env(LEDGER, ledger.path());
    let mut limits = Limits::new(workers..=workers);
    limits.grace = GRACE * 10;
    Processes::new(limits, &command).start().unwrap()
}

/// A short task for each worker.
async fn warm_up(pool: &Workers, workers: u32) {
    let few: Vec<Sent> = (0..workers).map(|_| send(pool, 0, Deed::Return)).collect();
    for task in few {
        task.await.unwrap();
    }
}

fn send(pool: &Workers, id: u64, deed: Deed) -> Sent {
    pool.try_run(Task { id, deed }).unwrap()
}

/// Lets everybody else do what there is to do now.
async fn let_others_go() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_worker_goes_on_while_nobody_looks_after_it() {
    if !procession_sys::SIZES_ARE_SEALED {
        return;
    }
    scene(async |oracle| {
        let deeds = [Deed::Slow, Deed::Return, Deed::Return];
        let (pool, ledger, tasks) = busy(oracle, 1, &deeds).await;
        let done = pool.stats().done;
        // The pool's tasks have no other thread than this one.
        wait::until("the others", || {
            ledger.read().contains_key(&3).then_some(())
        });
        assert_eq!(pool.stats().done, done, "it has heard of none");
        for task in tasks {
            task.await.unwrap();
        }
        pool.close().await;
    });
}

#[test]
fn a_cancelled_one_never_begins() {
    scene(async |oracle| {
        let deeds = [Deed::Wait, Deed::Return, Deed::Return, Deed::Return];
        let (pool, ledger, mut tasks) = busy(oracle, 1, &deeds).await;
        let third = tasks.remove(2);
        third.cancel();
        let error = third.await.unwrap_err();
        assert!(
            matches!(error, TaskError::CanceledInQueue(Task { id: 3, .. })),
            "{error:?}"
        );
        tasks[0].cancel();
        let error = tasks.remove(0).await.unwrap_err();
        let in_time = matches!(error, TaskError::Canceled(Stopped::InTime));
        assert!(in_time, "{error:?}");
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!ledger.read().contains_key(&3));
        pool.close().await;
    });
}

#[test]
fn those_of_a_dead_worker_run_elsewhere() {
    for deed in [Deed::Wait, Deed::Panic, Deed::Exit] {
        scene(async |oracle| {
            // What ends the worker has come ahead, too, where it does so by itself.
            let first = if deed == Deed::Wait {
                Deed::Return
            } else {
                Deed::Slow
            };
            let deeds = [first, deed, Deed::Return, Deed::Return];
            let (pool, mut ledger, mut tasks) = busy(oracle, 1, &deeds).await;
            tasks.remove(0).await.unwrap();
            if deed == Deed::Wait {
                while !ledger.read().contains_key(&2) {
                    tokio::task::yield_now().await;
                }
                ledger.kill_one();
            }
            let error = tasks.remove(0).await.unwrap_err();
            let fits = if deed == Deed::Panic {
                matches!(error, TaskError::Panicked { .. })
            } else {
                matches!(error, TaskError::WorkerDied { .. })
            };
            assert!(fits, "{error:?}");
            for (task, id) in tasks.into_iter().zip(3_u64..) {
                assert_eq!(task.await.unwrap(), id);
            }
            let begun = ledger.read();
            let elsewhere = |id: &u64| begun[id].len() == 1 && begun[id] != begun[&2];
            assert!([3, 4].iter().all(elsewhere), "{begun:?}");
            pool.close().await;
            assert_eq!(pool.stats().started, 2);
        });
    }
}

#[test]
fn who_is_free_gets_them() {
    scene(async |oracle| {
        let mut deeds = vec![Deed::Wait, Deed::Wait];
        deeds.resize(8, Deed::Return);
        let (pool, ledger, mut tasks) = busy(oracle, 2, &deeds).await;
        tasks[1].cancel();
        for (task, id) in tasks.drain(2..).zip(3_u64..) {
            assert_eq!(task.await.unwrap(), id);
        }
        let begun = ledger.read();
        assert!((3..9).all(|id| begun[&id] == begun[&2]), "{begun:?}");
        // The other one is still at it.
        let first = &mut tasks[0];
        let is_over =
            poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *first).poll(cx).is_ready()));
        assert!(!is_over.await);
        drop(tasks);
        pool.close().await;
    });
}

#[test]
fn a_pool_that_ends_gives_them_back() {
    scene(async |oracle| {
        let deeds = [Deed::Wait, Deed::Return, Deed::Return];
        let (pool, ledger, mut tasks) = busy(oracle, 1, &deeds).await;
        pool.destroy().await;
        // It was asked to end, and did.
        tasks.remove(0).await.unwrap();
        for (task, id) in tasks.into_iter().zip(2_u64..) {
            let error = task.await.unwrap_err();
            let TaskError::Closed(task) = error else {
                panic!("{error:?}")
            };
            assert_eq!(task.id, id);
        }
        assert_eq!(ledger.read().len(), 2, "the first ones alone");
    });
}
