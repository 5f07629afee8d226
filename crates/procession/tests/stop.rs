//! The end of a child and of what it has started: asked for, forced, in passing.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/roles.rs"]
mod roles;
mod support;

use std::fs;
use std::pin::pin;
use std::time::Duration;

use facts::{is_linux_side, skip};
use processes::{is_alive, state};
use procession::child_process::{
    Child, Command, Exit, Outcome, Signal, Stop, Stopped, Tree, TreeLevel, Verdict,
};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use roles::{plays, role, said};
use rustix::process::{Pid, kill_process};
use support::{scene, tagged, testkit};
use tokio::io::AsyncReadExt as _;

/// Never reached in a test that passes, and far less than a test may take.
const LONG: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_millis(50);

const fn killed(signal: Signal) -> Exit {
    Exit::Signal {
        signal,
        core_dumped: false,
    }
}

/// Politely, with all the time in the world.
fn politely() -> Stop {
    Stop {
        signal: Signal::TERM,
        grace: LONG,
    }
}

/// Politely, but not for long.
fn briefly() -> Stop {
    Stop {
        signal: Signal::TERM,
        grace: SOON,
    }
}

/// At once.
fn by_force() -> Stop {
    Stop {
        signal: Signal::KILL,
        grace: LONG,
    }
}

const fn stopped(exit: Exit, forced: bool) -> Stopped {
    Stopped { exit, forced }
}

/// A child that has said `ready`, and the numbers it said before.
async fn ready(command: &Command) -> (Child, Vec<u32>) {
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    while !text.ends_with("ready\n") {
        let byte = stdout.read_u8().await.expect("`ready`");
        text.push(char::from(byte));
    }
    let numbers = text.lines().filter_map(|line| line.parse().ok()).collect();
    (child, numbers)
}

fn all_gone(pids: &[u32]) -> bool {
    !pids.iter().any(|pid| is_alive(*pid))
}

fn end(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_polite_child_ends_in_its_own_way() {
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk, Tree::Contain] {
            let mut command = testkit(oracle, &["term-exit", "7"]);
            let (mut child, _) = ready(command.tree(tree)).await;
            let mut stdout = child.stdout.take().unwrap();
            let done = child.stop(politely()).await.unwrap();
            assert_eq!(done, stopped(Exit::Code(7), false), "{tree:?}");
            let mut text = String::new();
            stdout.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "bye\n");
            assert_eq!(child.wait().await.unwrap(), Exit::Code(7));
        }
    });
}

#[test]
fn a_deaf_child_is_killed_after_its_grace() {
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk, Tree::Contain] {
            let mut command = testkit(oracle, &["ignore-term"]);
            let (mut child, _) = ready(command.tree(tree)).await;
            let done = child.stop(briefly()).await.unwrap();
            assert_eq!(done, stopped(killed(Signal::KILL), true), "{tree:?}");
        }
    });
}

#[test]
fn a_kill_by_name_is_no_escalation() {
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk, Tree::Contain] {
            let mut command = testkit(oracle, &["ignore-term"]);
            let (mut child, _) = ready(command.tree(tree)).await;
            let done = child.stop(by_force()).await.unwrap();
            assert_eq!(done, stopped(killed(Signal::KILL), false), "{tree:?}");
        }
    });
}

/// A stopped process acts on nothing but `SIGKILL` and `SIGCONT`.
#[test]
fn a_suspended_child_ends() {
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk, Tree::Contain] {
            let mut command = testkit(oracle, &["stop-self"]);
            let (mut child, _) = ready(command.tree(tree)).await;
            let pid = child.id();
            wait::until("its stop", || (state(pid) == Some('T')).then_some(()));
            let done = child.stop(politely()).await.unwrap();
            assert_eq!(done, stopped(killed(Signal::TERM), false), "{tree:?}");
        }
    });
}

#[test]
fn a_child_can_be_stopped_again() {
    scene(async |oracle| {
        let command = testkit(oracle, &["term-exit", "3"]);
        let (mut child, _) = ready(&command).await;
        for stop in [politely(), politely(), by_force(), briefly()] {
            let done = child.stop(stop).await.unwrap();
            assert_eq!(done, stopped(Exit::Code(3), false));
        }
        let outcome = child.outcome().await.unwrap();
        assert_eq!(outcome.verdict, Verdict::Stopped);
        assert!(!outcome.success());
        let cause = outcome.cause();
        assert_eq!(cause, format!("`{command}` exited with code 3 on request"));
    });
}

