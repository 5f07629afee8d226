//! Where tasks are left while every worker is busy.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

use super::Dispatcher;
use super::plan::TaskId;
use super::queue::{Place, Waiting};

/// The front of a dispatcher's queue, which can lie under a lock of its own.
///
/// While every worker that there can be is busy, all that a new task does is
/// wait. So it is left here, and who submits does not disturb those who work.
/// The dispatcher [allows](Dispatcher::allow) that, for as many tasks as its
/// queue has room for, and [collects](Dispatcher::collect) them when a worker
/// looks for its next task and whenever anything else happens. In between
/// nobody could tell the difference.
pub struct Intake<T> {
    offered: VecDeque<Place<T>>,
    room: usize,
    next_task: u64,
}

impl<T> Default for Intake<T> {
    fn default() -> Self {
        Self {
            offered: VecDeque::new(),
            room: 0,
            next_task: 1,
        }
    }
}

impl<T> Intake<T> {
    /// Accepts a task; `run_timeout` is that of its [`Terms`](super::Terms).
    ///
    /// # Errors
    ///
    /// Gives the task back: the dispatcher has to be asked.
    pub fn offer(
        &mut self,
        task: T,
        run_timeout: Option<Duration>,
        now: Instant,
    ) -> Result<TaskId, T> {
        if self.room == 0 {
            return Err(task);
        }
        self.room -= 1;
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let waiting = Waiting::new(id, task, now).with_limits(None, run_timeout);
        self.offered.push_back((id, Some(waiting)));
        Ok(id)
    }
}

impl<T> Dispatcher<T> {
    /// Takes over what was left, and leaves the intake closed until
    /// [`allow`](Self::allow): from now on tasks are numbered here. Does not
    /// give them to anybody yet. Says whether there were any.
    pub fn collect(&mut self, intake: &mut Intake<T>) -> bool {
        self.next_task = self.next_task.max(intake.next_task);
        intake.room = 0;
        let any = !intake.offered.is_empty();
        self.stats.accepted += intake.offered.len() as u64;
        self.queue.append(&mut intake.offered);
        any
    }

    /// Opens an intake from which all was collected, if tasks could only wait
    /// now. Says whether it did.
    pub fn allow(&self, intake: &mut Intake<T>) -> bool {
        let opens = self.is_saturated();
        intake.next_task = self.next_task;
        if opens {
            intake.room = self.plan.queue.saturating_sub(self.queued());
        }
        opens
    }

    /// Whether a task could only wait, behind all others, and somebody will
    /// come to look for it.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.tally.alive >= self.plan.max
            && self.plan.queue_timeout.is_none()
            && self.state == super::State::Open
            && self.queue.is_fifo()
            && self.balance.is_none()
            && self.least_busy().is_none()
            && !self.has_open_line()
    }
}

impl<T> Debug for Intake<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("offered", &self.offered.len())
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}
