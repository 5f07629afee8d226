//! Where worker processes note which task began in which of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// How much of its end is looked at for somebody who is there.
const TAIL: i64 = 512;

/// The file, and whom we killed.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    killed: BTreeSet<u32>,
    _folder: tempfile::TempDir,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        File::create(&path).unwrap();
        Self {
            path,
            killed: BTreeSet::new(),
            _folder: folder,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn killed(&self) -> &BTreeSet<u32> {
        &self.killed
    }

    /// Kills one that has begun a task just now, if it is still there.
    pub(crate) fn kill_one(&mut self) {
        let mut file = File::open(&self.path).unwrap();
        // A file that is shorter is read from its start.
        let _ = file.seek(SeekFrom::End(-TAIL));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let pid = text.lines().rev().find_map(|line| Some(entry(line)?.1));
        let Some(pid) = pid.filter(|pid| is_our_child(*pid)) else {
            return;
        };
        self.killed.insert(pid);
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        // It may be gone.
        let _ = kill_process(pid, Signal::KILL);
    }

    /// The processes in which each task began.
    pub(crate) fn read(&self) -> BTreeMap<u64, Vec<u32>> {
        let text = fs::read_to_string(&self.path).unwrap();
        let mut begun = BTreeMap::<u64, Vec<u32>>::new();
        for line in text.lines() {
            let (id, pid) = entry(line).expect("lines do not mix");
            begun.entry(id).or_default().push(pid);
        }
        begun
    }
}

fn entry(line: &str) -> Option<(u64, u32)> {
    let (id, pid) = line.split_once(' ')?;
    Some((id.parse().ok()?, pid.parse().ok()?))
}

/// Whose number it is now: the number of one that was reaped may be another's.
fn is_our_child(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let mut words = behind_name.split(' ');
    let is_zombie = words.next() == Some("Z");
    !is_zombie && words.next() == Some(&std::process::id().to_string())
}
