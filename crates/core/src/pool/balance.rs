//! Which worker gets the next task?

use std::time::Duration;

use super::plan::WorkerId;

/// What is known of a worker that has room for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Who it is.
    pub worker: WorkerId,
    /// Tasks that it has; with a concurrency of 1, none.
    pub active: u32,
    /// Tasks that it has finished.
    pub done: u64,
    /// Since when it has had as many tasks as now.
    pub unchanged: Duration,
}

/// Chooses a worker for the task that is next.
///
/// Without one, who has the least to do gets it, and among the idle who was
/// busy last: its caches are warm, and the others may leave.
pub trait Balance<T>: Send {
    /// The index in `workers` of who gets it. `None`, or one that is not
    /// there, leaves it waiting, and all behind it, until something changes.
    fn choose(&mut self, task: &T, workers: &[Load]) -> Option<usize>;
}

impl<T, F: FnMut(&T, &[Load]) -> Option<usize> + Send> Balance<T> for F {
    fn choose(&mut self, task: &T, workers: &[Load]) -> Option<usize> {
        self(task, workers)
    }
}
