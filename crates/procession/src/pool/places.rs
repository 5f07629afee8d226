//! Which of two sides begins a task that both know of?

use super::sync::{AtomicU32, Ordering};

/// The most that a worker may be sent.
pub(super) const MOST: u32 = 15;

/// Places for tasks that nobody has taken yet: for these, and the one that is to begin.
pub(super) const COUNT: usize = MOST as usize + 1;

/// A cell for each task that waits at a worker, which both sides see. Whoever
/// takes the task out of it has it, so neither has to ask the other.
pub(super) struct Places<'a>(pub(super) &'a [AtomicU32]);

impl Places<'_> {
    /// Puts a task into the first free place, under that place's next number from this on; one
    /// side alone does so. `None`: there is no place.
    pub(super) fn offer(&self, next: u32) -> Option<u32> {
        let mut numbers = (0..=MOST).map(|n| next.wrapping_add(n));
        let claim = numbers.find(|it| *it != 0 && self.cell(*it).load(Ordering::SeqCst) == 0)?;
        self.cell(claim).store(claim, Ordering::SeqCst);
        Some(claim)
    }

    /// Takes a task out of its place; `false` if the other side has it.
    pub(super) fn take(&self, claim: u32) -> bool {
        let (order, relaxed) = (Ordering::SeqCst, Ordering::Relaxed);
        let cell = self.cell(claim);
        claim != 0 && cell.compare_exchange(claim, 0, order, relaxed).is_ok()
    }

    fn cell(&self, claim: u32) -> &AtomicU32 {
        &self.0[claim as usize % COUNT]
    }
}
