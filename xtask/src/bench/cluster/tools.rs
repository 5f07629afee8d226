//! The programs that measure, and those that are measured.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::contender::{Contender, Kind};
use crate::cargo::{cargo, root, run as run_cargo};
use crate::interop::install;

/// Connections of the load.
const CONNECTIONS: &str = "32";

/// How the load connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    KeepAlive,
    /// A connection for each request.
    Close,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Tools {
    wrk: PathBuf,
    pub(super) ours: PathBuf,
    pub(super) pm2: Option<PathBuf>,
    target: PathBuf,
}

impl Tools {
    /// Builds ours, and finds or installs the others.
    pub(super) fn find() -> Result<Self, String> {
        let wrk = on_path("wrk").ok_or("wrk is missing: `apt-get install wrk`")?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let target = root().join(target);
        run_cargo(&mut cargo(&[
            "build",
            "--release",
            "--quiet",
            "--bins",
            "-p",
            "procession-cli",
        ]))?;
        let pm2 = install("pm2", "latest", "pm2");
        if let Err(why) = &pm2 {
            eprintln!("note: pm2 is left out: {why}");
        }
        Ok(Self {
            wrk,
            ours: target.join("release/procession"),
            pm2: pm2.ok(),
            target,
        })
    }

    pub(super) fn has(&self, contender: &Contender) -> bool {
        contender.kind != Kind::Pm2 || self.pm2.is_some()
    }

    /// One of the servers in `interop/cluster`.
    pub(super) fn server(&self, name: &str) -> PathBuf {
        root().join("interop/cluster").join(name)
    }

    /// A new empty folder.
    pub(super) fn scratch(&self) -> Result<PathBuf, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench-cluster/{}-{number}", std::process::id());
        let folder = self.target.join(name);
        let made = fs::create_dir_all(&folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    /// `PATH` with this Node in front.
    pub(super) fn path_with(&self, node: &Path) -> OsString {
        let mut folders: Vec<PathBuf> = node.parent().map(Path::to_owned).into_iter().collect();
        let path = env::var_os("PATH").unwrap_or_default();
        folders.extend(env::split_paths(&path));
        env::join_paths(folders).unwrap_or(path)
    }

    /// Runs a command of PM2; what it prints is of no interest.
    pub(super) fn pm2(&self, node: &Path, home: &Path, word: &str) {
        let mut command = Command::new(node);
        command.args(&self.pm2).arg(word).env("PM2_HOME", home);
        // Its end is looked for, not its answer.
        let _ = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }

    /// Loads with wrk.
    pub(super) fn wrk(&self, at: SocketAddr, mode: Mode, seconds: u32) -> Result<Wrk, String> {
        let mut command = Command::new(&self.wrk);
        command
            .args(["--latency", "-t1", "-c", CONNECTIONS, "-d"])
            .arg(format!("{seconds}s"));
        if mode == Mode::Close {
            command.args(["-H", "Connection: close"]);
        }
        let text = said(command.arg(format!("http://{at}/")))?;
        Wrk::parse(&text).ok_or_else(|| format!("wrk said {text:?}"))
    }

    /// Loads with our own client, which keeps workers and failures apart: a connection for
    /// each request.
    pub(super) fn load(&self, at: SocketAddr, words: &[&str]) -> Result<Load, String> {
        let mut command = Command::new(&self.ours);
        command
            .args(["bench", "--json", "--watch-pids", "--close"])
            .args(words)
            .arg(format!("http://{at}/"));
        let text = said(&mut command)?;
        Load::parse(&text).ok_or_else(|| format!("the load said {text:?}"))
    }
}

fn said(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        let why = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program}: {}: {text}{why}", output.status))
    }
}

/// Signals a process; one that is gone is no failure.
pub(super) fn kill(signal: &str, pid: u32) {
    let mut command = Command::new("kill");
    command.args(["-s", signal]).arg(pid.to_string());
    let _ = command.stderr(Stdio::null()).status();
}

/// Finds a program.
pub(in crate::bench) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|it| it.is_file())
}

/// `Node 20.20.2`.
pub(super) fn version(node: &Path) -> Result<String, String> {
    let text = said(Command::new(node).arg("--version"))?;
    Ok(format!("Node {}", text.trim().trim_start_matches('v')))
}

/// What wrk has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) struct Wrk {
    pub(in crate::bench) requests: f64,
    pub(in crate::bench) per_second: f64,
    pub(in crate::bench) p50_us: f64,
    pub(in crate::bench) p99_us: f64,
    /// Of sockets, and answers that were no 2xx or 3xx.
    pub(in crate::bench) errors: f64,
}

