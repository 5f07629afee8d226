//! A child that the kernel killed for its memory says so.

use std::fs;
use std::path::PathBuf;

use procession::child_process::{Command, Signal, Stdio};
use procession_testkit::leaks::Oracle;
use procession_testkit::program;

/// A control group with a limit of 64 MiB, removed with this handle.
struct Limited(PathBuf);

impl Limited {
    /// Version 1 or 2, wherever this machine lets us.
    fn make() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path_of = |prefix: &str| {
            let line = own.lines().find(|line| line.contains(prefix))?;
            line.rsplit(':')
                .next()
                .map(|path| path.trim_start_matches('/').to_owned())
        };
        let name = format!("oom-test-{}", std::process::id());
        let version1 = path_of(":memory:").map(|own| {
            (
                PathBuf::from("/sys/fs/cgroup/memory").join(own),
                "memory.limit_in_bytes",
            )
        });
        let version2 =
            path_of("0::").map(|own| (PathBuf::from("/sys/fs/cgroup").join(own), "memory.max"));
        [version1, version2]
            .into_iter()
            .flatten()
            .find_map(|(parent, limit)| {
                let group = Self(parent.join(&name));
                fs::create_dir(&group.0).ok()?;
                fs::write(group.0.join(limit), "67108864").ok()?;
                Some(group)
            })
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // Left behind only if a process is left in it, which the oracle reports.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_child_that_was_killed_for_its_memory_says_so() {
    if procession::platform::probe().side != "linux" {
        eprintln!("skipped: the portable side has nowhere to read of the killer");
        return;
    }
    let oracle = Oracle::start();
    let Some(group) = Limited::make() else {
        eprintln!("skipped: no memory control group can be made here");
        return;
    };
    // Counts before: the first look is at the first start.
    let innocent = Command::shell("kill -9 $$").outcome_blocking().unwrap();
    assert_eq!(innocent.exit.signal(), Some(Signal::KILL));
    assert!(
        !innocent.out_of_memory,
        "killed by itself, not by the kernel"
    );

    let mut glutton =
        Command::shell("echo $$ > \"$GROUP/cgroup.procs\" && exec \"$PROGRAM\" alloc 512");
    glutton
        .env("GROUP", group.0.as_path())
        .env("PROGRAM", program())
        .envs([oracle.tag()]);
    let outcome = glutton.stdin(Stdio::Ignore).outcome_blocking().unwrap();
    if outcome.exit.signal() != Some(Signal::KILL) {
        eprintln!(
            "skipped: the limit is not enforced here ({})",
            outcome.cause()
        );
        return;
    }
    assert!(outcome.out_of_memory, "{}", outcome.cause());
    assert!(
        outcome.cause().contains("by the kernel, out of memory"),
        "{}",
        outcome.cause()
    );
    drop(group);
    oracle.check();
}
