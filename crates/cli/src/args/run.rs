//! What `procession run` is asked.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use procession::cluster::{self, Policy};
use procession::ipc::Serialization;

pub(super) const HELP: &str = "\
PROGRAM runs with Node if it is a JavaScript module (js, mjs, cjs, ts, mts, cts),
else as it is. A Node server needs no change: what its workers listen on is shared.
A program of another language gets its sockets with --listen: LISTEN_FDS (from
descriptor 3 on), and PORT.

Policies: auto, spread, least-busy, round-robin, random-two, weighted=3,1, ip-hash,
cookie=NAME, kernel. Times are seconds, or end in ms, s or m.

A worker that is stopped has half of --kill-timeout to finish what it serves; then
it gets SIGTERM, and at the end SIGKILL. Workers with --listen get SIGTERM at once.

Signals: INT, TERM, HUP and QUIT stop; once more (a second later) kills.
TTIN and TTOU add and remove a worker. USR1 writes the status as JSON to standard
error. USR2 goes to all workers.

The exit code is 0 after a stop. When a worker had to be killed, it is 128 and the
number of the signal that we got. With --no-restart it is that of the first worker
that failed. `procession --help` tells the others.";

/// A program to be run as workers.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// How many workers: a number, `max` (one for each CPU), `-1` (one less)
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "max",
        allow_negative_numbers = true
    )]
    pub(crate) instances: Instances,
    /// What the app is called in what is written
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Who gets a connection [default: auto]
    #[arg(long, value_name = "POLICY", value_parser = balance)]
    pub(crate) balance: Option<Policy>,
    /// Give workers this listening socket: HOST:PORT, PORT, or a path with a slash
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<Listen>,
    /// Set a variable of the workers
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Read variables from FILE; those that are set already stay
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Run the workers in DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Run PROGRAM with this one: another Node, `python3`
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) interpreter: Option<OsString>,
    /// Options for Node, separated by spaces
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub(crate) node_args: Vec<String>,
    /// How long a worker may take to leave
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    pub(crate) kill_timeout: Duration,
    /// How long a worker may take to become ready
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) ready_timeout: Duration,
    /// What makes a worker ready: listening, message[=TEXT], started, or a time
    #[arg(long, value_name = "WHAT")]
    pub(crate) ready: Option<Ready>,
    /// Replace nobody: ends with the last worker
    #[arg(long)]
    pub(crate) no_restart: bool,
    /// Give up at this many restarts in 60 s [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "no_restart", value_parser = restarts)]
    pub(crate) max_restarts: Option<u32>,
    /// How messages are written: json, advanced
    #[arg(long, value_name = "HOW", default_value = "json", value_parser = serialization)]
    pub(crate) serialization: Serialization,
    /// Answer `procession status SOCKET` of the same user
    #[arg(long, value_name = "SOCKET")]
    pub(crate) status: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) form: Form,
    /// The program and its arguments
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// How what workers write, and what happens, is written.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Write what workers write as it is, without their numbers
    #[arg(long)]
    pub(crate) raw: bool,
    /// Write everything to standard output as JSON, one object a line
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// Write without colour, also on a terminal
    #[arg(long)]
    pub(crate) no_color: bool,
}

/// A value of a flag that makes no sense, and what would.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Refused {
    pub(super) fn new(message: impl Into<String>, hint: &'static str) -> Self {
        let message = message.into();
        Self { message, hint }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instances {
    /// One for each CPU.
    Max,
    /// So many; not 0.
    Exactly(u32),
    /// So many fewer than CPUs, but one at least.
    AllBut(u32),
}

impl FromStr for Instances {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        const HINT: &str = "`-i 2` for two, `-i max` for one on each CPU, `-i -1` for one less";
        if text == "max" {
            return Ok(Self::Max);
        }
        let refused = |what| Refused::new(format!("`-i {text}` {what}"), HINT);
        match text.parse::<i32>() {
            Ok(0) => Err(refused("asks for no worker")),
            Ok(number) if number < 0 => Ok(Self::AllBut(number.unsigned_abs())),
            Ok(number) if number <= MOST => Ok(Self::Exactly(number.unsigned_abs())),
            Ok(_) => Err(refused("asks for more than 512 workers")),
            Err(_) => Err(refused("is no number of workers")),
        }
    }
}

/// As many workers as the kernel can pick from for us.
const MOST: i32 = 512;

impl Instances {
    /// The number, with this many CPUs.
    pub(crate) fn of(self, cpus: u32) -> u32 {
        match self {
            Self::Max => cpus,
            Self::Exactly(number) => number,
            Self::AllBut(number) => cpus.saturating_sub(number),
        }
        .max(1)
    }
}

/// A socket for all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) cluster::Listen);

impl FromStr for Listen {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        const HINT: &str = "`--listen 127.0.0.1:8000`, `--listen 8000` for all interfaces, \
                            `--listen ./app.sock`";
        if text.contains('/') {
            return Ok(Self(cluster::Listen::Unix(text.into())));
        }
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let port = |text: &str| text.parse::<u16>().ok();
        let address = text.parse().ok().or_else(|| match text.split_once(':') {
            None => port(text).map(everywhere),
            Some(("" | "*", number)) => port(number).map(everywhere),
            Some(("localhost", number)) => port(number).map(local),
            Some(_) => None,
        });
        let refused = || Refused::new(format!("`--listen {text}` is no address"), HINT);
        let address = address.ok_or_else(refused)?;
        Ok(Self(cluster::Listen::Tcp(address)))
    }
}

