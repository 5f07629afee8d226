//! Workers: the order of their events, panics, the end.

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use procession::worker_threads::locks::{self, Mode};
use procession::worker_threads::{
    BroadcastChannel, MessagePort, PostError, Queue, SharedArrayBuffer, SpawnError, ThreadId,
    ThreadMessages, Waited, Worker, WorkerError, WorkerEvent, WorkerExit, WorkerOptions,
    get_environment_data, is_main_thread, post_message_to_thread, remove_environment_data,
    set_environment_data,
};
use tokio_util::sync::CancellationToken;

use super::{LIMIT, now, on_every_runtime, without_a_runtime};

/// An event in a word.
fn word<Out: std::fmt::Display>(event: &WorkerEvent<Out>) -> String {
    match event {
        WorkerEvent::Online => "online".into(),
        WorkerEvent::Message(message) => format!("message {message}"),
        WorkerEvent::Error(WorkerError::Failed(error)) => format!("error {error}"),
        WorkerEvent::Error(error) => format!("error {error}"),
        WorkerEvent::Exit(exit) => format!("exit {exit} {}", exit.code()),
        _ => panic!("an event without a word"),
    }
}

/// All of them from now on, from a plain thread.
fn told<In, Out: std::fmt::Display>(worker: &mut Worker<In, Out>) -> Vec<String> {
    let events = std::iter::from_fn(|| worker.next_event_blocking());
    events.map(|event| word(&event)).collect()
}

/// All of them from now on, from async code.
async fn told_async<In, Out: std::fmt::Display>(worker: &mut Worker<In, Out>) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(event) = worker.next_event().await {
        words.push(word(&event));
    }
    words
}

/// Posts 0, 1 and 2.
fn counts(port: MessagePort<u32, ()>, _: CancellationToken) {
    for n in 0..3 {
        port.post_blocking(n).unwrap();
    }
}

const COUNTED: [&str; 4] = ["online", "message 0", "message 1", "message 2"];

#[test]
fn events_come_in_order_without_a_runtime() {
    without_a_runtime(|| {
        let mut worker = Worker::spawn("counts", counts).unwrap();
        assert_eq!(
            told(&mut worker),
            [&COUNTED[..], &["exit finished 0"]].concat()
        );
        assert!(worker.next_event_blocking().is_none());
    });
}

#[test]
fn events_come_in_order_in_async_code() {
    on_every_runtime(|| async {
        let mut worker = Worker::spawn("counts", counts).unwrap();
        let expected = [&COUNTED[..], &["exit finished 0"]].concat();
        assert_eq!(told_async(&mut worker).await, expected);
        assert!(worker.next_event().await.is_none());
    });
}

/// Counts, then panics and says in which line.
fn panics(port: MessagePort<u32, ()>, stop: CancellationToken) {
    counts(port, stop);
    let (line, what) = (line!() + 1, "thread");
    panic!("a broken {what} at line {line}");
}

#[test]
fn a_panic_is_an_error_with_text_and_place_after_all_messages() {
    without_a_runtime(|| {
        let neighbour =
            Worker::<(), ()>::spawn(
                "neighbour",
                |mut port, _| {
                    while port.recv_blocking().is_some() {}
                },
            );
        let neighbour = neighbour.unwrap();
        let mut worker = Worker::spawn("panics", panics).unwrap();
        let words = told(&mut worker);
        assert_eq!(words[..4], COUNTED);
        let [error, exit] = &words[4..] else {
            panic!("{words:?}");
        };
        let (place, text) = error.split_once(": ").unwrap();
        let line = text.strip_prefix("a broken thread at line ").unwrap();
        let file = format!("error panicked at {}:{line}:", file!());
        assert!(place.starts_with(&file), "{error}");
        assert_eq!(exit, "exit failed 1");
        // The other one hears and speaks as before.
        neighbour.post_blocking(()).unwrap();
    });
}

/// A payload that panics again when somebody drops it.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn number(_: MessagePort<u32, ()>, _: CancellationToken) {
    panic_any(7);
}

fn bomb(_: MessagePort<u32, ()>, _: CancellationToken) {
    panic_any(Bomb);
}

