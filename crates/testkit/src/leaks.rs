//! The leak oracle: whatever a test started, opened or made must be gone when it ends.
//!
//! ```
//! use procession_testkit::leaks::Oracle;
//!
//! let oracle = Oracle::start();
//! let mut child = std::process::Command::new("true").envs([oracle.tag()]).spawn()?;
//! child.wait()?;
//! oracle.check(); // lists everything that is left, and panics
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! It looks for descriptors, threads, zombies and listening sockets of this
//! process, files in [watched](Oracle::watch) folders, and processes, which it
//! finds in three ways because each of them can be dodged:
//!
//! * by the **tag** that the test puts into the environment of what it starts
//!   ([`Oracle::tag`]); a program that starts others with an empty
//!   environment, or overwrites its own, hides from it;
//! * by **descent** from this process, now or whenever [`Oracle::observe`] was
//!   called; an orphan of a parent that was never seen hides from it
//!   ([`Oracle::follow`] names such a one);
//! * by **control group**, `procession-PID-*` in the version 2 hierarchy; who
//!   is in none hides from it.
//!
//! # One process for each test
//!
//! Descriptors, threads and children belong to the process, not to the test.
//! nextest runs each test in a process of its own, and everything here is
//! exact. Under `cargo test` the tests of a file share one process, so an
//! oracle keeps the [`exclusive`] guard for its life: tests with oracles run
//! one after the other, and the threads of those that wait are known and do
//! not count. A thread counts only if it lived through the whole grace period
//! of the check, so a thread that the harness has just started, or that is
//! just leaving, is no leak either. Tests without an oracle in such a file
//! must take the guard themselves, or have no children, no descriptors and no
//! threads of their own.
//!
//! # What is allowed to stay
//!
//! procession's service threads, one of each name, live as long as the
//! process; so do the descriptors they need. Both are listed in `SERVICES`.
//! A second thread of the same name is a leak. What a runtime keeps is
//! allowed by [`Oracle::allow_threads`], or better: start the runtime after
//! the oracle and drop it before the check.

mod exclusive;
mod groups;
mod listeners;
mod processes;
mod report;
mod snapshot;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::id as own_pid;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use exclusive::{Exclusive, exclusive};
pub use listeners::listening_on;
use processes::{Identity, Process};
pub use report::{Found, Leak};
pub use snapshot::Snapshot;

/// How long what is being ended may still be there; longer on a machine so busy
/// that there were not 40 looks in this time.
pub const GRACE: Duration = Duration::from_secs(1);

/// So often was looked before anything counts as left: between two looks
/// others get their turn.
const LOOKS: u32 = 40;

/// The name of the variable that tags processes.
const TAG: &str = "PROCESSION_ORACLE";

/// A thread of procession that lives as long as the process.
#[derive(Debug)]
struct Service {
    /// What the kernel keeps of its name: 15 bytes.
    thread: &'static str,
    /// The descriptors that come with it.
    descriptors: &'static [&'static str],
}

/// The threads that may stay; procession-sys lists them at the top of its `lib.rs`.
const SERVICES: &[Service] = &[
    Service {
        thread: "procession-reap",
        descriptors: &["anon_inode:[eventfd]", "anon_inode:[eventpoll]"],
    },
    Service {
        thread: "procession-pds",
        descriptors: &[],
    },
];

/// Remembers how things were, and compares.
#[derive(Debug)]
#[must_use = "it finds nothing unless `check` is called"]
pub struct Oracle {
    /// The variable that tags processes, `NAME=value`.
    tag: String,
    before: Snapshot,
    watched: Vec<(PathBuf, BTreeSet<PathBuf>)>,
    allowed_threads: Vec<String>,
    /// Every descendant that was ever seen.
    lineage: Mutex<BTreeSet<Identity>>,
    // Last, so that the next test is let in when the rest is gone.
    _exclusive: Exclusive,
}

