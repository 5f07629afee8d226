//! What the workers of a `procession run` got of a load, by its status before and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use procession_load::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::status;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Row, Section, Tone};

/// A cluster before a load.
#[derive(Debug)]
pub(super) struct Cluster {
    socket: PathBuf,
    before: Standing,
}

/// Of what `procession status` says, that which is needed here.
#[derive(Debug, Deserialize)]
struct Standing {
    restarts: u64,
    workers: Vec<Worker>,
    listeners: Vec<Listener>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    worker: u32,
    pid: u32,
    given: u64,
    cpu: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Listener {
    at: Place,
}

#[derive(Debug, Deserialize)]
struct Place {
    address: Option<String>,
    port: Option<u16>,
}

/// What a cluster got of a load.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    restarts: u64,
    /// Those that were there at the end.
    workers: Vec<Share>,
    /// The numbers of those that were there at the beginning only.
    gone: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Share {
    worker: u32,
    pid: u32,
    /// That were handed over: 0 while the kernel spreads them.
    connections: u64,
    /// Seconds.
    cpu: Option<f64>,
    /// With `--watch-pids`.
    answers: Option<u64>,
}

impl Cluster {
    /// Asks how it stands.
    pub(super) fn ask(socket: &Path) -> Result<Self, Failure> {
        Ok(Self {
            socket: socket.to_owned(),
            before: standing(socket)?,
        })
    }

    /// Where it listens by TCP.
    pub(super) fn url(&self) -> Option<String> {
        let mut places = self.before.listeners.iter().map(|listener| &listener.at);
        places.find_map(|place| {
            let host = match place.address.as_deref() {
                None | Some("0.0.0.0" | "::") => "localhost".to_owned(),
                Some(six) if six.contains(':') => format!("[{six}]"),
                Some(host) => host.to_owned(),
            };
            Some(format!(
                "http://{host}:{}/",
                place.port.filter(|port| *port > 0)?
            ))
        })
    }

    /// Asks again, after a load.
    pub(super) fn part(&mut self, report: &Report) -> Result<Part, Failure> {
        let after = standing(&self.socket)?;
        let part = part(&self.before, &after, &report.by_pid);
        self.before = after;
        Ok(part)
    }
}

fn standing(socket: &Path) -> Result<Standing, Failure> {
    let answer = status::ask(socket)?;
    serde_json::from_str(&answer).map_err(|error| {
        let message = format!("who answers at `{}` is no cluster", socket.display());
        let hint = "`--cluster SOCKET` is for that of `procession run --status SOCKET`";
        Failure::new(Exit::Failure, message, hint).caused_by(&error)
    })
}

fn part(before: &Standing, after: &Standing, answers: &BTreeMap<u32, u64>) -> Part {
    let find = |all: &[Worker], number| all.iter().position(|worker| worker.worker == number);
    let share = |worker: &Worker| {
        let was = find(&before.workers, worker.worker).and_then(|at| before.workers.get(at));
        let cpu = |worker: &Worker| worker.cpu.unwrap_or_default();
        let cpu_before = was.map(cpu).unwrap_or_default();
        let given_before = was.map(|worker| worker.given).unwrap_or_default();
        Share {
            worker: worker.worker,
            pid: worker.pid,
            connections: worker.given.saturating_sub(given_before),
            cpu: worker.cpu.map(|cpu| (cpu - cpu_before).max(0.0)),
            answers: (!answers.is_empty())
                .then(|| answers.get(&worker.pid).copied().unwrap_or_default()),
        }
    };
    let is_gone = |worker: &&Worker| find(&after.workers, worker.worker).is_none();
    let gone = before.workers.iter().filter(is_gone);
    Part {
        restarts: after.restarts.saturating_sub(before.restarts),
        workers: after.workers.iter().map(share).collect(),
        gone: gone.map(|worker| worker.worker).collect(),
    }
}

impl Part {
    pub(super) fn to_json(&self) -> Value {
        // Numbers and lists of numbers: always JSON.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// A row for each worker, and what happened to them.
    pub(super) fn section(&self) -> Section {
        let all: u64 = self.workers.iter().map(|share| share.connections).sum();
        let mut rows: Vec<Row> = self.workers.iter().map(|share| row(share, all)).collect();
        for worker in &self.gone {
            rows.push(Row::new(format!("worker {worker}"), "gone", Tone::Bad));
        }
        let tone = if self.restarts > 0 {
            Tone::Bad
        } else {
            Tone::Good
        };
        rows.push(Row::new("restarts", self.restarts.to_string(), tone));
        Section {
            title: "cluster",
            rows,
        }
    }
}

fn row(share: &Share, all: u64) -> Row {
    let mut parts = vec![format!("pid {}", share.pid)];
    if let Some(hundredths) = (share.connections * 100).checked_div(all) {
        parts.push(format!("{} connections ({hundredths}%)", share.connections));
    }
    if let Some(cpu) = share.cpu {
        parts.push(format!("{cpu:.2} s of CPU"));
    }
    if let Some(answers) = share.answers {
        parts.push(format!("{answers} answers"));
    }
    Row::new(
        format!("worker {}", share.worker),
        parts.join(", "),
        Tone::Plain,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{self, Paint};

    fn standing(text: &str) -> Standing {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_each_worker_got_is_what_came_since() {
        let before = standing(
            r#"{"restarts": 1, "listeners": [], "workers": [
                {"worker": 1, "pid": 11, "given": 5, "cpu": 1.0},
                {"worker": 2, "pid": 12, "given": 5, "cpu": 1.0}]}"#,
        );
        let after = standing(
            r#"{"restarts": 2, "listeners": [], "workers": [
                {"worker": 1, "pid": 11, "given": 8, "cpu": 1.5},
                {"worker": 3, "pid": 13, "given": 1, "cpu": 0.25}]}"#,
        );
        let answers = [(11, 300), (12, 7)].into();
        let part = part(&before, &after, &answers);
        let text = render::sections(&[part.section()], Paint::Plain);
        assert_eq!(
            text,
            "\ncluster\n  \
             worker 1  pid 11, 3 connections (75%), 0.50 s of CPU, 300 answers\n  \
             worker 3  pid 13, 1 connections (25%), 0.25 s of CPU, 0 answers\n  \
             worker 2  gone\n  \
             restarts  1\n"
        );
        assert_eq!(part.to_json()["workers"][1]["connections"], 1);
    }

    #[test]
    fn where_it_listens_is_a_url() {
        let url = |at: &str| {
            let text =
                format!(r#"{{"restarts": 0, "workers": [], "listeners": [{{"at": {at}}}]}}"#);
            let (socket, before) = (PathBuf::new(), standing(&text));
            Cluster { socket, before }.url()
        };
        let expected = |url: &str| Some(url.to_owned());
        assert_eq!(
            url(r#"{"address": "127.0.0.1", "port": 80}"#),
            expected("http://127.0.0.1:80/")
        );
        assert_eq!(
            url(r#"{"address": "::", "port": 80}"#),
            expected("http://localhost:80/")
        );
        assert_eq!(
            url(r#"{"address": "::1", "port": 80}"#),
            expected("http://[::1]:80/")
        );
        assert_eq!(
            url(r#"{"address": null, "port": 80}"#),
            expected("http://localhost:80/")
        );
        assert_eq!(url(r#"{"address": "/run/s", "port": null}"#), None);
    }
}
