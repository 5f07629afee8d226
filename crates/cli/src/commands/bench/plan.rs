//! From flags to a load; what makes no sense is told before anything starts.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use procession_load::{Keep, Protocol, Rate, Request, Spec, Target, Tls, Until, Via, Warmup};

use super::form;
use super::har;
use super::whom::{self, Url};
use crate::args::Bench;
use crate::exit::Exit;
use crate::failure::Failure;

/// What is sent to a server that sends it back, if nobody says what.
const PING: &str = "ping\n";

/// A load, and what its URLs mean while their port is not known.
#[derive(Debug)]
pub(super) struct Plan {
    /// All of it, but for targets that are still to be opened.
    spec: Spec,
    pub(super) urls: Vec<Url>,
}

impl Plan {
    /// The load of what the program has opened, or of what was known all along.
    pub(super) fn spec(&self, opened: Option<SocketAddr>) -> Result<Spec, Failure> {
        let mut spec = self.spec.clone();
        if let Some(opened) = opened {
            let urls = self.urls.iter();
            spec.targets = urls
                .map(|url| url.target(opened))
                .collect::<Result<_, _>>()?;
        }
        Ok(spec)
    }
}

/// Reads the flags, and every file that they name. Without a URL, takes the known one.
pub(super) fn plan(bench: &Bench, known: Option<String>) -> Result<Plan, Failure> {
    refuse_contradictions(bench)?;
    let urls = whom::urls(bench, known)?;
    let somewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let targets = urls.iter().map(|url| url.target(somewhere));
    let mut targets: Vec<Target> = targets.collect::<Result<_, _>>()?;
    if let Some(socket) = &bench.place.socket_path {
        for target in &mut targets {
            target.via = Via::Unix(socket.clone());
        }
    }
    let is_echo = is_echo(bench)?;
    let mut spec = Spec::new(targets.first().ok_or_else(no_target)?.clone());
    spec.requests = requests(bench, &targets)?;
    spec.targets = targets;
    if is_echo {
        spec.protocol = Protocol::Echo;
    }
    measure(bench, &mut spec);
    spec.expect_body = bench.asked.expect_body.clone().map(Into::into);
    spec.exclude_errors = bench.shown.exclude_error_stats;
    spec.watch_pids = bench.shown.watch_pids;
    spec.tls = tls(bench)?;
    spec.title.clone_from(&bench.shown.title);
    check_outputs(bench)?;
    Ok(Plan { spec, urls })
}

fn no_target() -> Failure {
    Failure::new(Exit::Usage, "there is no URL to ask", "name one")
}

/// How much, how often and for how long.
fn measure(bench: &Bench, spec: &mut Spec) {
    let load = &bench.load;
    spec.until = match load.amount {
        Some(amount) => Until::Requests(amount),
        None => Until::Elapsed(load.duration),
    };
    // One that never asks anything is none.
    let most = load
        .amount
        .into_iter()
        .chain(load.max_overall_requests)
        .min();
    let most = most.and_then(|most| usize::try_from(most.get()).ok());
    spec.connections = load.connections.min(most.unwrap_or(usize::MAX));
    spec.pipelining = load.pipelining;
    spec.threads = load.workers.min(spec.connections);
    spec.timeout = load.timeout;
    spec.sample = bench.shown.sample_int;
    spec.warmup = load.warmup.map(|warm| Warmup {
        connections: warm.connections.unwrap_or(spec.connections),
        lasts: warm.lasts,
    });
    spec.keep = match (load.close, load.reconnect_rate) {
        (true, _) => Keep::Close,
        (false, Some(requests)) => Keep::For(requests),
        (false, None) => Keep::Alive,
    };
    spec.most_per_connection = load.max_connection_requests;
    spec.most_requests = load.max_overall_requests;
    spec.bailout = load.bailout;
    spec.rate = match (bench.pace.connection_rate, bench.pace.overall_rate) {
        (Some(rate), _) => Rate::PerConnection(rate),
        (None, Some(rate)) => Rate::Overall(rate),
        (None, None) => Rate::Free,
    };
    spec.correct = !bench.pace.ignore_coordinated_omission;
}