/// What makes a worker ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready(pub(crate) cluster::Ready);

impl FromStr for Ready {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        Ok(Self(match text {
            "listening" => cluster::Ready::Listening,
            "started" => cluster::Ready::Started,
            "message" => cluster::Ready::Message("ready".into()),
            _ => match text.strip_prefix("message=") {
                Some(message) => cluster::Ready::Message(message.into()),
                None => cluster::Ready::After(span(text).ok_or_else(|| {
                    let hint = "`--ready listening`, `message`, `message=TEXT`, `started`, `2s`";
                    Refused::new(format!("`--ready {text}` makes nobody ready"), hint)
                })?),
            },
        }))
    }
}

fn balance(text: &str) -> Result<Policy, Refused> {
    let refused = |error: cluster::PolicyError| {
        Refused::new(error.to_string(), "`--balance auto` serves most")
    };
    text.parse().map_err(refused)
}

fn serialization(text: &str) -> Result<Serialization, Refused> {
    Serialization::from_name(text).ok_or_else(|| {
        let message = format!("there is no serialization `{text}`");
        Refused::new(
            message,
            "`--serialization json` or `--serialization advanced`",
        )
    })
}

fn restarts(text: &str) -> Result<u32, Refused> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| {
            let message = format!("`--max-restarts {text}` is no number of restarts");
            Refused::new(message, "`--no-restart` replaces nobody")
        })
}

fn variable(text: &str) -> Result<(String, String), Refused> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        // The value may be a secret and is not repeated.
        Some(_) => Err(Refused::new(
            "`--env` has no name before the `=`",
            "`--env NAME=VALUE`",
        )),
        None => Err(Refused::new(
            format!("`--env {text}` has no `=`"),
            "`--env NAME=VALUE`",
        )),
    }
}

fn duration(text: &str) -> Result<Duration, Refused> {
    span(text).ok_or_else(|| {
        Refused::new(
            format!("`{text}` is no time"),
            "seconds, or a number that ends in ms, s or m: `8`, `500ms`, `1.5s`, `2m`",
        )
    })
}

/// Reads `8`, `500ms`, `1.5s`, `2m`.
fn span(text: &str) -> Option<Duration> {
    const DAY: f64 = 86_400.0;
    let (number, unit) = if let Some(number) = text.strip_suffix("ms") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60.0)
    } else {
        (text, 1.0)
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    (seconds <= DAY).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_counted_from_the_cpus() {
        let count = |text: &str| text.parse::<Instances>().unwrap().of(4);
        assert_eq!(
            ["max", "3", "9", "-1", "-3", "-4", "-99"].map(count),
            [4, 3, 9, 3, 1, 1, 1]
        );
        for text in ["0", "-0", "", "all", "1.5", "513", "99999999999"] {
            assert!(text.parse::<Instances>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        let span = |text: &str| span(text).map(|span| span.as_millis());
        assert_eq!(
            ["8", "500ms", "1.5s", "2m", "0"].map(span),
            [Some(8000), Some(500), Some(1500), Some(120_000), Some(0)]
        );
        for text in ["", "s", "-1", "1h", "NaN", "inf", "1e9", "1 s x"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_ports_hosts_and_paths() {
        let listen = |text: &str| text.parse::<Listen>().map(|Listen(listen)| listen).ok();
        let tcp = |text: &str| Some(cluster::Listen::Tcp(text.parse().unwrap()));
        assert_eq!(listen("127.0.0.1:80"), tcp("127.0.0.1:80"));
        assert_eq!(listen("[::1]:0"), tcp("[::1]:0"));
        assert_eq!(listen("8000"), tcp("0.0.0.0:8000"));
        assert_eq!(listen(":8000"), tcp("0.0.0.0:8000"));
        assert_eq!(listen("localhost:8000"), tcp("127.0.0.1:8000"));
        assert_eq!(listen("./s"), Some(cluster::Listen::Unix("./s".into())));
        for text in ["", "host:80", "65536", "127.0.0.1", "a:b"] {
            assert_eq!(listen(text), None, "{text}");
        }
    }

    #[test]
    fn readiness_is_an_act_or_a_time() {
        let ready = |text: &str| text.parse::<Ready>().map(|Ready(ready)| ready).ok();
        let message = |text: &str| Some(cluster::Ready::Message(text.into()));
        assert_eq!(ready("listening"), Some(cluster::Ready::Listening));
        assert_eq!(ready("started"), Some(cluster::Ready::Started));
        assert_eq!(ready("message"), message("ready"));
        assert_eq!(ready("message=up"), message("up"));
        let second = Duration::from_secs(1);
        assert_eq!(ready("1s"), Some(cluster::Ready::After(second)));
        assert_eq!(ready("soon"), None);
    }
}
