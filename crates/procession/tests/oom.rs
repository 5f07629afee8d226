//! A child that the kernel killed for its memory says so.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/roles.rs"]
mod roles;
mod support;

use std::error::Error as _;
use std::fs;
use std::path::PathBuf;

use procession::child_process::{Command, RunError, Signal, SpawnError, Stdio, Step};
use procession_testkit::leaks::Oracle;
use procession_testkit::program;
use roles::{plays, role, said};

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

const MIB: u64 = 1024 * 1024;

/// Starts a child with a limit: why that cannot be, if it cannot.
fn refusal(oracle: &Oracle) -> Option<SpawnError> {
    let mut command = support::testkit(oracle, &["exit", "0"]);
    command.memory_max(64 * MIB);
    match command.output_blocking() {
        Ok(_) => None,
        Err(RunError::Spawn(error)) => Some(error),
        Err(error) => panic!("{error}"),
    }
}

/// A shell whose child wants so many MiB, and that would say so if it came through.
fn glutton(oracle: &Oracle, mebibytes: u64) -> Command {
    let mut command = Command::shell("\"$PROGRAM\" alloc $WANTED; echo through");
    command
        .env("PROGRAM", program())
        .env("WANTED", mebibytes)
        .envs([oracle.tag()]);
    command
}

#[test]
fn a_tree_above_its_memory_is_killed_together_and_says_so() {
    let oracle = Oracle::start();
    if let Some(error) = refusal(&oracle) {
        let why = error.source().map(ToString::to_string);
        facts::skip("memory_max", &why.unwrap_or_default());
        return;
    }
    let mut greedy = glutton(&oracle, 512);
    let outcome = greedy.memory_max(64 * MIB).outcome_blocking().unwrap();
    // The shell wanted nothing, and dies with its child.
    assert_eq!(outcome.exit.signal(), Some(Signal::KILL));
    assert_eq!(outcome.stdout_str().unwrap(), "");
    assert!(outcome.out_of_memory, "{}", outcome.cause());

    // Who is killed by somebody else afterwards is not taken for another one.
    let mut suicide = Command::shell("kill -9 $$");
    for limited in [false, true] {
        if limited {
            suicide.memory_max(64 * MIB);
        }
        let outcome = suicide.outcome_blocking().unwrap();
        assert_eq!(outcome.exit.signal(), Some(Signal::KILL));
        assert!(!outcome.out_of_memory, "{}", outcome.cause());
    }

    let mut modest = Command::shell("echo through");
    let outcome = modest.memory_max(64 * MIB).output_blocking().unwrap();
    assert_eq!(outcome.stdout_str().unwrap(), "through");
    assert!(!outcome.out_of_memory);

    // Of a start that fails no group is left.
    let mut missing = Command::new("/nonexistent/program");
    let error = missing.memory_max(64 * MIB).output_blocking().unwrap_err();
    assert_eq!(error.node_code(), Some("ENOENT"));
    oracle.check();
}

#[test]
fn the_count_of_a_group_is_sure() {
    support::scene(async |oracle| {
        if refusal(oracle).is_some() {
            return facts::skip("the count of a group", "there is no limit of memory");
        }
        let mut greedy = glutton(oracle, 512);
        let mut greedy = greedy.memory_max(64 * MIB).spawn().unwrap();
        assert_eq!(greedy.wait().await.unwrap().signal(), Some(Signal::KILL));
        // By the count of the machine, this would be the one.
        let mut suicide = support::tagged(oracle, Command::shell("kill -9 $$"), &[]);
        suicide.memory_max(64 * MIB);
        let outcome = suicide.outcome().await.unwrap();
        assert!(!outcome.out_of_memory, "{}", outcome.cause());
        let outcome = greedy.outcome().await.unwrap();
        assert!(outcome.out_of_memory, "{}", outcome.cause());

        // So little that the program cannot even begin: an error or a death, and no harm to us.
        for bytes in [1, 4096, 65_536] {
            match suicide.memory_max(bytes).outcome().await {
                Ok(outcome) => assert!(outcome.out_of_memory, "{bytes}: {}", outcome.cause()),
                Err(RunError::Spawn(error)) => eprintln!("{bytes}: {error:?}"),
                Err(error) => panic!("{bytes}: {error}"),
            }
        }
    });
}

#[test]
fn a_limit_of_memory_that_cannot_be_kept_starts_nothing() {
    support::scene(async |oracle| {
        let mut role = role(oracle, "role_without_groups");
        role.env("PROCESSION_NO_CGROUP", 1);
        said(role.outcome().await.unwrap());
    });
}

#[test]
#[ignore = "a role"]
fn role_without_groups() {
    if !plays("role_without_groups") {
        return;
    }
    let oracle = Oracle::start();
    let error = refusal(&oracle).expect("a start without its limit");
    assert_eq!(error.step(), Some(Step::Memory));
    assert!(!error.is_temporary());
    let text = error.to_string();
    assert!(text.ends_with(": memory_max cannot be kept here"), "{text}");
    let why = error.source().unwrap().to_string();
    if facts::is_linux_side() {
        assert_eq!(why, "switched off by PROCESSION_NO_CGROUP");
    } else {
        assert_eq!(error.node_code(), Some("ENOTSUP"));
    }
    oracle.check();
}
