//! The samples of all rounds, their medians, and the tables.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::programs::Sample;
use super::scenario::{Kind, Scenario};
use crate::bench::results::{markdown, shown, spread};

/// For each scenario and contender a sample per round.
#[derive(Debug, Default)]
pub(super) struct Results {
    samples: BTreeMap<(String, String), Vec<Sample>>,
}

impl Results {
    pub(super) fn add(&mut self, scenario: &str, contender: &str, sample: Sample) {
        let key = (scenario.to_owned(), contender.to_owned());
        self.samples.entry(key).or_default().push(sample);
    }

    fn of(&self, scenario: &str, contender: &str) -> Option<&[Sample]> {
        let key = (scenario.to_owned(), contender.to_owned());
        self.samples.get(&key).map(Vec::as_slice)
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

    /// The median over the rounds of the ratio of two contenders in the same round.
    pub(super) fn ratio(
        &self,
        scenario: &str,
        [one, other]: [&str; 2],
        number: impl Fn(&Sample) -> f64,
    ) -> Option<f64> {
        let (one, other) = (self.of(scenario, one)?, self.of(scenario, other)?);
        let ratios = one.iter().zip(other);
        let ratios = ratios.map(|(one, other)| number(one) / number(other));
        spread(ratios.collect()).map(|[median, ..]| median)
    }

    /// The table of a scenario, if it was run.
    pub(super) fn table(&self, scenario: &Scenario) -> Option<String> {
        let rows: Vec<Vec<String>> = scenario
            .contenders
            .iter()
            .filter_map(|contender| self.row(scenario, contender))
            .collect();
        if rows.is_empty() {
            return None;
        }
        let mut columns = vec!["contender", "CPU µs", "× ours", "wall µs"];
        columns.extend(match scenario.kind {
            Kind::Plain => &[][..],
            Kind::Overhead => &["above in place, %"],
            Kind::Waits => &["wait p50 µs", "p99 µs"],
            Kind::Storm => &["cancelled, %", "neighbours lost"],
            Kind::Processes => &["worker's CPU µs", "a second"],
        });
        let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
        let title = format!("**{}** (`{}`)", scenario.title, scenario.name);
        Some(format!("{title}\n\n{}", markdown(&columns, &rows)))
    }

    fn row(&self, scenario: &Scenario, contender: &str) -> Option<Vec<String>> {
        let cell = |number: fn(&Sample) -> f64| {
            let spread = self.spread(scenario.name, contender, number);
            spread.map(shown_finely)
        };
        let ratio = self.ratio(scenario.name, [contender, "ours"], |it| it.cpu);
        let mut row = vec![
            contender.to_owned(),
            cell(|it| it.cpu / 1e3)?,
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            cell(|it| it.wall / 1e3)?,
        ];
        row.extend(match scenario.kind {
            Kind::Plain => Vec::new(),
            Kind::Overhead => vec![cell(|it| (it.ratio - 1.0) * 100.0)?],
            Kind::Waits => vec![cell(|it| it.waits[0] / 1e3)?, cell(|it| it.waits[1] / 1e3)?],
            Kind::Storm => vec![cell(|it| it.canceled)?, cell(|it| it.lost)?],
            Kind::Processes if contender.starts_with("ours") || contender.ends_with("process") => {
                vec![cell(|it| it.child_cpu / 1e3)?, cell(|it| 1e9 / it.wall)?]
            }
            // A thread's is in the process's.
            Kind::Processes => vec!["–".to_owned(), cell(|it| 1e9 / it.wall)?],
        });
        Some(row)
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
                    "wait_p50_ns": sample.waits[0],
                    "wait_p99_ns": sample.waits[1],
                    "ratio": sample.ratio,
                    "canceled_of_100": sample.canceled,
                    "lost": sample.lost,
                }));
            }
        }
        json!({ "machine": machine, "samples": samples })
    }
}

/// As elsewhere, with two more digits below 10.
fn shown_finely(spread: [f64; 3]) -> String {
    let [median, least, most] = spread;
    if most.abs() < 10.0 {
        format!("{median:.3} [{least:.3}–{most:.3}]")
    } else {
        shown(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::pool::scenario::SCENARIOS;

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let mut results = Results::default();
        // The machine gets slower and slower; the ratio stays.
        for (ours, rayon) in [(1000.0, 2000.0), (3000.0, 6000.0), (90_000.0, 180_000.0)] {
            let sample = |cpu| Sample {
                cpu,
                wall: cpu,
                ..Sample::default()
            };
            results.add("empty-1", "ours", sample(ours));
            results.add("empty-1", "rayon", sample(rayon));
        }
        let ratio = |one| results.ratio("empty-1", [one, "ours"], |it| it.cpu);
        assert_eq!((ratio("rayon"), ratio("tokio")), (Some(2.0), None));
        let table = results.table(&SCENARIOS[0]).unwrap();
        assert!(table.contains("| rayon     | 6 [2–180]"), "{table}");
        assert!(table.contains("| 2.00   |"), "{table}");
        assert_eq!(results.table(&SCENARIOS[1]), None);
    }
}
