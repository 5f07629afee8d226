//! What threads share: names, numbers, cells, locks.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use procession::worker_threads::locks::{self, Mode};
use procession::worker_threads::{
    BroadcastChannel, Lagged, PostToThreadError, SharedArrayBuffer, ThreadId, ThreadMessages,
    Waited, Worker, WorkerEvent, post_message_to_thread, post_message_to_thread_blocking,
};

use super::{LIMIT, now, on_every_runtime, without_a_runtime};

#[test]
fn a_broadcast_reaches_all_others_of_its_name_in_order() {
    on_every_runtime(|| async {
        let open = || BroadcastChannel::<u32>::open("reaches").unwrap();
        let (mut poster, mut one, mut other) = (open(), open(), open());
        let mut elsewhere = BroadcastChannel::<u32>::open("elsewhere").unwrap();
        for n in 0..50 {
            assert_eq!(poster.post(n), 2);
        }
        let blocking = thread::spawn(move || {
            let received: Vec<_> = (0..50).map(|_| other.recv_blocking().unwrap()).collect();
            assert_eq!(other.try_recv(), Ok(None));
            received
        });
        for n in 0..50 {
            assert_eq!(one.recv().await, Ok(n));
        }
        assert_eq!(blocking.join().unwrap(), Vec::from_iter(0..50));
        assert_eq!(poster.try_recv(), Ok(None), "not to itself");
        assert_eq!(elsewhere.try_recv(), Ok(None));
        assert!(now(one.recv()).is_none());
        assert_eq!(poster.post(50), 1, "one has left");
        drop(one);
        assert_eq!(poster.post(51), 0);
    });
}

#[test]
fn a_listener_that_lags_is_told_how_many_it_missed_and_holds_up_nobody() {
    without_a_runtime(|| {
        let poster = BroadcastChannel::<u32>::open("lags").unwrap();
        let mut slow = BroadcastChannel::<u32>::with_capacity("lags", 8).unwrap();
        let mut fast = BroadcastChannel::<u32>::open("lags").unwrap();
        for n in 0..20 {
            assert_eq!(poster.post(n), 2);
            // What a listener posts itself does not count against it.
            slow.post(100);
            assert_eq!(fast.recv_blocking(), Ok(n));
            assert_eq!(fast.recv_blocking(), Ok(100));
        }
        assert_eq!(slow.recv_blocking(), Err(Lagged { missed: 12 }));
        for n in 12..20 {
            assert_eq!(slow.recv_blocking(), Ok(n));
        }
        assert_eq!(slow.try_recv(), Ok(None));
    });
}

#[test]
fn a_name_has_one_type_until_its_last_listener_leaves() {
    without_a_runtime(|| {
        let numbers = BroadcastChannel::<u32>::open("typed").unwrap();
        let error = BroadcastChannel::<String>::open("typed").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the broadcast channel `typed` carries another type of message"
        );
        let more = BroadcastChannel::<u32>::open("typed").unwrap();
        drop(numbers);
        assert!(BroadcastChannel::<String>::open("typed").is_err());
        assert_eq!(more.name(), "typed");
        drop(more);
        BroadcastChannel::<String>::open("typed").unwrap();
    });
}

/// A worker that listens, told to be there, and what makes it receive: once for each word.
fn listener() -> (Worker<(), u32>, ThreadId) {
    let mut worker = Worker::<(), u32>::spawn("listener", |mut port, _| {
        let mut inbox = ThreadMessages::<u32>::listen().unwrap();
        assert!(
            ThreadMessages::<u32>::listen().is_err(),
            "a thread listens once"
        );
        port.post_blocking(0).unwrap();
        while port.recv_blocking().is_some() {
            let received = inbox.recv_blocking();
            assert_eq!(received.source, ThreadId::MAIN);
            port.post_blocking(received.message).unwrap();
        }
    })
    .unwrap();
    for expected in ["Some(Online)", "Some(Message(0))"] {
        assert_eq!(format!("{:?}", worker.next_event_blocking()), expected);
    }
    let id = worker.thread_id();
    (worker, id)
}

