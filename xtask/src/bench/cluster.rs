//! `cargo xtask bench cluster`: the tutorials' hello-world server under ours, Node's and PM2's primary.
//!
//! Each contender is started anew for each round, and the rounds are interleaved.
//! CPU time is that of the server's processes, the primary's and the workers'
//! apart; the client's is nobody's. Nothing is asserted.

mod contender;
mod process;
mod results;
mod tools;
mod uneven;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::machine;
use super::results::save;
use crate::interop::{install, platform};
use contender::{CONTENDERS, Contender, Server};
use process::Cpu;
use results::{Results, Sample};
use tools::{Mode, Tools};
pub(super) use tools::{Wrk, on_path};

/// How long a server rests before each load.
const REST: Duration = Duration::from_secs(2);

const USAGE: &str = "usage: cargo xtask bench cluster [--rounds N] [--seconds N] [--quick] \
                     [--only CONTENDER,…] [--nodes MAJOR,…] [--json FILE]";

/// Workers of each cluster.
const WORKERS: usize = 2;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: usize,
    /// How long each load lasts.
    seconds: u32,
    /// Only contenders with one of these in their name, or all.
    only: String,
    /// Besides the Node on `PATH`: these majors, by npm.
    nodes: Vec<u32>,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            rounds: 3,
            seconds: 2,
            only: String::new(),
            nodes: vec![26],
            json: None,
        };
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word {
                "--quick" => {
                    (options.rounds, options.seconds) = (1, 1);
                    options.nodes.clear();
                }
                "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE)?,
                "--seconds" => options.seconds = value()?.parse().map_err(|_| USAGE)?,
                "--only" => value()?.clone_into(&mut options.only),
                "--nodes" => options.nodes = majors(value()?)?,
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        if options.rounds == 0 || options.seconds == 0 {
            return Err(USAGE.into());
        }
        Ok(options)
    }

    fn is_meant(&self, contender: &str) -> bool {
        self.only.split(',').any(|part| contender.contains(part))
    }
}

/// Reads `24,26`, and `none`.
fn majors(text: &str) -> Result<Vec<u32>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let numbers = text.split(',').map(str::parse);
    numbers.collect::<Result<_, _>>().map_err(|_| USAGE.into())
}

/// Runs the rounds and prints the tables.
pub(super) fn run(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    let tools = Tools::find()?;
    let nodes = nodes(&options.nodes)?;
    let contenders: Vec<&Contender> = CONTENDERS
        .iter()
        .filter(|it| options.is_meant(it.name) && tools.has(it))
        .collect();
    let mut results = Results::default();
    for round in 1..=options.rounds {
        for (label, node) in &nodes {
            for contender in &contenders {
                eprintln!(
                    "round {round} of {}: {label}, {}",
                    options.rounds, contender.name
                );
                let sample = sample(&tools, contender, node, options.seconds)
                    .map_err(|why| format!("{label}, {}: {why}", contender.name))?;
                results.add(label, contender.name, sample);
            }
        }
    }
    let uneven = uneven::run(&tools, &contenders, &nodes[0].1, &options)?;
    let machine = machine::describe();
    println!("{machine}\n\n{}", results.tables());
    println!("{}", results.bars(&uneven));
    println!("{}", uneven.table());
    let json =
        || json!({ "machine": machine, "samples": results.to_json(), "uneven": uneven.to_json() });
    save(options.json.as_deref(), json)
}

/// The Node on `PATH`, and these.
fn nodes(majors: &[u32]) -> Result<Vec<(String, PathBuf)>, String> {
    let here = on_path("node").ok_or("Node is missing")?;
    let mut nodes = vec![(tools::version(&here)?, here)];
    for major in majors {
        let package = format!("node-{}", platform()?);
        let node = install(&package, &major.to_string(), "node")?;
        nodes.push((tools::version(&node)?, node));
    }
    Ok(nodes)
}

/// One round of one contender.
fn sample(
    tools: &Tools,
    contender: &Contender,
    node: &Path,
    seconds: u32,
) -> Result<Sample, String> {
    let hello = tools.server("hello.js");
    let server = Server::start(tools, contender, node, &hello, &[])?;
    // Compiled, and by `auto` decided.
    tools.load(server.at, &["-a", "3000", "-c", "32"])?;
    let mut modes = Vec::new();
    for mode in [Mode::KeepAlive, Mode::Close] {
        // A load of its own, not the rest of the last one.
        thread::sleep(REST);
        let (primary, workers) = server.processes();
        let before = (Cpu::of(&primary), Cpu::of(&workers));
        let load = tools.wrk(server.at, mode, seconds)?;
        let requests = load.requests.max(1.0);
        modes.push(results::Measured {
            per_second: load.per_second,
            p50_us: load.p50_us,
            p99_us: load.p99_us,
            errors: load.errors,
            primary_us: Cpu::of(&primary).since_us(before.0) / requests,
            workers_us: Cpu::of(&workers).since_us(before.1) / requests,
        });
    }
    let report = tools.load(server.at, &["-a", "6000", "-c", "32"])?;
    let [kept, closed] = modes.try_into().map_err(|_| "two modes are measured")?;
    let (primary, _) = server.processes();
    let sample = Sample {
        kept,
        closed,
        balance: report.balance(server.workers_wanted()),
        failures: report.failures,
        rss_kib: primary.first().map_or(0.0, |pid| process::rss_kib(*pid)),
    };
    server.stop()?;
    Ok(sample)
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
        let options = parse("--quick --seconds 3 --only ours --nodes 22,26 --json a.json").unwrap();
        assert_eq!(
            options,
            Options {
                rounds: 1,
                seconds: 3,
                only: "ours".into(),
                nodes: vec![22, 26],
                json: Some("a.json".into()),
            }
        );
        assert!(parse("--nodes none").unwrap().nodes.is_empty());
    }

    #[test]
    fn contenders_are_chosen_by_parts_of_their_names() {
        let names = ["single", "node-rr", "ours-auto", "ours-round-robin"];
        let chosen = |line: &str| {
            let options = parse(line).unwrap();
            names.map(|name| options.is_meant(name))
        };
        assert_eq!(chosen("--quick"), [true; 4]);
        assert_eq!(chosen("--only ours"), [false, false, true, true]);
        assert_eq!(chosen("--only single,auto"), [true, false, true, false]);
    }

    #[test]
    fn a_wrong_line_is_refused() {
        for line in ["--rounds", "--rounds 0", "--seconds x", "--nodes new", "7"] {
            assert_eq!(parse(line), Err(USAGE.into()), "{line}");
        }
    }
}
