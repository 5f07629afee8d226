//! What every test of the child_process API begins with.

use std::time::Duration;

use procession::child_process::Command;
use procession_testkit::leaks::Oracle;

/// No scene takes longer unless something hangs. Less than the 60 s after which
/// the test kit's sleepers end by themselves: that must not pass for our work.
const LIMIT: Duration = Duration::from_secs(55);

/// Runs an async test on a runtime of one thread, and checks that nothing of it is left.
#[track_caller]
pub(crate) fn scene(test: impl AsyncFnOnce(&Oracle)) {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(LIMIT, test(&oracle)).await })
        .expect("the test hangs");
    drop(runtime);
    oracle.check();
}

/// The test kit's program with this trick, in view of the oracle.
pub(crate) fn testkit(oracle: &Oracle, words: &[&str]) -> Command {
    tagged(oracle, Command::new(procession_testkit::program()), words)
}

/// A command in view of the oracle, with these arguments.
pub(crate) fn tagged(oracle: &Oracle, mut command: Command, words: &[&str]) -> Command {
    command.args(words).envs([oracle.tag()]);
    command
}
