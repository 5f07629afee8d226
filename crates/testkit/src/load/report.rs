//! What a load has seen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Histogram;

/// So many losses are kept one by one; all are counted.
const KEPT: usize = 1000;

/// What became of a request that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody listened.
    Refused,
    /// The connection was reset before a byte of the answer.
    Reset,
    /// The connection ended before a byte of the answer.
    Ended,
    /// A kept connection was closed while the next request was on its way:
    /// HTTP allows it, and a browser asks again.
    Stale,
    /// The connection was reset, or ended, in the midst of the answer.
    Half,
    /// It took longer than the limit.
    Hung,
    /// It was answered with another status than 2xx.
    Status(u16),
    /// What was answered is no HTTP/1.1.
    NotHttp,
    /// Another error of the system, by its number, 0 if it has none.
    Other(i32),
}

/// A request that was not answered, or not with 2xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// What became of it.
    pub failure: Failure,
    /// Whom it had reached, if the half of an answer tells.
    pub pid: Option<u32>,
    /// When it began, from the start of the load.
    pub at: Duration,
    /// How long it took to fail.
    pub after: Duration,
}

/// What a load has seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How long answers took, by the number in their body; 0 without one.
    pub by_pid: BTreeMap<u32, Histogram>,
    /// Connections that were answered, by the number in the first answer's body.
    pub connections: BTreeMap<u32, u64>,
    /// All failures, by kind.
    pub failed: BTreeMap<Failure, u64>,
    /// The first 1,000 of them of each connection, one by one.
    pub lost: Vec<Lost>,
    /// How long it all took.
    pub took: Duration,
}

impl Report {
    pub(super) fn answered(&mut self, pid: u32, connected: bool, took: Duration) {
        self.by_pid.entry(pid).or_default().add(took);
        *self.connections.entry(pid).or_default() += u64::from(connected);
    }

    pub(super) fn lost(&mut self, lost: Lost) {
        *self.failed.entry(lost.failure).or_default() += 1;
        if self.lost.len() < KEPT {
            self.lost.push(lost);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (pid, histogram) in &other.by_pid {
            self.by_pid.entry(*pid).or_default().merge(histogram);
        }
        for (pid, count) in other.connections {
            *self.connections.entry(pid).or_default() += count;
        }
        for (failure, count) in other.failed {
            *self.failed.entry(failure).or_default() += count;
        }
        self.lost.extend(other.lost);
    }

    /// Answers with 2xx.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.by_pid.values().map(Histogram::count).sum()
    }

    /// Requests without such an answer.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// How often this went wrong.
    #[must_use]
    pub fn count(&self, failure: Failure) -> u64 {
        self.failed.get(&failure).copied().unwrap_or(0)
    }

    /// How long all answers took.
    #[must_use]
    pub fn times(&self) -> Histogram {
        let mut all = Histogram::default();
        self.by_pid.values().for_each(|it| all.merge(it));
        all
    }

    /// Answers of the busiest of these workers for each one of the idlest;
    /// infinite when one of them answered nothing.
    #[must_use]
    pub fn balance(&self, pids: &[u32]) -> f64 {
        let answers = |pid| self.by_pid.get(pid).map_or(0, Histogram::count);
        let most = pids.iter().map(answers).max().unwrap_or(0);
        let least = pids.iter().map(answers).min().unwrap_or(0);
        most as f64 / least as f64
    }
}

/// One line: what was answered by whom, and each kind of failure.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered in {:?}", self.answers(), self.took)?;
        for (pid, histogram) in &self.by_pid {
            write!(f, ", {} by {pid}", histogram.count())?;
        }
        for (failure, count) in &self.failed {
            write!(f, ", {count} {failure:?}")?;
        }
        Ok(())
    }
}