fn refuse_contradictions(bench: &Bench) -> Result<(), Failure> {
    if bench.place.on_port && bench.command.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "`--on-port` has no program to start",
            "it stands after `--`: `procession bench --on-port / -- node server.js`",
        ));
    }
    let asked = &bench.asked;
    let has_headers = !asked.headers.is_empty();
    let pairs = [
        (asked.body.is_some(), "-b", asked.input.is_some(), "-i"),
        (asked.body.is_some(), "-b", asked.form.is_some(), "-F"),
        (asked.input.is_some(), "-i", asked.form.is_some(), "-F"),
        (asked.har.is_some(), "--har", asked.method.is_some(), "-m"),
        (asked.har.is_some(), "--har", asked.body.is_some(), "-b"),
        (asked.har.is_some(), "--har", asked.input.is_some(), "-i"),
        (asked.har.is_some(), "--har", asked.form.is_some(), "-F"),
        (
            bench.pace.connection_rate.is_some(),
            "-r",
            bench.pace.overall_rate.is_some(),
            "-R",
        ),
        (
            bench.load.close,
            "--close",
            bench.load.reconnect_rate.is_some(),
            "-D",
        ),
        (bench.load.close, "--close", bench.load.pipelining > 1, "-p"),
        (asked.echo, "--echo", asked.method.is_some(), "-m"),
        (asked.echo, "--echo", has_headers, "-H"),
        (asked.echo, "--echo", asked.form.is_some(), "-F"),
        (asked.echo, "--echo", asked.har.is_some(), "--har"),
        (asked.echo, "--echo", asked.expect_body.is_some(), "-E"),
        (asked.echo, "--echo", bench.shown.watch_pids, "--watch-pids"),
    ];
    let both = pairs.iter().find(|(one, _, other, _)| *one && *other);
    if let Some((_, one, _, other)) = both {
        let message = format!("`{one}` and `{other}` contradict each other");
        let hint = "`procession bench --help` says what each is for";
        return Err(Failure::new(Exit::Usage, message, hint));
    }
    refuse_too_much_pipelining(bench)
}

/// More requests in flight than there will ever be.
fn refuse_too_much_pipelining(bench: &Bench) -> Result<(), Failure> {
    let load = &bench.load;
    let pipelining = u64::try_from(load.pipelining).unwrap_or(u64::MAX);
    let limits = [
        ("-a", load.amount),
        ("-O", load.max_overall_requests),
        ("-M", load.max_connection_requests),
        ("-D", load.reconnect_rate),
    ];
    for (flag, limit) in limits {
        if let Some(limit) = limit.filter(|limit| pipelining > limit.get()) {
            let message =
                format!("`-p {pipelining}` is more requests in flight than `{flag} {limit}` makes");
            let hint = format!("`-p {limit}`, or a larger `{flag}`");
            return Err(Failure::new(Exit::Usage, message, hint));
        }
    }
    Ok(())
}

fn is_echo(bench: &Bench) -> Result<bool, Failure> {
    let is_tcp = |url: &String| url.to_ascii_lowercase().starts_with("tcp://");
    let is_http = |url: &String| url.to_ascii_lowercase().starts_with("http");
    let tcp = bench.urls.iter().filter(|url| is_tcp(url)).count();
    let http = bench
        .urls
        .iter()
        .find(|url| is_http(url) && url.contains("://"));
    match (bench.asked.echo || tcp > 0, http) {
        (true, Some(url)) => {
            let message = format!("`{url}` is HTTP, and `--echo` or `tcp://` is not");
            Err(Failure::new(
                Exit::Usage,
                message,
                "`--echo tcp://127.0.0.1:7`",
            ))
        }
        (is_echo, _) => Ok(is_echo),
    }
}

