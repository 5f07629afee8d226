//! The events of a child, in Node's order.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/processes.rs"]
mod processes;
mod support;

use std::time::Duration;

use processes::{is_alive, state};
use procession::child_process::{Command, Event, Events, Tree};
use procession::ipc::Serialization;
use procession::{Exit, Signal, SpawnError, Stdio};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use support::{scene, tagged, testkit};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

/// An event in a word; the pieces of an output together are one.
fn word(event: &Event) -> String {
    match event {
        Event::Spawn { .. } => "spawn".into(),
        Event::Error(error) => format!("error {}", error.node_code().unwrap_or("without a code")),
        Event::Aborted => "aborted".into(),
        Event::Stdout(bytes) => format!("stdout {}", String::from_utf8_lossy(bytes).trim()),
        Event::Stderr(bytes) => format!("stderr {}", String::from_utf8_lossy(bytes).trim()),
        Event::StdoutEnd => "stdout end".into(),
        Event::StderrEnd => "stderr end".into(),
        Event::Exit(exit) => format!("exit: {exit}"),
        Event::Close(exit) => exit.map_or("close".into(), |exit| format!("close: {exit}")),
        Event::Message(message) => format!("message {}", message.body().escape_ascii()),
        Event::ChannelError(error) => format!("channel error: {error}"),
        Event::Disconnect => "disconnect".into(),
        _ => panic!("an event without a word: {event:?}"),
    }
}

/// All events up to the close, after which there is none.
async fn told(events: &mut Events) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        told.push(word(&event));
    }
    assert!(events.next().await.is_none());
    told
}

fn shell(oracle: &Oracle, line: &str) -> Command {
    tagged(oracle, Command::shell(line), &[])
}

#[test]
fn a_plain_run() {
    scene(async |oracle| {
        for _ in 0..20 {
            let mut events = shell(oracle, "echo hi; exit 3").events();
            let pid = events.id().unwrap();
            let Some(Event::Spawn { pid: told_pid }) = events.next().await else {
                panic!("first the spawn");
            };
            assert_eq!(told_pid, pid);
            let rest = told(&mut events).await;
            let mut ends = rest[2..4].to_vec();
            ends.sort();
            assert_eq!(rest[..2], ["stdout hi", "exit: exited with code 3"]);
            assert_eq!(ends, ["stderr end", "stdout end"]);
            assert_eq!(rest[4..], ["close: exited with code 3"]);
        }
    });
}

#[test]
fn without_outputs_there_are_no_ends() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["exit", "0"]);
        command.stdout(Stdio::ignore()).stderr(Stdio::ignore());
        let told = told(&mut command.events()).await;
        let expected = [
            "spawn",
            "exit: exited with code 0",
            "close: exited with code 0",
        ];
        assert_eq!(told, expected);
    });
}

#[test]
fn an_output_that_ends_early_is_told_while_the_child_lives() {
    scene(async |oracle| {
        let mut events = testkit(oracle, &["close-stdout-live"]).events();
        let stdin = events.stdin.take().unwrap();
        let mut early = Vec::new();
        for _ in 0..3 {
            early.push(word(&events.next().await.unwrap()));
        }
        early[1..].sort();
        assert_eq!(early, ["spawn", "stderr ready", "stdout end"]);
        assert!(is_alive(events.id().unwrap()));
        drop(stdin);
        let told = told(&mut events).await;
        let expected = [
            "exit: exited with code 0",
            "stderr end",
            "close: exited with code 0",
        ];
        assert_eq!(told, expected);
    });
}

#[test]
fn the_close_waits_for_whoever_holds_an_output() {
    scene(async |oracle| {
        let mut events = testkit(oracle, &["grandchild-holds-stdout", "0.6"]).events();
        let told = told(&mut events).await;
        let (exit, close) = ("exit: exited with code 0", "close: exited with code 0");
        assert_eq!(told[0], "spawn");
        assert!(told[1].starts_with("stdout "), "{told:?}");
        assert_eq!(told[2..], [exit, "stderr end", "stdout end", close]);
    });
}

