//! Pools over processes: our own program, and Node with users' modules.

use std::time::Duration;

use procession::child_process::Command;
use procession::ipc::Serialization;
use procession::pool::{Cause, Event, Limits, Pool, Stopped, TaskError, Terms, node_task};
use procession_testkit::example;
use procession_testkit::leaks::Oracle;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::LIMIT;

type Program = Pool<Value, u64, u64>;

/// As in the other file; each child is in the oracle's view.
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

fn limits(workers: u32) -> Limits {
    let mut limits = Limits::new(1..=workers);
    limits.grace = Duration::from_secs(5);
    limits
}

fn program(oracle: &Oracle, limits: Limits) -> Program {
    program_by(oracle, limits, Serialization::Json)
}

fn program_by(oracle: &Oracle, limits: Limits, serialization: Serialization) -> Program {
    let mut command = Command::new(example("pool_worker"));
    command.ipc(serialization).envs([oracle.tag()]);
    Pool::processes(limits, &command).unwrap()
}

/// A pool of Node over a module with this text.
fn node(
    oracle: &Oracle,
    limits: Limits,
    name: &str,
    text: &str,
) -> (Pool<Value, Value, Value>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join(name);
    std::fs::write(&module, text).unwrap();
    let mut command = node_task(&module);
    command.envs([oracle.tag()]);
    (Pool::processes(limits, &command).unwrap(), folder)
}

fn square(n: u64) -> Value {
    json!({ "Square": n })
}

#[test]
fn tasks_go_to_processes_and_results_come_back() {
    for serialization in [Serialization::Json, Serialization::Advanced] {
        scene(async |oracle| {
            let pool = program_by(oracle, limits(2), serialization);
            let mut results = pool.map((0..500).map(square));
            for n in 0..500_u64 {
                assert_eq!(results.next().await.unwrap().unwrap(), n * n);
            }
            drop(results);
            pool.close().await;
            let stats = pool.stats();
            assert_eq!((stats.done, stats.crashed, stats.killed), (500, 0, 0));
        });
    }
}

#[test]
fn a_process_that_dies_loses_its_task_alone() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let doomed = pool.try_run(json!("Exit")).unwrap();
        let next = pool.try_run(square(3)).unwrap();
        let error = doomed.await.unwrap_err();
        let TaskError::WorkerDied { death } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(death.cause, Cause::Exited(7));
        assert_eq!(death.last_words, "farewell");
        assert_eq!(next.await.unwrap(), 9);
        let stats = pool.stats();
        assert_eq!((stats.lost, stats.crashed, stats.started), (1, 1, 2));
        pool.close().await;
    });
}

#[test]
fn a_panic_in_a_process_replaces_it() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let first = pool.run(json!("Pid")).await.unwrap();
        let error = pool.run(json!("Panic")).await.unwrap_err();
        assert_eq!(error.to_string(), "task panicked: as I was told");
        assert_ne!(pool.run(json!("Pid")).await.unwrap(), first);
        pool.close().await;
    });
}

#[test]
fn a_cancelled_process_that_ends_in_time_is_used_again() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let pid = pool.run(json!("Pid")).await.unwrap();
        let mut task = pool.try_run(json!("Count")).unwrap();
        assert!(task.next_progress().await.is_some());
        task.cancel();
        let error = task.await.unwrap_err();
        assert!(
            matches!(error, TaskError::Canceled(Stopped::InTime)),
            "{error:?}"
        );
        assert_eq!(pool.run(json!("Pid")).await.unwrap(), pid);
        pool.close().await;
    });
}

#[test]
fn a_deaf_process_is_killed() {
    scene(async |oracle| {
        let mut limits = limits(1);
        limits.grace = Duration::from_millis(50);
        let pool = program(oracle, limits);
        let terms = Terms {
            run_timeout: Some(Duration::from_millis(50)),
            ..Terms::default()
        };
        let error = pool.run_with(json!("Hang"), terms).await.unwrap_err();
        assert!(
            matches!(error, TaskError::TimedOut(Stopped::ByForce)),
            "{error:?}"
        );
        assert_eq!(pool.run(square(4)).await.unwrap(), 16);
        assert_eq!((pool.stats().killed, pool.abandoned()), (1, 0));
        pool.destroy().await;
    });
}

