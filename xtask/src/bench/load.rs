//! `cargo xtask bench load`: our load generator beside wrk and autocannon, on the same fast server.
//!
//! What is measured is the client: how many requests a second it makes, and what CPU time
//! each of them costs it. The contenders take turns. Nothing is asserted.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::results::{markdown, save, shown, spread};
use super::{machine, take_turns};
use crate::cargo::{cargo, root, run as run_cargo};
use crate::interop::install;

const USAGE: &str = "usage: cargo xtask bench load [--rounds N] [--seconds N] [--quick] \
                     [--only SCENARIO] [--json FILE]";

/// What autocannon is asked for by.
const AUTOCANNON: (&str, &str) = ("autocannon", "8");

/// How a scenario loads.
#[derive(Debug)]
struct Scenario {
    name: &'static str,
    connections: u32,
    pipelining: u32,
    /// Whether it is a matter of speed, so that everybody takes part.
    is_race: bool,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "50 connections",
        connections: 50,
        pipelining: 1,
        is_race: true,
    },
    Scenario {
        name: "500 connections",
        connections: 500,
        pipelining: 1,
        is_race: true,
    },
    Scenario {
        name: "50 connections, 10 in flight",
        connections: 50,
        pipelining: 10,
        is_race: true,
    },
    Scenario {
        name: "10,000 connections",
        connections: 10_000,
        pipelining: 1,
        is_race: false,
    },
];

/// Who loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Wrk,
    Ours,
    Autocannon,
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::Ours => "ours",
            Self::Autocannon => "autocannon",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: usize,
    seconds: u32,
    only: String,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            rounds: 7,
            seconds: 3,
            only: String::new(),
            json: None,
        };
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word {
                "--quick" => (options.rounds, options.seconds) = (1, 1),
                "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE)?,
                "--seconds" => options.seconds = value()?.parse().map_err(|_| USAGE)?,
                "--only" => value()?.clone_into(&mut options.only),
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        if options.rounds == 0 || options.seconds == 0 {
            return Err(USAGE.into());
        }
        Ok(options)
    }
}

/// One load.
#[derive(Clone, Copy, Debug)]
struct Sample {
    per_second: f64,
    cpu_us: f64,
    memory_mib: f64,
    errors: f64,
}

/// Where everything is.
#[derive(Debug)]
struct Tools {
    target: PathBuf,
    autocannon: Option<PathBuf>,
}

impl Tools {
    fn find() -> Result<Self, String> {
        super::cluster::on_path("wrk").ok_or("wrk is missing: `apt-get install wrk`")?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let release = ["build", "--release", "--quiet", "-p"];
        run_cargo(cargo(&release).args(["procession-cli", "--bins"]))?;
        run_cargo(cargo(&release).args(["procession-load", "--example", "fast_server"]))?;
        let (package, version) = AUTOCANNON;
        let autocannon = install(package, version, package);
        if let Err(why) = &autocannon {
            eprintln!("note: autocannon is left out: {why}");
        }
        Ok(Self {
            target: root().join(target).join("release"),
            autocannon: autocannon.ok(),
        })
    }

    fn contenders(&self, scenario: &Scenario) -> Vec<Contender> {
        let others = scenario.is_race.then_some(Contender::Autocannon);
        let others = others.filter(|_| self.autocannon.is_some());
        [Contender::Wrk, Contender::Ours]
            .into_iter()
            .chain(others)
            .collect()
    }

    /// The command line of a load.
    fn words(&self, who: Contender, how: &Scenario, seconds: u32, url: &str) -> Vec<String> {
        let number = |it: u32| it.to_string();
        let (connections, seconds) = (number(how.connections), number(seconds));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut words: Vec<String> = match who {
            Contender::Wrk => vec![
                "wrk".into(),
                "--latency".into(),
                "-t1".into(),
                format!("-d{seconds}s"),
            ],
            Contender::Ours => {
                let ours = text(&self.target.join("procession"));
                vec![ours, "bench".into(), "-j".into(), "-n".into()]
            }
            Contender::Autocannon => {
                let program = self.autocannon.as_deref().map_or(String::new(), text);
                vec![program, "-j".into(), "-n".into()]
            }
        };
        words.extend(["-c".into(), connections]);
        if who != Contender::Wrk {
            words.extend(["-d".into(), seconds, "-p".into(), number(how.pipelining)]);
        } else if how.pipelining > 1 {
            let script = root().join("crates/load/examples/pipeline.lua");
            words.extend(["-s".into(), text(&script)]);
        }
        words.push(url.into());
        words
    }
}

/// Runs the rounds and prints the tables.
pub(super) fn run(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    let tools = Tools::find()?;
    let server = Server::start(&tools.target.join("examples/fast_server"))?;
    let wanted: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|it| it.name.contains(&options.only))
        .collect();
    let mut rows: Vec<(&Scenario, Contender, Vec<Sample>)> = Vec::new();
    for round in 1..=options.rounds {
        for scenario in &wanted {
            let mut contenders = tools.contenders(scenario);
            take_turns(&mut contenders, round);
            for who in contenders {
                eprintln!(
                    "round {round} of {}: {}, {}",
                    options.rounds,
                    scenario.name,
                    who.name()
                );
                let words = tools.words(who, scenario, options.seconds, &server.url);
                let sample = sample(who, &words)?;
                match rows
                    .iter_mut()
                    .find(|(it, by, _)| it.name == scenario.name && *by == who)
                {
                    Some((.., samples)) => samples.push(sample),
                    None => rows.push((scenario, who, vec![sample])),
                }
            }
        }
    }
    rows.sort_by_key(|(scenario, who, _)| (scenario.connections, scenario.pipelining, *who as u8));
    println!("{}\n\n{}", machine::describe(), table(&rows));
    save(options.json.as_deref(), || to_json(&rows))
}

