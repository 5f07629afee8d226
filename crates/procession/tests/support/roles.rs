//! Tests that need a process of their own: with other limits, another user,
//! other signal dispositions, or one that is killed.
//!
//! Such a test is an ignored one, a "role", of the same file. The test that
//! starts it runs this very program with that test's name.

use procession::child_process::{Command, Outcome};
use procession_testkit::leaks::Oracle;

use crate::support::tagged;

const VARIABLE: &str = "PROCESSION_TEST_ROLE";

/// This program, to play the role; to be changed as the test needs it.
pub(crate) fn role(oracle: &Oracle, name: &str) -> Command {
    role_by(oracle, &[], name)
}

/// The same, started by a program that changes what it is started with: `env`, `prlimit`.
pub(crate) fn role_by(oracle: &Oracle, starter: &[&str], name: &str) -> Command {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let mut words = starter.to_vec();
    words.extend([program, name, "--exact", "--ignored", "--nocapture"]);
    // On the main thread, so that the process has no other.
    words.push("--test-threads=1");
    let mut command = tagged(oracle, Command::new(words[0]), &words[1..]);
    command.env(VARIABLE, name);
    command
}

/// Whether this process was started to play the role.
///
/// `cargo test -- --ignored` starts it for nothing.
pub(crate) fn plays(name: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|role| role == name)
}

/// What the role said, once it has ended well; else what went wrong there.
#[track_caller]
pub(crate) fn said(outcome: Outcome) -> String {
    let stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(
        outcome.success() && stdout.contains("1 passed"),
        "the role failed: {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
        outcome.cause()
    );
    stdout
}
