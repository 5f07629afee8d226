//! Workers that are processes of our own: what they keep, hear, may use, and how they end.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use procession::child_process::{Command, Resource, Signal, Stdio};
use procession::ipc::Serialization;
use procession::pool::{
    Call, Cause, Event, Events, Limits, Load, Method, Payload, Pool, PoolError, Processes, Reply,
    Stopped, TaskError, Terms, node_methods, node_task,
};
use procession_testkit::example;
use procession_testkit::leaks::Oracle;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

type Program = Pool<Value, Value, u64>;

/// Runs with an oracle that has every child in view.
#[track_caller]
fn scene(test: impl AsyncFnOnce(&Oracle)) {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test(&oracle)).await.unwrap() });
    drop(runtime);
    oracle.check();
}

fn worker(oracle: &Oracle) -> Command {
    let mut command = Command::new(example("pool_worker"));
    command.ipc(Serialization::Json).envs([oracle.tag()]);
    command
}

fn limits(workers: u32) -> Limits {
    let mut limits = Limits::new(1..=workers);
    limits.grace = Duration::from_secs(10);
    limits
}

fn program(oracle: &Oracle, limits: Limits) -> Program {
    Pool::processes(limits, &worker(oracle)).unwrap()
}

fn square(n: u64) -> Value {
    json!({ "Square": n })
}

#[test]
fn a_state_is_made_before_the_first_task_and_taken_after_the_last() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let farewell = folder.path().join("farewell");
        let mut command = worker(oracle);
        // Longer than one may stay that was not asked to leave.
        command
            .env("POOL_WORKER_FAREWELL", &farewell)
            .env("POOL_WORKER_LINGERS", 1300);
        let pool = Program::processes(limits(1), &command).unwrap();
        for n in 1..=3 {
            assert_eq!(pool.run(json!("Served")).await.unwrap(), json!(n));
        }
        assert!(!farewell.exists());
        pool.close().await;
        assert_eq!(std::fs::read_to_string(farewell).unwrap(), "3");
        assert_eq!(pool.stats().killed, 0);
    });
}

#[test]
fn a_worker_that_refuses_to_start_says_why_a_few_times() {
    scene(async |oracle| {
        let mut command = worker(oracle);
        command
            .env("POOL_WORKER_REFUSES", "the moon is full")
            .stderr(Stdio::Pipe);
        let mut limits = limits(1);
        limits.start_attempts = 2;
        let pool = Program::processes(limits, &command).unwrap();
        let error = pool.run(square(2)).await.unwrap_err();
        let TaskError::NoWorker { task, death } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*task, square(2));
        let words = &death.last_words;
        assert!(words.contains("the moon is full"), "{death}");
        assert_eq!(death.cause, Cause::Exited(1));
        assert_eq!(pool.stats().failed_starts, 2);
        pool.close().await;
    });
}

#[test]
fn a_program_that_just_exits_gives_the_task_back() {
    scene(async |oracle| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo not today >&2; exit 3"])
            .ipc(Serialization::Json)
            .stderr(Stdio::Pipe)
            .envs([oracle.tag()]);
        let mut limits = limits(1);
        limits.start_attempts = 2;
        let pool = Program::processes(limits, &command).unwrap();
        let error = pool.run(square(2)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains('3') && text.contains("not today"), "{text}");
        assert_eq!(error.into_task(), Some(square(2)));
        assert_eq!(pool.stats().failed_starts, 2);
        pool.close().await;
    });
}

#[test]
fn a_task_that_only_waits_for_its_token_hears_of_it() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let pid = pool.run(json!("Pid")).await.unwrap();
        for n in 0..3 {
            let mut task = pool.try_run(json!("Token")).unwrap();
            assert_eq!(task.next_progress().await, Some(0));
            task.cancel();
            let error = task.await.unwrap_err();
            let in_time = matches!(error, TaskError::Canceled(Stopped::InTime));
            assert!(in_time, "{error:?}");
            assert_eq!(pool.run(square(n)).await.unwrap(), json!(n * n));
        }
        assert_eq!(pool.run(json!("Pid")).await.unwrap(), pid);
        pool.close().await;
        assert_eq!(pool.stats().killed, 0);
    });
}