/// A server that costs as little as it can; ended when dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(program: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        let mut child = unlimited(&[program.to_string_lossy().into_owned()])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(failed)?;
        }
        let port = line.trim().strip_prefix("listening ").unwrap_or("0");
        let url = format!("http://127.0.0.1:{port}/");
        Ok(Self { child, url })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command with as many descriptors as it may have: neither wrk nor the server asks for them.
fn unlimited(words: &[String]) -> Command {
    let mut command = Command::new("sh");
    let script = r#"ulimit -n "$(ulimit -Hn)" && exec "$0" "$@""#;
    command.args(["-c", script]).args(words);
    command
}

fn sample(who: Contender, words: &[String]) -> Result<Sample, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", words[0]);
    let before = children_cpu_us();
    let mut command = unlimited(words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.stdin(Stdio::null()).spawn().map_err(failed)?;
    // It ends within a pipe's worth of output: it need not be read before.
    let mut memory_kib = 0.0_f64;
    while child.try_wait().map_err(failed)?.is_none() {
        memory_kib = memory_kib.max(most_kib(child.id()));
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    let (requests, per_second, errors) =
        read(who, &text).ok_or_else(|| format!("{}: {} {text}{told}", words[0], output.status))?;
    Ok(Sample {
        per_second,
        cpu_us: (children_cpu_us() - before) / requests.max(1.0),
        memory_mib: memory_kib / 1024.0,
        errors,
    })
}

/// Answers, their rate, and failures, as the client tells them.
fn read(who: Contender, text: &str) -> Option<(f64, f64, f64)> {
    if who == Contender::Wrk {
        let wrk = super::cluster::Wrk::parse(text)?;
        return Some((wrk.requests, wrk.per_second, wrk.errors));
    }
    let json: Value = serde_json::from_str(text).ok()?;
    let number = |value: &Value| value.as_f64();
    let requests = number(&json["requests"]["total"])?;
    let seconds = number(&json["duration"])?.max(0.001);
    let errors = number(&json["errors"])? + number(&json["non2xx"])?;
    Some((requests, requests / seconds, errors))
}

/// CPU time of all children that were waited for. A tick of the clock is 10 ms.
fn children_cpu_us() -> f64 {
    const TICK_US: f64 = 10_000.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let words = stat
        .rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split(' ');
    let ticks = words
        .skip(13)
        .take(2)
        .filter_map(|it| it.parse::<f64>().ok());
    ticks.sum::<f64>() * TICK_US
}

/// The most memory that a process had so far.
fn most_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

fn table(rows: &[(&Scenario, Contender, Vec<Sample>)]) -> String {
    let columns = [
        "load",
        "by",
        "requests/s",
        "CPU µs",
        "× wrk",
        "memory MiB",
        "errors",
    ];
    let cells = rows.iter().map(|(scenario, who, samples)| {
        let over = |number: fn(&Sample) -> f64| {
            let numbers = samples.iter().map(number).collect();
            spread(numbers).map_or_else(String::new, shown)
        };
        let wrk = rows
            .iter()
            .find(|(it, who, _)| it.name == scenario.name && *who == Contender::Wrk);
        let ratio = wrk.and_then(|(.., wrk)| {
            let ratios = samples
                .iter()
                .zip(wrk)
                .map(|(one, wrk)| one.cpu_us / wrk.cpu_us);
            spread(ratios.collect())
        });
        let errors: f64 = samples.iter().map(|it| it.errors).sum();
        vec![
            scenario.name.to_owned(),
            who.name().to_owned(),
            over(|it| it.per_second),
            over(|it| it.cpu_us),
            ratio.map_or_else(String::new, |[median, ..]| format!("{median:.2}")),
            over(|it| it.memory_mib),
            errors.to_string(),
        ]
    });
    markdown(&columns.map(str::to_owned), &cells.collect::<Vec<_>>())
}

fn to_json(rows: &[(&Scenario, Contender, Vec<Sample>)]) -> Value {
    let rows = rows.iter().map(|(scenario, who, samples)| {
        let samples = samples.iter().map(|it| {
            json!({ "per_second": it.per_second, "cpu_us": it.cpu_us,
                    "memory_mib": it.memory_mib, "errors": it.errors })
        });
        json!({ "load": scenario.name, "by": who.name(), "samples": samples.collect::<Vec<_>>() })
    });
    json!({ "machine": machine::describe(), "rows": rows.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        let parse = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Options::parse(&words)
        };
        let options = parse("--rounds 3 --seconds 2 --only 500 --json a.json").unwrap();
        let json = Some("a.json".into());
        let only = "500".into();
        assert_eq!(
            options,
            Options {
                rounds: 3,
                seconds: 2,
                only,
                json
            }
        );
        for line in ["5", "--rounds", "--rounds 0", "--seconds x"] {
            assert_eq!(parse(line), Err(USAGE.into()), "{line}");
        }
    }

    #[test]
    fn what_the_clients_tell_is_read() {
        let ours = r#"{"requests":{"total":300},"duration":3,"errors":1,"non2xx":2}"#;
        assert_eq!(read(Contender::Ours, ours), Some((300.0, 100.0, 3.0)));
        assert_eq!(read(Contender::Autocannon, "{}"), None);
        assert_eq!(read(Contender::Wrk, "no"), None);
    }
}
