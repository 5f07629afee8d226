//! Orphans that this process adopts are reaped, and nobody else.

#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procession_sys::{
    FdAssignment, HowEnded, Process, SpawnPlan, become_subreaper, fork_and_exec, pipe_pair,
    platform, reap_strangers,
};

const LIMIT: Duration = Duration::from_secs(20);

fn is_supported() -> bool {
    if platform().side == "linux" {
        become_subreaper().unwrap();
        return true;
    }
    for error in [become_subreaper().err(), reap_strangers(|_| false).err()] {
        assert_eq!(error.unwrap().kind(), io::ErrorKind::Unsupported);
    }
    false
}

fn shell(line: &str) -> SpawnPlan<'static> {
    let word = |text: &str| CString::new(text).unwrap();
    SpawnPlan {
        programs: vec![word("/bin/sh")],
        args: ["sh", "-c", line].map(word).to_vec(),
        inherit_env: true,
        null_fds: vec![0, 1, 2],
        ..SpawnPlan::default()
    }
}

fn ended(process: &Process) -> HowEnded {
    process.wait_timeout(Some(LIMIT)).unwrap().unwrap().how
}

/// An orphan of ours that ends when the pipe does.
fn orphan() -> (u32, OwnedFd) {
    let (waits, end) = pipe_pair().unwrap();
    let (told, tells) = pipe_pair().unwrap();
    let mut plan = shell("sh -c 'read line' <&3 >/dev/null & echo $!");
    plan.null_fds = vec![0, 2];
    plan.fds = [(1, &tells), (3, &waits)]
        .map(|(index, fd)| FdAssignment {
            index,
            source: fd.as_fd(),
        })
        .to_vec();
    let parent = fork_and_exec(&plan).unwrap();
    drop(plan);
    drop(tells);
    let mut pid = String::new();
    File::from(told).read_to_string(&mut pid).unwrap();
    assert_eq!(ended(&parent), HowEnded::Code(0));
    (pid.trim().parse().unwrap(), end)
}

/// The letter of its state and its parent; `None` when it was reaped.
fn state(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// Again while another test is just starting a child.
fn reap(spare: impl Fn(u32) -> bool) -> usize {
    let end = Instant::now() + LIMIT;
    loop {
        match reap_strangers(&spare) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                std::thread::yield_now();
            }
            result => return result.unwrap(),
        }
    }
}

/// One test, for the strangers of one would be reaped by another.
#[test]
fn strangers_are_reaped_and_nobody_else() {
    if !is_supported() {
        return;
    }
    orphans_are_reaped_unless_they_are_spared();
    no_child_of_ours_is_ever_taken();
}

fn orphans_are_reaped_unless_they_are_spared() {
    let me = std::process::id();
    let (first, first_end) = orphan();
    let (second, second_end) = orphan();
    wait_until("it is ours", || state(first).unwrap().1 == me);
    assert_eq!(reap(|_| false), 0, "they live");
    // The first one in the kernel's list stays there and hides nobody.
    drop(first_end);
    wait_until("the first ends", || state(first).unwrap().0 == 'Z');
    drop(second_end);
    wait_until("the second ends", || state(second).unwrap().0 == 'Z');
    assert_eq!(reap(|pid| pid == first), 1);
    assert_eq!(state(second), None);
    assert_eq!(state(first).unwrap().0, 'Z');
    assert_eq!(reap(|_| false), 1);
    assert_eq!(state(first), None);
    assert_eq!(reap(|_| false), 0);
}

fn no_child_of_ours_is_ever_taken() {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Refused in the middle of a start.
                let _ = reap_strangers(|_| false);
            }
        });
        let starters: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    (0..150)
                        .map(|_| fork_and_exec(&shell("exit 7")).unwrap())
                        .filter(|child| {
                            let ended = child.wait_timeout(Some(LIMIT));
                            ended.is_ok_and(|end| end.unwrap().how == HowEnded::Code(7))
                        })
                        .count()
                })
            })
            .collect();
        let told: usize = starters.into_iter().map(|it| it.join().unwrap()).sum();
        done.store(true, Ordering::Relaxed);
        assert_eq!(told, 300);
    });
}