impl Oracle {
    /// Waits for the [`exclusive`] guard and looks at what is there now.
    ///
    /// # Panics
    ///
    /// When this thread holds the guard already.
    pub fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let exclusive = exclusive();
        Self {
            tag: format!(
                "{TAG}={}-{}",
                own_pid(),
                NUMBER.fetch_add(1, Ordering::Relaxed)
            ),
            before: Snapshot::take(),
            watched: Vec::new(),
            allowed_threads: Vec::new(),
            lineage: Mutex::default(),
            _exclusive: exclusive,
        }
    }

    /// The variable, name and value, for the environment of everything the test starts.
    #[must_use]
    pub fn tag(&self) -> (&str, &str) {
        (TAG, &self.tag[TAG.len() + 1..])
    }

    /// Watches a folder: what is in it at the check and not now is a leak.
    pub fn watch(&mut self, folder: impl Into<PathBuf>) {
        let folder = folder.into();
        let files = snapshot::files_below(&folder);
        self.watched.push((folder, files));
    }

    /// Lets threads stay whose name begins with `prefix`, as a runtime's do
    /// (the kernel keeps 15 bytes of a name).
    pub fn allow_threads(&mut self, prefix: impl Into<String>) {
        self.allowed_threads.push(prefix.into());
    }

    /// Notes down all descendants there are now, so that they are known when
    /// their parents are gone. A good moment is when a child has said that it
    /// is ready.
    pub fn observe(&self) {
        self.trace(&processes::table(&self.tag));
    }

    /// Notes down a process that a child has named, whoever its parent is.
    pub fn follow(&self, pid: u32) {
        if let Some((process, _)) = processes::read(pid, &self.tag) {
            self.lock_lineage().insert(process.identity());
        }
    }

    /// Checks that nothing is left, waiting up to [`GRACE`] for it (more on a busy machine).
    ///
    /// # Panics
    ///
    /// When something is; the message lists it.
    #[track_caller]
    pub fn check(&self) {
        let leaks = self.leaks();
        assert!(leaks.is_empty(), "{}", self.describe(&leaks));
    }

    /// Checks that no more than `max_growth_bytes` of memory were added since
    /// the start. Freed memory often stays with the allocator: warm up first,
    /// and look for growth over many rounds.
    ///
    /// # Panics
    ///
    /// When more were.
    #[track_caller]
    pub fn check_rss(&self, max_growth_bytes: u64) {
        let (before, now) = (self.before.rss_bytes(), snapshot::rss_bytes());
        assert!(
            now <= before.saturating_add(max_growth_bytes),
            "{}, more than {} KiB of growth",
            memory(before, now),
            max_growth_bytes / 1024
        );
    }

    /// What is left after [`GRACE`]; nothing, as soon as nothing is left.
    #[must_use]
    pub fn leaks(&self) -> Vec<Leak> {
        let end = Instant::now() + GRACE;
        let mut looks = 1;
        let mut leaks = self.look();
        let at_first: BTreeSet<u32> = leaks.iter().filter_map(thread_number).collect();
        // A thread that was not there at first was not left by the test.
        let is_older = |leak: &Leak| thread_number(leak).is_none_or(|tid| at_first.contains(&tid));
        loop {
            leaks.retain(is_older);
            if leaks.is_empty() {
                // Twice, because a process can be missed once: when it hands over to
                // another while the list is read and the numbers begin again from below.
                leaks = self.look();
                leaks.retain(is_older);
            }
            if leaks.is_empty() || (looks >= LOOKS && Instant::now() >= end) {
                return leaks;
            }
            thread::sleep(Duration::from_millis(10));
            leaks = self.look();
            looks += 1;
        }
    }

    fn look(&self) -> Vec<Leak> {
        let now = Snapshot::take();
        let mut leaks = self.processes();
        leaks.extend(self.threads_and_descriptors(&now));
        leaks.extend(self.listeners(&now));
        leaks.extend(self.groups(&now));
        leaks.extend(self.files());
        leaks
    }

    fn threads_and_descriptors(&self, now: &Snapshot) -> Vec<Leak> {
        let waiting = exclusive::waiting();
        let mut threads: Vec<_> = now
            .threads
            .difference(&self.before.threads)
            .filter(|(tid, _, name)| {
                let allowed = |prefix: &String| name.starts_with(prefix.as_str());
                !waiting.contains(tid) && !self.allowed_threads.iter().any(allowed)
            })
            .collect();
        let mut descriptors: Vec<_> = now
            .descriptors
            .iter()
            .filter(|(number, target)| self.before.descriptors.get(number) != Some(target))
            .collect();
        for service in SERVICES {
            if self
                .before
                .threads
                .iter()
                .any(|(.., name)| name == service.thread)
            {
                continue;
            }
            let Some(at) = threads.iter().position(|(.., name)| name == service.thread) else {
                continue;
            };
            threads.remove(at);
            for wanted in service.descriptors {
                if let Some(at) = descriptors.iter().position(|(_, target)| target == wanted) {
                    descriptors.remove(at);
                }
            }
        }
        let threads = threads.into_iter().map(|(tid, _, name)| Leak::Thread {
            tid: *tid,
            name: name.clone(),
        });
        let descriptors = descriptors
            .into_iter()
            .map(|(number, target)| Leak::Descriptor {
                number: *number,
                target: target.clone(),
            });
        descriptors.chain(threads).collect()
    }

    fn listeners(&self, now: &Snapshot) -> Vec<Leak> {
        now.listeners
            .iter()
            .filter(|(inode, _)| !self.before.listeners.contains_key(inode))
            .map(|(_, address)| Leak::Listener {
                address: address.clone(),
            })
            .collect()
    }

    fn groups(&self, now: &Snapshot) -> Vec<Leak> {
        let new = now.groups.difference(&self.before.groups);
        new.filter(|group| self.is_ours(group))
            .map(|group| Leak::ControlGroup {
                path: group.clone(),
                inhabitants: groups::inhabitants(group),
            })
            .collect()
    }

    /// Whether this process or one of its descendants made the group.
    fn is_ours(&self, group: &Path) -> bool {
        let mut makers: BTreeSet<u32> = self.lock_lineage().iter().map(|(pid, _)| *pid).collect();
        makers.insert(own_pid());
        groups::made_by_one_of(group, &makers)
    }

    fn files(&self) -> Vec<Leak> {
        let new = |(folder, before): &(PathBuf, BTreeSet<PathBuf>)| {
            snapshot::files_below(folder)
                .difference(before)
                .cloned()
                .collect::<Vec<_>>()
        };
        self.watched
            .iter()
            .flat_map(new)
            .map(|path| Leak::File { path })
            .collect()
    }

    fn processes(&self) -> Vec<Leak> {
        let table = processes::table(&self.tag);
        self.trace(&table);
        let lineage = self.lock_lineage().clone();
        let grouped: BTreeSet<u32> = groups::all()
            .difference(&self.before.groups)
            .filter(|group| self.is_ours(group))
            .flat_map(|group| groups::inhabitants(group))
            .collect();
        let leak = |process: &Process| {
            if process.pid == own_pid() || self.before.processes.contains(&process.identity()) {
                return None;
            }
            let found = Found {
                by_tag: process.tagged,
                by_descent: lineage.contains(&process.identity()),
                by_group: grouped.contains(&process.pid),
            };
            found
                .at_all()
                .then(|| process_leak(process, found))
                .flatten()
        };
        table.iter().filter_map(leak).collect()
    }

    fn trace(&self, table: &[Process]) {
        processes::extend_lineage(&mut self.lock_lineage(), table, own_pid());
    }

    fn lock_lineage(&self) -> MutexGuard<'_, BTreeSet<Identity>> {
        // Insertions only, so a panic leaves it whole.
        self.lineage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, leaks: &[Leak]) -> String {
        let mut text = format!(
            "{} left {} s after the test:\n",
            leaks.len(),
            GRACE.as_secs()
        );
        for leak in leaks {
            text.push_str(&format!("  {leak}\n"));
        }
        text + &memory(self.before.rss_bytes(), snapshot::rss_bytes())
    }
}

fn process_leak(process: &Process, found: Found) -> Option<Leak> {
    if !process.is_zombie() {
        return Some(Leak::Process {
            pid: process.pid,
            parent: process.parent,
            state: process.state,
            command: process.command_line(),
            found,
        });
    }
    // Somebody else's zombie is for its own parent to reap: it has ended.
    let ours = process.parent == own_pid();
    ours.then(|| Leak::Zombie {
        pid: process.pid,
        name: process.name.clone(),
    })
}

fn thread_number(leak: &Leak) -> Option<u32> {
    if let Leak::Thread { tid, .. } = leak {
        Some(*tid)
    } else {
        None
    }
}

fn memory(before: u64, now: u64) -> String {
    format!(
        "resident memory: {} KiB before, {} KiB now",
        before / 1024,
        now / 1024
    )
}
