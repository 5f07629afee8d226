//! How long things took.

use std::time::Duration;

/// Steps in each doubling: a quantile is at most 1/16 too high.
const STEPS: usize = 16;
/// From below 16 ns, kept exactly, to 2^64 ns.
const BINS: usize = STEPS * 61;

/// Counts of durations of up to five centuries, in bins that are 1/16 of their value wide.
///
/// Of one size whatever is recorded, and made at the first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    bins: Vec<u64>,
    count: u64,
    /// Nanoseconds.
    total: u64,
    max: u64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        if self.bins.is_empty() {
            self.bins.resize(BINS, 0);
        }
        let nanos = nanos(time);
        self.bins[bin(nanos)] += 1;
        self.count += 1;
        self.total = self.total.saturating_add(nanos);
        self.max = self.max.max(nanos);
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// A duration that this share of all, from 0.0 to 1.0, did not exceed; zero
    /// if there are none. `quantile(0.99)` is the 99th percentile.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut below = 0_u64;
        for (index, count) in self.bins.iter().enumerate() {
            below += count;
            #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
            if *count > 0 && below as f64 >= share * self.count as f64 {
                return top(index).min(self.max());
            }
        }
        self.max()
    }
}

/// Up to five centuries.
fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(u64::from(time.subsec_nanos()))
}

fn bin(nanos: u64) -> usize {
    // The first five binary digits decide.
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(5);
    let low = usize::try_from(nanos >> shift).expect("at most five digits are left");
    shift as usize * STEPS + low
}

/// The longest duration of a bin.
fn top(index: usize) -> Duration {
    if index < 2 * STEPS {
        return Duration::from_nanos(index as u64);
    }
    let shift = index / STEPS - 1;
    let first = (index % STEPS + STEPS) as u64;
    Duration::from_nanos((first << shift) + ((1 << shift) - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_sixteenth_too_high(nanos in any::<u64>(), cut in 0_u32..64) {
            let time = Duration::from_nanos(nanos >> cut);
            let top = top(bin(nanos >> cut));
            prop_assert!(top >= time);
            prop_assert!(top - time <= time / 16, "{time:?} counts as {top:?}");
        }
    }

    #[test]
    fn shares_are_of_all_that_were_recorded() {
        let mut times = Histogram::default();
        assert_eq!(times.quantile(0.5), Duration::ZERO);
        for ms in 1..=100 {
            times.record(Duration::from_millis(ms));
        }
        let half = times.quantile(0.5);
        assert!(half >= Duration::from_millis(50) && half < Duration::from_millis(54));
        assert_eq!(times.quantile(1.0), Duration::from_millis(100));
        assert_eq!(
            (times.count(), times.total()),
            (100, Duration::from_millis(5050))
        );
    }
}
