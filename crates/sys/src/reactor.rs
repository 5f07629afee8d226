//! A process's end as an event of the tokio runtime.
#![expect(
    unsafe_code,
    reason = "AsyncFd's registration promises that the descriptor stays open"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::os::Process;
use crate::status::Ended;

/// Waits for a process from within a tokio runtime.
#[derive(Debug)]
pub struct ExitWatch {
    registered: AsyncFd<ExitFd>,
}

/// Keeps the process, and with it the descriptor, while it is registered.
#[derive(Debug)]
struct ExitFd(Process);

impl AsRawFd for ExitFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.exit_fd().as_raw_fd()
    }
}

impl ExitWatch {
    /// Registers the process with the runtime of the caller.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC` (too many watches).
    ///
    /// # Panics
    ///
    /// Outside of a runtime with I/O enabled.
    pub fn new(process: Process) -> io::Result<Self> {
        // SAFETY: `ExitFd` holds the process, whose descriptor never changes and
        // closes after the last holder; it is dropped after the registration.
        let registered =
            unsafe { AsyncFd::register_with_interest(ExitFd(process), Interest::READABLE) };
        Ok(Self {
            registered: registered.map_err(io::Error::from)?,
        })
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.registered.get_ref().0
    }

    /// Waits until the process has ended. Several may wait at once.
    ///
    /// # Errors
    ///
    /// `ECHILD` when somebody else took the exit status.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the end is kept by the process.
    pub async fn ended(&self) -> io::Result<Ended> {
        // The descriptor stays readable after the end, so nothing is missed by not asking first.
        loop {
            let readable = self.registered.readable().await;
            // Asked also when the runtime of the registration is gone.
            if let Some(ended) = self.process().try_wait()? {
                return Ok(ended);
            }
            readable?.clear_ready();
        }
    }
}

/// Registers a descriptor with the runtime of the caller, to be told when it can be
/// read; for a listener, when somebody waits.
///
/// # Errors
///
/// `ENOMEM`, `ENOSPC` (too many watches); the descriptor is closed.
///
/// # Panics
///
/// Outside of a runtime with I/O enabled.
pub fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` never changes and stays open as long as it is owned.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// As [`watch_readable`], of a descriptor that others use too, for any interest.
///
/// # Errors
///
/// As [`watch_readable`]; `EEXIST` while another registration of it lives.
///
/// # Panics
///
/// As [`watch_readable`].
pub fn watch(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an `OwnedFd` never changes and stays open as long as it is owned, here by
    // the registration's own part of the `Arc`.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}