#[test]
fn a_worker_may_have_several_tasks_at_a_time() {
    for kind in ["Count", "Token"] {
        scene(async |oracle| {
            let mut limits = limits(1);
            limits.concurrency = 3;
            let pool = program(oracle, limits);
            let mut tasks = Vec::new();
            for _ in 0..3 {
                tasks.push(pool.try_run(json!(kind)).unwrap());
            }
            for task in &mut tasks {
                assert!(task.next_progress().await.is_some());
            }
            assert_eq!((pool.stats().workers, pool.stats().running), (1, 3));
            for (left, task) in tasks.into_iter().enumerate() {
                task.cancel();
                let error = task.await.unwrap_err();
                let in_time = matches!(error, TaskError::Canceled(Stopped::InTime));
                assert!(in_time, "{error:?}");
                assert_eq!(pool.stats().running, 2 - left, "the neighbours live");
            }
            let mut results = pool.map((0..200).map(square));
            for n in 0..200_u64 {
                assert_eq!(results.next().await.unwrap().unwrap(), json!(n * n));
            }
            drop(results);
            pool.close().await;
            assert_eq!((pool.stats().started, pool.stats().killed), (1, 0));
        });
    }
}

#[test]
fn a_result_that_cannot_be_written_fails_its_task_alone() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let error = pool.run(json!("Unwritable")).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TaskError::Failed { .. }), "{error:?}");
        assert!(
            text.contains("result cannot be sent") && text.contains("this has no shape"),
            "{text}"
        );
        // A frame may have 64 MiB.
        let error = pool.run(json!({ "Text": 65 << 20 })).await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        let text = pool.run(json!({ "Text": 3 << 20 })).await.unwrap();
        assert_eq!(text.as_str().unwrap().len(), 3 << 20);
        assert_eq!(pool.run(json!("Served")).await.unwrap(), json!(4));
        pool.close().await;
        assert_eq!(pool.stats().started, 1);
    });
}

#[test]
fn a_worker_that_leaks_is_replaced_between_its_tasks() {
    scene(async |oracle| {
        let mut limits = limits(1);
        limits.max_memory = Some(64 << 20);
        if procession_sys::process_load(std::process::id()).is_err() {
            let error = Program::processes(limits, &worker(oracle)).unwrap_err();
            assert!(matches!(error, PoolError::Weigh(_)), "{error}");
            return;
        }
        let pool = program(oracle, limits);
        let leak = || pool.run(json!({ "Leak": 1 << 20 }));
        let first = leak().await.unwrap();
        let mut leaks = 1;
        while leak().await.unwrap() == first {
            leaks += 1;
            assert!(leaks < 400, "nobody looks at the scales");
            pool.run(json!({ "Sleep": 5 })).await.unwrap();
        }
        assert!(leaks > 20, "replaced after {leaks} MiB");
        let stats = pool.stats();
        assert_eq!((stats.recycled, stats.crashed, stats.killed), (1, 0, 0));
        pool.close().await;
    });
}

#[test]
fn a_worker_that_is_killed_is_told_from_one_that_leaves() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let pid = pool.run(json!("Pid")).await.unwrap();
        let mut task = pool.try_run(json!("Count")).unwrap();
        assert!(task.next_progress().await.is_some());
        let mut kill = Command::new("kill");
        kill.args(["-KILL".to_owned(), pid.to_string()]);
        assert!(kill.outcome().await.unwrap().success());
        let error = task.await.unwrap_err();
        let TaskError::WorkerDied { death } = error else {
            panic!("{error:?}")
        };
        assert_eq!(death.cause, Cause::Killed(Signal::KILL));
        assert_eq!(pool.run(square(3)).await.unwrap(), json!(9));
        pool.close().await;
    });
}

