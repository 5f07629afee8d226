//! What a pool of threads tells of itself.
#![forbid(unsafe_code)]

use std::sync::{Mutex, mpsc};

use procession::pool::{Cause, Event, Limits, Pool, PoolError, Running, TaskError, Threads};

#[test]
fn the_life_of_each_thread_is_told() {
    let pool = Pool::threads(Limits::new(1..=1), |n: u32| {
        assert!(n != 3, "three is bad");
        n
    })
    .unwrap();
    assert_eq!(pool.run_blocking(1).unwrap(), 1);
    let mut events = pool.events();
    assert_eq!(pool.run_blocking(2).unwrap(), 2);
    pool.run_blocking(3).unwrap_err();
    assert_eq!(pool.run_blocking(4).unwrap(), 4);
    pool.close_blocking();
    let mut drained = 0;
    let mut seen = Vec::new();
    while let Some(event) = events.next_blocking() {
        if matches!(event, Event::Drained) {
            drained += 1;
        } else {
            seen.push(event);
        }
    }
    assert_eq!(drained, 3);
    let [
        Event::Left {
            worker: first,
            death: None,
        },
        Event::Started { worker: second },
        Event::Ready {
            worker: ready,
            pid: None,
        },
        Event::Left {
            worker: last,
            death: None,
        },
    ] = seen.as_slice()
    else {
        panic!("{seen:#?}")
    };
    assert!(first != second && second == ready && second == last);
    assert!(pool.events().next_blocking().is_none());
}

#[test]
fn a_thread_that_was_never_ready_says_why() {
    let mut limits = Limits::new(1..=1);
    limits.start_attempts = 1;
    let pool = Threads::new(limits)
        .init(|_slot| Err::<(), _>("no ink".into()))
        .start(|n: u32, _: &mut Running<'_>| n)
        .unwrap();
    let mut events = pool.events();
    pool.run_blocking(1).unwrap_err();
    let death = loop {
        if let Event::Left { death, .. } = events.next_blocking().unwrap() {
            break death.unwrap();
        }
    };
    let cause = Cause::Other("init failed: no ink".to_owned());
    assert_eq!(death.cause, cause);
    pool.close_blocking();
}

#[test]
fn a_pool_whose_last_task_never_ran_is_drained_too() {
    let (open, gate) = mpsc::sync_channel::<()>(0);
    let gate = Mutex::new(gate);
    let pool = Threads::new(Limits::new(1..=1))
        .init(move |_slot| {
            // Until the test has ended.
            let _ = gate.lock().map(|gate| gate.recv());
            Ok(())
        })
        .start(|n: u32, _: &mut Running<'_>| n)
        .unwrap();
    let mut events = pool.events();
    let task = pool.try_run(1).unwrap();
    task.cancel();
    let error = task.wait_blocking().unwrap_err();
    assert!(matches!(error, TaskError::CanceledInQueue(1)), "{error:?}");
    while !matches!(events.next_blocking(), Some(Event::Drained)) {}
    drop(open);
    pool.close_blocking();
}

#[test]
fn threads_are_not_weighed() {
    let mut limits = Limits::new(1..=1);
    limits.max_memory = Some(1 << 30);
    let error = Pool::threads(limits, |n: u32| n).unwrap_err();
    assert!(matches!(error, PoolError::Memory), "{error}");
}
