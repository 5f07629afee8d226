//! The forms of what is written, and the status.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use procession::child_process::{Command, Exit, Signal, Stdio};
use procession_testkit::{node, wait};
use serde_json::{Value, json};

use super::stage::{HELLO, Stage, get, kill, objects};

/// Says something on both streams, then serves.
const TALKS: &str = "
console.log('one', process.argv.slice(2), process.env.FROM_FLAG, process.env.FROM_FILE);
process.stderr.write('two\\nthr');
setTimeout(() => {
  process.stderr.write('ee\\n');
  require('http').createServer((q, s) => s.end('hi')).listen(0, '127.0.0.1');
}, 1);
";

#[test]
fn lines_are_numbered_and_what_happens_is_told_beside_them() {
    let Some(_) = node::or_skip("lines of procession run") else {
        return;
    };
    let stage = Stage::new(&[("talks.js", TALKS), ("v.env", "FROM_FILE='a b' # c\n")]);
    let words = [
        "-i",
        "1",
        "--name",
        "api",
        "--env",
        "FROM_FLAG=x=y",
        "--env-file",
        "v.env",
    ];
    let mut run = stage.run(&[&words[..], &["talks.js", "-i", "9"]].concat());
    let at = run.address();
    let pid = run.worker(1);
    kill(pid, Signal::KILL);
    let next = run.worker(2);
    run.said("all is well again: 1 worker ready");
    assert_eq!(run.stop().code(), Some(0));

    let line = |worker| format!("[api {worker}] one [ '-i', '9' ] x=y a b\n");
    assert_eq!(run.out(), line(1) + &line(2));
    let err = run.err();
    // The worker was killed with a life of its own.
    let lines = err
        .lines()
        .map(|line| line.split(" after ").next().unwrap());
    let lines: Vec<&str> = lines.collect();
    let expected = [
        format!("api: worker 1 started, pid {pid}"),
        "[api 1] two".into(),
        "[api 1] three".into(),
        format!("api: listening on http://{at} (1 worker)"),
        format!("api: worker 1 (pid {pid}) was ended by SIGKILL (killed)"),
    ];
    assert_eq!(lines[..5], expected, "{err}");
    let expected = [
        "api: stopping (SIGTERM): workers have 8 s; once more kills them".to_owned(),
        format!("api: worker 2 left, pid {next}"),
        "api: stopped".into(),
    ];
    assert_eq!(lines[lines.len() - 3..], expected, "{err}");
    stage.end();
}

#[test]
fn raw_is_what_workers_write() {
    let Some(_) = node::or_skip("raw lines of procession run") else {
        return;
    };
    let stage = Stage::new(&[("talks.js", TALKS)]);
    let mut run = stage.run(&["-i", "2", "--raw", "talks.js"]);
    run.said("(2 workers)");
    run.stop();
    assert_eq!(run.out(), "one [] undefined undefined\n".repeat(2));
    stage.end();
}

#[test]
fn json_is_an_object_for_everything() {
    let Some(_) = node::or_skip("procession run --json") else {
        return;
    };
    let stage = Stage::new(&[("talks.js", TALKS)]);
    let mut run = stage.run(&["-i", "1", "--json", "talks.js"]);
    wait::until("it is ready", || {
        run.out().contains("all_ready").then_some(())
    });
    assert_eq!(run.stop().code(), Some(0));
    assert_eq!(run.err(), "");
    let objects = objects(&run.out());
    assert!(objects.iter().all(|object| object["time"].is_f64()));
    let kinds: Vec<&str> = objects
        .iter()
        .map(|o| o["kind"].as_str().unwrap())
        .collect();
    let expected = [
        "fork",
        "online",
        "output",
        "listening",
        "ready",
        "all_ready",
        "signal",
        "disconnect",
        "exit",
        "over",
    ];
    for kind in expected {
        assert!(kinds.contains(&kind), "no {kind} among {kinds:?}");
    }
    let of = |kind: &str| {
        objects
            .iter()
            .find(|object| object["kind"] == kind)
            .unwrap()
    };
    let output: Vec<_> = objects.iter().filter(|o| o["kind"] == "output").collect();
    let text = |stream: &str| -> Vec<&Value> {
        let lines = output.iter().filter(|o| o["stream"] == stream);
        lines.map(|o| &o["text"]).collect()
    };
    assert_eq!(text("stdout"), ["one [] undefined undefined"]);
    assert_eq!(text("stderr"), ["two", "three"]);
    assert_eq!(of("listening")["at"]["address"], "127.0.0.1");
    assert_eq!(of("exit")["code"], 0);
    assert_eq!(of("exit")["expected"], true);
    assert_eq!(of("signal")["signal"], "SIGTERM");
    assert_eq!(of("over")["end"], "stopped");
    stage.end();
}

