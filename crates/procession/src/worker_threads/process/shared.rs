//! Memory that processes share, and a way to wait for it to change.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_sys::{SharedCells, WithdrawableWait};

use super::super::{Waited, blocking};
use crate::ipc::envelope::{self, Content};
use crate::ipc::{Handle, MemoryError};

/// Zeroed cells of 32 bits that processes share, with Node's `Atomics.wait` and `notify`.
///
/// It travels with a message as a handle. A clone is another handle to the same
/// cells. The memory is free when the last process that has it is gone; a
/// process that dies leaves the cells as they were.
///
/// The size is sealed by the kernel, so no other process can take the memory away from under us.
///
/// # Platform
///
/// On the portable side nothing is sealed (share memory with whom you trust),
/// waiting is a look every millisecond that sees a change of the value only,
/// and [`notify`](Self::notify) counts nobody.
///
/// # Node
///
/// `SharedArrayBuffer`, which no other process can have there.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::Ordering::SeqCst;
/// use procession::worker_threads::process::SharedArrayBuffer;
///
/// let ours = SharedArrayBuffer::new(1)?;
/// let handle = ours.to_handle()?; // sent with a message to another process, where:
/// let theirs = SharedArrayBuffer::from_handle(handle, 4096)?;
/// theirs.cells()[0].store(7, SeqCst);
/// theirs.notify(0, usize::MAX);
/// while ours.cells()[0].load(SeqCst) == 0 {
///     ours.wait_blocking(0, 0, None);
/// }
/// assert_eq!(ours.cells()[0].load(SeqCst), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedArrayBuffer(Arc<SharedCells>);

impl SharedArrayBuffer {
    /// So many cells, all 0. Their memory is taken at once.
    ///
    /// # Errors
    ///
    /// `EINVAL` for none; `ENOMEM`, `ENOSPC`, `EMFILE`, `ENFILE`.
    pub fn new(cells: usize) -> io::Result<Self> {
        Ok(Self(Arc::new(SharedCells::new(cells)?)))
    }

    /// Something that travels with a message, to become these cells again by
    /// [`from_handle`](Self::from_handle) there. Only for programs of procession.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`.
    pub fn to_handle(&self) -> io::Result<Handle> {
        envelope::seal(Content::Cells, self.0.as_fd())
    }

    /// What came as a handle, if it is memory of at most so many bytes. Never waits.
    ///
    /// # Errors
    ///
    /// [`MemoryError`].
    pub fn from_handle(handle: Handle, most: usize) -> Result<Self, MemoryError> {
        let fd = envelope::open(Content::Cells, handle).map_err(|handle| MemoryError::Other {
            wanted: "shared array buffer",
            handle,
        })?;
        Ok(Self(Arc::new(SharedCells::from_fd(fd, most)?)))
    }

    /// The cells. Others may change them at any time.
    #[must_use]
    pub fn cells(&self) -> &[AtomicU32] {
        self.0.cells()
    }

    /// Waits until the cell is notified by any process, if its value is the expected one.
    ///
    /// Now and then it is `Ok` for no reason: look at the cell again. The wait
    /// takes a thread of the runtime's blocking ones, and begins when that has
    /// its turn: a notification without a change of the value may come too
    /// early for it. For a time limit, wrap it in `tokio::time::timeout`.
    ///
    /// # Panics
    ///
    /// When there is no such cell; outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a notification that a dropped wait would have had goes to the next one.
    ///
    /// # Node
    ///
    /// `Atomics.waitAsync`.
    pub async fn wait(&self, cell: usize, expected: u32) -> Waited {
        if self.cells()[cell].load(Ordering::SeqCst) != expected {
            return Waited::NotEqual;
        }
        let mut turn = Turn {
            buffer: self.clone(),
            cell,
            wait: Arc::default(),
            is_over: false,
        };
        let (buffer, wait) = (self.clone(), Arc::clone(&turn.wait));
        let waits = move || wait.wait(&buffer.cells()[cell], expected);
        let waited = tokio::task::spawn_blocking(waits).await;
        turn.is_over = true;
        // An error: the runtime is being shut down, so nobody will look at this.
        waited.map_or(Waited::Ok, from_sys)
    }

    /// As [`wait`](Self::wait), on this thread; at most so long, if there is a limit.
    ///
    /// # Panics
    ///
    /// When there is no such cell; in async code.
    ///
    /// # Node
    ///
    /// `Atomics.wait`.
    pub fn wait_blocking(&self, cell: usize, expected: u32, limit: Option<Duration>) -> Waited {
        blocking::panic_in_async_code();
        from_sys(procession_sys::wait(&self.cells()[cell], expected, limit))
    }

    /// Wakes at most so many of those that wait for the cell, in all processes, and says how many.
    ///
    /// # Panics
    ///
    /// When there is no such cell.
    ///
    /// # Node
    ///
    /// `Atomics.notify`.
    pub fn notify(&self, cell: usize, count: usize) -> usize {
        procession_sys::notify(&self.cells()[cell], count)
    }
}

fn from_sys(waited: procession_sys::Waited) -> Waited {
    match waited {
        procession_sys::Waited::Ok | procession_sys::Waited::Withdrawn => Waited::Ok,
        procession_sys::Waited::NotEqual => Waited::NotEqual,
        procession_sys::Waited::TimedOut => Waited::TimedOut,
    }
}

/// A wait on another thread. Dropped early, it is ended there.
struct Turn {
    buffer: SharedArrayBuffer,
    cell: usize,
    wait: Arc<WithdrawableWait>,
    /// The wait has its answer, and somebody has seen it.
    is_over: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            self.wait.withdraw(&self.buffer.cells()[self.cell]);
        }
    }
}

impl fmt::Debug for SharedArrayBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedArrayBuffer")
            .field("cells", &self.cells().len())
            .finish_non_exhaustive()
    }
}
