//! The same runs for code that has no runtime, or blocks one.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/processes.rs"]
mod processes;
mod support;

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::time::Duration;

use facts::{is_linux_side, skip};
use processes::is_alive;
use procession::child_process::{
    Command, Drain, MaxBuffer, RunError, Stdio, Target, Transform, Tree, Verdict,
};
use procession::{Exit, Outcome, Signal};
use procession_testkit::leaks::Oracle;
use support::{scene, tagged, testkit};
use tokio_util::sync::CancellationToken;

const MIB: usize = 1024 * 1024;
const SOON: Duration = Duration::from_millis(50);

/// Runs a test without a runtime, and again on the only thread of one.
#[track_caller]
fn with_and_without_a_runtime(test: impl Fn(&Oracle)) {
    let oracle = Oracle::start();
    test(&oracle);
    oracle.check();
    drop(oracle);
    scene(async |oracle| test(oracle));
}

fn killed(signal: Signal) -> Exit {
    Exit::Signal {
        signal,
        core_dumped: false,
    }
}

fn alphabet(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}

fn number(outcome: &Outcome) -> u32 {
    outcome.stdout_str().unwrap().parse().unwrap()
}

#[test]
fn the_output_and_the_end() {
    with_and_without_a_runtime(|oracle| {
        let outcome = testkit(oracle, &["echo", "hello"]).output_blocking();
        assert_eq!(outcome.unwrap().stdout_str().unwrap(), "hello");

        let line = "echo out; echo why >&2; exit 3";
        let mut command = tagged(oracle, Command::shell(line), &[]);
        let error = command.all().output_blocking().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{line}` exited with code 3: why")
        );
        let outcome = error.outcome().unwrap();
        assert_eq!(outcome.exit, Exit::Code(3));
        assert_eq!(outcome.stdout, b"out\n");
        assert_eq!(outcome.all.as_ref().unwrap().len(), 8);
        assert!(outcome.usage.max_rss > 0 && outcome.duration > Duration::ZERO);

        let outcome = testkit(oracle, &["die", "KILL"]).outcome_blocking();
        let outcome = outcome.unwrap();
        assert_eq!(outcome.exit, killed(Signal::KILL));
        assert!(!outcome.out_of_memory);

        let error = Command::new("/nonexistent").output_blocking().unwrap_err();
        assert_eq!(error.node_code(), Some("ENOENT"));
    });
}

#[test]
fn a_status_is_the_exit_alone() {
    with_and_without_a_runtime(|oracle| {
        let mut command = testkit(oracle, &["exit", "9"]);
        command.stdin(Stdio::ignore());
        assert_eq!(command.status_blocking().unwrap(), Exit::Code(9));
    });
}

#[test]
fn large_input_and_large_outputs_do_not_wait_for_each_other() {
    with_and_without_a_runtime(|oracle| {
        let input = alphabet(16 * MIB);
        let mut command = testkit(oracle, &["cat"]);
        let outcome = command.input(input.clone()).output_blocking().unwrap();
        assert!(outcome.stdout == input);

        let mut command = testkit(oracle, &["flood-both"]);
        command.arg(4 * MIB).input(input);
        let outcome = command.output_blocking().unwrap();
        assert_eq!(outcome.stdout.len(), 4 * MIB);
        assert_eq!(outcome.stderr.len(), 4 * MIB);
    });
}

#[test]
fn too_much_output() {
    with_and_without_a_runtime(|oracle| {
        let mut command = tagged(oracle, Command::shell("yes | cat"), &[]);
        if !is_linux_side() {
            command.process_group(0);
        }
        command.max_buffer(MaxBuffer::fail(1001));
        let error = command.output_blocking().unwrap_err();
        assert!(matches!(
            error,
            RunError::OutputTooLong {
                index: 1,
                limit: 1001,
                ..
            }
        ));
        assert_eq!(error.outcome().unwrap().stdout.len(), 1001);

        let mut command = testkit(oracle, &["flood", "stdout", "1000"]);
        command.max_buffer(MaxBuffer::fail(999));
        for _ in 0..10 {
            let error = command.output_blocking().unwrap_err();
            assert!(matches!(error, RunError::OutputTooLong { .. }), "{error:?}");
        }

        let mut command = testkit(oracle, &["flood", "stdout"]);
        command.arg(3 * MIB).max_buffer(MaxBuffer::tail(100));
        let outcome = command.output_blocking().unwrap();
        assert_eq!(outcome.stdout, &alphabet(3 * MIB)[3 * MIB - 100..]);
        assert_eq!(outcome.received[&1], 3 * MIB as u64);

        command.max_buffer(MaxBuffer::spill(100));
        let mut outcome = command.output_blocking().unwrap();
        assert_eq!(outcome.stdout, alphabet(100));
        let mut whole = Vec::new();
        let mut file = outcome.spilled.remove(&1).unwrap();
        file.read_to_end(&mut whole).unwrap();
        assert!(whole == alphabet(3 * MIB));
    });
}

#[test]
fn tees_and_transforms() {
    with_and_without_a_runtime(|oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut ours, theirs) = std::io::pipe().unwrap();
        let mut command = testkit(oracle, &["lines", "3"]);
        command
            .transform(
                1,
                Transform::lines("shout", |line| Some(line.to_ascii_uppercase())),
            )
            .stdout(Stdio::tee([
                Target::Capture,
                Target::File(path.clone(), procession::child_process::FileMode::Write),
                Target::Fd(OwnedFd::from(theirs).into()),
            ]));
        let outcome = command.output_blocking().unwrap();
        drop(command);
        let expected = "LINE 1\nLINE 2\nLINE 3\n";
        assert_eq!(outcome.stdout, expected.as_bytes());
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
    });
}

#[test]
fn a_timeout_escalates() {
    with_and_without_a_runtime(|oracle| {
        let mut command = testkit(oracle, &["sleep", "60"]);
        let error = command.timeout(SOON).output_blocking().unwrap_err();
        assert_eq!(error.node_code(), Some("ETIMEDOUT"));
        let outcome = error.outcome().unwrap();
        assert_eq!(
            (outcome.exit, outcome.forced),
            (killed(Signal::TERM), false)
        );

        // A signal that ends nobody.
        command.kill_signal(Signal::CONT).grace(SOON);
        let outcome = command.outcome_blocking().unwrap();
        assert_eq!((outcome.exit, outcome.forced), (killed(Signal::KILL), true));
        assert_eq!(outcome.verdict, Verdict::TimedOut(SOON));
    });
}

#[test]
fn a_timeout_ends_the_programs_of_a_shell_line() {
    if !is_linux_side() {
        return skip("a timeout of a shell line", "needs a tree walk");
    }
    with_and_without_a_runtime(|oracle| {
        let mut command = tagged(oracle, Command::shell("sleep 60 | sleep 60"), &[]);
        let outcome = command.timeout(SOON).outcome_blocking().unwrap();
        assert_eq!(outcome.verdict, Verdict::TimedOut(SOON));
        // The oracle looks for the rest of it.
    });
}

#[test]
fn a_cancellation_from_another_thread() {
    with_and_without_a_runtime(|oracle| {
        let token = CancellationToken::new();
        let (mut ours, theirs) = std::io::pipe().unwrap();
        let mut command = testkit(oracle, &["ready-sleep"]);
        command
            .cancel_on(token.clone())
            .stdout(OwnedFd::from(theirs));
        let canceler = std::thread::spawn(move || {
            ours.read_exact(&mut [0; 6]).unwrap();
            token.cancel();
            ours
        });
        let error = command.output_blocking().unwrap_err();
        assert!(matches!(error, RunError::Canceled { .. }), "{error:?}");
        drop(canceler.join().unwrap());
    });
}

#[test]
fn a_descendant_that_holds_an_output() {
    with_and_without_a_runtime(|oracle| {
        let command = testkit(oracle, &["grandchild-holds-stdout", "60"]);
        let outcome = command.output_blocking().unwrap();
        let holder = number(&outcome);
        assert!(is_alive(holder), "we did not wait for its end");
        assert_eq!(outcome.leaked, [1]);
        let pid = rustix::process::Pid::from_raw(holder.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();

        let mut command = testkit(oracle, &["grandchild-holds-stdout", "0.4"]);
        command.drain(Drain::UntilClosed);
        let outcome = command.output_blocking().unwrap();
        assert!(!is_alive(number(&outcome)));
        assert!(outcome.leaked.is_empty());
    });
}

#[test]
fn a_contained_tree_is_gone_before_the_outcome() {
    if !is_linux_side() {
        return skip("containing", "needs control groups or subreapers");
    }
    with_and_without_a_runtime(|oracle| {
        let mut command = testkit(oracle, &["grandchild-holds-stdout", "60"]);
        command.tree(Tree::Contain);
        let outcome = command.output_blocking().unwrap();
        assert!(!is_alive(number(&outcome)));
        assert!(outcome.leaked.is_empty());

        let mut command = testkit(oracle, &["tree"]);
        command.tree(Tree::Contain).timeout(SOON);
        let outcome = command.outcome_blocking().unwrap();
        assert_eq!(outcome.exit, killed(Signal::TERM));
    });
}

#[test]
fn many_threads_can_run_commands_at_once() {
    with_and_without_a_runtime(|oracle| {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    for round in 0..5 {
                        let mut command = testkit(oracle, &["echo"]);
                        command.arg(number).arg(round);
                        let outcome = command.output_blocking().unwrap();
                        let expected = format!("{number} {round}");
                        assert_eq!(outcome.stdout_str().unwrap(), expected);
                    }
                });
            }
        });
    });
}
