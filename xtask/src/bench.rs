//! `cargo xtask bench spawn`, `ipc`, `cluster`, `load` and `pool`: ours beside the others, in the same run, in turn.
//!
//! Each contender runs in a process of its own that prints one line per round;
//! the rounds go A B C A B C, so that whatever else the machine does meets all
//! of them. Nothing is asserted: it prints tables, and the bars with what was seen.

mod bars;
mod cluster;
mod load;
mod machine;
mod pool;
mod results;
mod scenario;
mod worker;

use std::path::PathBuf;

use crate::outcome::Outcome;
use results::{Results, save};
use scenario::Scenario;
use worker::Workers;

const USAGE: &str = "usage: cargo xtask bench spawn|ipc|cluster|load|pool [--rounds N] [--quick] [--only SCENARIO] [--json FILE]";

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bench {
    /// Starts of processes, captures and streams.
    Spawn,
    /// Channels.
    Ipc,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    bench: Bench,
    rounds: usize,
    /// Operations are divided by this.
    divisor: u32,
    /// Only scenarios with this in their name.
    only: String,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut words = arguments.iter().map(String::as_str);
        let bench = match words.next() {
            Some("spawn") => Bench::Spawn,
            Some("ipc") => Bench::Ipc,
            _ => return Err(USAGE.into()),
        };
        let mut options = Self {
            bench,
            rounds: 7,
            divisor: 1,
            only: String::new(),
            json: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word {
                "--quick" => (options.rounds, options.divisor) = (2, 4),
                "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE)?,
                "--only" => value()?.clone_into(&mut options.only),
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        if options.rounds == 0 {
            return Err(USAGE.into());
        }
        Ok(options)
    }
}

/// Runs the rounds and prints the tables.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let done = match arguments.split_first() {
        Some((first, rest)) if first == "cluster" => cluster::run(rest),
        Some((first, rest)) if first == "load" => load::run(rest),
        Some((first, rest)) if first == "pool" => pool::run(rest),
        _ => bench(arguments),
    };
    done.into()
}

fn bench(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    let workers = Workers::build(options.bench)?;
    let scenarios = scenario::of(options.bench);
    let (here, missing): (Vec<_>, Vec<_>) = contenders(scenarios)
        .into_iter()
        .partition(|it| Workers::has(it));
    if !missing.is_empty() {
        eprintln!("note: not here, left out: {}", missing.join(", "));
    }
    let mut results = Results::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for scenario in scenarios
            .iter()
            .filter(|it| it.name.contains(&options.only))
        {
            let count = (scenario.count / options.divisor).max(1);
            let mut contenders = scenario.contenders.to_vec();
            contenders.retain(|it| here.contains(it));
            take_turns(&mut contenders, round);
            for contender in contenders {
                let sample = workers.round(contender, scenario, count)?;
                results.add(scenario.name, contender, sample);
            }
        }
    }
    let machine = machine::describe();
    println!("{machine}\n");
    for scenario in scenarios {
        if let Some(table) = results.table(scenario) {
            println!("{table}");
        }
    }
    println!("{}", bars::table(options.bench, &results));
    save(options.json.as_deref(), || results.to_json(&machine))
}

/// The order of a round: nobody is always the first after the pause, nor behind the same
/// one, whose memory the kernel still has at hand.
fn take_turns<T>(contenders: &mut [T], round: usize) {
    let turn = round % contenders.len().max(1);
    contenders.rotate_left(turn);
    if let [_, others @ ..] = contenders
        && round.is_multiple_of(2)
    {
        others.reverse();
    }
}

/// Everybody who takes part, once.
fn contenders(scenarios: &[Scenario]) -> Vec<&'static str> {
    let mut all = Vec::new();
    for contender in scenarios.iter().flat_map(|it| it.contenders) {
        if !all.contains(contender) {
            all.push(*contender);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn each_begins_a_round_and_stands_behind_others() {
        let orders = (1..=4).map(|round| {
            let mut contenders = ['a', 'b', 'c', 'd'];
            take_turns(&mut contenders, round);
            String::from_iter(contenders)
        });
        assert_eq!(Vec::from_iter(orders), ["bcda", "cbad", "dabc", "adcb"]);
        take_turns::<char>(&mut [], 2);
    }

    #[test]
    fn options_are_read() {
        let options = parse("spawn --quick --rounds 3 --only heap --json a.json").unwrap();
        assert_eq!(
            options,
            Options {
                bench: Bench::Spawn,
                rounds: 3,
                divisor: 4,
                only: "heap".into(),
                json: Some("a.json".into()),
            }
        );
        assert_eq!(parse("spawn").unwrap().rounds, 7);
        assert_eq!(parse("ipc").unwrap().bench, Bench::Ipc);
    }

    #[test]
    fn a_wrong_line_is_refused() {
        for line in [
            "",
            "exec",
            "spawn --rounds",
            "spawn --rounds x",
            "spawn --rounds 0",
            "spawn 3",
        ] {
            assert_eq!(parse(line), Err(USAGE.into()), "{line}");
        }
    }
}
