//! Latencies, counted to three digits.

use std::time::Duration;

/// Counts durations from 1 µs to an hour, to three significant digits; those of
/// [`Report::pid_latency`](crate::Report::pid_latency) to two.
#[derive(Clone, Debug)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

/// The most that is told apart: an hour, in µs.
const MOST: u64 = 3_600_000_000;

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Nothing counted.
    #[must_use]
    pub fn new() -> Self {
        match hdrhistogram::Histogram::new_with_bounds(1, MOST, 3) {
            Ok(empty) => Self(empty),
            Err(_) => unreachable!("these bounds and digits are in range"),
        }
    }

    /// The same to two digits, in an eighth of the memory (26 KiB).
    pub(crate) fn coarse() -> Self {
        match hdrhistogram::Histogram::new_with_bounds(1, MOST, 2) {
            Ok(empty) => Self(empty),
            Err(_) => unreachable!("these bounds and digits are in range"),
        }
    }

    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MOST);
        self.0.saturating_record(micros);
    }

    /// Adds all that another counted.
    pub fn merge(&mut self, other: &Self) {
        // Never too large: both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many were counted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// None was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What so many of a hundred took at most; 0 if none was counted.
    #[must_use]
    pub fn percentile(&self, of_hundred: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(of_hundred))
    }

    /// The shortest; 0 if none was counted.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_micros(if self.0.is_empty() { 0 } else { self.0.min() })
    }

    /// The longest; 0 if none was counted.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// The mean; 0 if none was counted.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    /// The standard deviation; 0 if none was counted.
    #[must_use]
    pub fn stdev(&self) -> Duration {
        Duration::from_secs_f64(self.0.stdev() / 1e6)
    }

    /// How many took from `from` to below `to`. Values are known to three digits: one that lies on
    /// an edge can be counted on both sides of it.
    #[must_use]
    pub fn between(&self, from: Duration, to: Duration) -> u64 {
        let low = u64::try_from(from.as_micros()).unwrap_or(MOST);
        let high = u64::try_from(to.as_micros()).unwrap_or(MOST);
        if high <= low {
            return 0;
        }
        self.0.count_between(low, high - 1)
    }
}