#[test]
fn an_abort_is_told_before_the_exit() {
    scene(async |oracle| {
        let token = CancellationToken::new();
        let mut command = testkit(oracle, &["ready-sleep"]);
        let mut events = command.cancel_on(token.clone()).events();
        assert_eq!(word(&events.next().await.unwrap()), "spawn");
        assert_eq!(word(&events.next().await.unwrap()), "stdout ready");
        token.cancel();
        let rest = told(&mut events).await;
        let ended = "was ended by SIGTERM (terminated)";
        assert_eq!(rest[..2], ["aborted".into(), format!("exit: {ended}")]);
        assert_eq!(rest[4..], [format!("close: {ended}")]);

        // Before the start is early enough.
        let mut command = testkit(oracle, &["ready-sleep"]);
        command.stdout(Stdio::ignore()).cancel_on(token);
        let rest = told(&mut command.events()).await;
        assert_eq!(
            rest,
            [
                "spawn".into(),
                "aborted".into(),
                format!("exit: {ended}"),
                "stderr end".into(),
                format!("close: {ended}")
            ]
        );
    });
}

#[test]
fn a_failed_start_is_an_error_and_never_an_exit() {
    scene(async |oracle| {
        let mut command = tagged(oracle, Command::new("/nonexistent"), &[]);
        let mut events = command.events();
        assert_eq!(events.id(), None);
        assert!(events.stdin.is_none());
        let told_here = told(&mut events).await;
        assert_eq!(
            told_here,
            ["error ENOENT", "stdout end", "stderr end", "close"]
        );
        command.stdout(Stdio::ignore()).stderr(Stdio::ignore());
        let told_here = told(&mut command.events()).await;
        assert_eq!(told_here, ["error ENOENT", "close"]);
    });
}

#[test]
fn without_a_runtime_that_is_the_error() {
    let oracle = Oracle::start();
    let mut events = testkit(&oracle, &["exit", "0"]).events();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let first = runtime.block_on(events.next());
    assert!(
        matches!(first, Some(Event::Error(SpawnError::NoRuntime { .. }))),
        "{first:?}"
    );
    let rest = runtime.block_on(told(&mut events));
    assert_eq!(rest.last().unwrap(), "close");
    drop(runtime);
    oracle.check();
}

#[test]
fn a_conversation() {
    scene(async |oracle| {
        let mut events = testkit(oracle, &["echo-lines"]).events();
        let mut stdin = events.stdin.take().unwrap();
        assert_eq!(word(&events.next().await.unwrap()), "spawn");
        for line in ["one", "two"] {
            stdin
                .write_all(format!("{line}\n").as_bytes())
                .await
                .unwrap();
            let answer = events.next().await.unwrap();
            assert_eq!(word(&answer), format!("stdout {line}"));
        }
        drop(stdin);
        assert_eq!(told(&mut events).await.len(), 4);
    });
}

#[test]
fn a_slow_listener_loses_nothing() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["flood-both", "3000000"]);
        let mut events = command.input(vec![0; 1 << 20]).events();
        let (mut out, mut err, mut last) = (Vec::new(), Vec::new(), None);
        while let Some(event) = events.next().await {
            // Everybody else gets a turn first.
            tokio::task::yield_now().await;
            if let Event::Stdout(bytes) = &event {
                out.extend_from_slice(bytes);
            } else if let Event::Stderr(bytes) = &event {
                err.extend_from_slice(bytes);
            } else {
                last = Some(word(&event));
            }
        }
        let whole: Vec<u8> = (b'a'..=b'z').cycle().take(3_000_000).collect();
        assert!(out == whole && err == whole);
        assert_eq!(last.as_deref(), Some("close: exited with code 0"));
    });
}

#[test]
fn a_timeout_ends_the_child() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["sleep", "60"]);
        command
            .timeout(Duration::from_millis(50))
            .stdout(Stdio::ignore())
            .stderr(Stdio::ignore());
        let told = told(&mut command.events()).await;
        let ended = "was ended by SIGTERM (terminated)";
        assert_eq!(
            told,
            [
                "spawn".into(),
                format!("exit: {ended}"),
                format!("close: {ended}")
            ]
        );
    });
}

