//! A child while it runs: conversations, waits, signals, and who reaps it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/roles.rs"]
mod roles;
mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use facts::{is_linux_side, skip};
use processes::{is_alive, state};
use procession::child_process::{Child, Command, Resource, Tree, TreeLevel};
use procession::{Exit, Outcome, RunError, Signal, SpawnError};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use roles::{plays, role, role_by, said};
use support::{scene, tagged, testkit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A child that has said `ready`.
async fn ready(oracle: &Oracle, words: &[&str]) -> Child {
    let mut child = testkit(oracle, words).spawn().unwrap();
    let mut word = [0; 6];
    let stdout = child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ready\n");
    child
}

fn killed(signal: Signal) -> Exit {
    Exit::Signal {
        signal,
        core_dumped: false,
    }
}

#[test]
fn a_conversation() {
    scene(async |oracle| {
        let mut child = testkit(oracle, &["echo-lines"]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = child.stdout.take().unwrap().lines();
        for word in ["one", "", "three with \r inside"] {
            stdin
                .write_all(format!("{word}\n").as_bytes())
                .await
                .unwrap();
            let answer = lines.next_line().await.unwrap().unwrap();
            assert_eq!(answer, word);
        }
        // Without a newline, and after the end of the input.
        stdin.write_all(b"last").await.unwrap();
        drop(stdin);
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "last");
        assert_eq!(lines.next_line().await.unwrap(), None);
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn an_endless_line_is_an_error() {
    scene(async |oracle| {
        let child = testkit(oracle, &["flood", "stdout", "3000000"]).spawn();
        let mut child = child.unwrap();
        let mut lines = child.stdout.take().unwrap().lines();
        let error = lines.next_line().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "a line is longer than 1048576 bytes");
        drop(lines);
        // Nobody reads on: it dies of that, not of us.
        assert_eq!(child.wait().await.unwrap(), killed(Signal::PIPE));
    });
}

#[test]
fn the_end_can_be_asked_for_again() {
    scene(async |oracle| {
        let mut child = ready(oracle, &["exit-on-eof", "7"]).await;
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.usage(), None);
        // `wait` closes our end of stdin, else it would wait for ever.
        for _ in 0..3 {
            assert_eq!(child.wait().await.unwrap(), Exit::Code(7));
            assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(7)));
        }
        assert!(child.stdin.is_none());
        assert!(child.usage().is_some());
        let outcome = child.outcome().await.unwrap();
        assert_eq!(outcome.exit, Exit::Code(7));
    });
}

