//! What `/proc` says about other processes.

use std::cmp::Reverse;
use std::{fs, io};

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

fn kernel_lists_children() -> bool {
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
    /// It has no environment now: it is ending, becoming another program or a
    /// thread of the kernel. `None`: it is gone since it was listed.
    Unread(Option<Identity>),
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
        Ok(_) | Err(_) => Mark::Unread(identity_of(pid)),
    }
}
