//! Ports: order, bounds, closing.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use procession::worker_threads::{
    MessageChannel, MessagePort, PostError, Queue, RecvTimedOut, TryRecvError,
};
use procession_testkit::leaks::exclusive;
use proptest::prelude::*;

use super::{now, on_every_runtime, without_a_runtime};

/// What is done with one of two ports.
#[derive(Clone, Copy, Debug)]
enum Step {
    Post,
    Recv,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        20 => Just(Step::Post),
        16 => Just(Step::Recv),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec((0..2_usize, step), 0..200)
}

proptest! {
    /// Two queues with a bound, and one state of being closed, say all that ports do.
    #[test]
    fn ports_are_two_bounded_queues(steps in steps(), room in 1..6_usize) {
        let _alone = exclusive();
        let MessageChannel { port1, port2 } =
            MessageChannel::<u32, u32>::with_queue(Queue::Bounded(room));
        let mut ports = [port1, port2];
        let mut queues = [VecDeque::new(), VecDeque::new()];
        let mut is_closed = false;
        for (n, (side, step)) in (0..).zip(steps) {
            let (port, peer) = (&mut ports[side], 1 - side);
            match step {
                Step::Post => match port.try_post(n) {
                    Ok(()) => {
                        prop_assert!(!is_closed && queues[peer].len() < room);
                        queues[peer].push_back(n);
                    }
                    Err(PostError::Full(back)) => {
                        prop_assert!(back == n && !is_closed && queues[peer].len() == room);
                    }
                    Err(error) => prop_assert!(is_closed && error.into_inner() == n),
                },
                Step::Recv => match port.try_recv() {
                    Ok(message) => prop_assert_eq!(Some(message), queues[side].pop_front()),
                    Err(TryRecvError::Empty) => {
                        prop_assert!(queues[side].is_empty() && !is_closed);
                    }
                    Err(_) => prop_assert!(queues[side].is_empty() && is_closed),
                },
                Step::Close => {
                    port.close();
                    is_closed = true;
                }
            }
            prop_assert!(ports.iter().all(|port| port.is_closed() == is_closed));
        }
    }
}

#[test]
fn a_post_at_the_bound_waits_for_room() {
    on_every_runtime(|| async {
        let MessageChannel { port1, mut port2 } =
            MessageChannel::<u32, ()>::with_queue(Queue::Bounded(2));
        port1.post(1).await.unwrap();
        port1.post(2).await.unwrap();
        assert!(now(port1.post(3)).is_none(), "there is no room");
        let posted = tokio::join!(port1.post(4), port2.recv());
        assert!(matches!(posted, (Ok(()), Some(1))));
        drop(port1);
        // The post that was dropped has posted nothing.
        assert_eq!(
            [port2.recv().await, port2.recv().await, port2.recv().await],
            [Some(2), Some(4), None]
        );
    });
}

#[test]
fn a_blocking_post_at_the_bound_waits_for_room() {
    without_a_runtime(|| {
        let MessageChannel { port1, mut port2 } =
            MessageChannel::<u32, ()>::with_queue(Queue::Bounded(1));
        thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..1000 {
                    port1.post_blocking(n).unwrap();
                }
            });
            let received: Vec<_> = std::iter::from_fn(|| port2.recv_blocking()).collect();
            assert_eq!(received, Vec::from_iter(0..1000));
        });
    });
}

#[test]
fn a_closed_port_gives_back_what_waits_for_room() {
    without_a_runtime(|| {
        let MessageChannel { port1, mut port2 } =
            MessageChannel::<String, ()>::with_queue(Queue::Bounded(1));
        port1.try_post("first".into()).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| port1.post_blocking("second".into()));
            port2.close();
            let back = second.join().unwrap().unwrap_err();
            assert!(
                matches!(&back, PostError::Closed(text) if text == "second"),
                "{back:?}"
            );
        });
        assert_eq!(port2.recv_blocking().as_deref(), Some("first"));
        assert_eq!(port2.recv_blocking(), None);
    });
}

