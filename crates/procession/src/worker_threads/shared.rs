//! Memory that threads share, and a way to wait for it to change.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::blocking;
use super::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

/// How a wait for a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It was [notified](SharedArrayBuffer::notify).
    Ok,
    /// The cell did not have the expected value; there was no wait.
    NotEqual,
    /// The time was over.
    TimedOut,
}

/// Zeroed cells of 32 bits that threads share, with Node's `Atomics.wait` and `notify`.
///
/// A clone is another handle to the same cells.
///
/// # Node
///
/// `new Int32Array(new SharedArrayBuffer(4 * n))`: what `Atomics` does with
/// cells, [`AtomicU32`] does.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::Ordering::SeqCst;
/// use procession::worker_threads::{SharedArrayBuffer, Waited, Worker};
///
/// let shared = SharedArrayBuffer::new(1);
/// let theirs = shared.clone();
/// let _worker = Worker::<(), ()>::spawn("setter", move |_port, _stop| {
///     theirs.cells()[0].store(7, SeqCst);
///     theirs.notify(0, usize::MAX);
/// })?;
/// while shared.cells()[0].load(SeqCst) == 0 {
///     shared.wait_blocking(0, 0, None);
/// }
/// assert_eq!(shared.cells()[0].load(SeqCst), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedArrayBuffer {
    cells: Arc<[AtomicU32]>,
    parked: Arc<Mutex<Parked>>,
}

/// Who waits, by cell, in the order in which they came.
#[derive(Default)]
struct Parked {
    next: u64,
    queues: HashMap<usize, VecDeque<(u64, oneshot::Sender<()>)>>,
}

impl SharedArrayBuffer {
    /// So many cells, all 0.
    #[must_use]
    pub fn new(cells: usize) -> Self {
        Self {
            cells: (0..cells).map(|_| AtomicU32::new(0)).collect(),
            parked: Arc::default(),
        }
    }

    /// The cells.
    #[must_use]
    pub fn cells(&self) -> &[AtomicU32] {
        &self.cells
    }

    /// Waits until the cell is notified, if its value is the expected one.
    ///
    /// The look at the value and the beginning of the wait are one: a
    /// [`notify`](Self::notify) after a change is not missed. For a time limit,
    /// wrap it in `tokio::time::timeout`.
    ///
    /// # Panics
    ///
    /// When there is no such cell.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a notification that a dropped wait would have had goes to the next one.
    ///
    /// # Node
    ///
    /// `Atomics.waitAsync`.
    pub async fn wait(&self, cell: usize, expected: u32) -> Waited {
        match self.park(cell, expected) {
            Some(mut turn) => turn.notified().await,
            None => Waited::NotEqual,
        }
    }

    /// As [`wait`](Self::wait), for threads without a runtime; at most so long, if there is a limit.
    ///
    /// # Panics
    ///
    /// When there is no such cell; in async code.
    ///
    /// # Node
    ///
    /// `Atomics.wait`.
    pub fn wait_blocking(&self, cell: usize, expected: u32, limit: Option<Duration>) -> Waited {
        let Some(mut turn) = self.park(cell, expected) else {
            return Waited::NotEqual;
        };
        let deadline = limit.and_then(blocking::deadline);
        match blocking::wait_until(turn.notified(), deadline) {
            Some(waited) => waited,
            // It may have been notified since the last look; then it is not in the queue any more.
            None if turn.leave() => Waited::TimedOut,
            None => {
                turn.is_over = true;
                Waited::Ok
            }
        }
    }

    /// Wakes at most so many of those that wait for the cell, the longest first, and says how many.
    ///
    /// # Panics
    ///
    /// When there is no such cell.
    ///
    /// # Node
    ///
    /// `Atomics.notify`.
    pub fn notify(&self, cell: usize, count: usize) -> usize {
        assert!(cell < self.cells.len(), "there is no cell {cell}");
        wake(&self.parked, cell, count)
    }

    fn park(&self, cell: usize, expected: u32) -> Option<Turn> {
        let mut parked = lock(&self.parked);
        // Under the lock: who changes the cell and then notifies finds us, or we see the change.
        if self.cells[cell].load(Ordering::SeqCst) != expected {
            return None;
        }
        let (wake, woken) = oneshot::channel();
        let number = parked.next;
        parked.next += 1;
        parked
            .queues
            .entry(cell)
            .or_default()
            .push_back((number, wake));
        drop(parked);
        Some(Turn {
            parked: Arc::clone(&self.parked),
            cell,
            number,
            woken,
            is_over: false,
        })
    }
}

fn lock(parked: &Mutex<Parked>) -> MutexGuard<'_, Parked> {
    // Nothing panics between two changes that belong together.
    parked.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(parked: &Mutex<Parked>, cell: usize, count: usize) -> usize {
    let first: Vec<_> = {
        let mut parked = lock(parked);
        let Some(queue) = parked.queues.get_mut(&cell) else {
            return 0;
        };
        let first = queue.drain(..queue.len().min(count)).collect();
        if queue.is_empty() {
            parked.queues.remove(&cell);
        }
        first
    };
    let woken = first.len();
    // Outside of the lock: it runs wakers, which are not ours.
    for (_, wake) in first {
        // One that has just been dropped finds itself out of the queue, and wakes the next.
        let _ = wake.send(());
    }
    woken
}

/// A place in the queue of a cell.
struct Turn {
    parked: Arc<Mutex<Parked>>,
    cell: usize,
    number: u64,
    woken: oneshot::Receiver<()>,
    /// The wait has its answer.
    is_over: bool,
}

impl Turn {
    async fn notified(&mut self) -> Waited {
        // An error would mean that the queue is gone, but we hold it.
        let _ = Pin::new(&mut self.woken).await;
        self.is_over = true;
        Waited::Ok
    }

    /// Leaves the queue; `false` when it was notified already.
    fn leave(&mut self) -> bool {
        let mut parked = lock(&self.parked);
        let Some(queue) = parked.queues.get_mut(&self.cell) else {
            return false;
        };
        let before = queue.len();
        queue.retain(|(number, _)| *number != self.number);
        let was_there = queue.len() < before;
        if queue.is_empty() {
            parked.queues.remove(&self.cell);
        }
        self.is_over |= was_there;
        was_there
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over && !self.leave() {
            wake(&self.parked, self.cell, 1);
        }
    }
}

impl fmt::Debug for SharedArrayBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedArrayBuffer")
            .field("cells", &self.cells.len())
            .finish_non_exhaustive()
    }
}
