//! The time line in no more pieces than have room.

use std::collections::BTreeMap;
use std::time::Duration;

use procession_load::{Class, Sample};

/// A piece of the time line: one sample or some that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slice {
    pub(super) from: Duration,
    pub(super) to: Duration,
    /// Answers a second.
    pub(super) rate: f64,
    pub(super) failures: BTreeMap<Class, u64>,
    /// The worst of the samples, as all that follow.
    pub(super) p50: Duration,
    pub(super) p90: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Slice {
    fn of(samples: &[Sample]) -> Self {
        let worst = |of: fn(&Sample) -> Duration| samples.iter().map(of).max().unwrap_or_default();
        let lasts: Duration = samples.iter().map(|sample| sample.lasts).sum();
        let to = worst(|sample| sample.at);
        let answers: u64 = samples.iter().map(|sample| sample.answers).sum();
        let mut failures = BTreeMap::new();
        for (class, count) in samples.iter().flat_map(|sample| &sample.failures) {
            *failures.entry(*class).or_default() += count;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate in a picture")]
        let rate = answers as f64 / lasts.as_secs_f64().max(1e-6);
        Self {
            from: to.saturating_sub(lasts),
            to,
            rate,
            failures,
            p50: worst(|sample| sample.p50),
            p90: worst(|sample| sample.p90),
            p99: worst(|sample| sample.p99),
            max: worst(|sample| sample.max),
        }
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// The samples, as many together as needed. A last one of hardly any length joins
/// the one before: its rate would be a matter of chance.
pub(super) fn slices(samples: &[Sample], most: usize) -> Vec<Slice> {
    let size = samples.len().div_ceil(most.max(1)).max(1);
    let mut groups: Vec<&[Sample]> = samples.chunks(size).collect();
    if let [.., before, last] = groups.as_slice()
        && lasts(last) * 2 < lasts(before)
    {
        let joined = &samples[samples.len() - before.len() - last.len()..];
        groups.truncate(groups.len() - 2);
        groups.push(joined);
    }
    groups.into_iter().map(Slice::of).collect()
}

fn lasts(samples: &[Sample]) -> Duration {
    samples.iter().map(|sample| sample.lasts).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, lasts_ms: u64, answers: u64) -> Sample {
        Sample {
            at: Duration::from_millis(at_ms),
            lasts: Duration::from_millis(lasts_ms),
            answers,
            bytes: 0,
            failures: [(Class::Reset, 1)].into(),
            p50: Duration::ZERO,
            p90: Duration::ZERO,
            p99: Duration::from_micros(answers),
            max: Duration::ZERO,
        }
    }

    #[test]
    fn samples_are_joined_where_room_is_short_and_none_is_lost() {
        let samples: Vec<_> = (1..=7).map(|n| sample(n * 1000, 1000, n * 10)).collect();
        let slices = slices(&samples, 4);
        assert_eq!(slices.len(), 4);
        assert!((slices[0].rate - 15.0).abs() < 1e-9);
        assert_eq!(slices[0].p99, Duration::from_micros(20));
        assert_eq!(slices[3].from, Duration::from_secs(6));
        assert_eq!(slices.iter().map(Slice::failed).sum::<u64>(), 7);
    }

    #[test]
    fn a_last_moment_is_no_piece_of_its_own() {
        let samples = [sample(1000, 1000, 100), sample(1003, 3, 9)];
        let slices = slices(&samples, 80);
        assert_eq!(slices.len(), 1);
        assert!((slices[0].rate - 109.0 / 1.003).abs() < 1e-9);
        assert_eq!((slices[0].from, slices[0].failed()), (Duration::ZERO, 2));
    }
}
