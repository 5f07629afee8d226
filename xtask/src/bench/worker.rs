//! Building the benchmark programs, and running one round of one contender.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::scenario::Scenario;
use crate::cargo::{cargo, is_installed, root};

/// Variables of the environment the contenders run in: as many as a login shell
/// has, and always the same, since all of them go to the child.
const VARIABLES: usize = 30;

/// One round of one contender, per operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// CPU time of the parent in ns.
    pub(super) cpu: f64,
    /// Wall time in ns.
    pub(super) wall: f64,
    /// How long the caller of the start was blocked, in ns: median and 99th percentile.
    pub(super) blocked: [f64; 2],
    /// Growth of the parent's memory in bytes.
    pub(super) growth: f64,
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| value[name].as_f64();
        let ops = number("ops").filter(|ops| *ops > 0.0)?;
        Some(Self {
            cpu: number("cpu_ns")? / ops,
            wall: number("wall_ns")? / ops,
            blocked: [number("p50_ns")?, number("p99_ns")?],
            growth: number("growth")?,
        })
    }
}

/// The programs.
#[derive(Debug)]
pub(super) struct Workers {
    peers: PathBuf,
    ours: PathBuf,
    node: Option<PathBuf>,
}

impl Workers {
    pub(super) fn build() -> Result<Self, String> {
        // The contenders are a workspace of their own: see their Cargo.toml.
        let peers = "build --release --quiet --message-format=json \
                     --manifest-path crates/sys/benches/peers/Cargo.toml \
                     --target-dir target/peers";
        let ours =
            "bench --no-run --quiet --message-format=json --package procession --bench spawn";
        let (peers, ours) = (build(peers, "peers")?, build(ours, "spawn")?);
        let script = root().join("interop/bench/spawn.js");
        let node = (is_installed("node") && script.is_file()).then_some(script);
        if node.is_none() {
            eprintln!("note: no Node here: its rows are left out");
        }
        Ok(Self { peers, ours, node })
    }

    /// Whether the contender is here.
    pub(super) fn has(&self, contender: &str) -> bool {
        contender != "node" || self.node.is_some()
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
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        let line = String::from_utf8_lossy(&output.stdout);
        Sample::parse(&line).ok_or_else(|| failed(format!("it printed {line:?}")))
    }

    fn command(&self, contender: &str) -> Command {
        match (contender, &self.node) {
            ("node", Some(script)) => {
                let mut command = Command::new("node");
                command.arg(script);
                command
            }
            ("ours" | "ours-blocking", _) => Command::new(&self.ours),
            _ => Command::new(&self.peers),
        }
    }

    fn set_environment(&self, command: &mut Command) {
        command.env_clear().env("BENCH_FLOOD", &self.peers);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        for number in 2..VARIABLES {
            command.env(
                format!("BENCH_FILLER_{number}"),
                "a value of some thirty bytes or so",
            );
        }
    }
}

/// Builds with cargo and gives the program of that name.
fn build(words: &str, name: &str) -> Result<PathBuf, String> {
    let words: Vec<&str> = words.split_whitespace().collect();
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
    }

    #[test]
    fn a_benchmark_is_found_by_its_target() {
        let messages = "{\"target\": {\"name\": \"spawn\"}, \"executable\": null}\n\
                        {\"target\": {\"name\": \"spawn\"}, \"executable\": \"/t/spawn-1\"}\nnoise\n";
        assert_eq!(executable(messages, "spawn"), Some("/t/spawn-1".into()));
        assert_eq!(executable(messages, "peers"), None);
    }
}
