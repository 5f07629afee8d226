//! Many rounds of violence; nothing may be left.
//!
//! A few rounds in the ordinary run; `cargo xtask chaos` sets
//! `PROCESSION_CHAOS_ROUNDS` for the full figures. `PROCESSION_CHAOS_SEED`
//! repeats a run; every run prints its seed.
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(clippy::print_stderr, reason = "what is skipped, and how far it is")]

#[path = "support/random.rs"]
mod random;

use std::time::Duration;

use procession::child_process::{Command, Exit, Signal, Stdio, Stop, Tree, TreeLevel};
use procession_testkit::leaks::Oracle;
use procession_testkit::program;
use random::Random;
use tokio_util::sync::CancellationToken;

fn rounds(few: u32) -> u32 {
    let many = std::env::var("PROCESSION_CHAOS_ROUNDS");
    many.map_or(few, |rounds| {
        rounds.parse().expect("PROCESSION_CHAOS_ROUNDS is a number")
    })
}

impl Random {
    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap();
        choices[index]
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Starts a program with plain, setsid'd and double-forked descendants, waits
/// until all are there, ends it. Nobody may survive.
async fn end_one_tree(trick: &str, stop: Stop, oracle: &Oracle) -> TreeLevel {
    let mut command = Command::new(program());
    command
        .arg(trick)
        .envs([oracle.tag()])
        .tree(Tree::Contain)
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut lines = child.stdout.take().unwrap().lines();
    let mut pids = Vec::new();
    loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the tree says that it is ready");
        let line = String::from_utf8(line.to_vec()).unwrap();
        if line == "ready" {
            break;
        }
        pids.push(line.parse::<u32>().unwrap());
    }
    assert_eq!(pids.len(), 3);
    for pid in &pids {
        oracle.follow(*pid);
    }
    let level = child.tree_level();
    child.stop(stop).await.unwrap();
    for pid in pids {
        assert!(
            !is_alive(pid),
            "descendant {pid} survived at level {level:?}"
        );
    }
    level
}

/// Whether it lives: a zombie that waits for `init` has ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn end_trees(expected: Option<TreeLevel>) {
    if procession::platform::probe().side != "linux" {
        eprintln!("skipped: trees are process groups here");
        return;
    }
    let oracle = Oracle::start();
    let mut random = Random::start();
    let runtime = runtime();
    for round in 0..rounds(15) {
        let trick = random.one_of(&["tree", "tree-clean-env"]);
        let signal = random.one_of(&[Signal::TERM, Signal::KILL, Signal::INT]);
        let stop = Stop {
            signal,
            grace: Duration::from_millis(random.below(300)),
        };
        let level = runtime.block_on(end_one_tree(trick, stop, &oracle));
        if let Some(expected) = expected {
            assert_eq!(level, expected, "round {round}");
        }
    }
    drop(runtime);
    oracle.check();
}

#[test]
fn trees_end_to_the_last_process() {
    end_trees(None);
}

#[test]
fn trees_end_without_a_control_group_too() {
    if std::env::var_os("PROCESSION_NO_CGROUP").is_some() {
        end_trees(Some(TreeLevel::Subreaper));
        return;
    }
    // The place for groups is found once for a program, so this needs one of its own;
    // its processes are descendants of this one and would be leaks to another test's oracle.
    let _alone = procession_testkit::leaks::exclusive();
    let itself = std::env::current_exe().unwrap();
    let name = "trees_end_without_a_control_group_too";
    let mut again = Command::new(itself);
    again
        .args(["--exact", name, "--nocapture"])
        .env("PROCESSION_NO_CGROUP", 1);
    let outcome = again.outcome_blocking().unwrap();
    assert!(
        outcome.success(),
        "{}\n{}",
        outcome.cause(),
        String::from_utf8_lossy(&outcome.stdout)
    );
}