#[test]
fn status_is_told_at_a_private_socket_and_on_a_signal() {
    let Some(_) = node::or_skip("the status of procession run") else {
        return;
    };
    let stage = Stage::new(&[("hello.js", HELLO)]);
    // What a run that was killed has left.
    drop(UnixListener::bind(stage.path("status")).unwrap());
    let mut run = stage.run(&["-i", "2", "--name", "api", "--status", "status", "hello.js"]);
    let at = run.address();
    (0..4).for_each(|_| drop(get(at)));
    let mode = fs::metadata(stage.path("status"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let status = wait::until("all connections are counted", || {
        let (code, out, err) = stage.screen(&["status", "status"]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let status: Value = serde_json::from_str(&out).unwrap();
        (status["listeners"][0]["accepted"] == 4).then_some(status)
    });
    assert_eq!(
        (&status["name"], &status["pid"]),
        (&json!("api"), &json!(run.pid()))
    );
    assert_eq!(
        (&status["wanted"], &status["ready"]),
        (&json!(2), &json!(2))
    );
    let pids = [1, 2].map(|number| json!(run.worker(number)));
    let workers = status["workers"].as_array().unwrap();
    assert_eq!(
        [&workers[0]["pid"], &workers[1]["pid"]],
        [&pids[0], &pids[1]]
    );
    assert_eq!(workers[0]["phase"], "ready");
    assert_eq!(status["listeners"][0]["at"]["port"], at.port());

    run.signal("SIGUSR1");
    let line = run.said("\"wanted\":2");
    let again: Value = serde_json::from_str(&line).unwrap();
    let keys =
        |status: &Value| -> Vec<String> { status.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&again), keys(&status));

    let (code, _, err) = stage.screen(&["run", "--status", "status", "hello.js"]);
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("error: `--status status`: another program listens there\n"),
        "{err}"
    );
    run.stop();
    assert!(!stage.path("status").exists(), "the socket's file is left");
    let (code, _, err) = stage.screen(&["status", "status"]);
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("error: nobody answers at `status`\n  cause: No such file"),
        "{err}"
    );
    stage.end();
}

/// A worker that floods, and nobody who reads: it serves all the same, and what
/// was dropped is told.
#[test]
fn a_reader_that_does_not_read_holds_up_no_worker() {
    let Some(_) = node::or_skip("procession run into a full pipe") else {
        return;
    };
    let floods = "
const line = 'x'.repeat(999) + '\\n';
for (let i = 0; i < 3000; i++) process.stdout.write(line);
require('http').createServer((q, s) => s.end('still here')).listen(0, '127.0.0.1');
";
    let stage = Stage::new(&[("floods.js", floods)]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = stage.command(&["run", "-i", "1", "floods.js"]);
    let mut run = stage.start_to(&mut command, Stdio::fd(writer));
    // Its copy of the pipe.
    drop(command);
    assert_eq!(get(run.address()), "still here");

    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(run.stop(), Exit::Code(0));
    let err = run.err();
    drop(run);
    let text = reading.join().unwrap().unwrap();
    assert!(
        text.matches("[1] xxx").count() < 3000,
        "everything was kept"
    );
    let told = text.contains("dropped here") || err.contains("dropped here");
    assert!(told, "{err}");
    stage.end();
}

/// By affinity: a control group's quota counts the same way, in std.
#[test]
fn max_is_as_many_as_may_run_here() {
    let Some(_) = node::or_skip("as many workers as processors") else {
        return;
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let Some(first) = allowed.and_then(|list| list.trim().split([',', '-']).next()) else {
        return;
    };
    let stage = Stage::new(&[("hello.js", HELLO)]);
    for (count, said) in [
        ("max", "(1 worker)"),
        ("-1", "(1 worker)"),
        ("2", "(2 workers)"),
    ] {
        let procession = env!("CARGO_BIN_EXE_procession");
        let mut command = Command::new("taskset");
        command.args(["-c", first, procession, "run", "-i", count, "hello.js"]);
        let mut run = stage.start(stage.prepare(&mut command));
        run.said(said);
        assert_eq!(run.stop(), Exit::Code(0));
    }
    stage.end();
}