#[test]
fn a_dropped_wait_loses_nothing() {
    scene(async |oracle| {
        let mut child = ready(oracle, &["ready-sleep"]).await;
        for _ in 0..3 {
            tokio::select! {
                biased;
                exit = child.wait() => panic!("{exit:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert!(child.kill().unwrap());
        assert_eq!(child.wait().await.unwrap(), killed(Signal::KILL));
    });
}

#[test]
fn signals_reach_a_child_until_it_has_ended() {
    scene(async |oracle| {
        let mut child = ready(oracle, &["signals"]).await;
        let mut lines = child.stdout.take().unwrap().lines();
        assert!(child.signal(Signal::PROBE).unwrap());
        for (signal, name) in [
            (Signal::USR1, "SIGUSR1"),
            (Signal::TERM, "SIGTERM"),
            (Signal::HUP, "SIGHUP"),
        ] {
            assert!(child.signal(signal).unwrap());
            assert_eq!(lines.next_line().await.unwrap().unwrap(), name);
        }
        assert!(child.wait().await.unwrap().success());
        assert!(!child.signal(Signal::PROBE).unwrap());
        assert!(!child.signal(Signal::TERM).unwrap());
        assert!(!child.kill().unwrap());
    });
}

/// Nobody waits for it: a zombie, or one that the reaper has taken, is not alive.
#[test]
fn a_child_that_has_ended_is_not_alive() {
    scene(async |oracle| {
        let mut child = ready(oracle, &["exit-on-eof", "0"]).await;
        assert!(child.signal(Signal::PROBE).unwrap());
        drop(child.stdin.take());
        wait::until("its end", || {
            (!child.signal(Signal::PROBE).unwrap()).then_some(())
        });
        assert!(!is_alive(child.id()));
        assert!(!child.kill().unwrap());
    });
}

/// Real-time signals have no names, and were refused for it.
#[test]
fn a_signal_without_a_name_can_be_sent() {
    scene(async |oracle| {
        let mut child = ready(oracle, &["ready-sleep"]).await;
        let real_time: Signal = "40".parse().unwrap();
        assert!(child.signal(real_time).unwrap());
        let exit = child.wait().await.unwrap();
        assert_eq!(exit, killed(real_time));
        assert_eq!(exit.to_string(), "was ended by signal 40");
    });
}

#[test]
fn a_dropped_child_goes_on_and_leaves_no_zombie() {
    scene(async |oracle| {
        let (ours, theirs) = std::io::pipe().unwrap();
        let mut command = testkit(oracle, &["exit-on-eof", "0"]);
        command.stdin(std::os::fd::OwnedFd::from(ours));
        let child = command.spawn().unwrap();
        drop(command);
        let pid = child.id();
        let mut child = child;
        let mut word = [0; 6];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut word).await.unwrap();
        drop(child);
        // Longer than a newborn is left alone.
        wait::until("the reaper's first look", {
            let mut looks = 0;
            move || {
                looks += 1;
                (looks > 40).then_some(())
            }
        });
        assert!(is_alive(pid));
        drop(theirs);
        wait::until("no zombie", || state(pid).is_none().then_some(()));
    });
}

/// Starts 100 children that end when our end of their stdin closes.
fn hundred(oracle: &Oracle) -> Vec<Child> {
    let command = testkit(oracle, &["exit-on-eof", "0"]);
    (0..100).map(|_| command.spawn().unwrap()).collect()
}

fn wait_until_reaped(pids: &[u32]) {
    wait::until("the reaping of all", || {
        let gone = pids.iter().all(|pid| state(*pid).is_none());
        gone.then_some(())
    });
}

#[test]
fn children_are_reaped_after_the_end_of_their_runtime() {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let context = runtime.enter();
    let mut children = hundred(&oracle);
    // Half of them with a handle that outlives the runtime, half without.
    let kept = children.split_off(50);
    let kept_pids: Vec<u32> = kept.iter().map(Child::id).collect();
    let pids: Vec<u32> = children.iter().map(Child::id).collect();
    drop(context);
    runtime.block_on(async {
        let waiting = children.into_iter().map(|mut child| {
            tokio::spawn(async move {
                drop(child.stdin.take());
                child.wait().await
            })
        });
        drop(waiting.collect::<Vec<_>>());
    });
    drop(runtime);
    wait_until_reaped(&pids);
    let mut kept = kept;
    for child in &mut kept {
        drop(child.stdin.take());
    }
    wait_until_reaped(&kept_pids);
    for child in &kept {
        assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(0)));
    }
    let another = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for child in &mut kept {
        assert_eq!(another.block_on(child.wait()).unwrap(), Exit::Code(0));
    }
    drop(kept);
    oracle.check();
}

#[test]
fn children_are_reaped_while_the_only_thread_is_blocked() {
    scene(async |oracle| {
        let mut children = hundred(oracle);
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        for child in &mut children {
            drop(child.stdin.take());
        }
        // This blocks the runtime's only thread.
        wait_until_reaped(&pids);
        for child in &mut children {
            assert_eq!(child.wait().await.unwrap(), Exit::Code(0));
        }
    });
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_child() {
    let oracle = Oracle::start();
    let command = testkit(&oracle, &["exit", "0"]);
    let error = command.spawn().unwrap_err();
    assert!(matches!(error, SpawnError::NoRuntime { .. }), "{error:?}");
    let text = format!(
        "failed to start `{command}`: there is no tokio runtime here; \
         the `_blocking` methods need none"
    );
    assert_eq!(error.to_string(), text);
    assert_eq!((error.node_code(), error.step()), (None, None));
    oracle.check();
}

/// Such a runtime panicked after the start, and the child was left behind.
#[test]
fn a_runtime_without_io_is_no_runtime() {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let command = testkit(&oracle, &["sleep", "60"]);
    let error = runtime.block_on(async { command.spawn() }).unwrap_err();
    assert!(matches!(error, SpawnError::NoRuntime { .. }), "{error:?}");
    let error = runtime.block_on(command.output()).unwrap_err();
    assert!(matches!(
        error,
        RunError::Spawn(SpawnError::NoRuntime { .. })
    ));
    drop(runtime);
    oracle.check();
}

async fn write_to_the_dead(oracle: &Oracle) {
    let mut child = testkit(oracle, &["exit", "0"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    child.wait().await.unwrap();
    let error = stdin.write_all(b"anybody?").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);

    let mut command = testkit(oracle, &["exit", "0"]);
    command.stdio(3, procession::Stdio::pipe());
    let mut child = command.spawn().unwrap();
    let mut duplex = child.take_stdio(3).unwrap();
    child.wait().await.unwrap();
    let error = duplex.write_all(b"anybody?").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);

    command.input(vec![0; 1 << 20]);
    assert!(command.output().await.unwrap().success());
    assert!(command.output_blocking().unwrap().success());
}

#[test]
fn writing_to_a_child_that_is_gone_is_an_error() {
    scene(write_to_the_dead);
}

#[test]
fn writing_to_a_child_that_is_gone_raises_no_signal() {
    scene(async |oracle| {
        let role = role(oracle, "role_that_would_notice_a_signal");
        said(role.outcome().await.unwrap());
    });
}

/// With the default disposition the signal would kill; here it would be noticed.
#[test]
#[ignore = "a role"]
fn role_that_would_notice_a_signal() {
    if !plays("role_that_would_notice_a_signal") {
        return;
    }
    let noticed = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::clone(&noticed)).unwrap();
    scene(write_to_the_dead);
    assert!(!noticed.load(Ordering::SeqCst));
    // It would have been: this is what a plain write does.
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    std::io::Write::write_all(&mut writer, b"anybody?").unwrap_err();
    assert!(noticed.load(Ordering::SeqCst));
}

