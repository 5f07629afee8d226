//! Who has a task that was sent ahead: its worker, which begins it, or whoever gets it back.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;

use procession_core::pool::TaskId;
use procession_sys::SharedCells;

use crate::ipc::envelope::{self, Content};
use crate::ipc::{Handle, MemoryError};

/// The most that a worker may be sent.
pub(super) const MOST: u32 = 15;

/// Places for tasks that nobody has taken yet: for these, and the one that is to begin.
const PLACES: usize = MOST as usize + 1;

/// Whether workers can share them: where nobody vouches for their size, a worker
/// could take us with it.
pub(super) const CAN_BE_SHARED: bool = procession_sys::SIZES_ARE_SEALED;

/// A cell for each task that waits at a worker, which both sides see. Whoever
/// takes the task out of it has it, so neither has to ask the other.
pub(super) struct Claims(SharedCells);

impl Claims {
    pub(super) fn new() -> io::Result<Self> {
        SharedCells::new(PLACES).map(Self)
    }

    pub(super) fn to_handle(&self) -> io::Result<Handle> {
        envelope::seal(Content::Cells, self.0.as_fd())
    }

    pub(super) fn from_handle(handle: Handle) -> Result<Self, MemoryError> {
        let fd = envelope::open(Content::Cells, handle).map_err(|handle| MemoryError::Other {
            wanted: "shared array buffer",
            handle,
        })?;
        Ok(Self(SharedCells::from_fd(fd, PLACES * size_of::<u32>())?))
    }

    /// Puts a task into a free place, for one side alone. `None`: there is none.
    pub(super) fn offer(&self, id: TaskId) -> Option<u32> {
        let cells = self.0.cells();
        let place = cells.iter().position(|it| it.load(Ordering::SeqCst) == 0)?;
        cells[place].store(mark(id), Ordering::SeqCst);
        u32::try_from(place).ok()
    }

    /// Takes a task out of its place; `false` if the other side has it.
    pub(super) fn take(&self, place: u32, id: TaskId) -> bool {
        let cell = self.0.cells().get(place as usize);
        let (order, relaxed) = (Ordering::SeqCst, Ordering::Relaxed);
        cell.is_some_and(|it| it.compare_exchange(mark(id), 0, order, relaxed).is_ok())
    }
}

/// Never 0, and another one for any task that could be meant at the time.
fn mark(TaskId(id): TaskId) -> u32 {
    let [a, b, c, d, ..] = id.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) | 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_has_it() {
        if !CAN_BE_SHARED {
            return;
        }
        let ours = Claims::new().unwrap();
        let theirs = Claims::from_handle(ours.to_handle().unwrap()).unwrap();
        for round in 0..100 {
            let ids = (0..PLACES as u64).map(|n| TaskId(round * 7 + n));
            let offered: Vec<_> = ids.map(|id| (ours.offer(id).unwrap(), id)).collect();
            assert_eq!(ours.offer(TaskId(5_000)), None, "all places are taken");
            for (n, (place, id)) in offered.into_iter().enumerate() {
                let (first, second) = if n % 2 == 0 {
                    (&ours, &theirs)
                } else {
                    (&theirs, &ours)
                };
                assert!(!first.take(place, TaskId(id.0 + 1)), "another one");
                assert!(first.take(place, id));
                assert!(!second.take(place, id) && !first.take(place, id));
            }
        }
        assert!(!ours.take(MOST + 1, TaskId(1)), "no such place");
    }

    #[test]
    fn what_is_no_claims_is_refused() {
        if !CAN_BE_SHARED {
            return;
        }
        let large = SharedCells::new(100_000).unwrap();
        let handle = envelope::seal(Content::Cells, large.as_fd()).unwrap();
        assert!(Claims::from_handle(handle).is_err());
    }
}
