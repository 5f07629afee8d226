//! What `procession bench` is asked: autocannon's flags, and ours.

mod values;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

pub(crate) use values::{FailOn, Warm, is_token};

pub(super) const HELP: &str = "\
URL is http:// or https://, tcp:// for --echo, or `host:port/path`. Of several, connections
are dealt out in turn. A bare path goes to the port that COMMAND opens, or to that of the
variable PORT. All long names can be written as autocannon does: --maxOverallRequests.

Times are seconds, or numbers that end in ms, s, m, h or d: `10`, `500ms`, `1m 30s`.

Every limit is one of all threads together (autocannon's are each worker's). Latency under
a rate counts from when a request was due; the raw one is shown beside it.

What can fail (--fail-on), each request in one class only: refused, unreachable, tls,
reset (closed before the first byte of the answer), half (closed within the answer),
timeout (while connecting or within the answer), hung (time over, not one byte),
malformed (no HTTP), and whole answers that are wrong: non2xx, mismatch (--expect-body).
`lost` are all without a whole answer, `any` are all.

Ctrl-C ends it with the report; once more ends it at once.

  procession bench -c 100 -d 30s http://127.0.0.1:8000
  procession bench -c 50 --fail-on lost /health -- node server.js
  procession bench -R 2000 --html report.html --json=report.json http://127.0.0.1:8000

The exit code is 0 after a run that got answers, whatever they were; 8 when what --fail-on
names has happened; 9 when nobody was reached or nothing answered; 5 when COMMAND never
listened. `procession --help` tells the others.";

/// A load for a server.
#[derive(Args, Clone, Debug, PartialEq)]
pub(crate) struct Bench {
    /// Whom to ask
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// Start it, load the port that it opens, and end it with all that it started
    #[arg(value_name = "COMMAND", last = true)]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) pace: Pace,
    #[command(flatten)]
    pub(crate) asked: Asked,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) tls: TlsFiles,
    #[command(flatten)]
    pub(crate) shown: Shown,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version, help_heading = "Output")]
    version: Option<bool>,
    /// The table is always printed, but with --json
    #[arg(short = 'V', long, hide = true)]
    verbose: bool,
}

/// How much.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "How much")]
pub(crate) struct Load {
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "10", allow_negative_numbers = true,
        value_parser = values::connections)]
    pub(crate) connections: usize,
    /// Requests that a connection has in flight at most
    #[arg(short, long, value_name = "N", default_value = "1", allow_negative_numbers = true,
        value_parser = values::pipelining)]
    pub(crate) pipelining: usize,
    /// For how long
    #[arg(short, long, value_name = "TIME", default_value = "10s", allow_hyphen_values = true,
        value_parser = values::duration)]
    pub(crate) duration: Duration,
    /// Until so many requests are answered or have failed; --duration is ignored
    #[arg(short, long, value_name = "N", allow_negative_numbers = true,
        value_parser = values::amount)]
    pub(crate) amount: Option<NonZeroU64>,
    /// Again and again, until Ctrl-C: a report each time
    #[arg(short, long)]
    pub(crate) forever: bool,
    /// A load before it that is not counted: `[ -c 5 -d 3 ]`, or only a time
    #[arg(
        short = 'W',
        long,
        value_name = "[ -c N -d TIME ]",
        allow_hyphen_values = true
    )]
    pub(crate) warmup: Option<Warm>,
    /// Threads that make the connections; limits are not multiplied by them
    #[arg(short, long, value_name = "N", default_value = "1", allow_negative_numbers = true,
        value_parser = values::workers)]
    pub(crate) workers: usize,
    /// How long a request may take; its connection is closed then
    #[arg(short, long, value_name = "TIME", default_value = "10s", allow_hyphen_values = true,
        value_parser = values::timeout)]
    pub(crate) timeout: Duration,
    /// A new connection after so many requests
    #[arg(short = 'D', long, alias = "reconnectRate", value_name = "N",
        value_parser = values::reconnect)]
    pub(crate) reconnect_rate: Option<NonZeroU64>,
    /// A new connection for each request, which says `Connection: close`
    #[arg(long)]
    pub(crate) close: bool,
    /// Requests that each of the connections makes at most
    #[arg(short = 'M', long, alias = "maxConnectionRequests", value_name = "N",
        value_parser = values::most_each)]
    pub(crate) max_connection_requests: Option<NonZeroU64>,
    /// Requests at most, all together
    #[arg(short = 'O', long, alias = "maxOverallRequests", value_name = "N",
        value_parser = values::most)]
    pub(crate) max_overall_requests: Option<NonZeroU64>,
    /// End it after so many failures
    #[arg(short = 'B', long, value_name = "N", value_parser = values::bailout)]
    pub(crate) bailout: Option<NonZeroU64>,
}

/// How often.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "How often")]
pub(crate) struct Pace {
    /// Requests a second of each connection
    #[arg(short = 'r', long, alias = "connectionRate", value_name = "RATE",
        value_parser = values::rate)]
    pub(crate) connection_rate: Option<f64>,
    /// Requests a second of all connections together
    #[arg(short = 'R', long, alias = "overallRate", value_name = "RATE",
        value_parser = values::rate)]
    pub(crate) overall_rate: Option<f64>,
    /// Count latency from when a request was sent, not from when it was due
    #[arg(short = 'C', long, alias = "ignoreCoordinatedOmission")]
    pub(crate) ignore_coordinated_omission: bool,
}

