//! Loads of a server by procession's own generator, and what they found.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

use procession_load::{Class, Keep, Report, Running, Spec, Target, Until, start};

/// 8 connections at a time, a new one for each request; who answers tells its pid.
pub(crate) fn load_of(at: SocketAddr) -> Spec {
    let mut spec = Spec::new(Target::parse(&format!("http://{at}/")).unwrap());
    (spec.connections, spec.keep) = (8, Keep::Close);
    (spec.until, spec.watch_pids) = (Until::Stopped, true);
    spec
}

/// Asks for this path.
pub(crate) fn ask_for(path: &str, spec: &mut Spec) {
    spec.requests[0].path = Some(path.into());
}

/// Makes so many requests.
pub(crate) fn requests(spec: &Spec, count: u64) -> Found {
    let running = start(until(spec, count)).unwrap();
    Found::new(running.report_blocking())
}

/// The same load, for so many requests.
pub(crate) fn until(spec: &Spec, count: u64) -> Spec {
    let mut spec = spec.clone();
    spec.until = Until::Requests(count.try_into().unwrap());
    spec
}

/// Loads until [`finish`].
pub(crate) fn begin(spec: Spec) -> Running {
    start(spec).unwrap()
}

/// Ends a load when what is under way has ended.
pub(crate) fn finish(load: Running) -> Found {
    load.drain();
    Found::new(load.report_blocking())
}

/// What a load found, to be told in one line.
#[derive(Debug)]
pub(crate) struct Found(Report);

impl Found {
    /// Each request has one end, and each answer tells its pid.
    pub(crate) fn new(report: Report) -> Self {
        let found = Self(report);
        assert_eq!(found.unfinished, 0, "{found}");
        assert_eq!(found.sent, found.answers + found.lost(), "{found}");
        assert_eq!(found.by_pid.values().sum::<u64>(), found.answers, "{found}");
        found
    }

    /// Answers with 2xx.
    pub(crate) fn good(&self) -> u64 {
        self.of_hundred(2)
    }

    /// Requests without such an answer.
    pub(crate) fn failures(&self) -> u64 {
        self.sent - self.good()
    }

    /// Requests that found no connection, or waited until their time was over.
    pub(crate) fn refused_or_hung(&self) -> u64 {
        let classes = [
            Class::Refused,
            Class::Unreachable,
            Class::TimedOut,
            Class::Hung,
        ];
        classes.map(|class| self.failed(class)).iter().sum()
    }
}

impl Deref for Found {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

/// What was answered by whom, and each kind of failure with its first and last time.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered in {:?}", self.answers, self.duration)?;
        for (pid, count) in &self.by_pid {
            write!(f, ", {count} by {pid}")?;
        }
        for (class, seen) in &self.failures {
            let (count, name) = (seen.count, class.name());
            let (first, last) = (seen.first, seen.last);
            write!(f, ", {count} {name} ({first:?}–{last:?}: {})", seen.example)?;
        }
        Ok(())
    }
}