#[test]
fn a_worker_that_uses_too_much_cpu_time_says_so() {
    scene(async |oracle| {
        let mut command = worker(oracle);
        command.limit(Resource::Cpu, 1, 10);
        let pool = Program::processes(limits(1), &command).unwrap();
        let error = pool.run(json!("Burn")).await.unwrap_err();
        assert!(error.to_string().contains("CPU time"), "{error}");
        let TaskError::WorkerDied { death } = error else {
            panic!("{error:?}")
        };
        assert_eq!(death.cause, Cause::CpuLimit);
        assert_eq!(pool.run(square(3)).await.unwrap(), json!(9));
        pool.close().await;
    });
}

#[test]
fn a_worker_above_its_memory_is_told_from_its_neighbour() {
    scene(async |oracle| {
        let mut probe = Command::new("true");
        probe.memory_max(1 << 26).envs([oracle.tag()]);
        if let Err(error) = probe.output().await {
            return eprintln!("skipped: no memory control group can be made here: {error:?}");
        }
        let mut limits = limits(2);
        limits.workers = 2..=2;
        let mut command = worker(oracle);
        command.memory_max(96 << 20);
        let pool = Program::processes(limits, &command).unwrap();
        let mut neighbour = pool.try_run(json!("Token")).unwrap();
        assert!(neighbour.next_progress().await.is_some());
        let error = pool.run(json!({ "Leak": 512 << 20 })).await.unwrap_err();
        assert!(error.to_string().contains("out of memory"), "{error}");
        let TaskError::WorkerDied { death } = error else {
            panic!("{error:?}")
        };
        assert_eq!(death.cause, Cause::OutOfMemory);
        // Killed by somebody else, soon after: that is another cause.
        let pid = pool.run(json!("Pid")).await.unwrap().as_u64().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let task = pool.try_run(json!("Hang")).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let error = task.await.unwrap_err();
        let TaskError::WorkerDied { death } = error else {
            panic!("{error:?}")
        };
        assert_eq!(death.cause, Cause::Killed(Signal::KILL));
        neighbour.cancel();
        let error = neighbour.await.unwrap_err();
        let in_time = matches!(error, TaskError::Canceled(Stopped::InTime));
        assert!(in_time, "{error:?}");
        pool.close().await;
        assert_eq!((pool.stats().crashed, pool.stats().killed), (2, 0));
    });
}

/// The events up to the first that fits, or to the end.
async fn until(events: &mut Events, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        let found = fits(&event);
        seen.push(event);
        if found {
            break;
        }
    }
    seen
}

#[test]
fn the_life_of_each_worker_is_told() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let mut events = pool.events();
        pool.run(json!("Exit")).await.unwrap_err();
        let pid = pool.run(json!("Pid")).await.unwrap();
        pool.close().await;
        let seen = until(&mut events, |_| false).await;
        let [
            Event::Started { worker: first },
            Event::Ready { worker: ready, .. },
            Event::Left {
                worker: left,
                death: Some(death),
            },
            Event::Drained,
            Event::Started { worker: second },
            Event::Ready {
                pid: Some(second_pid),
                ..
            },
            Event::Drained,
            Event::Left {
                death: Some(end), ..
            },
        ] = seen.as_slice()
        else {
            panic!("{seen:#?}")
        };
        assert!(first == ready && first == left && first != second);
        assert_eq!(death.cause, Cause::Exited(7));
        assert_eq!(json!(second_pid), pid);
        assert_eq!(end.cause, Cause::Exited(0));
        assert!(events.next().await.is_none() && pool.events().next().await.is_none());
    });
}

