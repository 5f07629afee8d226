//! Tasks that a busy worker is sent, one by one.

use std::future::poll_fn;
use std::task::Poll;

use procession::pool::{Processes, Stopped, TaskError};
use procession_testkit::wait;

use super::*;

type Workers = Pool<Task, u64>;
type Sent = Submitted<Task, u64>;

/// A pool of these many processes, each of which has done a short task; and their ledger.
async fn quick(oracle: &Oracle, workers: u32) -> (Workers, Ledger) {
    let ledger = Ledger::new();
    let mut command = Command::new(procession_testkit::example("pool_storm_worker"));
    command
        .ipc(Serialization::Json)
        .envs([oracle.tag()])
        .env("RUST_BACKTRACE", "0")
        .env(LEDGER, ledger.path());
    let mut limits = Limits::new(workers..=workers);
    limits.grace = GRACE * 10;
    let pool: Workers = Processes::new(limits, &command).start().unwrap();
    // Some more than once, until each was quick.
    while ledger
        .read()
        .values()
        .flatten()
        .collect::<BTreeSet<_>>()
        .len()
        < workers as usize
    {
        let few: Vec<Sent> = (0..workers).map(|_| send(&pool, 0, Deed::Return)).collect();
        for task in few {
            task.await.unwrap();
        }
    }
    (pool, ledger)
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

/// One that waits, and these behind it, all where they are to be.
async fn send_behind(pool: &Workers, ledger: &Ledger, first: Deed, ids: &[u64]) -> Vec<Sent> {
    let mut sent = vec![send(pool, 1, first)];
    sent.extend(ids.iter().map(|id| send(pool, *id, Deed::Return)));
    let_others_go().await;
    wait::until("the first to begin", || {
        ledger.read().contains_key(&1).then_some(())
    });
    sent
}

#[test]
fn a_worker_goes_on_while_nobody_looks_after_it() {
    if !procession_sys::SIZES_ARE_SEALED {
        return;
    }
    scene(async |oracle| {
        let (pool, ledger) = quick(oracle, 1).await;
        // On a busy machine a task may seem to be a long one.
        let mut was_quick = false;
        let mut tasks: Vec<Sent> = Vec::new();
        while !was_quick {
            for task in tasks.drain(..) {
                task.await.unwrap();
            }
            let start = Instant::now();
            send(&pool, 0, Deed::Return).await.unwrap();
            tasks.extend(
                [(1, Deed::Slow), (2, Deed::Return)].map(|(id, deed)| send(&pool, id, deed)),
            );
            was_quick = start.elapsed() < Duration::from_millis(1);
        }
        let done = pool.stats().done;
        let before = ledger.read().get(&2).map_or(0, Vec::len);
        let_others_go().await;
        // The pool's tasks have no other thread than this one.
        wait::until("the other one", || {
            let begun = ledger.read().get(&2).map_or(0, Vec::len);
            (begun > before).then_some(())
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
        let (pool, ledger) = quick(oracle, 1).await;
        let mut tasks = send_behind(&pool, &ledger, Deed::Wait, &[2, 3, 4]).await;
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
            let (pool, mut ledger) = quick(oracle, 1).await;
            let mut tasks = send_behind(&pool, &ledger, deed, &[2, 3, 4]).await;
            if deed == Deed::Wait {
                ledger.kill_one();
            }
            let error = tasks.remove(0).await.unwrap_err();
            let fits = if deed == Deed::Panic {
                matches!(error, TaskError::Panicked { .. })
            } else {
                matches!(error, TaskError::WorkerDied { .. })
            };
            assert!(fits, "{error:?}");
            for (task, id) in tasks.into_iter().zip(2_u64..) {
                assert_eq!(task.await.unwrap(), id);
            }
            let begun = ledger.read();
            let elsewhere = |id: &u64| begun[id].len() == 1 && begun[id] != begun[&1];
            assert!([2, 3, 4].iter().all(elsewhere), "{begun:?}");
            pool.close().await;
            assert_eq!(pool.stats().started, 2);
        });
    }
}

#[test]
fn who_is_free_gets_them() {
    scene(async |oracle| {
        let (pool, ledger) = quick(oracle, 2).await;
        let mut tasks = send_behind(&pool, &ledger, Deed::Wait, &[]).await;
        tasks.push(send(&pool, 2, Deed::Wait));
        tasks.extend((3..9).map(|id| send(&pool, id, Deed::Return)));
        let_others_go().await;
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
        let (pool, ledger) = quick(oracle, 1).await;
        let mut tasks = send_behind(&pool, &ledger, Deed::Wait, &[2, 3]).await;
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
