//! Building the benchmark programs, and running one round of one contender.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Bench;
use super::scenario::Scenario;
use crate::cargo::{cargo, is_installed, root};

/// Variables of the environment the contenders run in: as many as a login shell
/// has, and always the same, since all of them go to the child.
const VARIABLES: usize = 30;

/// One round of one contender, per operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// CPU time in ns: of the parent, and of the child where it belongs to the contender.
    pub(super) cpu: f64,
    /// What of it is the child's.
    pub(super) child_cpu: f64,
    /// Wall time in ns.
    pub(super) wall: f64,
    /// How long the caller of a start was blocked, in ns: median and 99th percentile.
    pub(super) blocked: [f64; 2],
    /// Growth of the parent's memory in bytes (of channels: for each).
    pub(super) growth: f64,
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| value[name].as_f64();
        let ops = number("ops").filter(|ops| *ops > 0.0)?;
        let growth = number("growth")?;
        let sample = Self {
            cpu: number("cpu_ns")? / ops,
            child_cpu: 0.0,
            wall: number("wall_ns")? / ops,
            blocked: [0.0; 2],
            growth,
        };
        Some(match number("child_cpu_ns") {
            Some(child) => Self {
                cpu: sample.cpu + child / ops,
                child_cpu: child / ops,
                growth: growth / ops,
                ..sample
            },
            None => Self {
                blocked: [number("p50_ns")?, number("p99_ns")?],
                ..sample
            },
        })
    }
}

/// The programs.
#[derive(Debug)]
pub(super) struct Workers {
    peers: PathBuf,
    ours: PathBuf,
    script: PathBuf,
}

impl Workers {
    pub(super) fn build(bench: Bench) -> Result<Self, String> {
        let (peers, name) = match bench {
            Bench::Spawn => ("peers", "spawn"),
            Bench::Ipc => ("ipc-peers", "ipc"),
        };
        // The contenders are a workspace of their own: see their Cargo.toml.
        let build_peers = "build --release --quiet --message-format=json \
                     --manifest-path crates/sys/benches/peers/Cargo.toml \
                     --target-dir target/peers --bin";
        let build_ours =
            "bench --no-run --quiet --message-format=json --package procession --bench";
        Ok(Self {
            peers: build(build_peers, peers)?,
            ours: build(build_ours, name)?,
            script: root().join(format!("interop/bench/{name}.js")),
        })
    }

    /// Whether what the contender needs is here; says so of others once.
    pub(super) fn has(contender: &str) -> bool {
        let program = match contender {
            "node" | "bun" | "deno" => contender,
            "ours-node" => "node",
            _ => return true,
        };
        is_installed(program)
    }

    /// Runs one round.
    pub(super) fn round(
        &self,
        contender: &str,
        scenario: &Scenario,
        count: u32,
    ) -> Result<Sample, String> {
        let mut command = self.command(contender);
        command
            .arg(contender)
            .args(scenario.words)
            .arg(count.to_string());
        self.set_environment(&mut command);
        let failed = |why: String| format!("{contender}, {}: {why}", scenario.name);
        run_for(&mut command, Sample::parse).map_err(failed)
    }

    fn command(&self, contender: &str) -> Command {
        let (program, options): (&Path, &[&str]) = match contender {
            "node" | "bun" => (Path::new(contender), &[]),
            "deno" => {
                let options = &["run", "--allow-all", "--unstable-detect-cjs"];
                (Path::new(contender), options)
            }
            _ if contender.starts_with("ours") => (&self.ours, &[]),
            _ => (&self.peers, &[]),
        };
        let mut command = Command::new(program);
        command.args(options);
        if matches!(contender, "node" | "bun" | "deno") {
            command.arg(&self.script);
        }
        command
    }

    fn set_environment(&self, command: &mut Command) {
        // What floods, and what a Node child of ours runs.
        command
            .env_clear()
            .env("BENCH_FLOOD", &self.peers)
            .env("BENCH_SCRIPT", &self.script);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        for number in 3..VARIABLES {
            command.env(
                format!("BENCH_FILLER_{number}"),
                "a value of some thirty bytes or so",
            );
        }
    }
}

/// Runs a round and reads the line that it prints; else says why there is none.
pub(super) fn run_for<S>(
    command: &mut Command,
    parse: impl FnOnce(&str) -> Option<S>,
) -> Result<S, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    let line = String::from_utf8_lossy(&output.stdout);
    parse(&line).ok_or_else(|| format!("it printed {line:?}"))
}

/// Builds a program with cargo and gives its path; its name goes behind the words.
pub(super) fn build(words: &str, name: &str) -> Result<PathBuf, String> {
    let words: Vec<&str> = words.split_whitespace().chain([name]).collect();
    let mut cargo = cargo(&words);
    let output = cargo.current_dir(root()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", words[0], output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, name).ok_or(format!("no program `{name}`"))
}

/// The executable of a benchmark, from cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message["target"]["name"] == name && message["executable"].is_string())
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_read_per_operation() {
        let line =
            r#"{"ops": 4, "wall_ns": 40, "cpu_ns": 20, "p50_ns": 3, "p99_ns": 9, "growth": 7}"#;
        let sample = Sample::parse(line).unwrap();
        assert_eq!((sample.cpu, sample.wall, sample.growth), (5.0, 10.0, 7.0));
        assert_eq!(sample.blocked, [3.0, 9.0]);
        assert_eq!(
            Sample::parse(&line.replace("\"ops\": 4", "\"ops\": 0")),
            None
        );
        assert_eq!(Sample::parse("usage: …"), None);
        let line = r#"{"ops": 4, "wall_ns": 40, "cpu_ns": 20, "child_cpu_ns": 8, "growth": 8}"#;
        let sample = Sample::parse(line).unwrap();
        let cpu = (sample.cpu, sample.child_cpu, sample.growth);
        assert_eq!(cpu, (7.0, 2.0, 2.0));
    }

    #[test]
    fn a_benchmark_is_found_by_its_target() {
        let messages = "{\"target\": {\"name\": \"spawn\"}, \"executable\": null}\n\
                        {\"target\": {\"name\": \"spawn\"}, \"executable\": \"/t/spawn-1\"}\nnoise\n";
        assert_eq!(executable(messages, "spawn"), Some("/t/spawn-1".into()));
        assert_eq!(executable(messages, "peers"), None);
    }
}
