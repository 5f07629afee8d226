//! What `/proc` says about other processes.

use std::cmp::Reverse;
use std::time::Duration;
use std::{fs, io};

use crate::status::ProcessLoad;

/// The children of a process, by its threads' `children` files, or by a look
/// at every process where the kernel was built without them.
pub(super) fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(
                list.split_ascii_whitespace()
                    .filter_map(|n| n.parse::<u32>().ok()),
            ),
            Err(_) if !kernel_lists_children() => return scan_for_children(pid),
            // The thread ended between the two reads.
            Err(_) => {}
        }
    }
    children
}

pub(super) fn kernel_lists_children() -> bool {
    fs::exists("/proc/thread-self/children").unwrap_or(false)
}

fn scan_for_children(parent: u32) -> Vec<u32> {
    all_processes()
        .into_iter()
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

/// Every process there is, ourselves included.
pub(super) fn all_processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The same, the youngest first: of those that live for a moment only, the ones
/// at the end of the list would be gone when it is their turn.
pub(super) fn all_processes_by_age() -> Vec<u32> {
    let mut pids = all_processes();
    let youngest = last_pid().unwrap_or(u32::MAX);
    // Numbers are given out in turn and begin again from below.
    pids.sort_unstable_by_key(|pid| (*pid > youngest, Reverse(*pid)));
    pids
}

/// The number that was given out last.
fn last_pid() -> Option<u32> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split_ascii_whitespace().next_back()?.parse().ok()
}

/// The parent of a process that is there and not a zombie.
pub(super) fn parent_of(pid: u32) -> Option<u32> {
    let stat = stat_of(pid)?;
    let mut fields = stat.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.next()?.parse().ok(),
    }
}

/// The fields of `/proc/PID/stat` from the state on.
fn stat_of(pid: u32) -> Option<String> {
    let mut stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, a parenthesis included.
    let name_ends = stat.rfind(')')?;
    Some(stat.split_off(name_ends + 1))
}

/// Says what a process uses.
///
/// # Errors
///
/// `ESRCH` when there is no such process (any more).
pub fn process_load(pid: u32) -> io::Result<ProcessLoad> {
    stat_of(pid)
        .and_then(|stat| load_in(&stat))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Reads what [`process_load`] tells from the fields that [`stat_of`] gives.
fn load_in(stat: &str) -> Option<ProcessLoad> {
    let fields: Vec<&str> = stat.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    let a_second = rustix::param::clock_ticks_per_second();
    let nanos = (ticks % a_second) * 1_000_000_000 / a_second;
    Some(ProcessLoad {
        cpu: Duration::from_secs(ticks / a_second) + Duration::from_nanos(nanos),
        rss: number(21)? * rustix::param::page_size() as u64,
    })
}

/// Tells a process from a later one of the same number: number and start time.
pub(super) type Identity = (u32, u64);

fn identity_of(pid: u32) -> Option<Identity> {
    let started = stat_of(pid)?.split_ascii_whitespace().nth(19)?.parse();
    Some((pid, started.ok()?))
}

/// A key that sorts processes by their start. Those of the same clock tick (10 ms
/// as a rule) are told apart by their numbers, which are given out in turn.
pub(super) fn birth_of(pid: u32) -> Option<(u64, u32)> {
    identity_of(pid).map(|(pid, started)| (started, pid))
}

/// What a process's first environment says about a `NAME=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Carried,
    Missing,
    /// It is a zombie: what it was, nobody can tell.
    Ended(Identity),
    /// It is just becoming another program or ending, or is gone since it was listed.
    Unknown,
}

/// Looks for a `NAME=value` in the environment that the process was started with.
pub(super) fn mark_of(pid: u32, variable: &[u8]) -> Mark {
    match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environ) if !environ.is_empty() => {
            let mut entries = environ.split(|byte| *byte == 0);
            if entries.any(|entry| entry == variable) {
                Mark::Carried
            } else {
                Mark::Missing
            }
        }
        // Somebody else's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Mark::Missing,
        Ok(_) | Err(_) => without_environment(pid).unwrap_or(Mark::Unknown),
    }
}

/// Why there is nothing to read. `None`: no reason that will last.
fn without_environment(pid: u32) -> Option<Mark> {
    /// `PF_KTHREAD` of the kernel.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let stat = stat_of(pid)?;
    let fields: Vec<&str> = stat.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    if matches!(*fields.first()?, "Z" | "X") {
        return Some(Mark::Ended((pid, number(19)?)));
    }
    let (from, to) = (number(47)?, number(48)?);
    // Nowhere yet: an `execve` is under way, and the parent may have gone on already.
    let is_empty = from != 0 && from == to;
    (is_empty || number(6)? & KERNEL_THREAD != 0).then_some(Mark::Missing)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    /// Looks until what is seen will last.
    fn lasting_mark(pid: u32, variable: &[u8]) -> Mark {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let mark = mark_of(pid, variable);
            if mark != Mark::Unknown || Instant::now() >= end {
                return mark;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn why_there_is_no_environment_is_told_apart() {
        let start = |command: &mut Command| command.arg("60").spawn().unwrap();
        let mut marked = start(Command::new("sleep").env("A_MARK", "1"));
        assert_eq!(lasting_mark(marked.id(), b"A_MARK=1"), Mark::Carried);
        assert_eq!(lasting_mark(marked.id(), b"A_MARK=2"), Mark::Missing);
        let mut bare = start(Command::new("/bin/sleep").env_clear());
        assert_eq!(lasting_mark(bare.id(), b"A_MARK=1"), Mark::Missing);

        for child in [&mut marked, &mut bare] {
            child.kill().unwrap();
            let end = Instant::now() + Duration::from_secs(20);
            while parent_of(child.id()).is_some() && Instant::now() < end {
                std::thread::yield_now();
            }
            let pid = child.id();
            assert!(matches!(mark_of(pid, b"A_MARK=1"), Mark::Ended((it, _)) if it == pid));
            child.wait().unwrap();
            assert_eq!(mark_of(pid, b"A_MARK=1"), Mark::Unknown);
        }
    }

    #[test]
    fn the_load_is_read_at_its_places() {
        let stat = " T 1 2 3 4 5 6 7 8 9 10 230 45 13 14 15 16 17 18 19 20 300 22";
        let load = load_in(stat).unwrap();
        let a_second = rustix::param::clock_ticks_per_second();
        let expected = Duration::from_secs_f64(275.0 / f64::from(u32::try_from(a_second).unwrap()));
        assert_eq!(load.cpu, expected);
        assert_eq!(load.rss, 300 * rustix::param::page_size() as u64);
        assert_eq!(load_in(" S 1 2"), None);
    }

    #[test]
    fn the_youngest_is_looked_at_first() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pids = all_processes_by_age();
        let place = |pid| pids.iter().position(|it| *it == pid).unwrap();
        assert!(place(child.id()) < place(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