#[test]
fn each_task_may_have_a_process_of_its_own() {
    scene(async |oracle| {
        let mut limits = limits(1);
        limits.max_tasks = Some(1);
        let pool = program(oracle, limits);
        let first = pool.run(json!("Pid")).await.unwrap();
        assert_ne!(pool.run(json!("Pid")).await.unwrap(), first);
        pool.close().await;
    });
}

#[test]
fn a_task_that_the_program_does_not_know_fails_alone() {
    scene(async |oracle| {
        let pool = program(oracle, limits(1));
        let error = pool.run(json!({ "Cube": 3 })).await.unwrap_err();
        let TaskError::Failed { message } = &error else {
            panic!("{error:?}")
        };
        assert!(message.starts_with("the task cannot be read"), "{message}");
        assert_eq!(pool.run(square(2)).await.unwrap(), 4);
        assert_eq!(pool.stats().started, 1);
        pool.close().await;
    });
}

#[test]
fn a_command_without_a_channel_gets_one() {
    scene(async |oracle| {
        let mut command = Command::new(example("pool_worker"));
        command.envs([oracle.tag()]);
        let pool = Program::processes(limits(1), &command).unwrap();
        assert_eq!(pool.run(square(7)).await.unwrap(), 49);
        pool.close().await;
    });
}

/// A worker in another language: it has nothing of ours, only the channel.
const TEN_LINES: &str = include_str!("../../../../interop/pool/ten_lines.js");

#[test]
fn ten_lines_of_node_are_a_worker() {
    if procession_testkit::node::or_skip("ten_lines_of_node_are_a_worker").is_none() {
        return;
    }
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("worker.js");
        std::fs::write(&module, TEN_LINES).unwrap();
        let mut command = Command::node(&module);
        command.envs([oracle.tag()]);
        let pool = Pool::<Value, u64>::processes(limits(1), &command).unwrap();
        let mut events = pool.events();
        let mut results = pool.map((10..20).map(Value::from));
        for fib in [55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181] {
            assert_eq!(results.next().await.unwrap().unwrap(), fib);
        }
        drop(results);
        // No number: it calls itself until it throws.
        let error = pool.run(json!("twelve")).await.unwrap_err();
        let TaskError::Failed { message } = &error else {
            panic!("{error:?}")
        };
        assert!(message.contains("call stack"), "{message}");
        assert_eq!(
            (pool.run(json!(20)).await.unwrap(), pool.stats().started),
            (6765, 1)
        );
        // For the rest of our lives; the other one waits.
        let doomed = pool.try_run(json!(100)).unwrap();
        let next = pool.try_run(json!(6)).unwrap();
        let pid = loop {
            if let Event::Ready { pid, .. } = events.next().await.unwrap() {
                break pid.unwrap();
            }
        };
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let error = doomed.await.unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { .. }), "{error:?}");
        assert_eq!(next.await.unwrap(), 8);
        let stats = pool.stats();
        assert_eq!((stats.lost, stats.started, stats.killed), (1, 2, 0));
        assert_eq!(pool.close_within(LIMIT).await, Ok(()));
    });
}

/// What is printed is what runs.
#[test]
fn the_ten_lines_are_the_ones_in_the_books() {
    assert_eq!(TEN_LINES.lines().count(), 10);
    let chapter = include_str!("../../../../docs/pool.md");
    assert!(chapter.contains(&format!("```js\n{TEN_LINES}```")));
    let page = include_str!("../../src/pool/processes.rs").replace("    /// ", "");
    assert!(page.contains(&format!("```js\n{TEN_LINES}```")));
}

#[test]
fn a_program_that_is_not_there_gives_the_task_back() {
    scene(async |_| {
        let mut command = Command::new("/nowhere/at/all");
        command.ipc(Serialization::Json);
        let pool = Program::processes(limits(1), &command).unwrap();
        let error = pool.run(square(5)).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
        assert_eq!(error.into_task().unwrap(), square(5));
        pool.close().await;
    });
}

#[test]
fn a_runtime_that_ends_leaves_no_process_and_nobody_waiting() {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pool = runtime.block_on(async {
        let pool = program(&oracle, limits(1));
        pool.run(square(1)).await.unwrap();
        pool
    });
    let task = pool.try_run(json!("Hang")).unwrap();
    drop(runtime);
    let error = task.wait_blocking().unwrap_err();
    assert!(!matches!(error, TaskError::QueueFull(_)), "{error:?}");
    drop(pool);
    oracle.check();
}

