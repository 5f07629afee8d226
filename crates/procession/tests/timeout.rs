//! Runs that are ended: by a time-out, a cancellation, a drop.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/roles.rs"]
mod roles;
mod support;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

use facts::{is_linux_side, skip};
use processes::{is_alive, state};
use procession::child_process::{Command, Resource, RunError, Stop, Tree, Verdict};
use procession::{Exit, Outcome, Signal};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use roles::{plays, role, said};
use support::{scene, tagged, testkit};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

/// A signal that ends nobody unless asked to: as deaf as a child can be.
const UNHEARD: Signal = Signal::CONT;
const SOON: Duration = Duration::from_millis(50);

fn killed(signal: Signal) -> Exit {
    Exit::Signal {
        signal,
        core_dumped: false,
    }
}

fn numbers(outcome: &Outcome) -> Vec<u32> {
    let text = outcome.stdout_str().unwrap();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn a_timeout_escalates() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["sleep", "60"]);
        command.timeout(SOON);
        let error = command.output().await.unwrap_err();
        let text = format!("`{command}` ran longer than 50ms and was ended");
        assert_eq!(error.to_string(), text);
        assert_eq!(error.node_code(), Some("ETIMEDOUT"));
        let outcome = error.outcome().unwrap();
        assert_eq!(outcome.verdict, Verdict::TimedOut(SOON));
        assert_eq!(
            (outcome.exit, outcome.forced),
            (killed(Signal::TERM), false)
        );

        command.kill_signal(UNHEARD).grace(SOON);
        let outcome = command.outcome().await.unwrap();
        assert_eq!((outcome.exit, outcome.forced), (killed(Signal::KILL), true));
        assert_eq!(
            outcome.cause(),
            format!(
                "`{command}` was ended by SIGKILL (killed) after its 50ms were over, \
                 after it did not react in its grace period"
            )
        );

        // Asked for by name, it is no escalation.
        command.kill_signal(Signal::KILL);
        let outcome = command.outcome().await.unwrap();
        assert_eq!(
            (outcome.exit, outcome.forced),
            (killed(Signal::KILL), false)
        );
    });
}

#[test]
fn a_timeout_keeps_the_output_and_a_polite_end_is_a_timeout_too() {
    scene(async |oracle| {
        // As long as it takes a busy machine to get the child ready.
        for limit in [200, 1000, 5000, 20_000].map(Duration::from_millis) {
            let mut deaf = testkit(oracle, &["ignore-term"]);
            let deaf = deaf.timeout(limit).grace(SOON).outcome().await.unwrap();
            let mut polite = testkit(oracle, &["term-exit", "0"]);
            let polite = polite.timeout(limit).outcome().await.unwrap();
            if deaf.stdout != b"ready\n" || polite.stdout != b"ready\nbye\n" {
                continue;
            }
            assert_eq!((deaf.exit, deaf.forced), (killed(Signal::KILL), true));
            assert_eq!((polite.exit, polite.forced), (Exit::Code(0), false));
            assert_eq!(polite.verdict, Verdict::TimedOut(limit));
            assert!(!polite.success());
            return assert!(matches!(polite.check(), Err(RunError::TimedOut { .. })));
        }
        panic!("never ready");
    });
}

#[test]
fn a_timeout_ends_the_programs_of_a_shell_line() {
    if !is_linux_side() {
        return skip("a timeout of a shell line", "needs a tree walk");
    }
    scene(async |oracle| {
        let line = "sleep 60 & echo $!; sleep 60 & echo $!; wait";
        for limit in [200, 1000, 5000, 20_000].map(Duration::from_millis) {
            let mut command = tagged(oracle, Command::shell(line), &[]);
            let outcome = command.timeout(limit).outcome().await.unwrap();
            let programs = numbers(&outcome);
            assert!(!programs.iter().any(|pid| is_alive(*pid)));
            if programs.len() == 2 {
                break;
            }
        }
        let mut command = tagged(oracle, Command::shell("sleep 60 | sleep 60"), &[]);
        let outcome = command.timeout(SOON).outcome().await.unwrap();
        assert_eq!(outcome.verdict, Verdict::TimedOut(SOON));
        // The oracle looks for the rest of it.
    });
}