#[test]
fn who_does_not_listen_misses_the_oldest_events_and_is_told() {
    scene(async |oracle| {
        let mut limits = limits(1);
        limits.queue = 0;
        let pool = program(oracle, limits);
        let mut task = pool.try_run(json!("Count")).unwrap();
        assert!(task.next_progress().await.is_some());
        let mut events = pool.events();
        for n in 0..2000 {
            let error = pool.try_run(square(n)).unwrap_err();
            assert!(matches!(error, TaskError::QueueFull(_)), "{error:?}");
        }
        let Some(Event::Missed(missed)) = events.try_next() else {
            panic!("nothing is missing")
        };
        let mut seen = 0;
        while let Some(event) = events.try_next() {
            assert!(matches!(event, Event::Full), "{event:?}");
            seen += 1;
        }
        assert_eq!((missed, seen), (976, 1024));
        drop(task);
        pool.close().await;
    });
}

#[test]
fn what_a_module_sends_by_itself_is_an_event() {
    if procession_testkit::node::or_skip("what_a_module_sends_by_itself").is_none() {
        return;
    }
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("speaks.js");
        let text = "module.exports = (n) => { process.send({ note: n }); return n; };";
        std::fs::write(&module, text).unwrap();
        let mut command = node_task(&module);
        command.envs([oracle.tag()]);
        let pool = Program::processes(limits(1), &command).unwrap();
        let mut events = pool.events();
        assert_eq!(pool.run(json!(5)).await.unwrap(), json!(5));
        let is_message = |event: &Event| matches!(event, Event::Message { .. });
        let seen = until(&mut events, is_message).await;
        let Some(Event::Message { message, .. }) = seen.last() else {
            panic!("{seen:#?}")
        };
        assert_eq!(message.decode::<Value>().unwrap(), json!({ "note": 5 }));
        pool.close().await;
    });
}

