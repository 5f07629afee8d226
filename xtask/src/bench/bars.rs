//! The bars, with what was seen. Nothing fails by them: another machine, other numbers.

use super::results::{Results, markdown};

const MIB: f64 = 1024.0 * 1024.0;

/// One bar: a number that must not be above its limit.
#[derive(Debug)]
struct Bar {
    what: String,
    limit: f64,
    seen: Option<f64>,
}

/// The bars that this run says something about.
pub(super) fn table(results: &Results) -> String {
    let rows: Vec<Vec<String>> = bars(results)
        .into_iter()
        .filter_map(|bar| {
            let seen = bar.seen?;
            let verdict = if seen <= bar.limit { "met" } else { "MISSED" };
            let limit = format!("≤ {}", bar.limit);
            Some(vec![bar.what, limit, format!("{seen:.3}"), verdict.into()])
        })
        .collect();
    let columns = ["bar", "limit", "seen", ""].map(str::to_owned);
    format!(
        "**bars** (medians over the rounds)\n\n{}",
        markdown(&columns, &rows)
    )
}

fn bars(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    for scenario in ["plain", "parallel"] {
        for ours in ["ours", "ours-blocking"] {
            for (other, limit) in [("raw", 1.3), ("std", 1.0), ("tokio", 1.0)] {
                bars.push(Bar {
                    what: format!("{scenario}: CPU of {ours} / {other}"),
                    limit,
                    seen: results.cpu_ratio((scenario, ours), (scenario, other)),
                });
            }
        }
    }
    for scenario in [
        "plain",
        "parallel",
        "user",
        "descriptor",
        "session",
        "parent-death",
    ] {
        let with_heap = format!("{scenario}-heap");
        bars.push(Bar {
            what: format!("{scenario}: CPU of ours with 1 GiB / without"),
            limit: 1.5,
            seen: results.cpu_ratio((&with_heap, "ours"), (scenario, "ours")),
        });
    }
    for scenario in [
        "plain",
        "plain-heap",
        "parent-death",
        "user-heap",
        "descriptor-heap",
        "session-heap",
        "parent-death-heap",
    ] {
        let blocked = results.spread(scenario, "ours", |sample| sample.blocked[0] / 1e3);
        bars.push(Bar {
            what: format!("{scenario}: ours blocks its thread, p50 in µs"),
            limit: 150.0,
            seen: blocked.map(|[median, ..]| median),
        });
    }
    bars.push(Bar {
        what: "capture: CPU of ours / tokio".into(),
        limit: 0.8,
        seen: results.cpu_ratio(("capture", "ours"), ("capture", "tokio")),
    });
    bars.push(Bar {
        what: "stream: CPU of ours / raw".into(),
        limit: 1.1,
        seen: results.cpu_ratio(("stream", "ours"), ("stream", "raw")),
    });
    let growth = results.spread("stream", "ours", |sample| sample.growth / MIB);
    bars.push(Bar {
        what: "stream: memory of ours grows, MiB at most".into(),
        limit: 8.0,
        seen: growth.map(|[_, _, most]| most),
    });
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::worker::Sample;

    fn results(ours: f64) -> Results {
        let mut results = Results::default();
        for (contender, cpu) in [("raw", 10.0), ("ours", ours)] {
            let sample = Sample {
                cpu,
                wall: cpu,
                blocked: [cpu * 1e4, 0.0],
                growth: 0.0,
            };
            results.add("plain", contender, sample);
        }
        results
    }

    #[test]
    fn a_bar_is_met_or_missed_and_left_out_when_nothing_was_seen() {
        let met = table(&results(12.0));
        assert!(met.contains("CPU of ours / raw "), "{met}");
        assert!(!met.contains("MISSED") && !met.contains("tokio"), "{met}");
        let missed = table(&results(16.0));
        assert_eq!(missed.matches("MISSED").count(), 2, "{missed}");
    }
}
