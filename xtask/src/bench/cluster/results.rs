//! The samples of all rounds, the tables and the bars.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::results::{markdown, shown, spread};
use super::uneven::Uneven;

/// One load of one contender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) errors: f64,
    /// CPU time of the primary for a request.
    pub(super) primary_us: f64,
    /// CPU time of all workers for a request.
    pub(super) workers_us: f64,
}

impl Measured {
    pub(super) fn cpu_us(&self) -> f64 {
        self.primary_us + self.workers_us
    }
}

/// One round of one contender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) kept: Measured,
    pub(super) closed: Measured,
    pub(super) balance: f64,
    pub(super) failures: u64,
    pub(super) rss_kib: f64,
}

/// What was measured, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Results {
    rows: Vec<(String, &'static str, Vec<Sample>)>,
}

impl Results {
    pub(super) fn add(&mut self, node: &str, contender: &'static str, sample: Sample) {
        let row = self
            .rows
            .iter_mut()
            .find(|(a, b, _)| (a.as_str(), *b) == (node, contender));
        match row {
            Some((.., samples)) => samples.push(sample),
            None => self.rows.push((node.to_owned(), contender, vec![sample])),
        }
    }

    fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = Vec::new();
        for (node, ..) in &self.rows {
            if !nodes.contains(&node.as_str()) {
                nodes.push(node);
            }
        }
        nodes
    }

    fn of(&self, node: &str, contender: &str) -> Option<&[Sample]> {
        let row = self
            .rows
            .iter()
            .find(|(a, b, _)| (a.as_str(), *b) == (node, contender));
        row.map(|(.., samples)| samples.as_slice())
    }

    /// Two tables for each Node.
    pub(super) fn tables(&self) -> String {
        let mut text = String::new();
        for node in self.nodes() {
            let closed: fn(&Sample) -> Measured = |it| it.closed;
            for (title, measured) in [
                ("a connection for each request", closed),
                ("connections kept", |it| it.kept),
            ] {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "**{node}, {title}**\n\n{}",
                    self.table(node, measured)
                );
            }
        }
        text
    }

    fn table(&self, node: &str, measured: fn(&Sample) -> Measured) -> String {
        let columns = [
            "contender",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "CPU µs",
            "of the primary",
            "× single",
            "× node-rr",
            "errors",
            "max/min",
            "primary MiB",
        ];
        let rows = self.rows.iter().filter(|(it, ..)| it == node);
        let rows: Vec<Vec<String>> = rows
            .map(|(_, contender, samples)| {
                let over = |number: fn(&Measured) -> f64, scale: f64| {
                    let numbers = samples.iter().map(|it| number(&measured(it)) / scale);
                    shown_of(numbers.collect())
                };
                let ratio = |other: &str| {
                    let ratio = self.cpu_ratio(node, contender, other, measured);
                    ratio.map_or_else(|| "–".into(), |it| format!("{it:.2}"))
                };
                let errors: f64 = samples
                    .iter()
                    .map(|it| measured(it).errors + it.failures as f64)
                    .sum();
                vec![
                    (*contender).to_owned(),
                    over(|it| it.per_second, 1.0),
                    over(|it| it.p50_us, 1e3),
                    over(|it| it.p99_us, 1e3),
                    over(Measured::cpu_us, 1.0),
                    over(|it| it.primary_us, 1.0),
                    ratio("single"),
                    ratio("node-rr"),
                    format!("{errors}"),
                    shown_fine(samples.iter().map(|it| it.balance).collect()),
                    shown_of(samples.iter().map(|it| it.rss_kib / 1024.0).collect()),
                ]
            })
            .collect();
        markdown(&columns.map(str::to_owned), &rows)
    }

    /// The median over the rounds of the ratio in the same round.
    fn cpu_ratio(
        &self,
        node: &str,
        one: &str,
        other: &str,
        measured: fn(&Sample) -> Measured,
    ) -> Option<f64> {
        let (one, other) = (self.of(node, one)?, self.of(node, other)?);
        let ratios = one.iter().zip(other);
        let ratios = ratios.map(|(one, other)| measured(one).cpu_us() / measured(other).cpu_us());
        spread(ratios.collect()).map(|[median, ..]| median)
    }

    fn median(&self, node: &str, contender: &str, number: fn(&Sample) -> f64) -> Option<f64> {
        let samples = self.of(node, contender)?;
        spread(samples.iter().map(number).collect()).map(|[median, ..]| median)
    }

    /// The bars of the issue, with what was seen; `(what, limit, seen)`, all upper limits.
    pub(super) fn bars(&self, uneven: &Uneven) -> String {
        let mut bars: Vec<(String, f64, Option<f64>)> = Vec::new();
        for node in self.nodes() {
            let closed: fn(&Sample) -> Measured = |it| it.closed;
            let ratio = |one, other| self.cpu_ratio(node, one, other, closed);
            let mut bar =
                |what: &str, limit, seen| bars.push((format!("{node}: {what}"), limit, seen));
            bar(
                "CPU of ours-auto / node-rr",
                0.5,
                ratio("ours-auto", "node-rr"),
            );
            bar(
                "CPU of ours-auto / single",
                1.1,
                ratio("ours-auto", "single"),
            );
            for contender in ["ours-least-busy", "ours-round-robin"] {
                let seen = self.median(node, contender, |it| it.closed.primary_us);
                bar(&format!("primary of {contender}, µs"), 25.0, seen);
            }
            for contender in ["ours-auto", "ours-least-busy"] {
                let kept = |it| self.median(node, it, |it| it.kept.per_second);
                let seen = kept("node-rr")
                    .zip(kept(contender))
                    .map(|(rr, ours)| rr / ours);
                bar(
                    &format!("kept connections, node-rr / {contender}"),
                    1.0,
                    seen,
                );
            }
            let seen = self.median(node, "ours-auto", |it| it.balance);
            bar("balance of ours-auto, max/min", 1.2, seen);
            let seen = self.median(node, "ours-auto", |it| it.rss_kib / 1024.0);
            bar("memory of the primary, MiB", 6.0, seen);
        }
        bars.extend(uneven.bars());
        let rows: Vec<Vec<String>> = bars
            .into_iter()
            .filter_map(|(what, limit, seen)| {
                let seen = seen?;
                let verdict = if seen <= limit { "met" } else { "MISSED" };
                Some(vec![
                    what,
                    format!("≤ {limit}"),
                    format!("{seen:.2}"),
                    verdict.into(),
                ])
            })
            .collect();
        let columns = ["bar", "limit", "seen", ""].map(str::to_owned);
        format!(
            "**bars** (medians over the rounds)\n\n{}",
            markdown(&columns, &rows)
        )
    }

    pub(super) fn to_json(&self) -> Value {
        let mut all = Vec::new();
        for (node, contender, samples) in &self.rows {
            for (round, it) in samples.iter().enumerate() {
                all.push(json!({
                    "node": node,
                    "contender": contender,
                    "round": round + 1,
                    "kept": measured_json(&it.kept),
                    "closed": measured_json(&it.closed),
                    "balance": it.balance,
                    "failures": it.failures,
                    "rss_kib": it.rss_kib,
                }));
            }
        }
        all.into()
    }
}

