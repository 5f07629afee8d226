//! Latencies in a handful of bins with round edges.

use std::time::Duration;

use procession_load::Histogram;

/// How many latencies are from one edge to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) from: Duration,
    /// Not within it.
    pub(super) to: Duration,
    pub(super) count: u64,
}

/// Steps of a decade, in thousandths: from coarse to fine.
const SERIES: [&[u64]; 4] = [
    &[1000, 2000, 5000],
    &[1000, 1500, 2000, 3000, 5000, 7000],
    &[
        1000, 1200, 1500, 1800, 2200, 2700, 3300, 3900, 4700, 5600, 6800, 8200,
    ],
    &[
        1000, 1100, 1200, 1300, 1500, 1600, 1800, 2000, 2200, 2400, 2700, 3000, 3300, 3600, 3900,
        4300, 4700, 5100, 5600, 6200, 6800, 7500, 8200, 9100,
    ],
];

/// With fewer bins a finer series is tried.
const FEW: usize = 8;

/// Bins from the shortest to the longest latency, those in between that are empty included:
/// wide for long ones, each about so much wider than the one before. No more than `most`, which
/// is at least 20; none without latencies.
pub(super) fn bins(latencies: &Histogram, most: usize) -> Vec<Bin> {
    if latencies.is_empty() {
        return Vec::new();
    }
    let (low, high) = (micros(latencies.min()), micros(latencies.max()));
    let fitting = |edges: &Vec<u64>| (FEW..=most).contains(&(edges.len() - 1));
    let mut found = SERIES.iter().map(|steps| by_decades(steps, low, high));
    let edges = found.find(fitting);
    let edges = edges.unwrap_or_else(|| {
        let coarse = by_decades(SERIES[0], low, high);
        if coarse.len() - 1 > FEW {
            by_decades(&[1000, 3000], low, high)
        } else {
            even(low, high)
        }
    });
    // A latency that is known to three digits only may lie on either side of an edge. By
    // counting from the beginning each is in one bin.
    let mut counted = 0;
    let bin = |edge: &[u64]| {
        let to = Duration::from_micros(edge[1]);
        let below = latencies.between(Duration::ZERO, to);
        let count = below - counted;
        counted = below;
        let from = Duration::from_micros(edge[0]);
        Bin { from, to, count }
    };
    edges.windows(2).map(bin).collect()
}

/// Edges of which the first is not above `low` and the last is above `high`.
fn by_decades(steps: &[u64], low: u64, high: u64) -> Vec<u64> {
    let mut edges = vec![0];
    let decades = (0..11).map(|power| 10_u64.pow(power));
    for edge in decades.flat_map(|decade| steps.iter().map(move |step| step * decade / 1000)) {
        if edge <= low {
            edges[0] = edge;
        } else if edges.last() != Some(&edge) {
            edges.push(edge);
            if edge > high {
                break;
            }
        }
    }
    edges
}

/// The same, each as wide as the others.
fn even(low: u64, high: u64) -> Vec<u64> {
    let width = high - low + 1;
    let powers = (0..10).map(|power| 10_u64.pow(power));
    let mut steps = powers.flat_map(|power| [power, power * 2, power * 5]);
    let step = steps.find(|step| width / step <= FEW as u64);
    let step = step.unwrap_or(width);
    let first = low / step * step;
    let mut edges = vec![first];
    let mut edge = first;
    while edge <= high {
        edge += step;
        edges.push(edge);
    }
    edges
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies: impl IntoIterator<Item = u64>) -> Vec<Bin> {
        let mut histogram = Histogram::new();
        for micros in latencies {
            histogram.record(Duration::from_micros(micros));
        }
        let bins = bins(&histogram, 22);
        let counted: u64 = bins.iter().map(|bin| bin.count).sum();
        assert_eq!(counted, histogram.len(), "{bins:?}");
        assert!(bins.len() <= 22, "{bins:?}");
        assert!(bins.windows(2).all(|two| two[0].to == two[1].from));
        bins
    }

    #[test]
    fn edges_are_round_and_nothing_is_left_out() {
        assert_eq!(of([]), []);
        assert_eq!(of([1]).len(), 1);
        assert_eq!(of([0]).len(), 1);
        assert_eq!(of([700]).len(), 1);
        let narrow: Vec<u64> = of(100..=104).iter().map(|bin| micros(bin.from)).collect();
        assert_eq!(narrow, [100, 101, 102, 103, 104]);
        let wide: Vec<u64> = of([80, 90_000])
            .iter()
            .map(|bin| micros(bin.from))
            .collect();
        assert_eq!(
            wide,
            [50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000]
        );
    }

    #[test]
    fn whatever_the_range_the_bins_fit() {
        for low in [1_u64, 3, 47, 99, 1000, 65_432, 3_000_000] {
            for factor in [1, 2, 3, 7, 20, 55, 999, 12_345, 1_000_000] {
                let high = (low * factor).min(3_600_000_000);
                let bins = of([low, low.midpoint(high), high]);
                assert!(bins.len() >= FEW.min(usize::try_from(high - low + 1).unwrap()) / 2);
            }
        }
    }
}