#[test]
fn without_a_bound_by_choice() {
    without_a_runtime(|| {
        let MessageChannel { port1, mut port2 } =
            MessageChannel::<u32, ()>::with_queue(Queue::Unbounded);
        let sender = port1.sender();
        for n in 0..5000 {
            port1.try_post(2 * n).unwrap();
            sender.post_blocking(2 * n + 1).unwrap();
        }
        drop(port1);
        assert!(matches!(sender.try_post(0), Err(PostError::Closed(0))));
        let received: Vec<_> = std::iter::from_fn(|| port2.recv_blocking()).collect();
        assert_eq!(received, Vec::from_iter(0..10_000));
    });
}

#[test]
fn a_port_travels_with_what_waits_in_it() {
    on_every_runtime(|| async {
        let MessageChannel {
            port1: outer,
            port2: mut far,
        } = MessageChannel::<MessagePort<u32, &str>, ()>::new();
        let MessageChannel {
            port1: mut near,
            port2: inner,
        } = MessageChannel::<&str, u32>::new();
        near.post("before").await.unwrap();
        outer.post(inner).await.unwrap();
        near.post("after").await.unwrap();
        let worker = thread::spawn(move || {
            let mut inner = far.recv_blocking().unwrap();
            inner.post_blocking(5).unwrap();
            [
                inner.recv_blocking(),
                inner.recv_blocking(),
                inner.recv_blocking(),
            ]
        });
        assert_eq!(near.recv().await, Some(5));
        near.close();
        assert_eq!(
            worker.join().unwrap(),
            [Some("before"), Some("after"), None]
        );
        // A port that nobody took out closes with the one it waits in.
        let MessageChannel {
            port1: outer,
            port2: far,
        } = MessageChannel::<_, ()>::new();
        let MessageChannel {
            port1: mut near,
            port2: inner,
        } = MessageChannel::<(), ()>::new();
        outer.post(inner).await.unwrap();
        drop((outer, far));
        assert_eq!(near.recv().await, None);
    });
}

#[test]
fn many_posters_keep_their_own_order_and_do_not_keep_the_port_open() {
    without_a_runtime(|| {
        let MessageChannel { port1, mut port2 } =
            MessageChannel::<(usize, u32), ()>::with_queue(Queue::Bounded(8));
        let mut next = [0; 4];
        thread::scope(|scope| {
            let posters: Vec<_> = (0..4)
                .map(|poster| {
                    let sender = port1.sender();
                    scope.spawn(move || {
                        for n in 0..500 {
                            sender.post_blocking((poster, n)).unwrap();
                        }
                        sender
                    })
                })
                .collect();
            for _ in 0..4 * 500 {
                let (poster, n) = port2.recv_blocking().unwrap();
                assert_eq!(n, next[poster]);
                next[poster] += 1;
            }
            let senders: Vec<_> = posters
                .into_iter()
                .map(|poster| poster.join().unwrap())
                .collect();
            drop(port1);
            assert_eq!(port2.recv_blocking(), None);
            assert!(senders[0].clone().try_post((0, 0)).is_err());
        });
    });
}

#[test]
fn a_wait_with_a_limit_ends_and_loses_nothing() {
    without_a_runtime(|| {
        let limit = Duration::from_millis(1);
        let MessageChannel { port1, mut port2 } = MessageChannel::<u32, ()>::new();
        assert_eq!(
            port2.recv_timeout_blocking(limit),
            Err(RecvTimedOut { limit })
        );
        port1.try_post(1).unwrap();
        assert_eq!(port2.recv_timeout_blocking(Duration::MAX), Ok(Some(1)));
        drop(port1);
        assert_eq!(port2.recv_timeout_blocking(Duration::MAX), Ok(None));
    });
}

#[test]
#[cfg_attr(
    not(debug_assertions),
    ignore = "a release build looks only where it has to wait"
)]
fn blocking_in_async_code_is_a_panic_not_a_standstill() {
    on_every_runtime(|| async {
        let MessageChannel { port1, mut port2 } = MessageChannel::<u32, ()>::new();
        // It could be answered at once, and yet it must not be asked.
        port1.post(1).await.unwrap();
        let limit = Duration::from_secs(1);
        let panics = |call: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(call)).is_err();
        assert!(panics(&mut || assert!(port1.post_blocking(1).is_ok())));
        assert!(panics(&mut || assert!(port2.recv_blocking().is_some())));
        assert!(panics(&mut || assert!(
            port2.recv_timeout_blocking(limit).is_ok()
        )));
        assert_eq!(port2.recv().await, Some(1));
    });
}
