//! `cargo xtask ci`: everything, in one order, with the time of each.

use std::time::{Duration, Instant};

use crate::cargo::{cargo, run as run_cargo};
use crate::counts::Counts;
use crate::outcome::Outcome;
use crate::{deps, docs, features, portable, test};

type Step = (&'static str, fn(&[String]) -> Outcome);

/// Cheap ones first.
const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("clippy", clippy),
    ("peers", peers),
    ("deps", deps::run),
    ("features", features::run),
    ("docs", docs::run),
    ("test", test::run),
    ("portable", portable::run),
];

/// Runs all steps, also after one that failed: one run shows everything that is wrong.
pub(crate) fn run(_: &[String]) -> Outcome {
    run_steps(STEPS)
}

fn run_steps(steps: &[Step]) -> Outcome {
    let mut total = Counts::default();
    let mut failed = Vec::new();
    let mut table = String::new();
    for (name, step) in steps {
        println!("\n=== {name} ===");
        let start = Instant::now();
        let outcome = step(&[]);
        let line = line(name, &outcome, start.elapsed());
        println!("=== {line} ===");
        table += &format!("{line}\n");
        if let Some(counts) = outcome.counts {
            total += counts;
        }
        if outcome.failure.is_some() {
            failed.push(*name);
        }
    }
    println!("\n{}", table.trim_end());
    let failure = (!failed.is_empty()).then(|| format!("failed: {}", failed.join(", ")));
    Outcome {
        counts: Some(total),
        failure,
    }
}

fn line(name: &str, outcome: &Outcome, time: Duration) -> String {
    let mut line = format!("{name}: ");
    line += &outcome
        .failure
        .as_ref()
        .map_or("ok".to_owned(), |why| format!("FAILED, {why}"));
    if let Some(counts) = outcome.counts {
        line += &format!(", {counts}");
    }
    line + &format!(", {:.1} s", time.as_secs_f64())
}

fn fmt(_: &[String]) -> Outcome {
    run_cargo(&mut cargo(&["fmt", "--all", "--check"])).into()
}

fn clippy(_: &[String]) -> Outcome {
    let words = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    run_cargo(&mut cargo(&words)).into()
}

/// The contenders of the benchmark are a workspace of their own.
fn peers(_: &[String]) -> Outcome {
    let words = "clippy --quiet --manifest-path crates/sys/benches/peers/Cargo.toml \
                 --target-dir target/peers -- -D warnings";
    let words: Vec<&str> = words.split_whitespace().collect();
    run_cargo(&mut cargo(&words)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_does_not_hide_the_others_and_fails_the_whole() {
        let bad = |_: &[String]| Err("no".to_owned()).into();
        let good = |_: &[String]| Outcome {
            counts: Some(Counts {
                passed: 2,
                failed: 0,
            }),
            failure: None,
        };
        let outcome = run_steps(&[("one", bad), ("two", good), ("three", good)]);
        assert_eq!(
            outcome.counts,
            Some(Counts {
                passed: 4,
                failed: 0
            })
        );
        assert_eq!(outcome.failure, Some("failed: one".into()));
    }

    #[test]
    fn a_line_tells_the_step_its_end_and_its_time() {
        let outcome = Outcome {
            counts: Some(Counts {
                passed: 2,
                failed: 1,
            }),
            failure: Some("no".into()),
        };
        let line = line("test", &outcome, Duration::from_millis(1250));
        assert_eq!(line, "test: FAILED, no, 2 passed, 1 failed, 1.2 s");
    }
}