#[test]
fn a_timeout_holds_when_nobody_waits() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["sleep", "60"]);
        let child = command.timeout(SOON).spawn().unwrap();
        let pid = child.id();
        drop(child);
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_cancellation_ends_the_child_before_and_after_its_start() {
    scene(async |oracle| {
        let token = CancellationToken::new();
        let mut command = testkit(oracle, &["ready-sleep"]);
        command.cancel_on(token.clone());
        let child = command.spawn().unwrap();
        let mut running = pin!(child.outcome());
        tokio::select! {
            biased;
            outcome = &mut running => panic!("{outcome:?}"),
            () = std::future::ready(()) => token.cancel(),
        }
        let outcome = running.await.unwrap();
        assert_eq!(outcome.verdict, Verdict::Canceled);
        assert_eq!(outcome.exit, killed(Signal::TERM));

        let error = command.output().await.unwrap_err();
        assert_eq!(error.to_string(), format!("`{command}` was cancelled"));
        assert_eq!(error.node_code(), Some("ABORT_ERR"));
        let error = command.output_blocking().unwrap_err();
        assert!(matches!(error, RunError::Canceled { .. }));
    });
}

#[test]
fn a_dropped_run_kills_its_tree_when_it_is_told_to() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pids");
        let line = "sleep 60 & echo $$ $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait";
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .arg(&path)
            .envs([oracle.tag()])
            .kill_on_drop();
        if !is_linux_side() {
            command.process_group(0);
        }
        let mut pids = Vec::new();
        {
            let mut running = pin!(command.outcome());
            while pids.is_empty() {
                tokio::select! {
                    biased;
                    outcome = &mut running => panic!("{outcome:?}"),
                    () = tokio::task::yield_now() => {}
                }
                let text = fs::read_to_string(&path).unwrap_or_default();
                pids = text
                    .split_whitespace()
                    .map(|n| n.parse().unwrap())
                    .collect();
            }
        }
        for pid in pids {
            wait::until("its end", || (!is_alive(pid)).then_some(()));
        }
    });
}

#[test]
fn a_dropped_run_goes_on_by_default_and_is_reaped() {
    scene(async |oracle| {
        let (ours, theirs) = std::io::pipe().unwrap();
        let mut command = testkit(oracle, &["exit-on-eof", "0"]);
        command.stdin(OwnedFd::from(ours));
        let mut child = command.spawn().unwrap();
        drop(command);
        let pid = child.id();
        let mut ready = [0; 6];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut ready).await.unwrap();
        drop(child);
        assert!(is_alive(pid));
        drop(theirs);
        wait::until("no zombie", || state(pid).is_none().then_some(()));
    });
}

/// Without a descriptor there is nothing to look for the tree with: the child
/// was asked by nobody, and never ended.
#[test]
fn a_child_is_ended_even_if_there_is_no_descriptor_left() {
    scene(async |oracle| {
        let mut role = role(oracle, "role_without_descriptors");
        role.limit(Resource::OpenFiles, 64, 64);
        said(role.outcome().await.unwrap());
    });
}

#[test]
#[ignore = "a role"]
fn role_without_descriptors() {
    if !plays("role_without_descriptors") {
        return;
    }
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk] {
            for (signal, forced) in [(Signal::TERM, false), (UNHEARD, true)] {
                let mut command = testkit(oracle, &["sleep", "60"]);
                let mut child = command.tree(tree).spawn().unwrap();
                let filler = fill();
                let stop = Stop {
                    signal,
                    grace: if forced {
                        SOON
                    } else {
                        Duration::from_secs(40)
                    },
                };
                let stopped = child.stop(stop).await.unwrap();
                assert_eq!(stopped.forced, forced);
                drop((child, filler));
            }
        }
        // The blocking loop takes the same way; the start is before the fill.
        starve_a_blocking_run(oracle);
    });
}

/// Opens files until there is no descriptor left.
fn fill() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn starve_a_blocking_run(oracle: &Oracle) {
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let mut command = testkit(oracle, &["ready-sleep"]);
    let token = CancellationToken::new();
    command
        .cancel_on(token.clone())
        .stdout(OwnedFd::from(theirs));
    let starving = std::thread::spawn(move || {
        std::io::Read::read_exact(&mut ours, &mut [0; 6]).unwrap();
        let filler = fill();
        token.cancel();
        (ours, filler)
    });
    let outcome = command.outcome_blocking().unwrap();
    assert_eq!(outcome.verdict, Verdict::Canceled);
    assert_eq!(outcome.exit, killed(Signal::TERM));
    drop(starving.join().unwrap());
}
