//! The samples of all rounds, their medians, and the tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::scenario::{Kind, Scenario};
use super::worker::Sample;

/// Everything that was measured: for each scenario and contender a sample per round.
#[derive(Debug, Default)]
pub(super) struct Results {
    samples: BTreeMap<(&'static str, &'static str), Vec<Sample>>,
}

impl Results {
    pub(super) fn add(&mut self, scenario: &'static str, contender: &'static str, sample: Sample) {
        self.samples
            .entry((scenario, contender))
            .or_default()
            .push(sample);
    }

    /// Median, smallest and largest of a number over the rounds.
    pub(super) fn spread(
        &self,
        scenario: &str,
        contender: &str,
        number: impl Fn(&Sample) -> f64,
    ) -> Option<[f64; 3]> {
        let samples = self.of(scenario, contender)?;
        spread(samples.iter().map(number).collect())
    }

    /// The median over the rounds of the ratio between two contenders in the
    /// same round, or between the same one in two scenarios.
    pub(super) fn cpu_ratio(&self, one: (&str, &str), other: (&str, &str)) -> Option<f64> {
        let (one, other) = (self.of(one.0, one.1)?, self.of(other.0, other.1)?);
        let ratios = one
            .iter()
            .zip(other)
            .map(|(one, other)| one.cpu / other.cpu);
        spread(ratios.collect()).map(|[median, ..]| median)
    }

    fn of(&self, scenario: &str, contender: &str) -> Option<&[Sample]> {
        let found = self
            .samples
            .iter()
            .find(|((s, c), _)| (*s, *c) == (scenario, contender));
        found.map(|(_, samples)| samples.as_slice())
    }

    /// The table of a scenario, if it was run.
    pub(super) fn table(&self, scenario: &Scenario) -> Option<String> {
        let columns = columns(scenario.kind);
        let mut rows = Vec::new();
        for contender in scenario.contenders {
            if let Some(row) = self.row(scenario, contender) {
                rows.push(row);
            }
        }
        if rows.is_empty() {
            return None;
        }
        let title = format!("**{}** (`{}`)", scenario.title, scenario.name);
        Some(format!("{title}\n\n{}", markdown(&columns, &rows)))
    }

    fn row(&self, scenario: &Scenario, contender: &str) -> Option<Vec<String>> {
        let (name, (_, scale)) = (scenario.name, unit(scenario.kind));
        if scenario.kind == Kind::Memory {
            let growth = self.spread(name, contender, |it| it.growth / 1024.0)?;
            return Some(vec![contender.to_owned(), shown(growth)]);
        }
        let cpu = self.spread(name, contender, |it| it.cpu / scale)?;
        let wall = self.spread(name, contender, |it| it.wall / scale)?;
        let ratio = |other| {
            let ratio = self.cpu_ratio((name, contender), (name, other));
            ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"))
        };
        let mut row = vec![
            contender.to_owned(),
            shown(cpu),
            ratio("raw"),
            ratio("ours"),
            shown(wall),
        ];
        row.extend(self.last_cells(scenario, contender, scale)?);
        Some(row)
    }

    /// What only some kinds show.
    fn last_cells(&self, scenario: &Scenario, contender: &str, scale: f64) -> Option<Vec<String>> {
        let spread = |number: fn(&Sample) -> f64| self.spread(scenario.name, contender, number);
        let child = || {
            let of_child = self.spread(scenario.name, contender, |it| it.child_cpu / scale);
            of_child.map(shown)
        };
        Some(match scenario.kind {
            // It blocks for the whole operation by its nature.
            Kind::Spawn if contender == "ours-blocking" => vec![dash(), dash()],
            Kind::Spawn => vec![
                shown(spread(|it| it.blocked[0] / 1e3)?),
                shown(spread(|it| it.blocked[1] / 1e3)?),
            ],
            Kind::SpawnParallel | Kind::Memory => Vec::new(),
            Kind::Transfer => vec![shown(spread(|it| it.growth / (1024.0 * 1024.0))?)],
            Kind::Message | Kind::BigMessage => vec![child()?],
            Kind::Handles => vec![child()?, shown(spread(|it| 1e9 / it.wall)?)],
        })
    }

    pub(super) fn to_json(&self, machine: &str) -> Value {
        let mut samples = Vec::new();
        for ((scenario, contender), rounds) in &self.samples {
            for (round, sample) in rounds.iter().enumerate() {
                samples.push(json!({
                    "scenario": scenario,
                    "contender": contender,
                    "round": round + 1,
                    "cpu_ns": sample.cpu,
                    "child_cpu_ns": sample.child_cpu,
                    "wall_ns": sample.wall,
                    "blocked_p50_ns": sample.blocked[0],
                    "blocked_p99_ns": sample.blocked[1],
                    "growth": sample.growth,
                }));
            }
        }
        json!({ "machine": machine, "samples": samples })
    }
}