#[test]
fn piscinas_modules_run_unchanged() {
    let modules = [
        ("add.js", "module.exports = ({ a, b }) => a + b;"),
        ("add.cjs", "module.exports = async ({ a, b }) => a + b;"),
        (
            "add.mjs",
            "export default ({ a, b }) => Promise.resolve(a + b);",
        ),
        (
            "ready.js",
            "module.exports = new Promise((done) => setImmediate(() => done(({ a, b }) => a + b)));",
        ),
    ];
    if procession_testkit::node::or_skip("piscinas_modules_run_unchanged").is_none() {
        return;
    }
    for (name, text) in modules {
        scene(async |oracle| {
            let (pool, _folder) = node(oracle, limits(1), name, text);
            let sum = pool.run(json!({ "a": 4, "b": 6 })).await;
            assert_eq!(sum.unwrap(), json!(10), "{name}");
            pool.close().await;
        });
    }
}

#[test]
fn what_a_module_throws_fails_its_task_alone() {
    if procession_testkit::node::or_skip("what_a_module_throws_fails_its_task_alone").is_none() {
        return;
    }
    let text = "module.exports = async (n) => {
        if (n === 1) throw new Error('one is bad');
        if (n === 2) return 2n;
        if (n === 3) process.exit(9);
        return n;
    };";
    scene(async |oracle| {
        let (pool, _folder) = node(oracle, limits(1), "bad.js", text);
        let error = pool.run(json!(1)).await.unwrap_err();
        assert_eq!(error.to_string(), "task failed: one is bad");
        let error = pool.run(json!(2)).await.unwrap_err();
        assert!(error.to_string().contains("BigInt"), "{error}");
        let (third, fourth) = (
            pool.try_run(json!(3)).unwrap(),
            pool.try_run(json!(4)).unwrap(),
        );
        let error = third.await.unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { .. }), "{error:?}");
        assert_eq!(fourth.await.unwrap(), json!(4));
        assert_eq!((pool.stats().started, pool.stats().lost), (2, 1));
        pool.close().await;
    });
}

#[test]
fn a_module_hears_the_abort_and_tells_its_progress() {
    if procession_testkit::node::or_skip("a_module_hears_the_abort").is_none() {
        return;
    }
    let text = "exports.wait = (task, { signal, progress }) => new Promise((_, fail) => {
        progress(task);
        const timer = setInterval(() => {}, 1000);
        signal.addEventListener('abort', () => { clearInterval(timer); fail(signal.reason); });
    });
    exports.pid = () => process.pid;";
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("wait.js");
        std::fs::write(&module, text).unwrap();
        let mut command = node_task(&module);
        command.arg("wait").envs([oracle.tag()]);
        let mut limits = limits(1);
        limits.concurrency = 2;
        let pool = Pool::<Value, Value, Value>::processes(limits, &command).unwrap();
        let mut one = pool.try_run(json!("one")).unwrap();
        let mut two = pool.try_run(json!("two")).unwrap();
        assert_eq!(one.next_progress().await, Some(json!("one")));
        assert_eq!(two.next_progress().await, Some(json!("two")));
        assert_eq!(pool.stats().workers, 1);
        one.cancel();
        let error = one.await.unwrap_err();
        assert!(
            matches!(error, TaskError::Canceled(Stopped::InTime)),
            "{error:?}"
        );
        assert_eq!(pool.stats().running, 1, "the neighbour lives");
        drop(two);
        pool.close().await;
        assert_eq!(pool.stats().killed, 0);
    });
}

#[test]
fn a_module_that_is_none_says_so() {
    if procession_testkit::node::or_skip("a_module_that_is_none_says_so").is_none() {
        return;
    }
    scene(async |oracle| {
        let (pool, _folder) = node(oracle, limits(1), "none.js", "module.exports = 5;");
        let error = pool.run(json!(1)).await.unwrap_err();
        let TaskError::NoWorker { task, death } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*task, json!(1));
        let words = &death.last_words;
        assert!(words.contains("exports no function"), "{death}");
        pool.close().await;
    });
}
