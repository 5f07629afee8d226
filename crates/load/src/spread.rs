//! How the samples of a time line differ.

use crate::{Report, Sample};

/// Figures, one a sample, and how they are spread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        Self(figures)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest figure that so many of a hundred do not pass; 0 without any.
    #[must_use]
    pub fn percentile(&self, of_hundred: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 samples")]
        let rank = (of_hundred / 100.0 * self.0.len() as f64).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, and no more than there are"
        )]
        let at = (rank.max(1.0) as usize - 1).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }

    /// The smallest; 0 without any.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }

    /// The largest; 0 without any.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// The mean; 0 without any.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean_of(|figure| figure)
    }

    /// The standard deviation; 0 without any.
    #[must_use]
    pub fn stdev(&self) -> f64 {
        let mean = self.mean();
        self.mean_of(|figure| (figure - mean).powi(2)).sqrt()
    }

    fn mean_of(&self, of: impl Fn(f64) -> f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 samples")]
        let count = self.0.len() as f64;
        self.0.iter().map(|figure| of(*figure)).sum::<f64>() / count
    }
}

/// What each sample counts, a second. Where there is none, the whole load is one.
///
/// A last sample of less than half the usual length is left out: over so little
/// time a few answers make any rate.
pub(crate) fn rates(report: &Report, whole: u64, count: fn(&Sample) -> u64) -> Spread {
    let long = |sample: &&Sample| sample.lasts * 2 >= report.sample;
    let rates = report.samples.iter().filter(long);
    let rates = rates.filter_map(|sample| rate(count(sample), sample.lasts.as_secs_f64()));
    let mut rates: Vec<f64> = rates.collect();
    if rates.is_empty() {
        rates.extend(rate(whole, report.duration.as_secs_f64()));
    }
    Spread::new(rates)
}

fn rate(count: u64, seconds: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    let count = count as f64;
    (seconds > 0.0).then(|| count / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_that_occurred() {
        let spread = Spread::new(vec![30.0, 10.0, 20.0, 40.0]);
        let of = [0.001, 25.0, 26.0, 50.0, 97.5, 100.0];
        assert_eq!(
            of.map(|p| spread.percentile(p)),
            [10.0, 10.0, 20.0, 20.0, 40.0, 40.0]
        );
        assert_eq!((spread.min(), spread.max()), (10.0, 40.0));
        assert!((spread.mean() - 25.0).abs() < 1e-9);
        assert!((spread.stdev() - 125_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_zero() {
        let none = Spread::default();
        assert!(none.is_empty());
        let all = [none.percentile(50.0), none.min(), none.max(), none.mean()];
        assert_eq!((all, none.stdev()), ([0.0; 4], 0.0));
    }
}