#[test]
fn a_payload_that_is_no_text_or_panics_itself_is_an_error_as_well() {
    without_a_runtime(|| {
        let mut worker = Worker::spawn("number", number).unwrap();
        assert!(told(&mut worker)[1].ends_with(": a payload that is no text"));
        let mut worker = Worker::spawn("bomb", bomb).unwrap();
        let words = told(&mut worker);
        assert!(
            words[1].ends_with(": a payload that is no text"),
            "{words:?}"
        );
        assert_eq!(words[2], "exit failed 1");
    });
}

#[test]
fn a_returned_error_is_told_before_the_exit() {
    on_every_runtime(|| async {
        let body = |_: MessagePort<u32, ()>, _| Err::<(), _>("no such file");
        let mut worker = Worker::spawn("fails", body).unwrap();
        let expected = ["online", "error no such file", "exit failed 1"];
        assert_eq!(told_async(&mut worker).await, expected);
    });
}

#[test]
fn a_port_that_outlives_the_body_does_not_hold_up_the_exit() {
    without_a_runtime(|| {
        let (keep, kept) = sync_channel(1);
        let mut worker = Worker::<(), u32>::spawn("leaves", move |port, _| {
            port.post_blocking(1).unwrap();
            keep.send(port).unwrap();
        })
        .unwrap();
        let port = kept.recv().unwrap();
        let expected = ["online", "message 1", "exit finished 0"];
        assert_eq!(told(&mut worker), expected);
        assert!(matches!(port.try_post(2), Err(PostError::Closed(2))));
    });
}

#[test]
fn a_worker_can_be_dropped_at_every_point() {
    for point in 0..8 {
        let ended = Arc::new(AtomicBool::new(false));
        let ends = Ends(Arc::clone(&ended));
        without_a_runtime(move || {
            let mut worker = Worker::<u32, u32>::spawn("echo", move |mut port, stop| {
                let _ends = ends;
                while let Some(n) = port.recv_blocking() {
                    if port.post_blocking(n).is_err() {
                        break;
                    }
                }
                assert!(!stop.is_cancelled(), "a drop asks nobody to stop");
            })
            .unwrap();
            for n in 0..point {
                worker.post_blocking(n).unwrap();
                worker.next_event_blocking();
            }
        });
        // The oracle of the scene has seen the thread end.
        assert!(ended.load(SeqCst), "point {point}");
    }
}

struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(!thread::panicking(), SeqCst);
    }
}

#[test]
fn a_terminated_body_sees_the_end_although_messages_wait() {
    without_a_runtime(|| {
        let seen = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&seen);
        let (go, gate) = sync_channel::<()>(0);
        let mut worker = Worker::<u32, u32>::spawn("receives", move |mut port, stop| {
            assert!(gate.recv().is_err());
            while port.recv_blocking().is_some() {
                counter.fetch_add(1, SeqCst);
            }
            assert!(port.try_recv().is_err(), "and it stays the end");
            assert!(port.try_post(0).is_err());
            assert!(stop.is_cancelled());
        })
        .unwrap();
        for n in 0..100 {
            worker.post_blocking(n).unwrap();
        }
        let sender = worker.sender();
        let early = worker.terminate_blocking(Duration::ZERO).unwrap_err();
        assert_eq!(
            (early.name.as_str(), early.limit),
            ("receives", Duration::ZERO)
        );
        drop(go);
        let exit = worker.terminate_blocking(LIMIT).unwrap();
        assert_eq!((exit, exit.code()), (WorkerExit::Terminated, 1));
        assert_eq!(seen.load(SeqCst), 0, "none of what waited");
        assert!(matches!(sender.try_post(1), Err(PostError::Closed(1))));
        assert_eq!(told(&mut worker), ["online", "exit terminated 1"]);
        assert_eq!(worker.terminate_blocking(LIMIT).unwrap(), exit);
    });
}

