//! How long things took, in little memory.

use std::time::Duration;

/// Parts of each doubling: a bucket is at most 1/32 wide.
const PARTS: u64 = 32;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// Of 32 doublings: up to 2^36 µs, 19 hours; what is longer counts as that.
const BUCKETS: usize = 1024;

/// Durations in buckets: 3 % exact, 8 KiB whatever their number.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into(),
            count: 0,
        }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        self.buckets[bucket(took)] += 1;
        self.count += 1;
    }

    /// Counts all of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += others;
        }
        self.count += other.count;
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What this share of them, between 0 and 1, did not exceed; zero when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut left = share * self.count as f64;
        for (number, count) in self.buckets.iter().enumerate() {
            left -= *count as f64;
            if left <= 0.0 && *count > 0 {
                return upper(number);
            }
        }
        Duration::ZERO
    }
}

/// Below 32 µs a bucket for each; then 32 for each doubling.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let doublings = micros.max(1).ilog2().saturating_sub(PARTS_BITS);
    let number = u64::from(doublings) * PARTS + (micros >> doublings);
    usize::try_from(number).map_or(BUCKETS - 1, |number| number.min(BUCKETS - 1))
}

/// The longest that counts into a bucket.
fn upper(number: usize) -> Duration {
    let number = number as u64;
    if number < 2 * PARTS {
        return Duration::from_micros(number);
    }
    let doublings = number / PARTS - 1;
    let first = (number - doublings * PARTS) << doublings;
    Duration::from_micros(first + (1 << doublings) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_it_says() {
        for micros in (0..5000).chain([123_456, 9_999_999, 1 << 35]) {
            let took = Duration::from_micros(micros);
            let upper = upper(bucket(took));
            assert!(
                took <= upper && upper <= took.mul_f64(1.04),
                "{micros}: {upper:?}"
            );
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles() {
        let (mut all, mut some) = (Histogram::default(), Histogram::default());
        assert_eq!(all.quantile(0.5), Duration::ZERO);
        for micros in 1..=30 {
            some.add(Duration::from_micros(micros));
        }
        all.merge(&some);
        all.merge(&some);
        assert_eq!(all.count(), 60);
        for (share, micros) in [(0.0, 1), (0.5, 15), (0.9, 27), (1.0, 30)] {
            assert_eq!(
                all.quantile(share),
                Duration::from_micros(micros),
                "{share}"
            );
        }
    }
}