/// A program that ignores SIGCHLD has the kernel reap its children.
#[test]
fn an_exit_status_that_the_kernel_threw_away_is_an_error_and_no_hang() {
    scene(async |oracle| {
        let starter = ["env", "--ignore-signal=CHLD"];
        let role = role_by(oracle, &starter, "role_that_ignores_its_children");
        said(role.outcome().await.unwrap());
    });
}

#[test]
#[ignore = "a role"]
fn role_that_ignores_its_children() {
    if !plays("role_that_ignores_its_children") {
        return;
    }
    scene(async |oracle| {
        let command = testkit(oracle, &["echo", "x"]);
        let blocking = || command.output_blocking();
        for result in [command.output().await, blocking()] {
            let error = result.unwrap_err();
            assert!(matches!(error, RunError::Lost { .. }), "{error:?}");
            assert_eq!(
                error.to_string(),
                format!("how `{command}` ended could not be learned")
            );
            assert_eq!(error.node_code(), Some("ECHILD"));
        }
        let mut child = command.spawn().unwrap();
        assert_eq!(child.wait().await.unwrap_err().raw_os_error(), Some(10));
        assert!(!child.kill().unwrap(), "it has ended");
    });
}

#[test]
fn a_child_says_what_it_is() {
    scene(async |oracle| {
        let command = testkit(oracle, &["ready-sleep"]);
        let mut child = command.spawn().unwrap();
        assert_eq!(child.command().to_string(), command.to_string());
        assert!(is_alive(child.id()));
        assert_eq!(child.pidfd().is_some(), is_linux_side());
        if is_linux_side() {
            assert_eq!(child.tree_level(), TreeLevel::Walk);
        }
        child.kill().unwrap();
        child.wait().await.unwrap();
        let mut command = command;
        let child = command.tree(Tree::Process).kill_on_drop().spawn().unwrap();
        assert_eq!(child.tree_level(), TreeLevel::Process);
    });
}

#[test]
fn a_dropped_child_is_killed_with_its_tree_when_it_is_told_to() {
    if !is_linux_side() {
        return skip("kill on drop of a tree", "needs a tree walk");
    }
    scene(async |oracle| {
        let line = "sleep 60 & echo $!; wait";
        let mut command = tagged(oracle, Command::shell(line), &[]);
        let mut child = command.kill_on_drop().spawn().unwrap();
        let mut lines = child.stdout.take().unwrap().lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let sleeper: u32 = std::str::from_utf8(&line).unwrap().parse().unwrap();
        let pid = child.id();
        drop(child);
        for pid in [pid, sleeper] {
            wait::until("its end", || (!is_alive(pid)).then_some(()));
        }
    });
}

#[test]
fn the_outcome_of_a_running_child_has_what_is_left() {
    scene(async |oracle| {
        let command = testkit(oracle, &["interleave", "3"]);
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let outcome: Outcome = child.outcome().await.unwrap();
        assert_eq!(outcome.stdout, b"out 1\nout 2\nout 3\n");
        assert!(outcome.stderr.is_empty(), "we took it");
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "err 1\nerr 2\nerr 3\n");
    });
}

/// The registration of a child's end fails after the start: nothing may stay.
#[test]
fn a_limit_of_the_child_is_none_of_ours() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["echo", "x"]);
        command.limit(Resource::OpenFiles, 4, 4);
        assert_eq!(command.output().await.unwrap().stdout, b"x\n");
        assert!(std::fs::File::open("/dev/null").is_ok());
    });
}
