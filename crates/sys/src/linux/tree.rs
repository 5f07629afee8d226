//! A process and everything that came from it.
//!
//! Three ways to find it again, best first: a control group; the root as
//! subreaper of its descendants plus a mark in their environment; a walk down
//! the family at the moment it is needed. Processes are held by pidfd from the
//! moment they are found, and looked at again after that, so a number that was
//! reused in between is never signalled.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup::{self, Cgroup};
use super::proc_files::{
    Identity, Mark, all_processes_by_age, birth_of, children_of, mark_of, parent_of,
};
use super::process::send;
use crate::io::{PollFd, poll};
use crate::status::TreeLevel;

/// The first part of the mark's name; the rest is the tree's own, so that trees nest.
const MARK: &str = "PROCESSION_TREE";
/// How long [`Tree::end_in_background`] tries before it gives up on a process that cannot die.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(30);

/// Looks in a row, without anybody new, after which those that could not be read
/// are somebody else's: on a busy machine processes come and go all the time.
const MOST_DOUBTS: u32 = 500;

/// A process tree, prepared at the start of its root or found by walking.
#[derive(Debug)]
pub struct Tree {
    kind: Kind,
    root: u32,
    state: Mutex<Members>,
}

#[derive(Debug)]
enum Kind {
    Cgroup(Cgroup),
    Marked(CString),
    Walk,
}

#[derive(Debug, Default)]
struct Members {
    /// Everybody found so far, held.
    held: HashMap<u32, OwnedFd>,
    /// Whether the root was found; its number may be another child's later.
    rooted: bool,
    /// Who was a zombie at the last look.
    zombies: HashSet<Identity>,
    /// Looks in a row that found nobody new and left no doubt.
    quiet: u32,
    /// Looks in a row that found nobody new.
    fruitless: u32,
    /// Whether the end was seen, and the control group removed.
    ended: bool,
    /// What the control group's count said when it was removed.
    oom_killed: Option<bool>,
}

impl Members {
    /// Holds a process if it belongs; whether it does.
    fn add(&mut self, pid: u32, stop: bool, belongs: &dyn Fn(u32) -> bool) -> bool {
        let Some(pidfd) = hold(pid, belongs) else {
            return false;
        };
        if stop {
            // It may have ended since.
            let _ = send(&pidfd, libc::SIGSTOP);
        }
        self.held.insert(pid, pidfd);
        true
    }

    /// Everybody, parents before their children. A shell that hears of the end
    /// after the command that it waits for would go on to its next command, or
    /// end as if nothing had happened.
    fn by_birth(&self, root: u32) -> Vec<&OwnedFd> {
        let mut held: Vec<_> = self.held.iter().collect();
        held.sort_by_cached_key(|(pid, _)| (**pid != root, birth_of(**pid)));
        held.into_iter().map(|(_, pidfd)| pidfd).collect()
    }

    /// Holds who carries the mark; gives how many are new, and whether somebody
    /// may have been missed. A process that ends while the list is read may have
    /// started another one that is not in the list, and so on.
    fn add_marked(&mut self, mark: &[u8], stop: bool) -> (usize, bool) {
        let (mut added, mut doubtful) = (0, false);
        let mut zombies = HashSet::new();
        for pid in all_processes_by_age() {
            if self.held.contains_key(&pid) {
                continue;
            }
            match mark_of(pid, mark) {
                Mark::Missing => {}
                Mark::Carried => {
                    let carries = |pid| mark_of(pid, mark) == Mark::Carried;
                    match self.add(pid, stop, &carries) {
                        true => added += 1,
                        false => doubtful = true,
                    }
                }
                Mark::Ended(identity) => drop(zombies.insert(identity)),
                Mark::Unknown => doubtful = true,
            }
        }
        // Who was one before as well did not start anybody meanwhile.
        doubtful |= !zombies.is_subset(&self.zombies);
        self.zombies = zombies;
        (added, doubtful)
    }

    fn note_look(&mut self, added: usize, doubtful: bool) {
        let next = |count: u32, goes_on| if goes_on { count + 1 } else { 0 };
        self.fruitless = next(self.fruitless, added == 0);
        self.quiet = next(self.quiet, added == 0 && !doubtful);
    }

