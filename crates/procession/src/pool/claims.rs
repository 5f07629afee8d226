//! Who has a task that was sent ahead: its worker, which begins it, or whoever gets it back.

use std::io;
use std::os::fd::AsFd as _;

use procession_sys::SharedCells;

use super::places::{COUNT, Places};
use crate::ipc::envelope::{self, Content};
use crate::ipc::{Handle, MemoryError};

/// Whether workers can share them: where nobody vouches for their size, a worker
/// could take us with it.
pub(super) const CAN_BE_SHARED: bool = procession_sys::SIZES_ARE_SEALED;

/// Memory of both sides with the [`Places`] in it.
pub(super) struct Claims {
    cells: SharedCells,
    /// The number of the next offer.
    next: u32,
}

impl Claims {
    pub(super) fn new() -> io::Result<Self> {
        SharedCells::new(COUNT).map(Self::on)
    }

    fn on(cells: SharedCells) -> Self {
        Self { cells, next: 1 }
    }

    pub(super) fn to_handle(&self) -> io::Result<Handle> {
        envelope::seal(Content::Cells, self.cells.as_fd())
    }

    pub(super) fn from_handle(handle: Handle) -> Result<Self, MemoryError> {
        let fd = envelope::open(Content::Cells, handle).map_err(|handle| MemoryError::Other {
            wanted: "shared array buffer",
            handle,
        })?;
        Ok(Self::on(SharedCells::from_fd(
            fd,
            COUNT * size_of::<u32>(),
        )?))
    }

    /// Puts a task into a free place, for one side alone, under a number that no other gets: one
    /// that is sent again is another. `None`: there is no place.
    pub(super) fn offer(&mut self) -> Option<u32> {
        let claim = self.places().offer(self.next)?;
        self.next = claim.wrapping_add(1);
        Some(claim)
    }

    /// Takes a task out of its place; `false` if the other side has it.
    pub(super) fn take(&self, claim: u32) -> bool {
        self.places().take(claim)
    }

    fn places(&self) -> Places<'_> {
        Places(self.cells.cells())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::places::MOST;

    #[test]
    fn one_side_has_it() {
        if !CAN_BE_SHARED {
            return;
        }
        let mut ours = Claims::new().unwrap();
        let theirs = Claims::from_handle(ours.to_handle().unwrap()).unwrap();
        for round in 0..100 {
            if round == 50 {
                // Its numbers begin anew.
                ours.next = u32::MAX - 7;
            }
            let offered: Vec<u32> = (0..COUNT).map_while(|_| ours.offer()).collect();
            assert!(offered.len() >= MOST as usize, "there are places");
            assert!(!offered.contains(&0));
            for (n, claim) in offered.into_iter().enumerate() {
                let (first, second) = if n % 2 == 0 {
                    (&ours, &theirs)
                } else {
                    (&theirs, &ours)
                };
                let same_place = claim.wrapping_add(MOST + 1);
                assert!(!first.take(same_place), "another one");
                assert!(first.take(claim));
                assert!(!second.take(claim) && !first.take(claim));
            }
        }
        assert!(!ours.take(0), "what is in an empty place");
    }

    /// Who still has the old message does not begin what comes with the new one.
    #[test]
    fn one_that_is_offered_again_is_another() {
        if !CAN_BE_SHARED {
            return;
        }
        let mut ours = Claims::new().unwrap();
        let first = ours.offer().unwrap();
        assert!(ours.take(first));
        let again: Vec<u32> = (0..COUNT).map_while(|_| ours.offer()).collect();
        assert!(again.len() >= MOST as usize && !again.contains(&first));
        assert!(!ours.take(first));
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
