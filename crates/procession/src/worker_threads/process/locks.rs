//! Who in the tree may? Locks by name, at a hub.

use std::fmt;
use std::time::Duration;

use super::super::blocking;
use super::super::locks::Mode;
use super::error::HubError;
use super::hub::{Answer, Hub, check_name};
use super::wire::ToHub;

/// A lock that this process holds, until it is dropped or the process is gone.
///
/// Should the hub [be gone](Hub::closed) before, it excludes nobody any more.
#[must_use = "it is held until it is dropped"]
pub struct Lock(Request);

impl Lock {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How it is held.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// Whether the hub is gone, so that others may hold it too.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.hub.place.closed.is_cancelled()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("name", &self.0.name)
            .field("mode", &self.0.mode)
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

/// A lock that is held or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockInfo {
    /// Its name.
    pub name: String,
    /// How it is held, or asked for.
    pub mode: Mode,
    /// The number of the process that asked, as it said itself.
    pub process: u32,
}

/// All locks of a hub at one moment; in each name's own order, names in none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockSnapshot {
    /// Those that are held.
    pub held: Vec<LockInfo>,
    /// Those that are waited for.
    pub pending: Vec<LockInfo>,
}

/// Locks by name, as [`locks`](super::super::locks) has them within a process.
///
/// Granted in the order in which they were asked for; shared ones that follow
/// each other together, and never past an exclusive one that waits. A process
/// that dies holds none.
impl Hub {
    /// Waits for the lock of this name. For a time limit, wrap it in `tokio::time::timeout`.
    ///
    /// Who has it already and asks again waits for itself.
    ///
    /// # Errors
    ///
    /// [`HubError::Name`], [`HubError::TooMany`], [`HubError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// A dropped wait gives up its place.
    pub async fn request(&self, name: &str, mode: Mode) -> Result<Lock, HubError> {
        match self.ask(name, mode, true).await? {
            Some(lock) => Ok(lock),
            // It has answered what it was not asked.
            None => Err(HubError::Closed),
        }
    }

    /// The lock of this name, if nobody holds it or waits for it in a way that excludes us.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    ///
    /// A dropped call holds nothing.
    pub async fn request_if_available(
        &self,
        name: &str,
        mode: Mode,
    ) -> Result<Option<Lock>, HubError> {
        self.ask(name, mode, false).await
    }

    /// As [`request`](Self::request), for threads beside the runtime.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn request_blocking(&self, name: &str, mode: Mode) -> Result<Lock, HubError> {
        blocking::wait(self.request(name, mode))
    }

    /// As [`request_blocking`](Self::request_blocking), for so long; then `None`.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn request_timeout_blocking(
        &self,
        name: &str,
        mode: Mode,
        limit: Duration,
    ) -> Result<Option<Lock>, HubError> {
        blocking::wait_until(self.request(name, mode), blocking::deadline(limit)).transpose()
    }

    /// Says who holds which lock, and who waits. It may be otherwise when you read it.
    ///
    /// # Errors
    ///
    /// [`HubError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query(&self) -> Result<LockSnapshot, HubError> {
        let mut question = self.place.ask();
        self.place.say(&ToHub::Query { id: question.id }).await?;
        let Answer::Locks(all) = question.answer().await? else {
            return Err(HubError::Closed);
        };
        let mut snapshot = LockSnapshot::default();
        for asked in all {
            let list = if asked.is_held {
                &mut snapshot.held
            } else {
                &mut snapshot.pending
            };
            list.push(LockInfo {
                name: asked.name,
                mode: if asked.is_shared {
                    Mode::Shared
                } else {
                    Mode::Exclusive
                },
                process: asked.pid,
            });
        }
        Ok(snapshot)
    }

    async fn ask(&self, name: &str, mode: Mode, waits: bool) -> Result<Option<Lock>, HubError> {
        check_name(name)?;
        self.place.take_lock()?;
        let mut question = self.place.ask();
        let request = Request {
            hub: self.clone(),
            name: name.to_owned(),
            mode,
            id: question.id,
        };
        let said = ToHub::Request {
            id: request.id,
            name: request.name.clone(),
            is_shared: mode == Mode::Shared,
            waits,
        };
        self.place.say(&said).await?;
        match question.answer().await? {
            Answer::Done => Ok(Some(Lock(request))),
            Answer::NotAvailable | Answer::Locks(_) => Ok(None),
        }
    }
}

/// A lock that is held or asked for, given up when it is dropped.
struct Request {
    hub: Hub,
    name: String,
    mode: Mode,
    id: u64,
}

impl Drop for Request {
    fn drop(&mut self) {
        // The hub does not mind one that it has not granted, or never heard of.
        self.hub.place.say_at_once(&ToHub::Release { id: self.id });
        self.hub.place.give_lock_back();
    }
}