/// The second request has less patience than the first.
#[test]
fn a_second_stop_can_be_sooner() {
    scene(async |oracle| {
        for impatient in [by_force(), briefly()] {
            let command = testkit(oracle, &["ignore-term"]);
            let (mut child, _) = ready(&command).await;
            poll_once(child.stop(politely())).await;
            let done = child.stop(impatient).await.unwrap();
            assert_eq!(done, stopped(killed(Signal::KILL), true));
        }
    });
}

#[test]
fn another_signal_can_be_the_polite_one() {
    scene(async |oracle| {
        let command = testkit(oracle, &["signals"]);
        let (mut child, _) = ready(&command).await;
        let mut lines = child.stdout.take().unwrap().lines();
        let stdin = child.stdin.take().unwrap();
        let stop = Stop {
            signal: Signal::USR1,
            grace: LONG,
        };
        poll_once(child.stop(stop)).await;
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "SIGUSR1");
        // That was its last wish.
        drop(stdin);
        let done = child.stop(stop).await.unwrap();
        assert_eq!(done, stopped(Exit::Code(0), false));
    });
}

#[test]
fn many_can_be_stopped_at_once() {
    scene(async |oracle| {
        let mut children = Vec::new();
        for tree in [Tree::Process, Tree::Walk, Tree::Contain].repeat(10) {
            let mut command = testkit(oracle, &["term-exit", "6"]);
            children.push(ready(command.tree(tree)).await.0);
        }
        let stops = children
            .into_iter()
            .map(|mut child| tokio::spawn(async move { child.stop(politely()).await.unwrap() }));
        for stop in stops.collect::<Vec<_>>() {
            assert_eq!(stop.await.unwrap(), stopped(Exit::Code(6), false));
        }
    });
}

/// Polls a future once, which must not be done yet, and drops it.
async fn poll_once<T: std::fmt::Debug>(future: impl Future<Output = T>) {
    tokio::select! {
        biased;
        result = future => panic!("done already: {result:?}"),
        () = std::future::ready(()) => {}
    }
}

#[test]
fn a_child_that_has_ended_can_be_stopped() {
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk, Tree::Contain] {
            let mut command = testkit(oracle, &["exit", "5"]);
            let mut child = command.tree(tree).spawn().unwrap();
            let pid = child.id();
            wait::until("its end", || (!is_alive(pid)).then_some(()));
            let done = child.stop(politely()).await.unwrap();
            assert_eq!(done, stopped(Exit::Code(5), false), "{tree:?}");

            let mut child = command.spawn().unwrap();
            assert_eq!(child.wait().await.unwrap(), Exit::Code(5));
            let done = child.stop(politely()).await.unwrap();
            assert_eq!(done, stopped(Exit::Code(5), false), "{tree:?}");
        }
    });
}

/// Once begun, the escalation belongs to nobody's future.
#[test]
fn a_dropped_stop_goes_on() {
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk, Tree::Contain] {
            let mut command = testkit(oracle, &["ignore-term"]);
            let (mut child, _) = ready(command.tree(tree)).await;
            let pid = child.id();
            poll_once(child.stop(briefly())).await;
            // With the handle or without.
            let kept = (tree == Tree::Walk).then_some(child);
            while is_alive(pid) {
                tokio::task::yield_now().await;
            }
            drop(kept);
        }
    });
}

/// The end of the runtime is the end of the patience: nobody could escalate later.
#[test]
fn a_stop_whose_runtime_ends_kills_at_once() {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let command = testkit(&oracle, &["ignore-term"]);
    let child = runtime.block_on(async {
        let (mut child, _) = ready(&command).await;
        poll_once(child.stop(politely())).await;
        // Until the task has sent its signal and waits for the end of the grace.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        child
    });
    let pid = child.id();
    drop(runtime);
    wait::until("its end", || (!is_alive(pid)).then_some(()));
    drop(child);
    oracle.check();
}

