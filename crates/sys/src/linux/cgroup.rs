//! Control groups (version 2) as the net under a process tree.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Set to anything, it makes this program do without control groups, as on a
/// machine that has none: for tests, and for one whose groups misbehave.
const SWITCH_OFF: &str = "PROCESSION_NO_CGROUP";

const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// What the names of our groups begin with; the process that made it and a number follow.
const NAME: &str = "procession-";

/// A group that is younger may be one that its maker has yet to fill. It can be
/// one that we see no process of: not all see the same numbers.
const ABANDONED: Duration = Duration::from_mins(1);

/// The most that one program clears away of what others left.
const MOST_ABANDONED: usize = 64;

/// Where groups can be made: found out once, and again after `forget_place`.
static PLACE: Mutex<Option<Result<PathBuf, String>>> = Mutex::new(None);

/// A control group that holds one tree. Removed by [`Cgroup::remove`], not by drop.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one below our own, if this machine lets us.
    pub(super) fn create() -> Option<Self> {
        let place = place().ok()?;
        create_in(&place).ok()
    }

    /// Makes one whose processes may use so many bytes together, or says why there can be none.
    pub(super) fn create_limited(bytes: u64) -> Result<Self, String> {
        let place = memory_place(&place()?)?;
        let why = |error| format!("{}: {error}", place.display());
        let group = create_in(&place).map_err(why)?;
        if let Err(error) = group.limit_memory(bytes) {
            // An empty group can always be removed.
            let _ = group.remove();
            return Err(why(error));
        }
        Ok(group)
    }

    /// `cgroup.procs`, to be written by the process that joins.
    pub(super) fn procs_file(&self) -> io::Result<OwnedFd> {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_CLOEXEC);
        Ok(options.open(self.path.join("cgroup.procs"))?.into())
    }

    /// Everybody in it, and in groups that were made below it.
    pub(super) fn members(&self) -> Vec<u32> {
        let mut members = Vec::new();
        each_group(&self.path, &mut |group| {
            let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            members.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
        });
        members
    }

    /// Whether a living process is in it. A group that is gone has none; one
    /// that cannot be asked, for want of a descriptor, counts as populated.
    pub(super) fn is_populated(&self) -> bool {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(events) => events.lines().any(|line| line == "populated 1"),
            Err(error) => {
                let gone = [Some(libc::ENOENT), Some(libc::ENODEV)];
                !gone.contains(&error.raw_os_error())
            }
        }
    }

    /// Kills everybody in it, forks that race the kill included.
    pub(super) fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Whether the out-of-memory killer struck in it; `None` without the memory controller.
    pub(super) fn oom_killed(&self) -> Option<bool> {
        let events = fs::read_to_string(self.path.join("memory.events")).ok()?;
        let count = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        Some(count.is_some_and(|count| count != "0"))
    }

    /// Above `bytes`, swap included, the kernel kills everybody in it together.
    fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        set(&self.path.join("memory.oom.group"), "1")?;
        match set(&self.path.join("memory.swap.max"), "0") {
            // A kernel without swap.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        set(&self.path.join("memory.max"), &bytes.to_string())
    }

    /// Removes it with the groups below; refused while a process is in it.
    pub(super) fn remove(&self) -> io::Result<()> {
        let mut groups = Vec::new();
        each_group(&self.path, &mut |group| groups.push(group.to_path_buf()));
        // Found parents first; they must go last.
        for group in groups.iter().rev() {
            match fs::remove_dir(group) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where trees get their groups, or why there is no such place.
pub(super) fn place() -> Result<PathBuf, String> {
    let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    place.get_or_insert_with(find_place).clone()
}

/// Notes that joining was refused in spite of everything.
pub(super) fn forget_place(reason: &io::Error) {
    let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    *place = Some(Err(format!(
        "joining a control group was refused: {reason}"
    )));
}

fn find_place() -> Result<PathBuf, String> {
    if std::env::var_os(SWITCH_OFF).is_some() {
        return Err(format!("switched off by {SWITCH_OFF}"));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
    let (root, mount) = cgroup2_mount(&mounts).ok_or("no cgroup2 file system is mounted")?;
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or("no cgroup2 path")?;
    let below = path
        .strip_prefix(&root)
        .unwrap_or(path)
        .trim_start_matches('/');
    let mount = Path::new(&mount);
    let place = if below.is_empty() {
        mount.to_owned()
    } else {
        mount.join(below)
    };
    let probe = create_in(&place).map_err(|e| format!("{}: {e}", place.display()))?;
    let usable = probe
        .procs_file()
        .and_then(|_| fs::metadata(probe.path.join("cgroup.kill")))
        .map_err(|e| {
            format!(
                "{}: no cgroup.kill or cgroup.procs to write: {e}",
                place.display()
            )
        });
    // An empty group can always be removed.
    let _ = probe.remove();
    clear_away(&place);
    usable.map(|_| place)
}

/// Removes empty groups of programs that were killed before they could.
fn clear_away(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    let is_old = |path: &Path| {
        let made = fs::metadata(path).and_then(|group| group.modified());
        let made = made.ok().and_then(|made| made.elapsed().ok());
        made.is_some_and(|since| since >= ABANDONED)
    };
    let abandoned = entries.flatten().map(|entry| entry.path());
    let abandoned = abandoned.filter(|path| {
        let maker = path.file_name().and_then(|name| maker(name.to_str()?));
        maker.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) && is_old(path)
    });
    for path in abandoned.take(MOST_ABANDONED) {
        let group = Cgroup { path };
        // Who is still in it lives on, and may just make groups below, which are empty at first.
        if !group.is_populated() {
            let _ = group.remove();
        }
    }
}

/// The process that made a group of this name, if it is one of ours.
fn maker(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix(NAME)?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// Where groups have the memory controller: below our own, or beside it.
///
/// A group with processes in it, as ours is, gives its controllers to no group
/// below (the root of all may). So whoever owns the group above us has its
/// program run in one below, and others beside it.
fn memory_place(own: &Path) -> Result<PathBuf, String> {
    let missing = match gives_memory(own, false) {
        Ok(()) => return Ok(own.to_owned()),
        Err(missing) => missing,
    };
    match own.parent() {
        Some(above) if is_delegated(above) => gives_memory(above, true).map(|()| above.to_owned()),
        _ => Err(format!("{missing}, and the group above is not ours")),
    }
}

/// Whether groups below have the memory controller; where the group is ours, it
/// is switched on for them.
fn gives_memory(group: &Path, ours: bool) -> Result<(), String> {
    let has = |file: &str| {
        let names = fs::read_to_string(group.join(file)).unwrap_or_default();
        names.split_whitespace().any(|name| name == "memory")
    };
    let why = |why: &dyn std::fmt::Display| format!("{}: {why}", group.display());
    if has(SUBTREE_CONTROL) {
        return Ok(());
    }
    if !has("cgroup.controllers") {
        return Err(why(&"there is no `memory` in cgroup.controllers"));
    }
    if !ours {
        return Err(why(&"there is no `memory` in cgroup.subtree_control"));
    }
    set(&group.join(SUBTREE_CONTROL), "+memory").map_err(|error| why(&error))
}

/// Whether a group was left to us: systemd marks those of `Delegate=`; a
/// container has what is the top for it, but not for the machine.
fn is_delegated(group: &Path) -> bool {
    let marks = ["user.delegate", "trusted.delegate"];
    let is_marked = |mark: &&str| {
        let mut value = [0; 1];
        rustix::fs::getxattr(group, *mark, &mut value) == Ok(1) && value == *b"1"
    };
    let is_group = |path: &Path| path.join("cgroup.procs").exists();
    let is_top = || !group.parent().is_some_and(is_group);
    // The root of all has no type.
    marks.iter().any(is_marked) || group.join("cgroup.type").exists() && is_top()
}

/// Writes to a file of the kernel's, which makes none.
fn set(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
}

/// The root and the mount point of the first cgroup2 file system.
fn cgroup2_mount(mountinfo: &str) -> Option<(String, String)> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        Some((
            fields.next()?.trim_end_matches('/').to_owned(),
            fields.next()?.to_owned(),
        ))
    })
}