#[test]
fn a_terminated_body_that_waits_for_room_goes_on_and_what_it_posted_is_not_lost() {
    on_every_runtime(|| async {
        let mut options = WorkerOptions::new("floods");
        options.queue = Queue::Bounded(4);
        let last = Arc::new(AtomicU32::new(0));
        let posting = Arc::clone(&last);
        let body = move |port: MessagePort<u32, ()>, _| {
            let numbers = (0..).inspect(|n| posting.store(*n, SeqCst));
            let refused = numbers.map(|n| port.post_blocking(n)).find_map(Result::err);
            assert_eq!(refused.map(PostError::into_inner), Some(5));
        };
        let mut worker = Worker::spawn_with(options, body).unwrap();
        for expected in ["online", "message 0"] {
            assert_eq!(word(&worker.next_event().await.unwrap()), expected);
        }
        while last.load(SeqCst) < 5 || !is_waiting(&worker) {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            worker.terminate(LIMIT).await.unwrap(),
            WorkerExit::Terminated
        );
        let expected = [
            "message 1",
            "message 2",
            "message 3",
            "message 4",
            "exit terminated 1",
        ];
        assert_eq!(told_async(&mut worker).await, expected);
    });
}

/// Whether the thread of this worker sleeps, by the system.
fn is_waiting<In, Out>(worker: &Worker<In, Out>) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut stats = tasks.filter_map(|task| {
        let folder = task.ok()?.path();
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        (name.trim() == worker.name()).then(|| std::fs::read_to_string(folder.join("stat")).ok())?
    });
    stats.any(|stat| stat.contains(") S "))
}

#[test]
fn a_body_that_does_not_listen_runs_on_and_terminate_says_so() {
    on_every_runtime(|| async {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let mut worker = Worker::<(), u32>::spawn("deaf", move |_, _| {
            while !seen.load(SeqCst) {
                thread::yield_now();
            }
        })
        .unwrap();
        let error = worker
            .terminate(Duration::from_millis(1))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "worker `deaf` runs on 1ms after it was asked to stop"
        );
        over.store(true, SeqCst);
        assert_eq!(
            worker.terminate(LIMIT).await.unwrap(),
            WorkerExit::Terminated
        );
    });
}

#[test]
fn an_async_body_waits_for_messages_and_the_token() {
    on_every_runtime(|| async {
        let mut worker = Worker::<u32, u32>::spawn("async", |mut port, stop| {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(async {
                let first = port.recv().await.expect("a message");
                port.post(first + 1).await.expect("it is open");
                stop.cancelled().await;
            });
            Ok::<(), std::io::Error>(())
        })
        .unwrap();
        worker.post(1).await.unwrap();
        for expected in ["online", "message 2"] {
            assert_eq!(word(&worker.next_event().await.unwrap()), expected);
        }
        worker.terminate(LIMIT).await.unwrap();
        assert_eq!(told_async(&mut worker).await, ["exit terminated 1"]);
    });
}

#[test]
fn a_dropped_wait_for_an_event_loses_none() {
    without_a_runtime(|| {
        let (go, gate) = sync_channel::<()>(0);
        let mut worker = Worker::<(), u32>::spawn("waits", move |port, stop| {
            gate.recv().unwrap();
            counts(port, stop);
        })
        .unwrap();
        assert_eq!(word(&worker.next_event_blocking().unwrap()), "online");
        assert!(now(worker.next_event()).is_none());
        go.send(()).unwrap();
        assert_eq!(
            told(&mut worker),
            [&COUNTED[1..], &["exit finished 0"]].concat()
        );
    });
}

#[test]
fn options_without_a_meaning_are_named() {
    without_a_runtime(|| {
        let start = |change: fn(&mut WorkerOptions)| {
            let mut options = WorkerOptions::default();
            change(&mut options);
            Worker::<(), ()>::spawn_with(options, |_, _| {}).unwrap_err()
        };
        let words = |error: &SpawnError| format!("{} {error}", error.node_code());
        let error = start(|options| options.name = "a\0b".into());
        assert_eq!(
            words(&error),
            r"ERR_INVALID_ARG_VALUE invalid name of worker `a\0b`: there is a NUL in it"
        );
        let error = start(|options| options.queue = Queue::Bounded(0));
        assert_eq!(
            words(&error),
            "ERR_INVALID_ARG_VALUE invalid queue of worker `WorkerThread`: there is room for no message"
        );
        let error = start(|options| options.stack_size = Some(usize::MAX));
        assert_eq!(
            words(&error),
            "ERR_INVALID_ARG_VALUE invalid stack_size of worker `WorkerThread`: more than there is memory"
        );
        // More than there are addresses: the system refuses.
        let error = start(|options| options.stack_size = Some(1 << 60));
        assert_eq!(
            words(&error),
            "ERR_WORKER_INIT_FAILED failed to start worker `WorkerThread`"
        );
    });
}