    /// Whether everybody was found, as far as looking can tell.
    fn is_quiet(&self) -> bool {
        self.quiet >= 2 || self.fruitless >= MOST_DOUBTS
    }
}

impl Tree {
    /// Makes what is to hold the tree of a child that does not exist yet.
    pub(super) fn prepare() -> Self {
        Cgroup::create().map_or_else(Self::prepare_marked, |group| {
            Self::new(Kind::Cgroup(group), 0)
        })
    }

    /// The same with a limit of memory in bytes, or why there can be none.
    pub(super) fn prepare_limited(memory_max: u64) -> Result<Self, String> {
        let group = Cgroup::create_limited(memory_max)?;
        Ok(Self::new(Kind::Cgroup(group), 0))
    }

    pub(super) fn prepare_marked() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{MARK}_{}_{number}_{:x}=1", std::process::id(), random());
        let mark = CString::new(mark).unwrap_or_default();
        Self::new(Kind::Marked(mark), 0)
    }

    pub(super) fn walk(root: u32) -> Self {
        Self::new(Kind::Walk, root)
    }

    fn new(kind: Kind, root: u32) -> Self {
        Self {
            kind,
            root,
            state: Mutex::default(),
        }
    }

    pub(super) fn rooted(self, root: u32) -> Self {
        Self { root, ..self }
    }

    pub(super) fn procs_file(&self) -> io::Result<Option<OwnedFd>> {
        match &self.kind {
            Kind::Cgroup(group) => group.procs_file().map(Some),
            Kind::Marked(_) | Kind::Walk => Ok(None),
        }
    }

    pub(super) fn mark(&self) -> Option<&CString> {
        match &self.kind {
            Kind::Marked(mark) => Some(mark),
            Kind::Cgroup(_) | Kind::Walk => None,
        }
    }

    /// Undoes [`Tree::prepare`] after a failed start.
    pub(super) fn discard(self) {
        if let Kind::Cgroup(group) = self.kind {
            // The child that joined it has been reaped: it is empty.
            let _ = group.remove();
        }
    }

    /// How completely this tree can be found.
    #[must_use]
    pub fn level(&self) -> TreeLevel {
        match self.kind {
            Kind::Cgroup(_) => TreeLevel::Cgroup,
            Kind::Marked(_) => TreeLevel::Subreaper,
            Kind::Walk => TreeLevel::Walk,
        }
    }

    /// Whether the out-of-memory killer struck in the tree; `None` where the
    /// kernel does not count that for it.
    #[must_use]
    pub fn oom_killed(&self) -> Option<bool> {
        let members = self.members();
        match &self.kind {
            Kind::Cgroup(group) if !members.ended => group.oom_killed(),
            Kind::Cgroup(_) | Kind::Marked(_) | Kind::Walk => members.oom_killed,
        }
    }

    /// Sends a signal to everybody in the tree, then `SIGCONT`, so that a
    /// stopped process can act on it. Gives the number of processes reached.
    ///
    /// Blocks for the time of reading some files of `/proc`.
    pub fn signal(&self, number: i32) -> usize {
        let mut members = self.members();
        self.find(&mut members, false);
        let mut reached = 0;
        for pidfd in members.by_birth(self.root) {
            if send(pidfd, number).unwrap_or(false) {
                reached += 1;
            }
        }
        if number != libc::SIGSTOP && number != libc::SIGTSTP {
            for pidfd in members.held.values() {
                // It may have ended by the first signal.
                let _ = send(pidfd, libc::SIGCONT);
            }
        }
        reached
    }

    /// Whether nobody that can be found, or is in the control group, is left.
    ///
    /// For a marked tree that takes several looks, of which each call is one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let mut members = self.members();
        if members.ended {
            return true;
        }
        if let Kind::Cgroup(group) = &self.kind {
            return !group.is_populated();
        }
        self.find(&mut members, false);
        let all_found = match &self.kind {
            Kind::Marked(_) => members.is_quiet(),
            Kind::Cgroup(_) | Kind::Walk => true,
        };
        all_found && members.held.is_empty()
    }

    /// Kills everybody in the tree and waits until they are gone; `false` when
    /// somebody is left after `limit` (a process that hangs in the kernel).
    ///
    /// Blocks. Can be asked again.
    pub fn end(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut members = self.members();
        while !members.ended {
            members.ended = match &self.kind {
                Kind::Cgroup(group) => end_group(group, deadline, &mut members.oom_killed),
                Kind::Marked(_) | Kind::Walk => self.end_found(&mut members, deadline),
            };
            if Instant::now() >= deadline {
                break;
            }
        }
        members.ended
    }

    /// [`Tree::end`] on a thread of its own; for owners that are gone or must not block.
    pub fn end_in_background(self: &Arc<Self>) {
        if self.members().ended {
            return;
        }
        let tree = Arc::clone(self);
        let spawned = thread::Builder::new()
            .name("procession-kill".into())
            .stack_size(128 * 1024)
            .spawn(move || tree.end(BACKGROUND_LIMIT));
        if spawned.is_err() {
            // No thread to be had: do it here, a few milliseconds as a rule.
            self.end(BACKGROUND_LIMIT);
        }
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Members> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds who is in the tree now, forgets who has ended; gives the number of new ones.
    fn find(&self, members: &mut Members, stop_each: bool) -> usize {
        members
            .held
            .retain(|_, pidfd| send(pidfd, 0).unwrap_or(false));
        let (mut added, mut doubtful) = (0, false);
        if let Kind::Cgroup(group) = &self.kind {
            for pid in group.members() {
                let belongs = |pid| cgroup::contains(group, pid);
                if !members.held.contains_key(&pid) && members.add(pid, stop_each, &belongs) {
                    added += 1;
                }
            }
            return added;
        }
        if !members.rooted {
            // Our unreaped child: its number cannot be reused while it is ours.
            let ourselves = std::process::id();
            let is_ours = |pid| parent_of(pid) == Some(ourselves);
            members.rooted = members.add(self.root, stop_each, &is_ours);
            added += usize::from(members.rooted);
        }
        if let Kind::Marked(mark) = &self.kind {
            let (marked, missed) = members.add_marked(mark.as_bytes(), stop_each);
            added += marked;
            doubtful = missed;
        }
        let mut unvisited: Vec<u32> = members.held.keys().copied().collect();
        while let Some(parent) = unvisited.pop() {
            for pid in children_of(parent) {
                if members.held.contains_key(&pid) {
                    continue;
                }
                if members.add(pid, stop_each, &|pid| parent_of(pid) == Some(parent)) {
                    added += 1;
                    unvisited.push(pid);
                }
            }
        }
        members.note_look(added, doubtful);
        added
    }

    /// Stops everybody, so that nobody forks away, until two rounds find no new
    /// one; then kills them all and waits.
    fn end_found(&self, members: &mut Members, deadline: Instant) -> bool {
        self.find(members, false);
        for pidfd in members.held.values() {
            let _ = send(pidfd, libc::SIGSTOP);
        }
        (members.quiet, members.fruitless) = (0, 0);
        while !members.is_quiet() && Instant::now() < deadline {
            self.find(members, true);
        }
        for pidfd in members.held.values() {
            let _ = send(pidfd, libc::SIGKILL);
        }
        for pidfd in members.held.values() {
            let left = deadline.saturating_duration_since(Instant::now());
            if !matches!(
                poll(&mut [PollFd::readable(pidfd.as_fd())], Some(left)),
                Ok(1..)
            ) {
                return false;
            }
        }
        self.find(members, false) == 0 && members.held.is_empty()
    }
}

/// Kills a control group, waits until it is empty, reads its count and removes it.
fn end_group(group: &Cgroup, deadline: Instant, oom_killed: &mut Option<bool>) -> bool {
    let mut pause = Duration::from_micros(50);
    loop {
        // Refused when the group is gone, which the removal finds out as well, or
        // while there is no descriptor to open it with: then the next round may.
        let _ = group.kill();
        if !group.is_populated() {
            *oom_killed = group.oom_killed().or(*oom_killed);
            if group.remove().is_ok() {
                return true;
            }
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Opens a pidfd and looks again: only a process that still belongs is held.
fn hold(pid: u32, belongs: &dyn Fn(u32) -> bool) -> Option<OwnedFd> {
    let raw = Pid::from_raw(pid.cast_signed())?;
    let pidfd = pidfd_open(raw, PidfdFlags::empty()).ok()?;
    belongs(pid).then_some(pidfd)
}

/// A number that another program of the same pid would not have had.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