/// Writes what was measured to a file, if one was asked for.
pub(super) fn save(file: Option<&Path>, json: impl FnOnce() -> Value) -> Result<(), String> {
    let Some(file) = file else {
        return Ok(());
    };
    let written = fs::write(file, json().to_string());
    written.map_err(|error| format!("{}: {error}", file.display()))
}

/// The unit of times, and how many nanoseconds it has.
fn unit(kind: Kind) -> (&'static str, f64) {
    match kind {
        Kind::Spawn | Kind::SpawnParallel | Kind::Message | Kind::Handles | Kind::Memory => {
            ("µs", 1e3)
        }
        Kind::Transfer | Kind::BigMessage => ("ms", 1e6),
    }
}

fn columns(kind: Kind) -> Vec<String> {
    let (unit, _) = unit(kind);
    let last: &[&str] = match kind {
        Kind::Memory => return vec!["contender".to_owned(), "memory + KiB".to_owned()],
        Kind::Spawn => &["blocked p50 µs", "p99 µs"],
        Kind::SpawnParallel => &[],
        Kind::Transfer => &["memory + MiB"],
        Kind::Message => &["child's CPU µs"],
        Kind::BigMessage => &["child's CPU ms"],
        Kind::Handles => &["child's CPU µs", "a second"],
    };
    let mut columns = vec![
        "contender".to_owned(),
        format!("CPU {unit}"),
        "× raw".to_owned(),
        "× ours".to_owned(),
        format!("wall {unit}"),
    ];
    columns.extend(last.iter().map(|it| (*it).to_owned()));
    columns
}

fn dash() -> String {
    "–".into()
}

pub(super) fn shown([median, least, most]: [f64; 3]) -> String {
    let digits = usize::from(most < 100.0);
    format!("{median:.digits$} [{least:.digits$}–{most:.digits$}]")
}

/// Median (the lower one of two), smallest, largest.
pub(super) fn spread(mut numbers: Vec<f64>) -> Option<[f64; 3]> {
    numbers.sort_by(f64::total_cmp);
    let median = numbers.get(numbers.len().checked_sub(1)? / 2)?;
    Some([*median, *numbers.first()?, *numbers.last()?])
}

pub(super) fn markdown(columns: &[String], rows: &[Vec<String>]) -> String {
    let width = |n: usize| {
        let cells = rows.iter().map(|row| &row[n]).chain([&columns[n]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut table = String::new();
    for row in [columns, &rule]
        .into_iter()
        .chain(rows.iter().map(Vec::as_slice))
    {
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(table, "| {cell:<width$} ");
        }
        table += "|\n";
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;
    use crate::bench::scenario::of;

    fn sample(cpu: f64) -> Sample {
        Sample {
            cpu,
            wall: 2.0 * cpu,
            blocked: [cpu, cpu],
            growth: 0.0,
            child_cpu: cpu / 4.0,
        }
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let mut results = Results::default();
        // The machine gets slower and slower; the ratio stays.
        for (raw, ours) in [(1000.0, 2000.0), (3000.0, 6000.0), (9000.0, 18_000.0)] {
            results.add("plain", "raw", sample(raw));
            results.add("plain", "ours", sample(ours));
        }
        assert_eq!(
            results.cpu_ratio(("plain", "ours"), ("plain", "raw")),
            Some(2.0)
        );
        assert_eq!(results.cpu_ratio(("plain", "ours"), ("plain", "std")), None);
        let scenarios = of(Bench::Spawn);
        let table = results.table(&scenarios[0]).unwrap();
        assert!(
            table.contains("| ours      | 6.0 [2.0–18.0] | 2.00  | 1.00   |"),
            "{table}"
        );
        assert!(!table.contains("std"), "{table}");
        assert_eq!(results.table(&scenarios[1]), None);
    }

    #[test]
    fn a_table_of_messages_says_what_the_child_used() {
        let mut results = Results::default();
        results.add("handles", "raw", sample(4000.0));
        let find = |name| of(Bench::Ipc).iter().find(|it| it.name == name).unwrap();
        let table = results.table(find("handles")).unwrap();
        assert!(
            table.contains("| 1.0 [1.0–1.0]  | 125000 [125000–125000] |"),
            "{table}"
        );
        results.add("memory", "node", sample(1.0));
        let table = results.table(find("memory")).unwrap();
        assert!(table.contains("| node      | 0.0 [0.0–0.0] |"), "{table}");
    }

    #[test]
    fn the_spread_is_median_least_most() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some([2.0, 1.0, 3.0]));
        assert_eq!(spread(vec![4.0, 1.0]), Some([1.0, 1.0, 4.0]));
        assert_eq!(spread(Vec::new()), None);
    }
}