fn requests(bench: &Bench, targets: &[Target]) -> Result<Vec<Request>, Failure> {
    let asked = &bench.asked;
    let mut requests = match (&asked.har, targets) {
        (Some(file), [target]) => har::requests(file, target)?,
        (Some(_), _) => {
            let message = "`--har` is for one URL";
            let hint = "it says which of the recorded requests are made";
            return Err(Failure::new(Exit::Usage, message, hint));
        }
        (None, _) => vec![request(bench)?],
    };
    for request in &mut requests {
        let is_replaced = |name: &str| {
            let mut given = asked.headers.iter();
            given.any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        request.headers.retain(|(name, _)| !is_replaced(name));
        request.headers.extend(asked.headers.iter().cloned());
        request.ids = asked.id_replacement;
    }
    Ok(requests)
}

fn request(bench: &Bench) -> Result<Request, Failure> {
    let asked = &bench.asked;
    let mut request = Request::default();
    if let Some(method) = &asked.method {
        request.method.clone_from(method);
    }
    if let Some(body) = &asked.body {
        request.body = body.clone().into();
    }
    if let Some(file) = &asked.input {
        request.body = read(file)?.into();
    }
    if let Some(form) = &asked.form {
        let form = form::body(form)?;
        let header = ("Content-Type".to_owned(), form.content_type);
        request.headers.push(header);
        request.body = form.bytes.into();
        if asked.method.is_none() {
            "POST".clone_into(&mut request.method);
        }
    }
    if is_echo(bench)? && request.body.is_empty() {
        request.body = PING.into();
    }
    Ok(request)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot read `{}`", file.display());
    Failure::new(Exit::Usage, message, "is the path right?").caused_by(error)
}

fn tls(bench: &Bench) -> Result<Tls, Failure> {
    let files = &bench.tls;
    for file in [&files.cert, &files.key, &files.ca].into_iter().flatten() {
        File::open(file).map_err(|error| unreadable(file, &error))?;
    }
    Ok(Tls {
        server_name: files.servername.clone(),
        ca: files.ca.clone(),
        cert: files.cert.clone(),
        key: files.key.clone(),
    })
}

/// What cannot be written is told before the load, not after it.
fn check_outputs(bench: &Bench) -> Result<(), Failure> {
    let to_file = bench
        .shown
        .json
        .iter()
        .filter(|file| *file != Path::new("-"));
    for file in to_file.chain(&bench.shown.html) {
        let opened = File::options().append(true).create(true).open(file);
        opened.map_err(|error| {
            let message = format!("cannot write `{}`", file.display());
            let hint = "does its folder exist, and is it yours?";
            Failure::new(Exit::Usage, message, hint).caused_by(&error)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::num::NonZeroU64;
    use std::time::Duration;

    use super::*;
    use crate::args;

    const URL: &str = "http://127.0.0.1:8000/x";

    fn planned(words: &[&str]) -> Result<Spec, Failure> {
        let line = ["procession", "bench"].iter().chain(words);
        let args::Request::Bench(bench) = args::parse(line.map(OsString::from))? else {
            panic!("no request for a load")
        };
        plan(&bench, None)?.spec(None)
    }

    fn spec(words: &str) -> Spec {
        let words: Vec<&str> = words.split(' ').chain([URL]).collect();
        planned(&words).unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[test]
    fn defaults_are_those_of_autocannon() {
        let target = Target::parse(URL).unwrap();
        assert_eq!(planned(&[URL]).unwrap(), Spec::new(target));
    }

    #[test]
    fn how_much_and_how_often() {
        let limit = |number| NonZeroU64::new(number);
        let load = spec("-c 50 -p 4 -d 1m -w 2 -t 500ms -L 250 -B 3 -M 7 -O 9000 -r 2.5 -C -x");
        assert_eq!(
            (load.connections, load.pipelining, load.threads),
            (50, 4, 2)
        );
        assert_eq!(load.until, Until::Elapsed(Duration::from_secs(60)));
        assert_eq!(load.timeout, Duration::from_millis(500));
        assert_eq!(load.sample, Duration::from_millis(250));
        assert_eq!(load.bailout, limit(3));
        assert_eq!(load.most_per_connection, limit(7));
        assert_eq!(load.most_requests, limit(9000));
        assert_eq!(load.rate, Rate::PerConnection(2.5));
        assert!(!load.correct && load.exclude_errors);
        // The amount wins, and nobody connects to ask nothing.
        let load = spec("-a 5 -d 3 -R 100 -w 8");
        assert_eq!(load.until, Until::Requests(limit(5).unwrap()));
        assert_eq!((load.connections, load.threads), (5, 5));
        assert_eq!((load.rate, load.correct), (Rate::Overall(100.0), true));
        assert_eq!(spec("-D 3").keep, Keep::For(limit(3).unwrap()));
        assert_eq!(spec("--close").keep, Keep::Close);
    }

    #[test]
    fn a_warm_up_comes_in_words_or_in_one() {
        let warm = |words: &str| spec(words).warmup.unwrap();
        let expected = |connections, lasts| Warmup {
            connections,
            lasts: Duration::from_secs(lasts),
        };
        assert_eq!(warm("-W [ -c 5 -d 3 ] -c 20"), expected(5, 3));
        assert_eq!(warm("--warmup [-d 1m] -c 20"), expected(20, 60));
        assert_eq!(warm("-W 2s"), expected(10, 2));
    }

    #[test]
    fn what_is_asked() {
        let asked = |words: &str| spec(words).requests.remove(0);
        let request = asked("-m PUT -b [<id>] -I -H a=b -H C:d");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            request,
            Request {
                method: "PUT".into(),
                path: None,
                headers: vec![pair("a", "b"), pair("C", "d")],
                body: "[<id>]".into(),
                ids: true,
            }
        );
        let form = r#"{"a":{"type":"text","value":"b"}}"#;
        let request = asked(&format!("-F {form} -H Content-type:own"));
        assert_eq!(request.method, "POST");
        assert_eq!(request.headers, [pair("Content-type", "own")]);
        let echo = planned(&["tcp://127.0.0.1:7"]).unwrap();
        assert_eq!(echo.protocol, Protocol::Echo);
        assert_eq!(echo.requests[0].body, PING);
        let unix = spec("-S /run/app.sock");
        assert_eq!(unix.targets[0].via, Via::Unix("/run/app.sock".into()));
        assert_eq!(unix.targets[0].host, "127.0.0.1:8000");
    }

    #[test]
    fn autocannon_spells_names_in_its_own_way() {
        let load = spec("--maxOverallRequests 90 --reconnectRate 2 --overallRate 5 --sampleInt 50");
        assert_eq!(load.most_requests, NonZeroU64::new(90));
        assert_eq!(load.rate, Rate::Overall(5.0));
        assert_eq!(load.sample, Duration::from_millis(50));
    }
}