#[test]
fn a_message_to_a_thread_is_received_or_comes_back() {
    without_a_runtime(|| {
        let (mut worker, id) = listener();
        let post = |n: u32, limit| post_message_to_thread_blocking(id, n, limit);
        // Not received in time: withdrawn, and never received.
        let error = post(1, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.node_code(), "ERR_WORKER_MESSAGING_TIMEOUT");
        assert_eq!(error.into_inner(), 1);
        worker.post_blocking(()).unwrap();
        post(2, LIMIT).unwrap();
        let event = worker.next_event_blocking();
        assert!(matches!(event, Some(WorkerEvent::Message(2))), "{event:?}");
        let error = post_message_to_thread_blocking(id, "text", LIMIT).unwrap_err();
        assert_eq!(error.node_code(), "ERR_WORKER_MESSAGING_ERRORED");
        assert_eq!(
            error.to_string(),
            format!("{id} listens for another type of message")
        );
        // The listener leaves while somebody waits.
        thread::scope(|scope| {
            let waits = scope.spawn(|| post(3, LIMIT));
            worker.close();
            let error = waits.join().unwrap().unwrap_err();
            assert!(matches!(
                error,
                PostToThreadError::NotListening { message: 3, .. }
            ));
        });
        assert_eq!(
            post(4, LIMIT).unwrap_err().node_code(),
            "ERR_WORKER_MESSAGING_FAILED"
        );
        let error = post_message_to_thread_blocking(ThreadId::MAIN, 5, LIMIT).unwrap_err();
        assert_eq!(error.node_code(), "ERR_WORKER_MESSAGING_SAME_THREAD");
    });
}

#[test]
fn the_main_thread_is_posted_to_from_workers() {
    on_every_runtime(|| async {
        let mut inbox = ThreadMessages::<u32>::listen().unwrap();
        assert!(ThreadMessages::<u32>::listen().is_err());
        let mut worker = Worker::<(), ()>::spawn("poster", |_, _| {
            for n in 0..100_u32 {
                post_message_to_thread_blocking(ThreadId::MAIN, n, LIMIT).unwrap();
            }
        })
        .unwrap();
        for n in 0..100 {
            let received = inbox.recv().await;
            assert_eq!((received.message, received.source), (n, worker.thread_id()));
        }
        while let Some(event) = worker.next_event().await {
            assert!(!matches!(event, WorkerEvent::Error(_)), "{event:?}");
        }
        assert!(inbox.try_recv().is_none());
    });
}

#[test]
fn a_dropped_post_to_a_thread_is_withdrawn() {
    on_every_runtime(|| async {
        let (mut worker, id) = tokio::task::spawn_blocking(listener).await.unwrap();
        assert!(now(post_message_to_thread(id, 1_u32, LIMIT)).is_none());
        worker.post(()).await.unwrap();
        post_message_to_thread(id, 2_u32, LIMIT).await.unwrap();
        let event = worker.next_event().await;
        assert!(matches!(event, Some(WorkerEvent::Message(2))), "{event:?}");
        worker.close();
        while worker.next_event().await.is_some() {}
    });
}

#[test]
fn a_cell_answers_as_atomics_wait_does() {
    without_a_runtime(|| {
        let shared = SharedArrayBuffer::new(2);
        let soon = Some(Duration::from_millis(1));
        assert_eq!(shared.wait_blocking(0, 1, None), Waited::NotEqual);
        assert_eq!(shared.wait_blocking(0, 0, soon), Waited::TimedOut);
        assert_eq!(
            shared.notify(0, usize::MAX),
            0,
            "who gave up is not counted"
        );
        assert_eq!(now(shared.wait(1, 1)), Some(Waited::NotEqual));
        let (mut first, mut second, mut third) = (
            Box::pin(shared.wait(1, 0)),
            Box::pin(shared.wait(1, 0)),
            Box::pin(shared.wait(1, 0)),
        );
        for wait in [&mut first, &mut second, &mut third] {
            assert_eq!(now(wait), None);
        }
        assert_eq!(shared.notify(0, usize::MAX), 0, "another cell");
        assert_eq!(shared.notify(1, 0), 0);
        assert_eq!(shared.notify(1, 1), 1);
        assert_eq!(now(&mut second), None, "the longest first");
        // What was for the first, who is gone, is for the second.
        drop(first);
        assert_eq!(now(&mut second), Some(Waited::Ok));
        assert_eq!(now(&mut third), None);
        assert_eq!(shared.notify(1, 5), 1);
        assert_eq!(now(third), Some(Waited::Ok));
    });
}

