//! What to ask of whom, how often and for how long.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::target::Target;

/// A load: data, made by [`Spec::new`] and changed field by field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Spec {
    /// Whom to ask: connections are dealt out to them in turn. At least one.
    pub targets: Vec<Target>,
    /// What is spoken; HTTP/1.1.
    pub protocol: Protocol,
    /// What each connection asks, one after the other and again from the first. At least one;
    /// a `GET` of the target's path.
    pub requests: Vec<Request>,
    /// How many connections are open at a time; 10.
    pub connections: usize,
    /// How many requests a connection has in flight at most; 1.
    pub pipelining: usize,
    /// How many threads make the connections; 1. Every limit of this spec is one of all threads together.
    pub threads: usize,
    /// When it is over; after 10 s.
    pub until: Until,
    /// How long each [`Sample`](crate::Sample) of the time line is; 1 s.
    pub sample: Duration,
    /// What goes before and is not counted; nothing.
    pub warmup: Option<Warmup>,
    /// How long a request may take from when it is sent (or its connection is begun) to the last
    /// byte of its answer; 10 s. The connection is closed then, or up to 100 ms later (an eighth of
    /// the time-out, if that is less): one look at all connections costs less than a timer for each.
    pub timeout: Duration,
    /// How often requests are sent; as often as answers come.
    pub rate: Rate,
    /// Latency under a [`Rate`] counts from when the request was due, so that a server that stalls
    /// cannot hide the requests that it kept from being sent; on. Both are in the report.
    pub correct: bool,
    /// For how many requests a connection is used; for all.
    pub keep: Keep,
    /// How many requests each of the connections makes at most, those that follow it in its place
    /// included; no limit. When all have made theirs it is over.
    pub most_per_connection: Option<NonZeroU64>,
    /// How many requests are made at most, all together; no limit.
    pub most_requests: Option<NonZeroU64>,
    /// After how many failures it is over; never.
    pub bailout: Option<NonZeroU64>,
    /// The only body that counts as right; any.
    pub expect_body: Option<Bytes>,
    /// Leaves answers that are not 2xx out of latency and bytes; off.
    pub exclude_errors: bool,
    /// Counts answers by the pid that the server tells: the first number in the body; off.
    pub watch_pids: bool,
    /// How TLS is spoken to `https` targets.
    pub tls: Tls,
    /// A name for the report.
    pub title: Option<String>,
}

impl Spec {
    /// Ten connections for ten seconds, each a request at a time.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            targets: vec![target],
            protocol: Protocol::Http1,
            requests: vec![Request::default()],
            connections: 10,
            pipelining: 1,
            threads: 1,
            until: Until::Elapsed(Duration::from_secs(10)),
            sample: Duration::from_secs(1),
            warmup: None,
            timeout: Duration::from_secs(10),
            rate: Rate::Free,
            correct: true,
            keep: Keep::Alive,
            most_per_connection: None,
            most_requests: None,
            bailout: None,
            expect_body: None,
            exclude_errors: false,
            watch_pids: false,
            tls: Tls::default(),
            title: None,
        }
    }
}

/// What is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// The body of the request is sent, and as many bytes are the answer.
    Echo,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// The path and query; the target's.
    pub path: Option<String>,
    /// Beside `Host`, `Content-Length` and `Connection`, which are made; a header of one of these
    /// names replaces the one that is made.
    pub headers: Vec<(String, String)>,
    /// Empty.
    pub body: Bytes,
    /// Replaces each `[<id>]` in body and path by a new random id; off.
    pub ids: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: None,
            headers: Vec::new(),
            body: Bytes::new(),
            ids: false,
        }
    }
}

/// When a load is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this time; answers that are under way then do not count.
    Elapsed(Duration),
    /// When this many requests were answered or failed.
    Requests(NonZeroU64),
    /// When it is [stopped](crate::Running::stop).
    Stopped,
}

/// A load that goes before and is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// How many connections.
    pub connections: usize,
    /// For how long.
    pub lasts: Duration,
}

/// How often requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As soon as there is room in the connection's pipeline.
    Free,
    /// This many a second and connection.
    PerConnection(f64),
    /// This many a second, all connections together.
    Overall(f64),
}

/// For how many requests a connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As many as the server likes.
    Alive,
    /// This many; then a new connection is made.
    For(NonZeroU64),
    /// One, which says `Connection: close`.
    Close,
}

/// How TLS is spoken. Certificates are only verified if `ca` is given: a load goes to one's own server.
/// Sessions are resumed, as browsers do, so that a new connection costs less than a first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The name that is asked for (SNI) and verified; the host of the target.
    pub server_name: Option<String>,
    /// A file of PEM certificates of authorities to verify the server by.
    pub ca: Option<PathBuf>,
    /// A file of PEM certificates to show the server.
    pub cert: Option<PathBuf>,
    /// The file of the PEM key to `cert`.
    pub key: Option<PathBuf>,
}
