//! Control groups that procession made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every `procession-*` group of the version 2 hierarchy, wherever it is mounted.
pub(super) fn all() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    if let Some(mount) = mount_point() {
        descend(&mount, &mut |group| {
            let name = group.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with("procession-")) {
                found.insert(group.to_owned());
            }
        });
    }
    found
}

/// Where the version 2 hierarchy is mounted.
pub(super) fn mount_point() -> Option<PathBuf> {
    parse_mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Everybody in the group and in the groups below it.
pub(super) fn inhabitants(group: &Path) -> Vec<u32> {
    let mut inhabitants = Vec::new();
    descend(group, &mut |group| {
        let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        inhabitants.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
    });
    inhabitants
}

/// Whether one of `makers` made the group, by its name `procession-PID-NUMBER`.
///
/// Other programs that use procession, and tests beside this one, make groups
/// in the same place. A name that tells no maker is nobody's excuse.
pub(super) fn made_by_one_of(group: &Path, makers: &BTreeSet<u32>) -> bool {
    let name = group
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let maker = name
        .strip_prefix("procession-")
        .and_then(|rest| rest.split('-').next());
    match maker.and_then(|maker| maker.parse::<u32>().ok()) {
        Some(maker) => makers.contains(&maker),
        None => true,
    }
}

fn parse_mounts(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        (source.split(' ').next()? == "cgroup2").then_some(())?;
        mount.split(' ').nth(4).map(PathBuf::from)
    })
}

fn descend(group: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(group);
    let Ok(entries) = fs::read_dir(group) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            descend(&entry.path(), visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_hybrid_hierarchy_is_found() {
        let info = "30 23 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                    35 23 0:31 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(parse_mounts(info), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(parse_mounts("22 1 0:2 / /proc rw - proc proc rw\n"), None);
    }

    #[test]
    fn a_group_belongs_to_the_number_in_its_name() {
        let makers = BTreeSet::from([7]);
        assert!(made_by_one_of(Path::new("/c/procession-7-0"), &makers));
        assert!(!made_by_one_of(Path::new("/c/procession-77-0"), &makers));
        assert!(made_by_one_of(Path::new("/c/procession-app"), &makers));
    }
}