#[test]
fn a_stop_and_a_wait_at_the_same_time() {
    scene(async |oracle| {
        let command = testkit(oracle, &["term-exit", "4"]);
        let (mut child, _) = ready(&command).await;
        poll_once(child.wait()).await;
        poll_once(child.stop(politely())).await;
        assert_eq!(child.wait().await.unwrap(), Exit::Code(4));
        let done = child.stop(politely()).await.unwrap();
        assert_eq!(done, stopped(Exit::Code(4), false));
    });
}

#[test]
fn a_timeout_ends_a_child_that_is_waited_for() {
    scene(async |oracle| {
        for tree in [Tree::Process, Tree::Walk, Tree::Contain] {
            let mut command = testkit(oracle, &["sleep", "60"]);
            command.tree(tree).timeout(SOON);
            let mut child = command.spawn().unwrap();
            assert_eq!(child.wait().await.unwrap(), killed(Signal::TERM));
            let outcome = child.outcome().await.unwrap();
            assert_eq!(outcome.verdict, Verdict::TimedOut(SOON), "{tree:?}");
            assert!(!outcome.forced);
        }
    });
}

/// The tricks that start a child, a session leader and a daemon, with the
/// environment, and with it all marks, kept or wiped.
const TREES: [&str; 2] = ["tree", "tree-clean-env"];

#[test]
fn a_child_alone_is_stopped_alone() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["tree"]);
        command.tree(Tree::Process);
        let (mut child, others) = ready(&command).await;
        others.iter().for_each(|pid| oracle.follow(*pid));
        assert_eq!(child.tree_level(), TreeLevel::Process);
        let done = child.stop(politely()).await.unwrap();
        assert_eq!(done, stopped(killed(Signal::TERM), false));
        for pid in others {
            assert!(is_alive(pid), "not asked to end");
            end(pid);
        }
    });
}

/// A time-out of `cat & wait` once ended in code 0: `cat` was signalled first, and
/// the shell, whose turn came later, took its end for a good one.
#[test]
fn a_shell_hears_of_the_end_before_its_commands() {
    if !is_linux_side() {
        return skip("the order of signals", "the kernel's in a process group");
    }
    scene(async |oracle| {
        // The last command has to be signalled long after the shell, not just after it.
        let line = "for i in $(seq 40); do sleep 40 & done; echo ready; wait $!; echo went on";
        for tree in [Tree::Walk, Tree::Contain] {
            let mut command = tagged(oracle, Command::shell(line), &[]);
            let (mut shell, _) = ready(command.tree(tree)).await;
            let done = shell.stop(politely()).await.unwrap();
            assert_eq!(done, stopped(killed(Signal::TERM), false), "{tree:?}");
            let outcome = shell.outcome().await.unwrap();
            assert_eq!(outcome.stdout_str(), Ok(""), "{tree:?}");
        }
    });
}

#[test]
fn a_walk_ends_all_but_the_daemon() {
    if !is_linux_side() {
        return skip("a tree walk", "needs /proc");
    }
    scene(async |oracle| {
        for trick in TREES {
            let mut command = testkit(oracle, &[trick]);
            let (mut child, others) = ready(command.tree(Tree::Walk)).await;
            others.iter().for_each(|pid| oracle.follow(*pid));
            assert_eq!(child.tree_level(), TreeLevel::Walk);
            let [plain, leader, daemon] = others[..] else {
                panic!("{others:?}");
            };
            child.stop(politely()).await.unwrap();
            assert!(all_gone(&[plain, leader]), "gone before the stop returns");
            // It has another parent, and nobody knows where it came from.
            assert!(is_alive(daemon));
            end(daemon);
        }
    });
}

async fn contain_all(oracle: &Oracle, level: TreeLevel) {
    for trick in TREES {
        for stop in [politely(), by_force()] {
            let mut command = testkit(oracle, &[trick]);
            let (mut child, others) = ready(command.tree(Tree::Contain)).await;
            others.iter().for_each(|pid| oracle.follow(*pid));
            assert_eq!(others.len(), 3);
            assert_eq!(child.tree_level(), level);
            child.stop(stop).await.unwrap();
            assert!(all_gone(&others), "{trick}: {others:?}");
        }
        // Killed by somebody else: what it leaves behind has no parent any more.
        let mut command = testkit(oracle, &[trick]);
        let (child, others) = ready(command.tree(Tree::Contain)).await;
        others.iter().for_each(|pid| oracle.follow(*pid));
        end(child.id());
        child.outcome().await.unwrap();
        if trick == "tree" || level == TreeLevel::Cgroup {
            assert!(all_gone(&others), "{trick}, killed: {others:?}");
        } else {
            // Neither marked nor related: the one gap that the level's own words admit.
            others
                .iter()
                .filter(|pid| is_alive(**pid))
                .for_each(|pid| end(*pid));
        }
    }
}