fn create_in(place: &Path) -> io::Result<Cgroup> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = place.join(format!("{NAME}{}-{number}", std::process::id()));
    match fs::create_dir(&path) {
        // Left behind by a program of the same number that was killed: empty or not ours to use.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_dir(&path)?;
            fs::create_dir(&path)?;
        }
        result => result?,
    }
    Ok(Cgroup { path })
}

fn each_group(group: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(group);
    let Ok(entries) = fs::read_dir(group) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each_group(&entry.path(), visit);
        }
    }
}

/// Whether a process is in this group or below, asked of the process's own file.
pub(super) fn contains(group: &Cgroup, pid: u32) -> bool {
    let Some(name) = group.path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let own = File::open(format!("/proc/{pid}/cgroup")).and_then(io::read_to_string);
    own.is_ok_and(|own| {
        own.lines()
            .any(|line| line.split('/').any(|part| part == name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_cgroup2_mount_of_a_hybrid_system() {
        let info = "30 1 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    31 1 0:27 /outer /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            cgroup2_mount(info),
            Some(("/outer".into(), "/sys/fs/cgroup/unified".into()))
        );
        assert_eq!(cgroup2_mount("31 1 0:27 / /x rw - tmpfs tmpfs rw\n"), None);
    }

    /// Folders instead of groups.
    #[test]
    fn what_the_dead_left_is_cleared_away_if_nobody_is_in_it() {
        let place = std::env::temp_dir().join(format!("procession-left-{}", std::process::id()));
        let own = std::process::id();
        let make = |name: &str| {
            let path = place.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        // No process has a number as large as this.
        let dead = make("procession-4194305-0");
        let nested = make("procession-4194305-1/procession-4194306-0");
        let (young, ours) = (
            make("procession-4194305-2"),
            make(&format!("{NAME}{own}-0")),
        );
        let others = [
            "user.slice",
            "procession-",
            "procession-4194305-x",
            "procession-x-0",
        ]
        .map(make);
        let used = make("procession-4194305-3");
        let below = make("procession-4194305-3/procession-1-0");
        fs::write(used.join("cgroup.events"), "populated 1\n").unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * ABANDONED;
        let all = fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        for path in all.filter(|path| *path != young) {
            File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        clear_away(&place);
        assert!(!dead.exists() && !nested.parent().unwrap().exists());
        assert!(young.exists() && ours.exists() && below.exists());
        assert!(others.iter().all(|path| path.exists()));
        fs::remove_dir_all(&place).unwrap();
    }

    /// Folders with plain files instead of groups.
    #[test]
    fn memory_is_looked_for_below_us_and_then_beside_us_if_that_is_ours() {
        let top = std::env::temp_dir().join(format!("procession-test-{}", std::process::id()));
        let own = top.join("own");
        fs::create_dir_all(&own).unwrap();
        let put = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
        let own_controllers = own.join("cgroup.controllers");
        put(own_controllers.clone(), "cpu memory_of_elephants");
        let missing = |what: &str| {
            let error = memory_place(&own).unwrap_err();
            let where_and_what = format!("{}: there is no `memory` in {what}", own.display());
            assert!(error.starts_with(&where_and_what), "{error}");
            assert!(error.ends_with("the group above is not ours"), "{error}");
        };
        missing("cgroup.controllers");
        put(own_controllers, "cpu memory");
        missing("cgroup.subtree_control");

        let control = top.join("cgroup.subtree_control");
        for file in ["cgroup.procs", "cgroup.subtree_control"] {
            put(top.join(file), "");
        }
        put(top.join("cgroup.controllers"), "memory");
        missing("cgroup.subtree_control");
        assert_eq!(
            fs::read_to_string(&control).unwrap(),
            "",
            "it was the root of all"
        );
        // The top of a container.
        put(top.join("cgroup.type"), "domain");
        assert_eq!(memory_place(&own).as_deref(), Ok(&*top));
        assert_eq!(fs::read_to_string(&control).unwrap(), "+memory");
        put(own.join("cgroup.subtree_control"), "memory");
        assert_eq!(memory_place(&own).as_deref(), Ok(&*own));

        // Neither the top nor marked.
        put(own.join("cgroup.subtree_control"), "");
        put(own.join("cgroup.procs"), "");
        put(own.join("cgroup.type"), "domain");
        let inner = own.join("inner");
        fs::create_dir(&inner).unwrap();
        assert!(memory_place(&inner).is_err());
        fs::remove_dir_all(&top).unwrap();
    }
}
