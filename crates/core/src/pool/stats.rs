//! What a pool has done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Dispatcher;
use super::histogram::Histogram;
use super::plan::Verdict;

/// How a pool is going; counts are since its start.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Workers that are not gone, with those that start or leave.
    pub workers: u32,
    /// Workers that are being started.
    pub starting: u32,
    /// Workers without a task, that could have one.
    pub idle: u32,
    /// Tasks that wait.
    pub queued: usize,
    /// Tasks that workers have.
    pub running: usize,
    /// Tasks that one worker can have at a time.
    pub concurrency: u32,
    /// Tasks that were accepted: the sum of those that wait, that run and that ended.
    pub accepted: u64,
    /// Tasks that were not, since the queue was full.
    pub refused: u64,
    /// Tasks that their worker finished, whatever came out.
    pub done: u64,
    /// Tasks that were cancelled.
    pub canceled: u64,
    /// Tasks that ran for too long.
    pub timed_out: u64,
    /// Tasks that waited for too long.
    pub queue_timed_out: u64,
    /// Tasks that died with their worker.
    pub lost: u64,
    /// Tasks that never ran since the pool was closed or had no worker.
    pub returned: u64,
    /// Tasks that were running when the pool was destroyed, and did not end in time.
    pub destroyed: u64,
    /// Workers that were started.
    pub started: u64,
    /// Workers that could not be, or died before their first task.
    pub failed_starts: u64,
    /// Workers that died with a task, or after one, without having been asked to.
    pub crashed: u64,
    /// Workers that were ended by force.
    pub killed: u64,
    /// Workers that were replaced for their age, memory or number of tasks, or by request.
    pub recycled: u64,
    /// How long tasks waited that got a worker.
    pub wait: Histogram,
    /// How long finished tasks ran.
    pub run: Histogram,
    /// For how long workers have been there, all together.
    pub lifetime: Duration,
    /// For how long they have had tasks: those that they finished, those that
    /// died with them, and those that run now, up to now.
    pub busy: Duration,
}

impl Stats {
    /// How much of what the workers could have done they did, from 0.0 to 1.0.
    #[must_use]
    pub fn utilization(&self) -> f64 {
        let could = self.lifetime.as_secs_f64() * f64::from(self.concurrency);
        if could > 0.0 {
            (self.busy.as_secs_f64() / could).min(1.0)
        } else {
            0.0
        }
    }

    /// Tasks that have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.done
            + self.canceled
            + self.timed_out
            + self.queue_timed_out
            + self.lost
            + self.returned
            + self.destroyed
    }

    pub(super) fn count(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Done => &mut self.done,
            Verdict::Canceled(_) => &mut self.canceled,
            Verdict::TimedOut(_) => &mut self.timed_out,
            Verdict::QueueTimedOut => &mut self.queue_timed_out,
            Verdict::Closed | Verdict::NoWorker => &mut self.returned,
            Verdict::Destroyed => &mut self.destroyed,
            Verdict::Lost => &mut self.lost,
        };
        *count += 1;
    }
}

impl<T> Dispatcher<T> {
    /// How it is going.
    #[must_use]
    pub fn stats(&self, now: Instant) -> Stats {
        let idle = self.free.first().map_or(0, VecDeque::len);
        let since = |begin| now.saturating_duration_since(begin);
        let workers = || self.workers.iter().flatten();
        let alive: Duration = workers().map(|this| since(this.born)).sum();
        let tasks = workers().flat_map(|this| &this.tasks);
        let running: Duration = tasks.map(|task| since(task.since)).sum();
        Stats {
            workers: self.tally.alive,
            starting: self.tally.starting,
            idle: u32::try_from(idle).unwrap_or(u32::MAX),
            queued: self.queued(),
            running: self.tally.running,
            concurrency: self.plan.concurrency,
            lifetime: self.stats.lifetime + alive,
            // What is kept there is the time of tasks that died.
            busy: self.stats.busy + self.stats.run.total() + running,
            ..self.stats.clone()
        }
    }
}