#[test]
fn no_change_of_a_cell_is_missed() {
    on_every_runtime(|| async {
        let shared = SharedArrayBuffer::new(1);
        let theirs = shared.clone();
        // Two sides take turns: even numbers are ours, odd ones theirs.
        let other = thread::spawn(move || {
            for n in (1..2000).step_by(2) {
                while theirs.cells()[0].load(SeqCst) != n {
                    theirs.wait_blocking(0, n - 1, None);
                }
                theirs.cells()[0].store(n + 1, SeqCst);
                theirs.notify(0, 1);
            }
        });
        for n in (0..2000).step_by(2) {
            while shared.cells()[0].load(SeqCst) != n {
                shared.wait(0, n - 1).await;
            }
            shared.cells()[0].store(n + 1, SeqCst);
            shared.notify(0, 1);
        }
        other.join().unwrap();
    });
}

#[test]
fn an_exclusive_lock_is_held_by_one_at_a_time() {
    on_every_runtime(|| async {
        let inside = &AtomicU32::new(0);
        let turn = || {
            assert_eq!(inside.fetch_add(1, SeqCst), 0);
            thread::yield_now();
            inside.fetch_sub(1, SeqCst);
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _lock = locks::request_blocking("one at a time", Mode::Exclusive);
                        turn();
                    }
                });
            }
        });
        for _ in 0..200 {
            let lock = locks::request("one at a time", Mode::Exclusive).await;
            turn();
            drop(lock);
        }
        assert!(of("one at a time").is_empty());
    });
}

/// Who holds and who waits, in words.
fn of(name: &str) -> Vec<String> {
    let snapshot = locks::query();
    let held = snapshot.held.iter().map(|lock| ("held", lock));
    let pending = snapshot.pending.iter().map(|lock| ("pending", lock));
    let locks = held.chain(pending).filter(|(_, lock)| lock.name == name);
    locks
        .map(|(how, lock)| format!("{how} {:?} {}", lock.mode, lock.thread))
        .collect()
}

#[test]
fn locks_are_granted_in_order_and_shared_ones_together() {
    on_every_runtime(|| async {
        const NAME: &str = "in order";
        let available = |mode| locks::request_if_available(NAME, mode);
        let one = locks::request(NAME, Mode::Shared).await;
        let two = available(Mode::Shared).unwrap();
        let mut exclusive = Box::pin(locks::request(NAME, Mode::Exclusive));
        assert!(now(&mut exclusive).is_none());
        let mut late = Box::pin(locks::request(NAME, Mode::Shared));
        assert!(now(&mut late).is_none(), "does not overtake");
        assert!(available(Mode::Shared).is_none(), "nor does this");
        let [shared, alone] = ["Shared thread 0", "Exclusive thread 0"];
        assert_eq!(
            of(NAME),
            [
                format!("held {shared}"),
                format!("held {shared}"),
                format!("pending {alone}"),
                format!("pending {shared}")
            ]
        );
        drop(one);
        assert!(now(&mut exclusive).is_none(), "there is another");
        drop(two);
        let lock = now(&mut exclusive).unwrap();
        assert_eq!((lock.name(), lock.mode()), (NAME, Mode::Exclusive));
        assert!(now(&mut late).is_none());
        drop(lock);
        let lock = now(late).unwrap();
        assert_eq!(of(NAME), [format!("held {shared}")]);
        // A dropped wait gives up its place.
        let mut gone = Box::pin(locks::request(NAME, Mode::Exclusive));
        assert!(now(&mut gone).is_none());
        drop(gone);
        drop(available(Mode::Shared).unwrap());
        drop(lock);
        assert_eq!(of(NAME), [""; 0]);
    });
}

#[test]
fn a_lock_is_free_when_its_holder_panics() {
    without_a_runtime(|| {
        let (told, holds) = sync_channel(1);
        let mut worker = Worker::<(), ()>::spawn("holder", move |mut port, _| {
            let _lock = locks::request_blocking("panics", Mode::Exclusive);
            told.send(()).unwrap();
            assert!(port.recv_blocking().is_some(), "with the lock in its hands");
        })
        .unwrap();
        holds.recv().unwrap();
        let holder = format!("held Exclusive {}", worker.thread_id());
        assert_eq!(of("panics"), [holder]);
        thread::scope(|scope| {
            let waits = scope.spawn(|| locks::request_blocking("panics", Mode::Exclusive));
            worker.close();
            drop(waits.join().unwrap());
        });
        while worker.next_event_blocking().is_some() {}
    });
}