/// The time-out was looked after by the same task that waits for the listener.
#[test]
fn a_timeout_holds_while_nobody_listens() {
    scene(async |oracle| {
        let mut command = shell(oracle, "exec yes");
        let mut events = command.timeout(Duration::from_millis(50)).events();
        let pid = events.id().unwrap();
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
        let told = told(&mut events).await;
        assert_eq!(
            told.last().unwrap(),
            "close: was ended by SIGTERM (terminated)"
        );
    });
}

/// A promise about the child, not about who listens to it.
#[test]
fn a_timeout_holds_when_the_events_are_dropped() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["sleep", "60"]);
        let events = command.timeout(Duration::from_millis(50)).events();
        let pid = events.id().unwrap();
        drop(events);
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_child_whose_events_are_dropped_goes_on_or_is_killed() {
    scene(async |oracle| {
        let (ours, theirs) = std::io::pipe().unwrap();
        let mut command = testkit(oracle, &["exit-on-eof", "0"]);
        command.stdin(std::os::fd::OwnedFd::from(ours));
        let mut events = command.events();
        let pid = events.id().unwrap();
        assert_eq!(word(&events.next().await.unwrap()), "spawn");
        assert_eq!(word(&events.next().await.unwrap()), "stdout ready");
        drop(events);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(is_alive(pid));
        drop(theirs);
        wait::until("no zombie", || state(pid).is_none().then_some(()));

        let mut events = command.kill_on_drop().tree(Tree::Process).events();
        drop(command);
        let pid = events.id().unwrap();
        assert_eq!(word(&events.next().await.unwrap()), "spawn");
        drop(events);
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    });
}

/// Each of its messages put off the exit by another moment.
#[test]
fn who_else_sends_over_the_channel_does_not_hold_back_the_exit() {
    scene(async |oracle| {
        let steadily = "while echo 2 >&3; do sleep 0.1; done";
        for sends in [steadily, "while echo 2 >&3; do :; done"] {
            let line = format!("echo 1 >&3; ({sends}) 2>/dev/null & exit 3");
            let mut command = shell(oracle, &line);
            command.ipc(Serialization::Json).stdio(1, Stdio::Ignore);
            let mut events = command.stdio(2, Stdio::Ignore).events();
            let mut told = Vec::new();
            let exited = async {
                loop {
                    let event = events.next().await.unwrap();
                    if let Event::Exit(exit) = event {
                        return assert_eq!(exit, Exit::Code(3));
                    }
                    told.push(word(&event));
                }
            };
            let exited = tokio::time::timeout(Duration::from_secs(20), exited).await;
            assert!(exited.is_ok(), "{} events, but no exit", told.len());
            assert_eq!(told[..2], ["spawn", "message 1"]);
        }
    });
}

/// However slowly they are taken, all that it sent comes before its exit.
#[test]
fn messages_of_the_child_come_before_its_exit_also_to_a_slow_listener() {
    scene(async |oracle| {
        let line = "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); done >&3";
        let mut command = shell(oracle, line);
        command.ipc(Serialization::Json);
        command.stdio(1, Stdio::Ignore).stdio(2, Stdio::Ignore);
        let mut events = command.events();
        let mut count = 0;
        loop {
            let event = events.next().await.unwrap();
            if let Event::Message(message) = event {
                assert_eq!(message.decode::<u32>().unwrap(), count);
                count += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            } else if let Event::Exit(_) = event {
                break;
            }
        }
        assert_eq!(count, 100);
    });
}

#[test]
fn a_signal_is_told_by_its_name() {
    scene(async |oracle| {
        let mut events = shell(oracle, "kill -KILL $$").events();
        let mut exit = None;
        while let Some(event) = events.next().await {
            if let Event::Close(told) = event {
                exit = told;
            }
        }
        let killed = Exit::Signal {
            signal: Signal::KILL,
            core_dumped: false,
        };
        assert_eq!(exit, Some(killed));
    });
}