/// One child and one thing that happens to it.
async fn one_life(random: &mut Random, oracle: &Oracle) {
    let trick = random.one_of(&["sleep", "ignore-term", "cat", "exit"]);
    let mut command = Command::new(program());
    command
        .arg(trick)
        .envs([oracle.tag()])
        .grace(Duration::from_millis(random.below(20)));
    match trick {
        "sleep" => drop(command.arg(60)),
        "exit" => drop(command.arg(random.below(3))),
        _ => {}
    }
    command.tree(random.one_of(&[Tree::Process, Tree::Walk, Tree::Contain]));
    command.kill_on_drop();
    match random.below(6) {
        // Dropped at once.
        0 => drop(command.spawn().unwrap()),
        1 => {
            let mut child = command.spawn().unwrap();
            child.kill().unwrap();
            child.wait().await.unwrap();
        }
        2 => {
            let mut child = command.spawn().unwrap();
            let stop = Stop {
                signal: Signal::TERM,
                grace: Duration::from_millis(5),
            };
            child.stop(stop).await.unwrap();
        }
        // A future dropped in the middle: at a point that the load decides.
        3 => {
            let limit = Duration::from_micros(random.below(3_000));
            let _ = tokio::time::timeout(limit, command.outcome()).await;
        }
        4 => {
            let token = CancellationToken::new();
            command.cancel_on(token.clone());
            let running = tokio::spawn(async move { command.outcome().await });
            for _ in 0..random.below(5) {
                tokio::task::yield_now().await;
            }
            token.cancel();
            running.await.unwrap().unwrap();
        }
        _ => {
            command.timeout(Duration::from_micros(1 + random.below(2_000)));
            command.outcome().await.unwrap();
        }
    }
}

#[test]
fn lives_that_end_in_every_way_leave_nothing() {
    let oracle = Oracle::start();
    let mut random = Random::start();
    let runtime = runtime();
    let rounds = rounds(20) * 10;
    for round in 0..rounds {
        runtime.block_on(one_life(&mut random, &oracle));
        if round % 500 == 499 {
            eprintln!("{} of {rounds} lives", round + 1);
        }
    }
    drop(runtime);
    oracle.check();
}

#[test]
fn a_runtime_that_goes_in_the_middle_of_a_stop_leaves_nobody() {
    let oracle = Oracle::start();
    for _ in 0..rounds(10).min(100) {
        let runtime = runtime();
        runtime.block_on(async {
            let mut command = Command::new(program());
            command.arg("ignore-term").envs([oracle.tag()]);
            let mut child = command.spawn().unwrap();
            let mut lines = child.stdout.take().unwrap().lines();
            assert_eq!(
                lines.next_line().await.unwrap().as_deref(),
                Some(&b"ready"[..])
            );
            let patience = Stop {
                signal: Signal::TERM,
                grace: Duration::from_secs(60),
            };
            let stopping = child.stop(patience);
            // Polled once: the request is out, the owner has work to do.
            let soon = Duration::from_millis(5);
            assert!(tokio::time::timeout(soon, stopping).await.is_err());
        });
        drop(runtime);
    }
    oracle.check();
}

#[test]
fn the_reaper_needs_no_runtime() {
    let oracle = Oracle::start();
    let runtime = runtime();
    let mut children = Vec::new();
    runtime.block_on(async {
        for _ in 0..100 {
            let mut command = Command::new(program());
            command.arg("cat").envs([oracle.tag()]);
            children.push(command.spawn().unwrap());
        }
    });
    drop(runtime);
    // Their stdin closes with their handles: they end when nobody is there to see it.
    drop(children);
    oracle.check();
}

#[test]
fn a_blocked_runtime_leaves_no_zombie() {
    let oracle = Oracle::start();
    runtime().block_on(async {
        let child = Command::new("true").envs([oracle.tag()]).spawn().unwrap();
        let pid = child.id();
        // The only thread of the runtime is busy with this; the handle is held.
        procession_testkit::wait::until("the child to be reaped", || {
            (!std::fs::exists(format!("/proc/{pid}")).unwrap()).then_some(())
        });
        assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(0)));
    });
    oracle.check();
}