#[test]
fn own_rules_say_who_is_next_and_who_gets_it() {
    scene(async |oracle| {
        let rank = |task: &Value, _priority: i32| -task["Sleep"].as_i64().unwrap_or(0);
        let pool: Program = Processes::new(limits(1), &worker(oracle))
            .rank(rank)
            .start()
            .unwrap();
        let mut first = pool.try_run(json!("Count")).unwrap();
        assert!(first.next_progress().await.is_some());
        let mut tasks = Vec::new();
        for millis in [1, 3, 2] {
            tasks.push(pool.try_run(json!({ "Sleep": millis })).unwrap());
        }
        first.cancel();
        let mut order = Vec::new();
        std::future::poll_fn(|cx| {
            tasks.retain_mut(|task| match std::pin::pin!(task).poll(cx) {
                std::task::Poll::Ready(result) => {
                    order.push(result.unwrap());
                    false
                }
                std::task::Poll::Pending => true,
            });
            match tasks.is_empty() {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
        assert_eq!(order, [3, 2, 1]);
        pool.close().await;

        let mut limits = limits(2);
        limits.workers = 2..=2;
        let last = |_: &Value, loads: &[Load]| loads.iter().rposition(|load| load.worker.slot == 1);
        let pool: Program = Processes::new(limits, &worker(oracle))
            .balance(last)
            .start()
            .unwrap();
        let mut pids = BTreeSet::new();
        for _ in 0..20 {
            pids.insert(pool.run(json!("Pid")).await.unwrap().as_u64());
        }
        assert_eq!((pids.len(), pool.stats().workers), (1, 2));
        pool.close().await;
    });
}

#[test]
fn limits_that_cannot_be_kept_are_named() {
    scene(async |oracle| {
        let refused = |limits: Limits| {
            let error = Program::processes(limits, &worker(oracle)).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            cause.unwrap_or_else(|| error.to_string())
        };
        let of_workers = |workers| refused(Limits::new(workers));
        #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
        let reversed = of_workers(3..=2);
        assert!(
            reversed.contains("`workers` of a pool is 3..=2"),
            "{reversed}"
        );
        assert!(of_workers(0..=0).contains("`workers.end()` of a pool is 0"));
        let mut limits = limits(1);
        limits.concurrency = 0;
        assert!(refused(limits).contains("`concurrency`"));
    });
    let mut command = Command::new("sh");
    command.ipc(Serialization::Json);
    let error = Program::processes(Limits::new(1..=1), &command).unwrap_err();
    assert!(matches!(error, PoolError::NoRuntime), "{error}");
}

/// A task with bytes in it.
#[derive(Debug, serde::Serialize)]
enum Bytes {
    Mirror(Payload),
    Pid,
}

#[test]
fn large_payloads_are_shared_and_small_ones_sent() {
    for serialization in [Serialization::Json, Serialization::Advanced] {
        scene(async |oracle| {
            let mut command = worker(oracle);
            command.ipc(serialization);
            let pool = Pool::<Bytes, Payload>::processes(limits(1), &command).unwrap();
            // The last would not fit into a frame.
            for length in [0, 10, 2047, 2048, 65_535, 65_536, 5 << 20, 70 << 20] {
                let sent = Payload::from(vec![b'p'; length]);
                let got = pool.run(Bytes::Mirror(sent.clone())).await.unwrap();
                assert!(got == sent, "{length} bytes");
            }
            pool.close().await;
            assert_eq!(pool.stats().started, 1);
        });
    }
}

#[test]
fn many_large_payloads_leave_nothing_behind() {
    scene(async |oracle| {
        let mut limits = limits(2);
        limits.concurrency = 4;
        let pool = Pool::<Bytes, Payload>::processes(limits, &worker(oracle)).unwrap();
        let task = |n: u8| Bytes::Mirror(Payload::from(vec![n; 70_000 + usize::from(n)]));
        let mut results = pool.map((0..200).map(task)).width(16);
        for n in 0..200 {
            let got = results.next().await.unwrap().unwrap();
            assert!(got.len() == 70_000 + usize::from(n) && got[69_999] == n);
        }
        drop(results);
        let error = pool.run(Bytes::Pid).await.unwrap_err();
        assert!(matches!(error, TaskError::Unreadable { .. }), "{error:?}");
        pool.close().await;
        assert_eq!(pool.stats().killed + pool.stats().crashed, 0);
    });
}

#[test]
fn nodes_buffers_are_payloads() {
    if procession_testkit::node::or_skip("nodes_buffers_are_payloads").is_none() {
        return;
    }
    for (serialization, length) in [
        (Serialization::Json, 10),
        (Serialization::Advanced, 100_000),
    ] {
        scene(async |oracle| {
            let folder = tempfile::tempdir().unwrap();
            let module = folder.path().join("mirror.js");
            let text = "module.exports = (bytes) => Buffer.from(bytes).reverse();";
            std::fs::write(&module, text).unwrap();
            let mut command = node_task(&module);
            command.ipc(serialization).envs([oracle.tag()]);
            let pool = Pool::<Payload, Payload>::processes(limits(1), &command).unwrap();
            let mut bytes = vec![0; length];
            bytes[0] = 9;
            let got = pool.run(Payload::from(bytes)).await.unwrap();
            assert!(got.len() == length && got[length - 1] == 9 && got[0] == 0);
            pool.close().await;
        });
    }
}

#[test]
fn a_task_that_is_too_long_or_cannot_be_written_comes_back() {
    /// A task that some have no way to write.
    #[derive(Debug)]
    struct Odd(bool);
    impl serde::Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                true => Err(serde::ser::Error::custom("too odd")),
                false => panic!("as odd as it gets"),
            }
        }
    }
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let pid = pool.run(json!("Pid")).await.unwrap();
        let long = Value::from("x".repeat(65 << 20));
        let error = pool.run(long).await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        let Some(Value::String(back)) = error.into_task() else {
            panic!("the task is lost")
        };
        assert_eq!(back.len(), 65 << 20);
        assert_eq!(pool.run(json!("Pid")).await.unwrap(), pid);
        pool.close().await;

        let pool = Pool::<Odd, Value>::processes(limits(1), &worker(oracle)).unwrap();
        for (odd, why) in [(true, "too odd"), (false, "as odd as it gets")] {
            let error = pool.run(Odd(odd)).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.into_task().map(|task| task.0), Some(odd));
        }
        pool.close().await;
        assert_eq!(pool.stats().started, 1);
    });
}

