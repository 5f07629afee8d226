//! Every system call that starting a child needs, failing at each of its first
//! calls: a typed error or a way around it, nothing left, no hang.
//!
//! strace makes the calls fail. The ordinary run looks at the first four calls
//! of each, `cargo xtask chaos` at the first ten (`PROCESSION_SWEEP_CALLS`).
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(clippy::print_stderr, reason = "what is skipped, and how far it is")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::{Command, Tree};

/// What becomes of a call that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// At least one of its failures is an error.
    Error,
    /// There is a way around it.
    WayAround,
}

/// (system call, its error, what becomes of it).
const CALLS: [(&str, &str, Expected); 14] = [
    ("clone", "EAGAIN", Expected::Error),
    ("clone3", "EAGAIN", Expected::Error),
    ("execve", "ENOMEM", Expected::Error),
    ("pipe2", "EMFILE", Expected::Error),
    ("socketpair", "EMFILE", Expected::Error),
    // For the members of trees that are found by walking; none is here.
    ("pidfd_open", "EMFILE", Expected::WayAround),
    ("fcntl", "EMFILE", Expected::Error),
    ("close_range", "ENOSYS", Expected::WayAround),
    ("waitid", "EINTR", Expected::WayAround),
    ("waitid", "EIO", Expected::Error),
    ("dup2", "EBUSY", Expected::Error),
    ("chdir", "EIO", Expected::Error),
    ("eventfd2", "EMFILE", Expected::Error),
    ("epoll_ctl", "ENOSPC", Expected::Error),
];

fn strace_works() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-o", "/dev/null", "true"]);
    probe
        .outcome_blocking()
        .is_ok_and(|outcome| outcome.success())
}

/// The subject is built as an example, beside the tests.
fn subject() -> PathBuf {
    let itself = std::env::current_exe().unwrap();
    let profile = itself.ancestors().nth(2).unwrap();
    let subject = profile.join("examples/sweep_subject");
    assert!(
        subject.exists(),
        "missing {}: cargo build --examples",
        subject.display()
    );
    subject
}

fn run(subject: &Path, scenario: &str, call: &str, error: &str, number: u32) -> String {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"));
    command
        .arg("-e")
        .arg(format!("inject={call}:error={error}:when={number}"));
    if call == "execve" {
        // Not the subject's own: only that of the shell it starts.
        command.args(["-P", "/bin/sh"]);
    }
    command.arg(subject).arg(scenario);
    command
        // Longer than the subject's own two, which say more.
        .timeout(Duration::from_secs(60))
        .grace(Duration::ZERO)
        .tree(Tree::Contain);
    let outcome = command.outcome_blocking().unwrap();
    let said = String::from_utf8_lossy(&outcome.stdout).trim().to_owned();
    assert!(
        outcome.success(),
        "{scenario}: {call} number {number} failing with {error}: {}\n{said}\n{}",
        outcome.cause(),
        String::from_utf8_lossy(&outcome.stderr),
    );
    said
}

fn sweep(scenario: &str) {
    let platform = procession::platform::probe();
    if !strace_works() || platform.side != "linux" {
        eprintln!("skipped: the sweep needs strace, and the Linux side");
        return;
    }
    let calls = std::env::var("PROCESSION_SWEEP_CALLS").map_or(4, |n| n.parse().unwrap());
    let subject = subject();
    assert_eq!(run(&subject, scenario, "clone", "EAGAIN", 999), "ok");
    let (mut ways_around, mut errors) = (0, 0);
    for (call, error, expected) in CALLS {
        let mut said_last = String::new();
        let before = errors;
        for number in 1..=calls {
            let said = run(&subject, scenario, call, error, number);
            eprintln!("{scenario}: {call} {number} {error}: {said}");
            if said == "ok" {
                ways_around += 1;
            } else {
                assert!(said.starts_with("error: "), "{said}");
                errors += 1;
                said_last = said;
            }
        }
        let hit = errors > before;
        assert_eq!(
            hit,
            expected == Expected::Error,
            "{scenario}: {call} {error}: {said_last}"
        );
    }
    eprintln!("{scenario}: {errors} typed errors, {ways_around} ways around");
}

#[test]
fn blocking_runs_survive_failing_system_calls() {
    sweep("blocking");
}

#[test]
fn async_runs_survive_failing_system_calls() {
    sweep("async");
}