fn measured_json(it: &Measured) -> Value {
    json!({
        "per_second": it.per_second,
        "p50_us": it.p50_us,
        "p99_us": it.p99_us,
        "errors": it.errors,
        "primary_us": it.primary_us,
        "workers_us": it.workers_us,
    })
}

pub(super) fn shown_of(numbers: Vec<f64>) -> String {
    spread(numbers).map_or_else(|| "–".into(), shown)
}

/// With two digits, for what is near 1.
fn shown_fine(numbers: Vec<f64>) -> String {
    let Some([median, least, most]) = spread(numbers) else {
        return "–".into();
    };
    format!("{median:.2} [{least:.2}–{most:.2}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(primary_us: f64, workers_us: f64, rss_kib: f64) -> Sample {
        let measured = Measured {
            per_second: 1e6 / (primary_us + workers_us),
            p50_us: 500.0,
            p99_us: 1500.0,
            errors: 0.0,
            primary_us,
            workers_us,
        };
        Sample {
            kept: measured,
            closed: measured,
            balance: 1.05,
            failures: 0,
            rss_kib,
        }
    }

    #[test]
    fn bars_are_met_or_missed_and_ratios_are_of_the_same_round() {
        let mut results = Results::default();
        // The machine gets slower; the ratios stay.
        for slower in [1.0, 3.0, 9.0] {
            results.add("Node 1", "single", sample(0.0, 100.0 * slower, 0.0));
            results.add(
                "Node 1",
                "node-rr",
                sample(100.0 * slower, 200.0 * slower, 44e3),
            );
            results.add(
                "Node 1",
                "ours-auto",
                sample(2.0 * slower, 118.0 * slower, 4096.0),
            );
        }
        let bars = results.bars(&Uneven::default());
        let line = |what: &str| bars.lines().find(|it| it.contains(what)).unwrap();
        assert!(
            line("ours-auto / node-rr").contains("| 0.40 | met"),
            "{bars}"
        );
        assert!(
            line("ours-auto / single").contains("| 1.20 | MISSED"),
            "{bars}"
        );
        assert!(line("MiB").contains("| 4.00 | met"), "{bars}");
        assert!(!bars.contains("least-busy"), "{bars}");
        let tables = results.tables();
        assert_eq!(tables.matches("**Node 1, ").count(), 2, "{tables}");
        assert!(tables.contains("| ours-auto | "), "{tables}");
    }
}