fn contained_level() -> TreeLevel {
    if procession::platform::probe().cgroup_kill.is_some() {
        TreeLevel::Cgroup
    } else {
        TreeLevel::Subreaper
    }
}

#[test]
fn contained_is_everybody() {
    if !is_linux_side() {
        return skip("containing", "needs control groups or subreapers");
    }
    if contained_level() != TreeLevel::Cgroup {
        skip("containing by control group", "none can be made here");
    }
    scene(async |oracle| contain_all(oracle, contained_level()).await);
}

#[test]
fn contained_is_everybody_without_control_groups_too() {
    if !is_linux_side() {
        return skip("containing", "needs control groups or subreapers");
    }
    scene(async |oracle| {
        for name in ["role_without_control_groups", "role_that_races_forks"] {
            let mut role = role(oracle, name);
            role.env("PROCESSION_NO_CGROUP", "1");
            said(role.outcome().await.unwrap());
        }
    });
}

#[test]
#[ignore = "a role"]
fn role_without_control_groups() {
    if plays("role_without_control_groups") {
        scene(async |oracle| {
            contain_all(oracle, TreeLevel::Subreaper).await;
            leave_behind(oracle).await;
        });
    }
}

/// A generation that ended while the processes were listed used to be the way
/// out: its child was not in the list.
#[test]
#[ignore = "a role"]
fn role_that_races_forks() {
    if plays("role_that_races_forks") {
        scene(async |oracle| race_forks(oracle, Tree::Contain).await);
    }
}

async fn leave_behind(oracle: &Oracle) {
    for trick in ["daemonise", "grandchild-holds-stdout"] {
        let mut command = testkit(oracle, &[trick, "60"]);
        command.tree(Tree::Contain);
        for outcome in [command.output().await, command.output_blocking()] {
            let outcome: Outcome = outcome.unwrap();
            let left: u32 = outcome.stdout_str().unwrap().parse().unwrap();
            assert!(!is_alive(left), "{trick}");
            assert_eq!(outcome.verdict, Verdict::Finished);
            assert!(!outcome.forced, "nobody was asked before");
        }
    }
}

#[test]
fn contained_is_also_what_a_child_leaves_behind_when_it_ends_by_itself() {
    if !is_linux_side() {
        return skip("containing", "needs control groups or subreapers");
    }
    scene(leave_behind);
}

/// A handle that is only dropped, or only waited on, has nobody who supervises.
#[test]
fn contained_is_also_what_a_forgotten_child_leaves_behind() {
    if !is_linux_side() {
        return skip("containing", "needs control groups or subreapers");
    }
    scene(async |oracle| {
        for waits in [false, true] {
            let line = "sleep 60 & echo $!; echo ready; read line";
            let mut command = tagged(oracle, Command::shell(line), &[]);
            let (mut child, left) = ready(command.tree(Tree::Contain)).await;
            if waits {
                assert!(child.wait().await.unwrap().signal().is_none());
            }
            drop(child);
            wait::until("the end of the rest", || all_gone(&left).then_some(()));
        }
    });
}

/// Everybody who carries the test's tag and has not ended, right now.
fn living(oracle: &Oracle) -> Vec<u32> {
    let (name, value) = oracle.tag();
    let tag = format!("{name}={value}");
    let carries = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|entry| entry == tag.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(carries).filter(|pid| is_alive(*pid)).collect()
}