#[test]
fn methods_are_called_by_their_names() {
    let mut programs = vec!["rust"];
    if procession_testkit::node::or_skip("methods_of_node_are_called").is_some() {
        programs.extend(["cjs", "mjs"]);
    }
    for kind in programs {
        scene(async |oracle| {
            let folder = tempfile::tempdir().unwrap();
            let module = folder.path().join(format!("methods.{kind}"));
            let mut command = match kind {
                "rust" => {
                    let mut command = Command::new(example("pool_methods"));
                    command.ipc(Serialization::Json);
                    command
                }
                "cjs" => {
                    let text = "exports.add = (a, b) => a + b;
                        exports.shout = async (text) => text.toUpperCase();
                        exports.version = 5;";
                    std::fs::write(&module, text).unwrap();
                    node_methods(&module)
                }
                _ => {
                    let text = "export const add = (a, b) => a + b;
                        export const shout = async (text) => text.toUpperCase();";
                    std::fs::write(&module, text).unwrap();
                    node_methods(&module)
                }
            };
            command.envs([oracle.tag()]);
            let pool = Pool::<Call, Reply>::processes(limits(1), &command).unwrap();
            assert_eq!(pool.call::<i64>("add", (4, 6)).await.unwrap(), 10);
            assert_eq!(pool.call::<String>("shout", "hey").await.unwrap(), "HEY");
            let names: Vec<String> = pool.call("methods", ()).await.unwrap();
            assert_eq!(names, ["add", "shout"], "{kind}");
            let error = pool.call::<i64>("toString", ()).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("no method `toString`"), "{kind}: {text}");
            let error = pool.call::<i64>("shout", "hey").await.unwrap_err();
            assert!(matches!(error, TaskError::Unreadable { .. }), "{error:?}");
            if kind == "rust" {
                let error = pool.call::<i64>("add", "one").await.unwrap_err();
                let text = error.to_string();
                assert!(text.contains("arguments cannot be read"), "{text}");
            }
            pool.close().await;
            assert_eq!(pool.stats().started, 1);
        });
    }
}

#[test]
fn a_method_has_its_types_once() {
    let mut programs = vec!["rust"];
    if procession_testkit::node::or_skip("a_method_of_node_has_its_types_once").is_some() {
        programs.push("node");
    }
    for kind in programs {
        scene(async |oracle| {
            let folder = tempfile::tempdir().unwrap();
            let module = folder.path().join("methods.js");
            let text = "exports.add = (a, b) => a + b;
                exports.shout = async (text) => text.toUpperCase();";
            std::fs::write(&module, text).unwrap();
            let mut command = match kind {
                "rust" => Command::new(example("pool_methods")),
                _ => node_methods(&module),
            };
            command.envs([oracle.tag()]);
            let pool = Pool::<Call, Reply>::processes(limits(1), &command).unwrap();
            let add = pool.method::<(i64, i64), i64>("add");
            assert_eq!(add.call((4, 6)).await.unwrap(), 10);
            let (again, shout): (_, Method<&str, String>) = (add.clone(), pool.method("shout"));
            assert_eq!(again.name(), "add");
            drop(add);
            // Side by side, each with its own.
            let (sum, text) = tokio::join!(again.call((-1, 1)), shout.call("hey"));
            assert_eq!((sum.unwrap(), text.unwrap().as_str()), (0, "HEY"), "{kind}");
            let error = pool.method::<(), ()>("sub").call(()).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("no method `sub`"), "{kind}: {text}");
            let error = pool
                .method::<&str, u8>("shout")
                .call("hey")
                .await
                .unwrap_err();
            assert!(matches!(error, TaskError::Unreadable { .. }), "{error:?}");
            pool.close().await;
            assert_eq!(pool.stats().started, 1);
        });
    }
}

