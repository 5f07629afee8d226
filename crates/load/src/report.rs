//! What a load found.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::spread::{Spread, rates};
use crate::{Histogram, Spec, Target, Via};

/// What a load found; the warm-up is not in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// As in the spec.
    pub title: Option<String>,
    /// The targets, as URLs.
    pub urls: Vec<String>,
    /// The path of the first target that is a Unix socket.
    pub socket_path: Option<String>,
    /// As in the spec.
    pub connections: usize,
    /// As in the spec.
    pub pipelining: usize,
    /// As in the spec.
    pub threads: usize,
    /// As in the spec.
    pub sample: Duration,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Requests that were sent whole or in part: `answers`, and what failed, and `unfinished`.
    pub sent: u64,
    /// Whole answers, whatever their status or body.
    pub answers: u64,
    /// Requests that were under way when it was over: neither answered nor failed.
    pub unfinished: u64,
    /// Bytes that were read, heads and bodies.
    pub bytes: u64,
    /// Connections that were made.
    pub connected: u64,
    /// From when each answered request was sent to the last byte of its answer.
    pub raw: Histogram,
    /// The same from when it was due, under a rate and unless it was turned off.
    pub corrected: Option<Histogram>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// What failed.
    pub failures: BTreeMap<Class, Seen>,
    /// The time line.
    pub samples: Vec<Sample>,
    /// Answers by the pid in their body, with [`Spec::watch_pids`](crate::Spec::watch_pids); those
    /// of more than 4096 pids are under 0.
    pub by_pid: BTreeMap<u32, u64>,
    /// [Raw](Self::raw) latency of the first 16 of these pids. Where more than 16 answer within a
    /// sample, some of their answers are not in it.
    pub pid_latency: BTreeMap<u32, Histogram>,
    /// What the load cost the client.
    pub client: Client,
}

impl Report {
    /// Nothing has been found yet.
    #[must_use]
    pub fn new(spec: &Spec, start: SystemTime) -> Self {
        let url = |target: &Target| target.url(spec.protocol);
        Self {
            title: spec.title.clone(),
            urls: spec.targets.iter().map(url).collect(),
            socket_path: spec.targets.iter().find_map(socket_path),
            connections: spec.connections,
            pipelining: spec.pipelining,
            threads: spec.threads,
            sample: spec.sample,
            start,
            duration: Duration::ZERO,
            sent: 0,
            answers: 0,
            unfinished: 0,
            bytes: 0,
            connected: 0,
            raw: Histogram::new(),
            corrected: None,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            samples: Vec::new(),
            by_pid: BTreeMap::new(),
            pid_latency: BTreeMap::new(),
            client: Client::default(),
        }
    }

    /// The corrected latency, or the raw one where none was corrected.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        self.corrected.as_ref().unwrap_or(&self.raw)
    }

    /// Answers a second, sample by sample.
    #[must_use]
    pub fn answers_per_second(&self) -> Spread {
        rates(self, self.answers, |sample| sample.answers)
    }

    /// Bytes read a second, sample by sample.
    #[must_use]
    pub fn bytes_per_second(&self) -> Spread {
        rates(self, self.bytes, |sample| sample.bytes)
    }

    /// How often it failed in that way.
    #[must_use]
    pub fn failed(&self, class: Class) -> u64 {
        self.failures.get(&class).map_or(0, |seen| seen.count)
    }

    /// Requests without a whole answer, but those that were under way when it was over.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let lost = self.failures.iter().filter(|(class, _)| class.is_loss());
        lost.map(|(_, seen)| seen.count).sum()
    }

    /// What a request cost the client, if one was sent.
    #[must_use]
    pub fn cpu_per_request(&self) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "a mean needs no 53 bits")]
        let sent = self.sent as f64;
        (self.sent > 0).then(|| self.client.cpu.div_f64(sent))
    }

    /// Answers whose status has that first digit.
    #[must_use]
    pub fn of_hundred(&self, digit: u16) -> u64 {
        let hundred = digit * 100..(digit + 1) * 100;
        self.statuses.range(hundred).map(|(_, count)| count).sum()
    }
}

fn socket_path(target: &Target) -> Option<String> {
    match &target.via {
        Via::Unix(path) => Some(path.to_string_lossy().into_owned()),
        Via::Name(..) | Via::Ip(..) => None,
    }
}

/// How a request failed: each in one class only, but that an answer can be
/// [`Non2xx`](Self::Non2xx) and a [`Mismatch`](Self::Mismatch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Nobody listened.
    Refused,
    /// No connection for another reason, which is in [`Seen::example`].
    Unreachable,
    /// The connection was there, and TLS was not agreed upon.
    Tls,
    /// The connection was closed or reset before the first byte of the answer.
    Reset,
    /// The connection was closed or reset within the answer.
    Half,
    /// Time was over while connecting or within the answer.
    TimedOut,
    /// Time was over, and not one byte of the answer had come.
    Hung,
    /// What came is no HTTP.
    Malformed,
    /// A whole answer whose status is not 2xx.
    Non2xx,
    /// A whole answer whose body is not the one that was expected.
    Mismatch,
}

impl Class {
    /// All, in the order of a table.
    pub const ALL: [Self; 10] = [
        Self::Refused,
        Self::Unreachable,
        Self::Tls,
        Self::Reset,
        Self::Half,
        Self::TimedOut,
        Self::Hung,
        Self::Malformed,
        Self::Non2xx,
        Self::Mismatch,
    ];

    /// The request has no whole answer: a *lost* request.
    #[must_use]
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Non2xx | Self::Mismatch)
    }

    /// One lowercase word, for tables, JSON and `--fail-on`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Half => "half",
            Self::TimedOut => "timeout",
            Self::Hung => "hung",
            Self::Malformed => "malformed",
            Self::Non2xx => "non2xx",
            Self::Mismatch => "mismatch",
        }
    }
}

/// How often something failed, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// The first time, since the start.
    pub first: Duration,
    /// The last time, since the start.
    pub last: Duration,
    /// The first one in words, without its class: `connection reset by peer (os error 104)`.
    pub example: String,
}

/// A piece of the time line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it ended, since the start.
    pub at: Duration,
    /// How long it is: the last one can be shorter.
    pub lasts: Duration,
    /// Whole answers in it.
    pub answers: u64,
    /// Bytes read in it.
    pub bytes: u64,
    /// Failures in it.
    pub failures: BTreeMap<Class, u64>,
    /// Percentiles of the latency of its answers (corrected, if there is such): half of them took
    /// as long at most. 0 without answers.
    pub p50: Duration,
    /// Nine of ten.
    pub p90: Duration,
    /// 99 of a hundred.
    pub p99: Duration,
    /// All.
    pub max: Duration,
}

/// What the load cost the client, and whether it was the limit.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Client {
    /// User and system time of this process while it loaded.
    pub cpu: Duration,
    /// How late the client itself sent what was due under a rate, at most, while the connection was free.
    pub latest: Duration,
    /// Where the client, not the server, may have set the figures.
    pub limits: Vec<Limit>,
}

/// A limit of the client.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Limit {
    /// Its threads used this share of the cores that they could use, near 1.
    Cpu(f64),
    /// Its threads had work nearly all the time, and for this share of it had no core for it:
    /// others, the server perhaps, used them. Linux only.
    Starved(f64),
    /// It ran out of local ports: this many connections found none.
    Ports(u64),
    /// It ran out of descriptors: this many connections found none.
    Descriptors(u64),
}