/// Generations that start the next and exit, faster than anybody can look.
async fn race_forks(oracle: &Oracle, tree: Tree) {
    for mode in ["plain", "setsid"] {
        for stop in [by_force(), briefly()] {
            // The root stays: its own end would be the end of the rest.
            let line = "\"$TESTKIT\" fork-loop 20000 $MODE; read line";
            let mut command = tagged(oracle, Command::shell(line), &[]);
            command
                .env("TESTKIT", procession_testkit::program())
                .env("MODE", mode);
            let (mut child, _) = ready(command.tree(tree)).await;
            wait::until("a generation", || (living(oracle).len() > 1).then_some(()));
            child.stop(stop).await.unwrap();
            assert_eq!(living(oracle), [0; 0], "{mode} {stop:?}");
        }
    }
    // Its own end, too, however little is there to hold on to.
    let mut command = testkit(oracle, &["fork-loop", "20000"]);
    let outcome = command.tree(tree).output().await.unwrap();
    assert_eq!(outcome.stdout, b"ready\n");
    assert_eq!(living(oracle), [0; 0]);
}

#[test]
fn forks_that_race_the_end_lose() {
    if !is_linux_side() {
        return skip("a race with forks", "needs control groups or subreapers");
    }
    scene(async |oracle| race_forks(oracle, Tree::Contain).await);
}

#[test]
fn a_group_is_a_tree_where_there_is_no_better_one() {
    if is_linux_side() {
        return skip("process groups as trees", "Linux has better ones");
    }
    scene(async |oracle| {
        let line = "sleep 60 & echo $!; echo ready; wait";
        for leads in [true, false] {
            let mut command = tagged(oracle, Command::shell(line), &[]);
            if leads {
                command.process_group(0);
            }
            let (mut child, others) = ready(&command).await;
            let level = if leads {
                TreeLevel::Group
            } else {
                TreeLevel::Process
            };
            assert_eq!(child.tree_level(), level);
            child.stop(politely()).await.unwrap();
            assert_eq!(all_gone(&others), leads);
            if !leads {
                others.iter().for_each(|pid| end(*pid));
            }
        }
    });
}

/// The stop of an inner tree leaves the outer one alone, that of the outer one
/// ends both.
#[test]
fn trees_nest() {
    if !is_linux_side() {
        return skip("nested trees", "needs control groups or subreapers");
    }
    scene(async |oracle| {
        for tree in [Tree::Walk, Tree::Contain] {
            let mut outer = role(oracle, "role_of_the_outer_tree");
            let (mut child, numbers) = ready(outer.tree(tree)).await;
            numbers.iter().for_each(|pid| oracle.follow(*pid));
            assert_eq!(numbers.len(), 4, "{numbers:?}");
            child.stop(politely()).await.unwrap();
            assert!(all_gone(&numbers[..3]), "{tree:?}: {numbers:?}");
            let daemon = numbers[3];
            assert_eq!(is_alive(daemon), tree == Tree::Walk);
            if tree == Tree::Walk {
                end(daemon);
            }
        }
    });
}

#[test]
#[ignore = "a role"]
fn role_of_the_outer_tree() {
    if !plays("role_of_the_outer_tree") {
        return;
    }
    scene(async |oracle| {
        let mut command = testkit(oracle, &["tree"]);
        command.tree(Tree::Contain);
        let (mut one, first) = ready(&command).await;
        let (mut other, second) = ready(&command).await;
        one.stop(politely()).await.unwrap();
        assert!(all_gone(&first));
        assert_eq!(second.iter().filter(|pid| is_alive(**pid)).count(), 3);
        // The harness has begun a line of its own.
        println!("\n{}", other.id());
        second.iter().for_each(|pid| println!("{pid}"));
        println!("ready");
        other.wait().await.unwrap();
        unreachable!("we are killed first");
    });
}

#[test]
fn an_outcome_that_is_awaited_sees_the_stop_of_a_token() {
    scene(async |oracle| {
        let token = tokio_util::sync::CancellationToken::new();
        let mut command = testkit(oracle, &["term-exit", "0"]);
        command.cancel_on(token.clone());
        let (child, _) = ready(&command).await;
        let mut running = pin!(child.outcome());
        poll_once(running.as_mut()).await;
        token.cancel();
        let outcome = running.await.unwrap();
        assert_eq!(outcome.exit, Exit::Code(0));
        assert_eq!(outcome.verdict, Verdict::Canceled);
        assert_eq!(outcome.stdout, b"bye\n");
    });
}
