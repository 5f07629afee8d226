//! `cargo xtask chaos`: the rounds of violence that are too long for every run.

use crate::cargo::{cargo, run as run_cargo, run_counting};
use crate::counts::Counts;
use crate::outcome::Outcome;

const USAGE: &str = "usage: cargo xtask chaos [--rounds N]";
/// Trees ended in each of the two ways; ten times as many lives.
const ROUNDS: u32 = 1_000;
/// Calls of each system call that are made to fail.
const CALLS: &str = "10";

/// Runs the tests `chaos` and `sweep` of procession with the full figures.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    match rounds(arguments).and_then(chaos) {
        Err(failure) => Err(failure).into(),
        Ok((counts, went_well)) => Outcome {
            counts: Some(counts),
            failure: (!went_well).then(|| "not every test passed".into()),
        },
    }
}

fn chaos(rounds: u32) -> Result<(Counts, bool), String> {
    run_cargo(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "procession-testkit",
    ]))?;
    run_cargo(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "procession",
        "--examples",
    ]))?;
    // Not by nextest, whose limit of time is that of the ordinary run.
    let words = "test --no-fail-fast --package procession --test chaos --test sweep -- --nocapture --test-threads 1";
    let words: Vec<&str> = words.split_whitespace().collect();
    run_counting(
        cargo(&words)
            .env("PROCESSION_CHAOS_ROUNDS", rounds.to_string())
            .env("PROCESSION_SWEEP_CALLS", CALLS),
    )
}

fn rounds(arguments: &[String]) -> Result<u32, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(ROUNDS),
        ["--rounds", number] => match number.parse() {
            Ok(0) | Err(_) => Err(USAGE.into()),
            Ok(rounds) => Ok(rounds),
        },
        _ => Err(USAGE.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_are_read() {
        let read = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            rounds(&words)
        };
        assert_eq!(read(""), Ok(ROUNDS));
        assert_eq!(read("--rounds 7"), Ok(7));
        for wrong in ["--rounds", "--rounds x", "--rounds 0", "7"] {
            assert_eq!(read(wrong), Err(USAGE.to_owned()));
        }
    }
}
