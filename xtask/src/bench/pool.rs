//! `cargo xtask bench pool`: our pools and ports beside Rust's and Node's.
//!
//! Each contender runs in a process of its own that prints one line per round; the
//! contenders take turns, and each begins a round once. Nothing is asserted.

mod bars;
mod programs;
mod results;
mod scenario;

use std::path::PathBuf;

use super::results::save;
use super::{machine, take_turns};
use programs::Programs;
use results::Results;
use scenario::SCENARIOS;

const USAGE: &str = "usage: cargo xtask bench pool [--rounds N] [--quick] [--only SCENARIO] [--by CONTENDER] [--json FILE]";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: usize,
    /// Operations are divided by this.
    divisor: u32,
    /// Only scenarios with this in their name.
    only: String,
    /// Only contenders with this in their name, and ours.
    by: String,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            rounds: 7,
            divisor: 1,
            only: String::new(),
            by: String::new(),
            json: None,
        };
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word {
                "--quick" => (options.rounds, options.divisor) = (1, 4),
                "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE)?,
                "--only" => value()?.clone_into(&mut options.only),
                "--by" => value()?.clone_into(&mut options.by),
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        if options.rounds == 0 {
            return Err(USAGE.into());
        }
        Ok(options)
    }

    fn wants(&self, contender: &str) -> bool {
        contender == "ours" || contender.contains(&self.by)
    }
}

/// Runs the rounds and prints the tables.
pub(super) fn run(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    let programs = Programs::find()?;
    let mut results = Results::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for scenario in SCENARIOS {
            if !scenario.name.contains(&options.only) {
                continue;
            }
            let here = |it: &&&str| programs.has(it) && options.wants(it);
            let mut contenders: Vec<&str> =
                scenario.contenders.iter().filter(here).copied().collect();
            take_turns(&mut contenders, round);
            for contender in contenders {
                let count = (scenario.count(contender) / options.divisor).max(1);
                let sample = programs.round(contender, scenario, count)?;
                results.add(scenario.name, contender, sample);
            }
        }
    }
    let machine = machine::describe();
    println!("{machine}\n");
    for scenario in SCENARIOS {
        if let Some(table) = results.table(scenario) {
            println!("{table}");
        }
    }
    println!("{}", bars::table(&results));
    save(options.json.as_deref(), || results.to_json(&machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn options_are_read() {
        let options = parse("--quick --rounds 3 --only echo --by rayon --json a.json").unwrap();
        assert!(options.wants("ours") && options.wants("rayon") && !options.wants("tokio"));
        let expected = Options {
            rounds: 3,
            divisor: 4,
            only: "echo".into(),
            by: "rayon".into(),
            json: Some("a.json".into()),
        };
        assert_eq!(options, expected);
        assert_eq!(parse("").unwrap().rounds, 7);
    }

    #[test]
    fn a_wrong_line_is_refused() {
        for line in ["threads", "--rounds", "--rounds x", "--rounds 0"] {
            assert_eq!(parse(line), Err(USAGE.into()), "{line}");
        }
    }
}