impl Wrk {
    pub(in crate::bench) fn parse(text: &str) -> Option<Self> {
        let behind = |name: &str| {
            let line = text
                .lines()
                .map(str::trim)
                .find(|line| line.starts_with(name))?;
            Some(line[name.len()..].trim())
        };
        let requests = text.lines().find(|line| line.contains(" requests in "))?;
        let numbers = |line: &str| {
            let words = line.split([' ', ',']);
            words
                .filter_map(|word| word.parse::<f64>().ok())
                .sum::<f64>()
        };
        let errors = behind("Socket errors:").map_or(0.0, numbers)
            + behind("Non-2xx or 3xx responses:").map_or(0.0, numbers);
        Some(Self {
            requests: requests.trim().split(' ').next()?.parse().ok()?,
            per_second: behind("Requests/sec:")?.parse().ok()?,
            p50_us: micros(behind("50%")?)?,
            p99_us: micros(behind("99%")?)?,
            errors,
        })
    }
}

/// Reads `1.20ms`.
fn micros(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    Some(number.parse::<f64>().ok()? * scale)
}

/// What our own client has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// With 2xx.
    pub(super) answers: u64,
    /// Requests without such an answer.
    pub(super) failures: u64,
    /// Those of them whose time was over.
    pub(super) hung: u64,
    /// Answers and the 99th percentile of their time in µs.
    pub(super) by_pid: BTreeMap<u32, (u64, f64)>,
}

impl Load {
    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let count = |key: &str| value[key].as_u64();
        let own = &value["procession"];
        let of = |(pid, count): (&String, &Value)| {
            let p99_ms = own["pid_latency_ms"][pid]["p99"].as_f64()?;
            Some((pid.parse().ok()?, (count.as_u64()?, p99_ms * 1e3)))
        };
        let pids = own["pids"].as_object()?;
        Some(Self {
            answers: count("2xx")?,
            failures: count("errors")? + count("non2xx")?,
            hung: count("timeouts")?,
            by_pid: pids.iter().map(of).collect::<Option<_>>()?,
        })
    }

    /// Answers of the busiest worker for each one of the idlest.
    pub(super) fn balance(&self, workers: usize) -> f64 {
        let counts = || self.by_pid.values().map(|(count, _)| *count as f64);
        if self.by_pid.len() < workers {
            return f64::INFINITY;
        }
        counts().fold(0.0, f64::max) / counts().fold(f64::INFINITY, f64::min)
    }

    /// The longest 99th percentile of all workers but this one.
    pub(super) fn p99_of_others(&self, pid: u32) -> Option<f64> {
        let others = self.by_pid.iter().filter(|(it, _)| **it != pid);
        others.map(|(_, (_, p99))| *p99).reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 1s test @ http://127.0.0.1:1/\n  Thread Stats   Avg\n  \
        Latency Distribution\n     50%  812.00us\n     99%    1.20ms\n  \
        37 requests in 1.00s, 5.20KB read\n  \
        Socket errors: connect 0, read 5, write 0, timeout 1\n  \
        Non-2xx or 3xx responses: 2\nRequests/sec:     36.91\n";

    #[test]
    fn wrk_is_read() {
        let wrk = Wrk::parse(TEXT).unwrap();
        let wanted = Wrk {
            requests: 37.0,
            per_second: 36.91,
            p50_us: 812.0,
            p99_us: 1200.0,
            errors: 8.0,
        };
        assert_eq!(wrk, wanted);
        assert_eq!(Wrk::parse("unable to connect"), None);
        assert_eq!(micros("2.5s"), Some(2.5e6));
    }

    #[test]
    fn our_client_is_read() {
        let text = r#"{"2xx": 9, "non2xx": 1, "errors": 3, "timeouts": 2, "procession": {
            "pids": {"7": 6, "8": 3},
            "pid_latency_ms": {"7": {"p99": 0.5}, "8": {"p99": 50}}}}"#;
        let load = Load::parse(text).unwrap();
        assert_eq!((load.answers, load.failures, load.hung), (9, 4, 2));
        assert_eq!((load.balance(2), load.p99_of_others(8)), (2.0, Some(500.0)));
        assert!(load.balance(3).is_infinite());
        assert_eq!(Load::parse(r#"{"2xx": 9}"#), None);
    }
}
