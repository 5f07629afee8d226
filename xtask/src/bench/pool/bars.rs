//! The bars, with what was seen.

use super::programs::Sample;
use super::results::Results;
use crate::bench::results::markdown;

/// A number and its limit.
#[derive(Debug)]
struct Bar {
    what: String,
    limit: Limit,
    seen: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn is_met(self, seen: f64) -> bool {
        match self {
            Self::AtMost(limit) => seen <= limit,
            Self::AtLeast(limit) => seen >= limit,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

/// The bars that this run says something about.
pub(super) fn table(results: &Results) -> String {
    let rows: Vec<Vec<String>> = bars(results)
        .into_iter()
        .filter_map(|bar| {
            let seen = bar.seen?;
            let verdict = if bar.limit.is_met(seen) {
                "met"
            } else {
                "MISSED"
            };
            Some(vec![
                bar.what,
                bar.limit.shown(),
                format!("{seen:.3}"),
                verdict.into(),
            ])
        })
        .collect();
    let columns = ["bar", "limit", "seen", ""].map(str::to_owned);
    let rows = markdown(&columns, &rows);
    format!("**bars** (medians over the rounds of the ratio in the same round)\n\n{rows}")
}

fn bars(results: &Results) -> Vec<Bar> {
    let cpu: fn(&Sample) -> f64 = |it| it.cpu;
    let wall: fn(&Sample) -> f64 = |it| it.wall;
    let p99: fn(&Sample) -> f64 = |it| it.waits[1];
    let mut bars = Vec::new();
    for scenario in ["empty-1", "empty-2", "empty-alone"] {
        bars.push(Bar {
            what: format!("{scenario}: CPU of ours / channel"),
            limit: Limit::AtMost(1.3),
            seen: results.ratio(scenario, ["ours", "channel"], cpu),
        });
    }
    for scenario in ["overhead-40", "overhead-40-at-once"] {
        let above = results.spread(scenario, "ours", |it| (it.ratio - 1.0) * 100.0);
        bars.push(Bar {
            what: format!("{scenario}: CPU of ours above in place, %"),
            limit: Limit::AtMost(3.0),
            seen: above.map(|[median, ..]| median),
        });
    }
    for scenario in ["waits-1", "waits-2"] {
        bars.push(Bar {
            what: format!("{scenario}: p99 of ours / rayon"),
            limit: Limit::AtMost(1.0),
            seen: results.ratio(scenario, ["ours", "rayon"], p99),
        });
    }
    for scenario in ["port-alone", "port-pair"] {
        bars.push(Bar {
            what: format!("{scenario}: CPU of ours / crossbeam"),
            limit: Limit::AtMost(1.3),
            seen: results.ratio(scenario, ["ours", "crossbeam"], cpu),
        });
    }
    for scenario in ["echo-1", "echo-64"] {
        for (other, limit) in [("workerpool-process", 5.0), ("piscina", 2.0)] {
            for (name, number) in [("CPU", cpu), ("wall time", wall)] {
                bars.push(Bar {
                    what: format!("{scenario}: {name} of {other} / ours"),
                    limit: Limit::AtLeast(limit),
                    seen: results.ratio(scenario, [other, "ours"], number),
                });
            }
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_or_missed_and_left_out_when_nothing_was_seen() {
        let mut results = Results::default();
        for (contender, cpu) in [("ours", 2.0), ("channel", 2.0), ("piscina", 5.0)] {
            let sample = Sample {
                cpu,
                wall: 3.0,
                ..Sample::default()
            };
            results.add("empty-1", contender, sample);
            results.add("echo-1", contender, sample);
        }
        let table = table(&results);
        assert_eq!(table.matches("met").count(), 2, "{table}");
        // As quick as ours by the clock is not twice as quick.
        assert_eq!(table.matches("MISSED").count(), 1, "{table}");
        assert!(!table.contains("waits"), "{table}");
    }
}
