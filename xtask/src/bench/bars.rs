//! The bars, with what was seen. Nothing fails by them: another machine, other numbers.

mod ipc;
mod spawn;

use super::Bench;
use super::results::{Results, markdown};

/// One bar: a number that must not be above its limit.
#[derive(Debug)]
struct Bar {
    what: String,
    limit: f64,
    seen: Option<f64>,
}

/// The bars that this run says something about.
pub(super) fn table(bench: Bench, results: &Results) -> String {
    let bars = match bench {
        Bench::Spawn => spawn::bars(results),
        Bench::Ipc => ipc::bars(results),
    };
    let rows: Vec<Vec<String>> = bars
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::worker::Sample;

    fn results(ours: f64) -> Results {
        let mut results = Results::default();
        for (contender, cpu) in [("raw", 10.0), ("ours", ours)] {
            let sample = Sample {
                cpu,
                child_cpu: 0.0,
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
        let met = table(Bench::Spawn, &results(12.0));
        assert!(met.contains("CPU of ours / raw "), "{met}");
        assert!(!met.contains("MISSED") && !met.contains("tokio"), "{met}");
        let missed = table(Bench::Spawn, &results(16.0));
        assert_eq!(missed.matches("MISSED").count(), 2, "{missed}");
    }
}
