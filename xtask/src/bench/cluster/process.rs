//! What `/proc` tells of the server's processes.

use std::fs;

/// The clock of `/proc/PID/stat` ticks 100 times a second on every Linux that we know.
const TICK_US: f64 = 10_000.0;

/// CPU time of some processes, user and system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    ticks: u64,
}

impl Cpu {
    pub(super) fn of(pids: &[u32]) -> Self {
        let stats = pids.iter().filter_map(|pid| stat(*pid));
        Self {
            ticks: stats.filter_map(|it| ticks(&it)).sum(),
        }
    }

    /// What was used since then, in microseconds.
    pub(super) fn since_us(self, before: Self) -> f64 {
        self.ticks.saturating_sub(before.ticks) as f64 * TICK_US
    }
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// The words behind the name, which may have spaces and brackets.
fn words(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split(' ')
}

fn ticks(stat: &str) -> Option<u64> {
    let mut times = words(stat).skip(11);
    let (user, system) = (times.next()?, times.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// Whether it runs: a zombie does not.
pub(super) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|it| !matches!(words(&it).next(), None | Some("Z" | "X")))
}

/// Its living children.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = tasks.into_iter().flatten().flatten().map(|task| {
        // A thread that has just ended has none.
        fs::read_to_string(task.path().join("children")).unwrap_or_default()
    });
    let pids = lists.flat_map(|list| {
        let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.collect::<Vec<u32>>()
    });
    pids.filter(|pid| is_alive(*pid)).collect()
}

/// Its resident memory.
pub(super) fn rss_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest() {
        let stat = "7 (a) R 1 (b) S 1 7 7 0 -1 4194304 150 0 0 0 12 30 5 6 20 0 1 0 100";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(words(stat).next(), Some("S"));
        assert_eq!(ticks("7 (a) S"), None);
    }

    #[test]
    fn this_process_is_alive_and_has_memory() {
        let pid = std::process::id();
        assert!(is_alive(pid) && !is_alive(0) && rss_kib(pid) > 100.0);
    }
}
