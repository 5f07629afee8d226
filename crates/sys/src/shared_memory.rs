//! Memory that several processes have: cells that all change, and bytes that nobody changes any more.
//!
//! A descriptor that came from elsewhere is looked at before it is mapped. On
//! Linux the kernel vouches for what must not happen (`F_SEAL_…` of a memfd):
//! that the memory shrinks under a reader, or that "read-only" bytes change.
//! Elsewhere nobody does: bytes are copied there, and cells need a sender that
//! is trusted.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::fd_kind::FdKind;
use crate::mapping::MappedCells;
use crate::os;

/// Whether the kernel sees to it that memory which another process sent cannot shrink.
///
/// Where it does not, a sender that shrinks its [`SharedCells`] has us sent SIGBUS.
pub const SIZES_ARE_SEALED: bool = os::SIZES_ARE_SEALED;

/// Whether [`notify`] reaches who waits at once, and counts them. Otherwise who
/// waits looks at the cell every millisecond, and sees a change of its value only.
pub const NOTIFIES_ARE_COUNTED: bool = os::NOTIFIES_ARE_COUNTED;

/// Why a descriptor from elsewhere is not used as memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignMemoryError {
    /// It is something else.
    #[error("a {kind} is no shared memory")]
    Kind {
        /// What it is.
        kind: FdKind,
    },
    /// Larger than the receiver wants it.
    #[error("shared memory of {bytes} bytes is above the limit of {most}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        most: usize,
    },
    /// No whole number of cells, or none at all.
    #[error("shared memory of {bytes} bytes does not consist of cells")]
    NoCells {
        /// Its size.
        bytes: u64,
    },
    /// The sender could still change what must not change.
    #[error("shared memory that is not sealed against {against}")]
    Unsealed {
        /// What: `being shrunk`, `being written to` …
        against: &'static str,
    },
    /// Parts of it have no memory yet: to read them could fail.
    #[error("shared memory with holes")]
    Sparse,
    /// It cannot be looked at or mapped.
    #[error("cannot use shared memory")]
    Io(#[from] io::Error),
}

/// Zeroed cells of 32 bits that several processes change.
///
/// The memory lives as long as anybody has it, mapped or as a descriptor.
#[derive(Debug)]
pub struct SharedCells {
    map: MappedCells,
    fd: OwnedFd,
}

impl SharedCells {
    /// So many cells, all 0. Their memory is allocated at once.
    ///
    /// # Errors
    ///
    /// `EINVAL` for none; `ENOMEM`, `ENOSPC`, `EFBIG`, `EMFILE`, `ENFILE`.
    pub fn new(cells: usize) -> io::Result<Self> {
        let bytes = cells.checked_mul(size_of::<AtomicU32>());
        let bytes = bytes.ok_or(io::ErrorKind::OutOfMemory)?;
        let bytes = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = os::memory_file()?;
        rustix::fs::ftruncate(&fd, bytes.get() as u64)?;
        os::seal_size(&fd, bytes.get() as u64)?;
        let map = MappedCells::new(fd.as_fd(), bytes)?;
        Ok(Self { map, fd })
    }

    /// Those of another process, at most so many bytes.
    ///
    /// What a hostile sender can do after that: change the cells, and take their
    /// memory away, so that the next use of them counts as ours and is 0.
    ///
    /// # Errors
    ///
    /// [`ForeignMemoryError`]; the descriptor is closed.
    pub fn from_fd(fd: OwnedFd, most: usize) -> Result<Self, ForeignMemoryError> {
        let size = os::check_shared(fd.as_fd())?;
        let bytes = within(size, most)?;
        let bytes = NonZeroUsize::new(bytes)
            .filter(|bytes| bytes.get().is_multiple_of(size_of::<AtomicU32>()))
            .ok_or(ForeignMemoryError::NoCells { bytes: size })?;
        let map = MappedCells::new(fd.as_fd(), bytes)?;
        Ok(Self { map, fd })
    }

    /// The cells.
    #[must_use]
    pub fn cells(&self) -> &[AtomicU32] {
        self.map.cells()
    }
}

