//! What this process holds at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::processes::{self, Identity, numbers_in};
use super::{groups, listeners};

/// A thread: number, start time, name (the kernel keeps its first 15 bytes).
pub(super) type Thread = (u32, u64, String);

/// What this process holds at one moment. Taking one changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What each open descriptor is.
    pub(super) descriptors: BTreeMap<u32, String>,
    pub(super) threads: BTreeSet<Thread>,
    /// Our children and theirs.
    pub(super) processes: BTreeSet<Identity>,
    /// By inode.
    pub(super) listeners: BTreeMap<u64, String>,
    pub(super) groups: BTreeSet<PathBuf>,
    rss_bytes: u64,
}

impl Snapshot {
    /// Looks at this process and its surroundings.
    #[must_use]
    pub fn take() -> Self {
        let descriptors = descriptors();
        let own: BTreeSet<u64> = descriptors
            .values()
            .filter_map(|target| listeners::inode(target))
            .collect();
        let mut listeners = listeners::by_inode();
        listeners.retain(|inode, _| own.contains(inode));
        let mut processes = BTreeSet::new();
        processes::extend_lineage(&mut processes, &processes::table(""), std::process::id());
        Self {
            descriptors,
            threads: threads(),
            processes,
            listeners,
            groups: groups::all(),
            rss_bytes: rss_bytes(),
        }
    }

    /// How much memory was resident.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        self.rss_bytes
    }
}

/// Every open descriptor but the one that looks.
fn descriptors() -> BTreeMap<u32, String> {
    let folder = Path::new("/proc/self/fd");
    // Closed by now: the descriptor that read the folder, of which no link is left.
    let numbers = numbers_in(folder);
    let link = |number| {
        Some((
            number,
            fs::read_link(folder.join(u32::to_string(&number))).ok()?,
        ))
    };
    numbers
        .into_iter()
        .filter_map(link)
        .map(|(number, target)| (number, target.to_string_lossy().into_owned()))
        .collect()
}

fn threads() -> BTreeSet<Thread> {
    let numbers = numbers_in(Path::new("/proc/self/task"));
    numbers
        .into_iter()
        .filter_map(processes::read_thread)
        .collect()
}

pub(super) fn rss_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Everything below a folder, the folder itself left out.
pub(super) fn files_below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            files.insert(entry.path());
        }
    }
    files
}
