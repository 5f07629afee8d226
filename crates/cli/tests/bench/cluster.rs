//! A load of a `procession run`, worker by worker.

use procession::child_process::Signal;
use procession_testkit::{node, wait};

use super::stage::{HELLO, Stage};

#[test]
fn what_each_worker_got_is_told() {
    let Some(_) = node::or_skip("procession bench --cluster") else {
        return;
    };
    let stage = Stage::new(&[("hello.js", HELLO)]);
    let run = stage.start(&[
        "run",
        "-i",
        "2",
        "--balance",
        "round-robin",
        "--status",
        "c.sock",
        "hello.js",
    ]);
    run.said("(2 workers)");
    wait::until("the status", || stage.path("c.sock").exists().then_some(()));
    // It knows where the cluster listens.
    let words = [
        "bench",
        "--cluster",
        "c.sock",
        "--watch-pids",
        "-c",
        "4",
        "-a",
        "100",
    ];
    let seen = stage.see(&stage.command(&[&words[..], &["-j"]].concat()));
    assert_eq!(seen.code, Some(0), "{seen:?}");
    let json = seen.json();
    let workers = json["cluster"]["workers"].as_array().unwrap();
    let sum = |key: &str| {
        workers
            .iter()
            .map(|worker| worker[key].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(workers.len(), 2);
    // One is the look before it.
    assert_eq!(sum("connections"), 5, "{json}");
    assert_eq!(sum("answers"), 100, "{json}");
    assert_eq!(json["cluster"]["restarts"], 0);

    let seen = stage.see(&stage.command(&words));
    assert!(
        seen.out.contains("\ncluster\n  worker 1  pid "),
        "{}",
        seen.out
    );
    run.signal(Signal::TERM);
    assert_eq!(run.wait().code, Some(0));
    let gone = stage.see(&stage.command(&words));
    assert_eq!(gone.code, Some(1));
    assert!(
        gone.err.starts_with("error: nobody answers at `c.sock`\n"),
        "{}",
        gone.err
    );
    stage.end();
}
