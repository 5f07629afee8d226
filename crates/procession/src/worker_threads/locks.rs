//! Who may? Locks by name, within the process.
//!
//! Nobody who has a name needs to be handed the lock. Requests are granted in
//! the order in which they came; shared ones that follow each other are granted
//! together, and never overtake an exclusive one that waits. A lock is held
//! until its [`Lock`] is dropped, also by a panic.
//!
//! # Node
//!
//! `locks` (Web Locks). `signal` is a dropped wait here. There is no `steal`:
//! nobody here could be told that what it relies on is gone.
//!
//! # Examples
//!
//! ```
//! use procession::worker_threads::locks::{self, Mode};
//!
//! let lock = locks::request_blocking("database", Mode::Exclusive);
//! assert!(locks::request_if_available("database", Mode::Shared).is_none());
//! drop(lock);
//! assert!(locks::request_if_available("database", Mode::Shared).is_some());
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::blocking;
use super::environment::ThreadId;

/// Whether others may hold a lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody else.
    Exclusive,
    /// Everybody who asks for it so.
    Shared,
}

/// All permits of a name. A shared holder has one of them.
const ALL: u32 = u32::MAX >> 3;

impl Mode {
    fn permits(self) -> u32 {
        match self {
            Self::Exclusive => ALL,
            Self::Shared => 1,
        }
    }
}

/// A lock that is held, until it is dropped.
#[must_use = "it is held until it is dropped"]
pub struct Lock {
    // Before the permit: who is granted it next finds us gone.
    request: Request,
    _permit: OwnedSemaphorePermit,
}

impl Lock {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.request.name
    }

    /// How it is held.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.request.mode
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("name", &self.request.name)
            .field("mode", &self.request.mode)
            .finish_non_exhaustive()
    }
}

/// Waits for the lock of this name.
///
/// Who has it already and asks again waits for itself.
///
/// # Cancel safety
///
/// A dropped wait gives up its place.
pub async fn request(name: &str, mode: Mode) -> Lock {
    let (request, semaphore) = Request::new(name, mode);
    match semaphore.acquire_many_owned(mode.permits()).await {
        Ok(permit) => request.granted(permit),
        Err(_) => unreachable!("nobody closes these semaphores"),
    }
}

/// As [`request`], for threads without a runtime.
///
/// # Panics
///
/// In async code.
pub fn request_blocking(name: &str, mode: Mode) -> Lock {
    blocking::wait(request(name, mode))
}

/// The lock of this name, if nobody holds it or waits for it in a way that excludes us.
#[must_use]
pub fn request_if_available(name: &str, mode: Mode) -> Option<Lock> {
    let (request, semaphore) = Request::new(name, mode);
    let permit = semaphore.try_acquire_many_owned(mode.permits()).ok()?;
    Some(request.granted(permit))
}

/// A lock that is held or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockInfo {
    /// Its name.
    pub name: String,
    /// How it is held, or asked for.
    pub mode: Mode,
    /// Who asked.
    pub thread: ThreadId,
}

/// All locks at one moment; in each name's own order, names in none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockSnapshot {
    /// Those that are held.
    pub held: Vec<LockInfo>,
    /// Those that are waited for.
    pub pending: Vec<LockInfo>,
}

/// Says who holds which lock, and who waits. It may be otherwise when you read it.
#[must_use]
pub fn query() -> LockSnapshot {
    let mut snapshot = LockSnapshot::default();
    for (name, named) in names().iter() {
        for entry in &named.entries {
            let list = if entry.is_held {
                &mut snapshot.held
            } else {
                &mut snapshot.pending
            };
            list.push(LockInfo {
                name: name.clone(),
                mode: entry.mode,
                thread: entry.thread,
            });
        }
    }
    snapshot
}

/// The lock of a name, as long as somebody holds it or waits for it.
struct Named {
    semaphore: Arc<Semaphore>,
    next: u64,
    entries: Vec<Entry>,
}

struct Entry {
    number: u64,
    mode: Mode,
    thread: ThreadId,
    is_held: bool,
}

fn names() -> MutexGuard<'static, HashMap<String, Named>> {
    static NAMES: LazyLock<Mutex<HashMap<String, Named>>> = LazyLock::new(Mutex::default);
    // Nothing panics between two changes that belong together.
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in the list of a name, left when it is dropped.
struct Request {
    name: String,
    mode: Mode,
    number: u64,
}

impl Request {
    fn new(name: &str, mode: Mode) -> (Self, Arc<Semaphore>) {
        let mut names = names();
        let named = names.entry(name.to_owned()).or_insert_with(|| Named {
            semaphore: Arc::new(Semaphore::new(ALL as usize)),
            next: 0,
            entries: Vec::new(),
        });
        let number = named.next;
        named.next += 1;
        named.entries.push(Entry {
            number,
            mode,
            thread: ThreadId::current(),
            is_held: false,
        });
        let request = Self {
            name: name.to_owned(),
            mode,
            number,
        };
        (request, Arc::clone(&named.semaphore))
    }

    fn granted(self, permit: OwnedSemaphorePermit) -> Lock {
        let mut names = names();
        let entries = names.get_mut(&self.name).map(|named| &mut named.entries);
        for entry in entries.into_iter().flatten() {
            entry.is_held |= entry.number == self.number;
        }
        drop(names);
        Lock {
            request: self,
            _permit: permit,
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut names = names();
        let Some(named) = names.get_mut(&self.name) else {
            return;
        };
        named.entries.retain(|entry| entry.number != self.number);
        // Who waits or holds has an entry, so nobody is left with this semaphore.
        if named.entries.is_empty() {
            names.remove(&self.name);
        }
    }
}