#[test]
fn a_worker_has_its_name_its_number_and_its_stack() {
    without_a_runtime(|| {
        let mut options = WorkerOptions::new("deep");
        options.stack_size = Some(64 << 20);
        let mut worker = Worker::<(), String>::spawn_with(options, |port, _| {
            let thread = thread::current();
            let name = thread.name().unwrap_or_default();
            port.post_blocking(format!("{name} {}", ThreadId::current()))?;
            // More than the 2 MiB of a thread that did not ask.
            let much = std::hint::black_box([1_u8; 8 << 20]);
            port.post_blocking(format!("{} {}", much.len(), is_main_thread()))
        })
        .unwrap();
        let id = worker.thread_id();
        assert!(is_main_thread() && id != ThreadId::MAIN && ThreadId::from(id.as_u64()) == id);
        let expected = [
            "online".into(),
            format!("message deep {id}"),
            "message 8388608 false".into(),
            "exit finished 0".into(),
        ];
        assert_eq!(told(&mut worker), expected);
        let other = Worker::spawn("counts", counts).unwrap();
        assert_ne!(other.thread_id(), id);
    });
}

#[test]
fn environment_data_is_inherited_by_copy() {
    without_a_runtime(|| {
        let get = || get_environment_data::<u32>("worker_threads test").unwrap_or(0);
        set_environment_data("worker_threads test", 1_u32);
        let (go, gate) = sync_channel::<()>(0);
        let mut worker = Worker::<(), u32>::spawn("child", move |port, _| {
            gate.recv()?;
            port.post_blocking(get())?;
            set_environment_data("worker_threads test", 3_u32);
            let mut grandchild = Worker::<(), u32>::spawn("grandchild", move |port, _| {
                port.post_blocking(get()).unwrap();
            })?;
            while let Some(event) = grandchild.next_event_blocking() {
                if let WorkerEvent::Message(n) = event {
                    port.post_blocking(n)?;
                }
            }
            remove_environment_data("worker_threads test");
            port.post_blocking(get())?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })
        .unwrap();
        set_environment_data("worker_threads test", 2_u32);
        go.send(()).unwrap();
        let expected = [
            "online",
            "message 1",
            "message 3",
            "message 0",
            "exit finished 0",
        ];
        assert_eq!(told(&mut worker), expected);
        assert_eq!(get(), 2, "nothing goes upwards");
        assert_eq!(get_environment_data::<String>("worker_threads test"), None);
        remove_environment_data("worker_threads test");
    });
}

#[test]
fn all_of_it_can_be_used_from_a_task_that_wanders() {
    on_every_runtime(|| async {
        let task = tokio::spawn(async {
            let mut worker = Worker::spawn("counts", counts).unwrap();
            let words = told_async(&mut worker).await;
            let exit = worker.terminate(LIMIT).await.unwrap();
            let lock = locks::request("wanders", Mode::Shared).await;
            let waited = SharedArrayBuffer::new(1).wait(0, 1).await;
            let posted = post_message_to_thread(worker.thread_id(), 1, LIMIT).await;
            let mut messages = ThreadMessages::<u32>::listen().unwrap();
            let mut news = BroadcastChannel::<u32>::open("wanders").unwrap();
            let never = tokio::time::timeout(Duration::ZERO, async {
                tokio::join!(messages.recv(), news.recv())
            });
            assert!(never.await.is_err() && posted.is_err());
            (words.len(), exit, lock.mode(), waited)
        });
        let expected = (5, WorkerExit::Finished, Mode::Shared, Waited::NotEqual);
        assert_eq!(task.await.unwrap(), expected);
    });
}
