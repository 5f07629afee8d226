//! Who this thread is, and what it has inherited.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of a [`Worker`](super::Worker)'s thread; never used again in this process.
///
/// Every thread that is no worker's counts as the main thread, 0: those of a
/// runtime, too, among which a task wanders.
///
/// # Node
///
/// `threadId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(u64);

impl ThreadId {
    /// The main thread.
    pub const MAIN: Self = Self(0);

    /// This thread.
    #[must_use]
    pub fn current() -> Self {
        // A thread that is ending may have lost it already.
        let id = OWN.try_with(|own| own.borrow().as_ref().map(|own| own.id));
        id.ok().flatten().unwrap_or(Self::MAIN)
    }

    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl From<u64> for ThreadId {
    /// From a number that travelled; there need be no such thread.
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.0)
    }
}

/// Whether this thread is no [`Worker`](super::Worker)'s.
///
/// # Node
///
/// `isMainThread`.
#[must_use]
pub fn is_main_thread() -> bool {
    ThreadId::current() == ThreadId::MAIN
}

/// Values by name. Clones share the values, which nobody can change.
pub(super) type Environment = HashMap<String, Arc<dyn Any + Send + Sync>>;

struct Own {
    id: ThreadId,
    environment: Environment,
}

thread_local! {
    /// What a worker's thread has of its own.
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// The environment of the main thread.
fn main_environment() -> MutexGuard<'static, Option<Environment>> {
    static MAIN: Mutex<Option<Environment>> = Mutex::new(None);
    MAIN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this thread that of a worker.
pub(super) fn enter(id: ThreadId, environment: Environment) {
    OWN.set(Some(Own { id, environment }));
}

/// What a worker that is started here inherits.
pub(super) fn inherited() -> Environment {
    let own = OWN.with_borrow(|own| own.as_ref().map(|own| own.environment.clone()));
    own.unwrap_or_else(|| main_environment().clone().unwrap_or_default())
}

/// Sets a value that this thread and all workers it starts from now on can [get](get_environment_data).
///
/// A worker gets a copy when it starts: neither side sees what the other sets
/// later. Workers that run already are not told.
///
/// # Node
///
/// `setEnvironmentData`.
///
/// # Examples
///
/// ```
/// use procession::worker_threads::{get_environment_data, set_environment_data};
///
/// set_environment_data("region", "north");
/// assert_eq!(get_environment_data::<&str>("region"), Some("north"));
/// assert_eq!(get_environment_data::<u32>("region"), None);
/// ```
pub fn set_environment_data<T: Any + Send + Sync>(name: &str, value: T) {
    let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
    replace(name, Some(value));
}

/// Takes a value away from this thread and the workers that it starts from now on.
///
/// # Node
///
/// `setEnvironmentData(name)` without a value.
pub fn remove_environment_data(name: &str) {
    replace(name, None);
}

fn replace(name: &str, value: Option<Arc<dyn Any + Send + Sync>>) {
    let put = |environment: &mut Environment| match value {
        Some(value) => environment.insert(name.to_owned(), value),
        None => environment.remove(name),
    };
    // The old value is the program's and goes outside of the lock and the borrow.
    let old = if is_main_thread() {
        put(main_environment().get_or_insert_default())
    } else {
        OWN.with_borrow_mut(|own| own.as_mut().and_then(|own| put(&mut own.environment)))
    };
    drop(old);
}

/// A value that was [set](set_environment_data) here, or inherited; `None` if it is of another type.
///
/// # Node
///
/// `getEnvironmentData`.
#[must_use]
pub fn get_environment_data<T: Any + Clone>(name: &str) -> Option<T> {
    let own = |own: &Option<Own>| own.as_ref().map(|own| own.environment.get(name).cloned());
    let value = OWN
        .with_borrow(own)
        .unwrap_or_else(|| main_environment().as_ref()?.get(name).cloned());
    value?.downcast_ref::<T>().cloned()
}
