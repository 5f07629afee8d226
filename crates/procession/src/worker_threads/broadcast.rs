//! One message for everybody who listens under a name.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender, channel};

use super::blocking;
use super::error::{Lagged, WrongType};

/// How many messages are kept for a listener, unless it says otherwise.
const KEPT: usize = 64;

/// A `Bus<T>` for each name that has listeners. Whoever comes or goes holds this lock.
static NAMES: LazyLock<Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>> =
    LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked held it for a change of one entry.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A channel by name: what one posts, all others of this name receive: each poster's in its order.
///
/// For each listener a number of messages is kept, 64 unless
/// [asked otherwise](Self::with_capacity). A listener that falls behind loses
/// the oldest, and its next `recv` says [how many](Lagged); the others and the
/// poster are not held up. Closed by being dropped.
///
/// # Node
///
/// `BroadcastChannel`, within one process. Node's queue grows without a bound.
///
/// # Examples
///
/// ```
/// use procession::worker_threads::BroadcastChannel;
///
/// let news = BroadcastChannel::<String>::open("news")?;
/// let mut listener = BroadcastChannel::<String>::open("news")?;
/// assert_eq!(news.post("it rains".into()), 1);
/// assert_eq!(listener.recv_blocking()?, "it rains");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BroadcastChannel<T: Clone + Send + 'static> {
    bus: Arc<Bus<T>>,
    inbox: Receiver<T>,
    member: u64,
}

struct Bus<T> {
    name: String,
    /// Replaced as a whole, so that no message is cloned or dropped under the lock.
    members: Mutex<Members<T>>,
}

type Members<T> = Arc<Vec<(u64, Sender<T>)>>;

impl<T: Clone + Send + 'static> BroadcastChannel<T> {
    /// Listens under this name from now on, and may post to the others.
    ///
    /// # Errors
    ///
    /// [`WrongType`] when the name is in use for another type.
    pub fn open(name: &str) -> Result<Self, WrongType> {
        Self::with_capacity(name, KEPT)
    }

    /// As [`open`](Self::open); at least so many messages are kept for this listener.
    ///
    /// # Errors
    ///
    /// [`WrongType`].
    ///
    /// # Panics
    ///
    /// When none, or more than memory holds, is to be kept.
    pub fn with_capacity(name: &str, kept: usize) -> Result<Self, WrongType> {
        let (sender, inbox) = channel(kept);
        let mut names = lock(&NAMES);
        let bus: Arc<Bus<T>> = match names.get(name) {
            Some(bus) => Arc::clone(bus).downcast().map_err(|_| WrongType {
                name: name.to_owned(),
            })?,
            None => {
                let bus = Arc::new(Bus {
                    name: name.to_owned(),
                    members: Mutex::default(),
                });
                names.insert(name.to_owned(), Arc::<Bus<T>>::clone(&bus));
                bus
            }
        };
        let member = bus.join(sender);
        drop(names);
        Ok(Self { bus, inbox, member })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.bus.name
    }

    /// Posts to everybody else of this name, and says to how many. Never waits.
    pub fn post(&self, message: T) -> usize {
        let members = Arc::clone(&lock(&self.bus.members));
        let others = members.iter().filter(|(id, _)| *id != self.member);
        // One that has just left does not count.
        others
            .filter(|(_, inbox)| inbox.send(message.clone()).is_ok())
            .count()
    }

    /// Waits for the next message of another one. It may never come: nothing closes a name.
    ///
    /// # Errors
    ///
    /// [`Lagged`], once for each loss; the next call goes on with the oldest message that is there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no message.
    pub async fn recv(&mut self) -> Result<T, Lagged> {
        self.inbox.recv().await.map_err(|error| match error {
            RecvError::Lagged(missed) => Lagged { missed },
            RecvError::Closed => unreachable!("we are a member as long as we listen"),
        })
    }

    /// As [`recv`](Self::recv), for threads without a runtime.
    ///
    /// # Errors
    ///
    /// [`Lagged`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn recv_blocking(&mut self) -> Result<T, Lagged> {
        blocking::wait(self.recv())
    }

    /// Takes a message that is there already; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Lagged`].
    pub fn try_recv(&mut self) -> Result<Option<T>, Lagged> {
        match self.inbox.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(TryRecvError::Lagged(missed)) => Err(Lagged { missed }),
            Err(TryRecvError::Empty | TryRecvError::Closed) => Ok(None),
        }
    }
}

impl<T> Bus<T> {
    fn join(&self, inbox: Sender<T>) -> u64 {
        let mut members = lock(&self.members);
        let member = members.last().map_or(0, |(last, _)| last + 1);
        let joined = members.iter().cloned().chain([(member, inbox)]);
        *members = Arc::new(joined.collect());
        member
    }

    /// Says whether nobody is left.
    fn leave(&self, member: u64) -> bool {
        let mut members = lock(&self.members);
        let rest = members.iter().filter(|(id, _)| *id != member);
        *members = Arc::new(rest.cloned().collect());
        members.is_empty()
    }
}

impl<T: Clone + Send + 'static> Drop for BroadcastChannel<T> {
    fn drop(&mut self) {
        let mut names = lock(&NAMES);
        if self.bus.leave(self.member) {
            names.remove(&self.bus.name);
        }
    }
}

impl<T: Clone + Send + 'static> fmt::Debug for BroadcastChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastChannel")
            .field("name", &self.bus.name)
            .finish_non_exhaustive()
    }
}