#[test]
fn a_call_has_terms_of_its_own() {
    scene(async |oracle| {
        let mut command = Command::new(example("pool_methods"));
        command.envs([oracle.tag()]);
        let pool = Pool::<Call, Reply>::processes(limits(1), &command).unwrap();
        let token = CancellationToken::new();
        token.cancel();
        let terms = Terms {
            cancel: Some(token),
            ..Terms::default()
        };
        // No worker has begun to start: nobody has run in this runtime but us.
        let add = pool.method::<(i64, i64), i64>("add");
        for error in [
            pool.call_with::<i64>("add", (1, 2), terms.clone())
                .await
                .unwrap_err(),
            add.call_with((1, 2), terms).await.unwrap_err(),
        ] {
            assert!(matches!(error, TaskError::CanceledInQueue(_)), "{error:?}");
            assert_eq!(error.into_task().unwrap().method(), "add");
        }
        let terms = Terms {
            run_timeout: Some(LIMIT),
            ..Terms::default()
        };
        let sum: i64 = pool.call_with("add", (1, 2), terms).await.unwrap();
        assert_eq!(sum, 3);
        pool.close().await;
    });
}

/// It is its own pool here, as who runs it sees it.
#[test]
fn the_example_of_methods_prints_what_its_workers_say() {
    scene(async |oracle| {
        let mut command = Command::new(example("pool_methods"));
        let output = command.envs([oracle.tag()]).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "3 HELLO\n");
    });
}

#[test]
fn a_task_in_a_process_knows_its_number_and_its_place() {
    scene(async |oracle| {
        let mut limits = limits(2);
        limits.workers = 2..=2;
        let pool = program(oracle, limits);
        let mut busy = pool.try_run(json!("Count")).unwrap();
        assert!(busy.next_progress().await.is_some());
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            let task = pool.try_run(json!("Id")).unwrap();
            let id = task.id();
            assert_eq!(task.await.unwrap(), json!(id.0));
            seen.insert(pool.run(json!("Slot")).await.unwrap().as_u64().unwrap());
        }
        assert!(
            seen.len() == 1 && seen.iter().all(|slot| *slot < 2),
            "{seen:?}"
        );
        let mut other = pool.try_run(json!("Count")).unwrap();
        assert!(other.next_progress().await.is_some());
        drop(busy);
        // The other place is free now, and only that.
        let slot = pool.run(json!("Slot")).await.unwrap().as_u64().unwrap();
        assert!(slot < 2 && !seen.contains(&slot), "{slot} {seen:?}");
        drop(other);
        pool.close().await;
    });
}

#[test]
fn no_task_misses_its_cancellation_among_busy_neighbours() {
    scene(async |oracle| {
        let mut limits = limits(2);
        limits.concurrency = 4;
        limits.grace = Duration::from_secs(20);
        let pool = program(oracle, limits);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..240_u64 {
            let pool = pool.clone();
            tasks.spawn(async move {
                let kind = match n % 4 {
                    0 => return assert_eq!(pool.run(square(n)).await.unwrap(), json!(n * n)),
                    1 => "Count",
                    2 => "Word",
                    _ => "Token",
                };
                let mut task = pool.try_run(json!(kind)).unwrap();
                assert!(task.next_progress().await.is_some());
                task.cancel();
                let error = task.await.unwrap_err();
                let in_time = matches!(error, TaskError::Canceled(Stopped::InTime));
                assert!(in_time, "{kind}: {error:?}");
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        pool.close().await;
        let stats = pool.stats();
        assert_eq!((stats.killed, stats.crashed, stats.lost), (0, 0, 0));
    });
}
