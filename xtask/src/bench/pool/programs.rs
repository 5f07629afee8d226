//! The programs, and one round of one contender.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::scenario::{Scenario, is_node};
use crate::bench::worker::{build, run_for};
use crate::cargo::{is_installed, root};
use crate::interop::install_file;

/// Packages of npm: version, what is loaded, and the variable that says where it is.
const PACKAGES: [(&str, &str, &str, &str); 3] = [
    ("piscina", "5", "dist/main.js", "BENCH_PISCINA"),
    ("workerpool", "10", "src/index.js", "BENCH_WORKERPOOL"),
    ("tinypool", "2", "dist/index.js", "BENCH_TINYPOOL"),
];

/// One round of one contender, times in ns per operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Of all processes that take part.
    pub(super) cpu: f64,
    /// What of it is the worker process's.
    pub(super) child_cpu: f64,
    pub(super) wall: f64,
    /// How long a task waited: median and 99th percentile.
    pub(super) waits: [f64; 2],
    /// CPU of tasks through the contender for each one in place.
    pub(super) ratio: f64,
    /// Tasks of 100 that ended as cancelled.
    pub(super) canceled: f64,
    /// Tasks that failed although nobody cancelled them.
    pub(super) lost: f64,
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| value[name].as_f64();
        let ops = number("ops").filter(|ops| *ops > 0.0)?;
        let child_cpu = number("child_cpu_ns")? / ops;
        Some(Self {
            cpu: number("cpu_ns")? / ops + child_cpu,
            child_cpu,
            wall: number("wall_ns")? / ops,
            waits: [number("p50_ns")?, number("p99_ns")?],
            ratio: number("ratio")?,
            canceled: number("canceled")? * 100.0 / ops,
            lost: number("lost")?,
        })
    }
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Programs {
    ours: PathBuf,
    has_node: bool,
    /// Of npm: the name, the variable, and where it is.
    packages: Vec<(&'static str, &'static str, PathBuf)>,
}

impl Programs {
    /// Builds ours, and finds or installs the others.
    pub(super) fn find() -> Result<Self, String> {
        let words = "bench --no-run --quiet --message-format=json --package procession --bench";
        let ours = build(words, "pool")?;
        let has_node = is_installed("node");
        let mut packages = Vec::new();
        for (name, version, file, variable) in PACKAGES {
            let place = format!("{name}/{file}");
            match install_file(name, version, &[place]) {
                Ok(path) if has_node => packages.push((name, variable, path)),
                Ok(_) => eprintln!("note: {name} is left out: no node"),
                Err(why) => eprintln!("note: {name} is left out: {why}"),
            }
        }
        Ok(Self {
            ours,
            has_node,
            packages,
        })
    }

    /// Whether what the contender needs is here.
    pub(super) fn has(&self, contender: &str) -> bool {
        if is_node(contender) {
            let name = |it: &(&str, _, _)| contender.starts_with(it.0);
            return self.packages.iter().any(name);
        }
        contender != "ours-node" || self.has_node
    }

    /// Runs one round.
    pub(super) fn round(
        &self,
        contender: &str,
        scenario: &Scenario,
        count: u32,
    ) -> Result<Sample, String> {
        let folder = root().join("interop/bench/pool");
        let mut command = if is_node(contender) {
            let mut node = Command::new("node");
            node.arg(folder.join("main.js"));
            node
        } else {
            Command::new(&self.ours)
        };
        command.args([contender, scenario.task]);
        command.args([scenario.workers, scenario.ahead, count].map(|it| it.to_string()));
        command.env("BENCH_MODULE", folder.join("task.js"));
        for (_, variable, path) in &self.packages {
            command.env(variable, path);
        }
        let failed = |why: String| format!("{contender}, {}: {why}", scenario.name);
        run_for(&mut command, Sample::parse).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_read_per_operation() {
        let line = r#"{"ops": 4, "wall_ns": 40, "cpu_ns": 20, "child_cpu_ns": 8, "p50_ns": 3,
            "p99_ns": 9, "ratio": 1.5, "canceled": 2, "lost": 1}"#;
        let expected = Sample {
            cpu: 7.0,
            child_cpu: 2.0,
            wall: 10.0,
            waits: [3.0, 9.0],
            ratio: 1.5,
            canceled: 50.0,
            lost: 1.0,
        };
        assert_eq!(Sample::parse(line), Some(expected));
        assert_eq!(Sample::parse(&line.replace("4,", "0,")), None);
        assert_eq!(Sample::parse("usage: …"), None);
    }
}
