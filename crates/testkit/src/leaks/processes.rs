//! The process table, as far as a search for leaks needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// Tells a process from a later one with the same number: number and start time.
pub(super) type Identity = (u32, u64);

/// One line of the process table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) state: char,
    pub(super) started: u64,
    pub(super) name: String,
    /// Whether the environment it began with has the tag.
    pub(super) tagged: bool,
}

impl Process {
    pub(super) fn identity(&self) -> Identity {
        (self.pid, self.started)
    }

    pub(super) fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// The command line for people, or the name in brackets where there is none.
    pub(super) fn command_line(&self) -> String {
        let words = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let text = String::from_utf8_lossy(&words)
            .trim_end_matches('\0')
            .replace('\0', " ");
        if text.is_empty() {
            format!("[{}]", self.name)
        } else {
            text
        }
    }
}

/// How often the list is read again for processes that could not be read for certain.
const ROUNDS: u32 = 100;

/// Reads the whole table, and looks for `tag` (`NAME=value`) in the environments.
///
/// A process that ends while the table is read may have started another one
/// that was not in the list, and so on: a chain of short lives would never be
/// seen. So the list is read again until everybody in it could be read.
pub(super) fn table(tag: &str) -> Vec<Process> {
    let mut certain: BTreeMap<u32, Process> = BTreeMap::new();
    let mut doubtful: BTreeMap<u32, Process> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut is_complete = true;
        for pid in numbers_in(Path::new("/proc")) {
            if certain.contains_key(&pid) {
                continue;
            }
            let Some((process, certainty)) = read(pid, tag) else {
                is_complete = false;
                continue;
            };
            // A zombie is as certain as can be once the list was read after its end.
            let ended = |before: &Process| before.is_zombie();
            if certainty == Certainty::Certain || doubtful.get(&pid).is_some_and(ended) {
                certain.insert(pid, process);
            } else {
                doubtful.insert(pid, process);
                is_complete = false;
            }
        }
        if is_complete {
            return certain.into_values().collect();
        }
    }
    doubtful.append(&mut certain);
    doubtful.into_values().collect()
}

/// Whether what was read of a process can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    Certain,
    /// It is ending, or about to become another program: no environment to look into.
    Doubtful,
}

/// Reads one line of the table.
pub(super) fn read(pid: u32, tag: &str) -> Option<(Process, Certainty)> {
    let (mut process, memory) = read_stat(pid)?;
    let certainty = match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) if !environment.is_empty() => {
            process.tagged = environment
                .split(|byte| *byte == 0)
                .any(|it| it == tag.as_bytes());
            Certainty::Certain
        }
        // Somebody else's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Certainty::Certain,
        // Nothing to read, or refused because there is no memory any more. Only
        // if it was the same program before and after is it really empty.
        Ok(_) | Err(_) => match (memory, read_stat(pid)?.1) {
            (Memory::None, _) => Certainty::Certain,
            (Memory::Environment(before), Memory::Environment(after)) if before == after => {
                Certainty::Certain
            }
            _ => Certainty::Doubtful,
        },
    };
    Some((process, certainty))
}

/// What a line of the table tells about the memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// A thread of the kernel has none.
    None,
    /// Where the environment lies: somewhere else in each program.
    Environment(u64),
    /// Ended, or between two programs.
    Unknown,
}

fn read_stat(pid: u32) -> Option<(Process, Memory)> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The entries of a folder of `/proc` that are numbers.
pub(super) fn numbers_in(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Reads `/proc/PID/stat`, whose name field may itself hold spaces and brackets.
fn parse(stat: &str) -> Option<(Process, Memory)> {
    /// `PF_KTHREAD` of the kernel.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let pid_at = |index: usize| fields.get(index)?.parse::<u32>().ok();
    let memory = match number(47) {
        _ if number(6)? & KERNEL_THREAD != 0 => Memory::None,
        Some(start) if start != 0 => Memory::Environment(start),
        _ => Memory::Unknown,
    };
    let process = Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: pid_at(1)?,
        group: pid_at(2)?,
        session: pid_at(3)?,
        started: number(19)?,
        tagged: false,
    };
    Some((process, memory))
}

/// The number, start time and name of a thread of this process.
pub(super) fn read_thread(tid: u32) -> Option<(u32, u64, String)> {
    let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    let (thread, _) = parse(&stat)?;
    Some((thread.pid, thread.started, thread.name))
}

/// Adds to `lineage` every process of `table` that descends from `root` or from
/// a process already in it, and every one in a session or group that one of
/// them leads or led. (The kernel gives no number away while a session or group
/// still has it, so the number still means the same leader.)
pub(super) fn extend_lineage(lineage: &mut BTreeSet<Identity>, table: &[Process], root: u32) {
    let mut numbers: BTreeSet<u32> = lineage.iter().map(|(pid, _)| *pid).collect();
    let mut alive: BTreeSet<u32> = table
        .iter()
        .filter(|process| lineage.contains(&process.identity()))
        .map(|process| process.pid)
        .collect();
    loop {
        let known = lineage.len();
        for process in table.iter().filter(|process| process.pid != root) {
            let related = process.parent == root
                || alive.contains(&process.parent)
                || numbers.contains(&process.session)
                || numbers.contains(&process.group);
            if related && lineage.insert(process.identity()) {
                numbers.insert(process.pid);
                alive.insert(process.pid);
            }
        }
        if lineage.len() == known {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, group: u32, session: u32) -> Process {
        let name = "x".to_owned();
        Process {
            pid,
            parent,
            group,
            session,
            state: 'S',
            started: 7,
            tagged: false,
            name,
        }
    }

    #[test]
    fn a_name_may_look_like_fields() {
        let stat = "42 (a) S 1 (b) R 3 4 5 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0";
        let (parsed, memory) = parse(stat).unwrap();
        assert_eq!(memory, Memory::Unknown);
        assert_eq!(
            (parsed.pid, parsed.name.as_str(), parsed.state),
            (42, "a) S 1 (b", 'R')
        );
        assert_eq!(
            (parsed.parent, parsed.group, parsed.session, parsed.started),
            (3, 4, 5, 99)
        );
    }

    #[test]
    fn this_process_is_in_the_table_with_its_environment() {
        let (name, value) = std::env::vars().next().unwrap();
        let table = table(&format!("{name}={value}"));
        let this = table
            .iter()
            .find(|process| process.pid == std::process::id())
            .unwrap();
        assert!(this.tagged);
        assert!(!this.is_zombie());
        let (again, certainty) = read(this.pid, "NO=where").unwrap();
        assert_eq!((again.tagged, certainty), (false, Certainty::Certain));
        assert_eq!(again.identity(), this.identity());
    }

    #[test]
    fn descent_is_followed_in_any_order_of_numbers() {
        let table = [
            process(3, 9, 3, 1),
            process(9, 5, 9, 1),
            process(5, 1, 5, 1),
            process(8, 1, 8, 1),
        ];
        let mut lineage = BTreeSet::new();
        extend_lineage(&mut lineage, &table, 5);
        assert_eq!(lineage, BTreeSet::from([(3, 7), (9, 7)]));
    }

    #[test]
    fn an_orphan_is_known_by_its_dead_leader() {
        let mut lineage = BTreeSet::from([(20, 7)]);
        let table = [
            process(30, 1, 30, 20),
            process(31, 1, 20, 2),
            process(32, 1, 32, 2),
        ];
        extend_lineage(&mut lineage, &table, 5);
        assert_eq!(lineage, BTreeSet::from([(20, 7), (30, 7), (31, 7)]));
    }
}