/// What is asked, and which answer is right.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "What is asked")]
pub(crate) struct Asked {
    /// GET, POST, …
    #[arg(short, long, value_name = "METHOD", value_parser = values::method)]
    pub(crate) method: Option<String>,
    /// The body of the request
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) body: Option<String>,
    /// A file with the body
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// A form (multipart/form-data) as JSON, or a file with it
    #[arg(short = 'F', long, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) form: Option<String>,
    /// A header, `NAME=VALUE` or `NAME: VALUE`; also several times
    #[arg(short = 'H', long, value_name = "HEADER", value_parser = values::header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Ask what a browser has recorded: those requests that went to the URL's host
    #[arg(long, value_name = "FILE")]
    pub(crate) har: Option<PathBuf>,
    /// Replace each `[<id>]` in body and path by a new id
    #[arg(short = 'I', long, alias = "idReplacement")]
    pub(crate) id_replacement: bool,
    /// The only right body of an answer; others are failures (mismatch)
    #[arg(
        short = 'E',
        long,
        alias = "expectBody",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    pub(crate) expect_body: Option<String>,
    /// Send the body by TCP as it is; the same bytes are the answer
    #[arg(long)]
    pub(crate) echo: bool,
}

/// Where it goes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Where")]
pub(crate) struct Place {
    /// A Unix socket to connect to; the URL gives host and path
    #[arg(short = 'S', long, alias = "socketPath", value_name = "SOCKET")]
    pub(crate) socket_path: Option<PathBuf>,
    /// Load the port that COMMAND opens: as always when there is one
    #[arg(long, alias = "onPort")]
    pub(crate) on_port: bool,
    /// The status socket of `procession run --status SOCKET`: shows what each worker got
    #[arg(long, value_name = "SOCKET")]
    pub(crate) cluster: Option<PathBuf>,
}

/// TLS.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsFiles {
    /// The name that the server is asked for (SNI)
    #[arg(short = 's', long, alias = "serverName", value_name = "NAME")]
    pub(crate) servername: Option<String>,
    /// Our certificate and its chain, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key to it, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Verify the server by these authorities, PEM; without it, it is not verified
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// What is said, and when it is a failure.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Output")]
pub(crate) struct Shown {
    /// Exit with 8 if this has happened: any, lost, or classes (see below)
    #[arg(long, alias = "failOn", value_name = "CLASS,…")]
    pub(crate) fail_on: Option<FailOn>,
    /// Write JSON to standard output in place of tables; with =FILE, to FILE beside them
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, require_equals = true,
        default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with plots to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Compare two results that --json has written; nothing is loaded
    #[arg(long, num_args = 2, value_names = ["A", "B"], exclusive = true)]
    pub(crate) compare: Option<Vec<PathBuf>>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) no_progress: bool,
    /// Show all percentiles
    #[arg(short, long)]
    pub(crate) latency: bool,
    /// Show how often each status came
    #[arg(long, alias = "renderStatusCodes")]
    pub(crate) render_status_codes: bool,
    /// Leave answers that are not 2xx out of latency and bytes
    #[arg(short = 'x', long, alias = "excludeErrorStats")]
    pub(crate) exclude_error_stats: bool,
    /// Show how many answers came from which process: the first number in the body is its pid
    #[arg(long, alias = "watchPids")]
    pub(crate) watch_pids: bool,
    /// A name for the result
    #[arg(short = 'T', long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) title: Option<String>,
    /// How long each sample of the time line is, in milliseconds
    #[arg(short = 'L', long, aliases = ["sampleInt", "sample-interval"], value_name = "MS",
        default_value = "1000", value_parser = values::sample)]
    pub(crate) sample_int: Duration,
    /// Write failures to standard error as they happen
    #[arg(long)]
    pub(crate) debug: bool,
    /// Write without colour, also on a terminal
    #[arg(long)]
    pub(crate) no_color: bool,
}

/// Makes one word of each `[ -c 5 -d 3 ]`, as a shell has taken it apart.
pub(super) fn join_brackets(line: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = line.into_iter();
    let mut joined: Vec<OsString> = Vec::new();
    while let Some(word) = words.next() {
        if word == "--" {
            joined.push(word);
            joined.extend(words.by_ref());
            break;
        }
        let follows = joined.last().is_some_and(|last| is_warmup(last));
        joined.push(word);
        let Some(bracket) = joined.last_mut().filter(|word| follows && opens(word)) else {
            continue;
        };
        while !ends(bracket) {
            let Some(next) = words.next() else { break };
            bracket.push(" ");
            bracket.push(next);
        }
    }
    joined
}

fn is_warmup(word: &OsStr) -> bool {
    word == "-W" || word == "--warmup"
}

fn opens(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"[")
}

fn ends(word: &OsStr) -> bool {
    word.as_encoded_bytes().ends_with(b"]")
}