/// To be sent to another process.
impl AsFd for SharedCells {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Bytes that were written once and that no process can change any more.
#[derive(Debug)]
pub struct SealedBytes {
    bytes: os::ReadOnly,
    fd: OwnedFd,
}

impl SealedBytes {
    /// Those of another process, at most so many.
    ///
    /// # Errors
    ///
    /// [`ForeignMemoryError`]; the descriptor is closed.
    pub fn from_fd(fd: OwnedFd, most: usize) -> Result<Self, ForeignMemoryError> {
        let size = os::check_sealed(fd.as_fd())?;
        let bytes = within(size, most)?;
        let bytes = os::ReadOnly::new(fd.as_fd(), bytes)?;
        Ok(Self { bytes, fd })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

/// To be sent to another process.
impl AsFd for SealedBytes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Writes what becomes [`SealedBytes`]. Each write is a call of the kernel.
#[derive(Debug)]
pub struct SealedBytesWriter {
    fd: OwnedFd,
    written: usize,
}

impl SealedBytesWriter {
    /// With nothing written yet.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        let fd = os::memory_file()?;
        Ok(Self { fd, written: 0 })
    }

    /// Seals what was written.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn finish(self) -> io::Result<SealedBytes> {
        os::seal_bytes(&self.fd)?;
        let bytes = os::ReadOnly::new(self.fd.as_fd(), self.written)?;
        let fd = self.fd;
        Ok(SealedBytes { bytes, fd })
    }
}

impl io::Write for SealedBytesWriter {
    /// `ENOSPC`, `ENOMEM` when there is no memory left.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, bytes))?;
        self.written += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn within(bytes: u64, most: usize) -> Result<usize, ForeignMemoryError> {
    match usize::try_from(bytes) {
        Ok(size) if size <= most => Ok(size),
        Ok(_) | Err(_) => Err(ForeignMemoryError::TooLarge { bytes, most }),
    }
}

/// How a wait for a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It was notified; now and then for no reason.
    Ok,
    /// The cell did not have the expected value; there was no wait.
    NotEqual,
    /// The time was over.
    TimedOut,
    /// The wait was [withdrawn](WithdrawableWait::withdraw).
    Withdrawn,
}

/// Waits until a cell is notified, by any process, if its value is the expected one.
///
/// The look at the value and the beginning of the wait are one.
#[must_use]
pub fn wait(cell: &AtomicU32, expected: u32, limit: Option<Duration>) -> Waited {
    os::wait(cell, expected, limit)
}

/// Wakes at most so many of those that wait for the cell, in any process, and says how many.
pub fn notify(cell: &AtomicU32, count: usize) -> usize {
    os::notify(cell, count)
}

/// A wait that another thread can end without taking a notification with it.
///
/// One thread calls [`wait`](Self::wait), once; another one [`withdraw`](Self::withdraw).
/// All that they share is one word, which each of them changes at most once:
/// the waiter from `WAITING` to `NOTIFIED`, if the wake it was given was the
/// cell's; the other one from whatever it is to `WITHDRAWN`. So exactly one of
/// them sees the other's word when a notification and a withdrawal meet, and
/// that one passes the notification on:
///
/// * the waiter came first: `withdraw` finds `NOTIFIED`;
/// * `withdraw` came first: the waiter's change fails.
#[derive(Debug, Default)]
pub struct WithdrawableWait {
    state: AtomicU32,
}

pub(crate) const WAITING: u32 = 0;
const NOTIFIED: u32 = 1;
const WITHDRAWN: u32 = 2;

impl WithdrawableWait {
    /// As the function [`wait`], until it is withdrawn.
    pub fn wait(&self, cell: &AtomicU32, expected: u32) -> Waited {
        let waited = os::wait_while(cell, expected, &self.state);
        match waited {
            Waited::Ok if !self.change(WAITING, NOTIFIED) => {
                notify(cell, 1);
                Waited::Withdrawn
            }
            Waited::Ok | Waited::NotEqual | Waited::TimedOut | Waited::Withdrawn => waited,
        }
    }

    /// Ends the wait for the cell, which need not have begun. Nobody has its answer then.
    pub fn withdraw(&self, cell: &AtomicU32) {
        match self.state.swap(WITHDRAWN, Ordering::SeqCst) {
            WAITING => {
                notify(&self.state, 1);
            }
            NOTIFIED => {
                notify(cell, 1);
            }
            _ => {}
        }
    }

    fn change(&self, from: u32, to: u32) -> bool {
        let changed = self
            .state
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
        changed.is_ok()
    }
}
