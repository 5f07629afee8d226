//! The subject of the sweep: starts and runs children while strace makes its
//! system calls fail. Prints how it went; what it must never do is leak, hang,
//! panic or die.
#![expect(clippy::print_stdout, reason = "it reports to the sweep")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use procession::child_process::{Command, RunError, Stdio, Tree};

fn main() -> ExitCode {
    let before = descriptors();
    let result = match std::env::args().nth(1).as_deref() {
        Some("blocking") => blocking(),
        Some("async") => asynchronous(),
        other => panic!("no scenario {other:?}"),
    };
    match result {
        Ok(()) => println!("ok"),
        Err(error) => println!("error: {}", chain(error.as_ref())),
    }
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let leaks = leaks(&before);
        if leaks.is_empty() {
            return ExitCode::SUCCESS;
        }
        if Instant::now() > deadline {
            println!("leaked: {leaks:?}");
            return ExitCode::from(9);
        }
        std::thread::yield_now();
    }
}

fn command() -> Command {
    let mut command = Command::shell("cat; echo err >&2");
    command
        .input("in")
        .stdio(5, Stdio::Pipe)
        .tree(Tree::Contain)
        .current_dir("/");
    // For a hang, not for a machine that is busy with other things.
    command.timeout(Duration::from_secs(25));
    command
}

fn checked(outcome: Result<procession::Outcome, RunError>) -> Result<(), Box<dyn Error>> {
    let outcome = outcome?;
    let whole = outcome.stdout == b"in" && outcome.stderr == b"err\n";
    if whole {
        Ok(())
    } else {
        Err(format!("output was lost: {outcome:?}").into())
    }
}

fn blocking() -> Result<(), Box<dyn Error>> {
    checked(command().output_blocking())?;
    checked(command().output_blocking())
}

fn asynchronous() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        checked(command().output().await)?;
        let mut child = command().spawn()?;
        let waited = child.wait().await;
        child.kill()?;
        waited?;
        Ok(())
    })
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn descriptors() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/fd").map(Iterator::flatten);
    let name = |entry: fs::DirEntry| {
        let number = entry.file_name().to_string_lossy().into_owned();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        // The directory that is being read, and the reaper thread's two.
        let target = target.to_string_lossy().into_owned();
        let service = target.contains("eventfd") || target.contains("eventpoll");
        (!target.ends_with("/fd") && !service).then(|| format!("{number} {target}"))
    };
    entries.into_iter().flatten().filter_map(name).collect()
}

/// What is open that was not, and children that are left.
fn leaks(before: &BTreeSet<String>) -> Vec<String> {
    let mut leaks: Vec<String> = descriptors().difference(before).cloned().collect();
    for thread in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        leaks.extend(
            children
                .split_whitespace()
                .map(|pid| format!("child {pid}")),
        );
    }
    leaks
}
