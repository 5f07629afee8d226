//! Workers of several programs behind one address, and of one that is not Node.
//!
//! Always: the Node on `PATH`, or `PROCESSION_NODE`, and a Rust server. `cargo xtask interop
//! --all-nodes` adds others: `PROCESSION_MIXED` is `{"Deno":["deno","run","-A"],…}`, and
//! `PROCESSION_OTHER` is one program that serves alone.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all that happens a test looks for one thing"
)]

#[expect(dead_code, reason = "the machine's side does not matter here")]
#[path = "support/facts.rs"]
mod facts;
#[expect(dead_code, reason = "the children here are servers")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use procession::child_process::{Command, Signal};
use procession::cluster::{Control, Event, Policy, Primary, Spec, WorkerId};
use procession_testkit::leaks::{Oracle, exclusive};
use support::{scene, tagged};

/// Programs by the names that they answer with, and their words.
type Programs = BTreeMap<String, Vec<String>>;

/// Requests at a time while workers are killed.
const CLIENTS: usize = 4;
/// A request that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(15);

/// A cluster with one worker of each program, or two of one.
struct Stage {
    primary: Primary,
    control: Control,
    at: SocketAddr,
    names: BTreeSet<String>,
    /// Some bound the port themselves.
    self_bound: u32,
}

/// What clients saw.
#[derive(Debug, Default)]
struct Seen {
    answers: BTreeMap<String, u32>,
    failures: Vec<ErrorKind>,
}

impl Stage {
    /// A worker of each, and a Rust one where it is asked for.
    fn start(oracle: &Oracle, programs: &Programs, rust: bool, balance: Policy) -> Self {
        let at = free_address();
        let mut names: BTreeSet<String> = programs.keys().cloned().collect();
        let mut commands: Vec<Command> = programs
            .values()
            .map(|words| server(oracle, words, at))
            .collect();
        if rust {
            commands.push(subject(oracle, at));
            names.insert("Rust".into());
        }
        let workers = commands.len().max(2);
        let mut spec = Spec::new(commands.remove(0));
        spec.mixed_with = commands;
        spec.workers = u32::try_from(workers).unwrap();
        spec.balance = balance;
        // Bun closes its channel and goes on serving.
        spec.stop.grace = Duration::from_secs(1);
        let primary = Primary::start(spec).unwrap();
        Self {
            control: primary.control(),
            primary,
            at,
            names,
            self_bound: 0,
        }
    }

    async fn ready(&mut self) {
        loop {
            match self
                .primary
                .next_event()
                .await
                .expect("the cluster is over")
            {
                Event::AllReady => return,
                Event::Listening { self_bound, .. } => self.self_bound += u32::from(self_bound),
                // Each of the programs is one that works.
                Event::NotReady { worker, waited } => panic!("{worker}: {waited:?}"),
                Event::ClusterError { worker, error } => panic!("{worker}: {error}"),
                Event::ChannelError { worker, error } => panic!("{worker}: {error}"),
                _ => {}
            }
        }
    }

    /// Asks until everybody has answered; nobody is lost.
    async fn all_answer(&self) {
        let mut seen = BTreeSet::new();
        for _ in 0..600 {
            seen.insert(get(self.at).await.unwrap());
            if seen == self.names {
                return;
            }
        }
        panic!("of {:?} only {seen:?} answer", self.names);
    }

    /// Kills that worker under load, and waits for the next.
    async fn kill(&mut self, worker: WorkerId) -> Seen {
        let over = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|_| tokio::spawn(ask_until(Arc::clone(&over), self.at)));
        let clients: Vec<_> = clients.collect();
        assert!(self.control.signal(worker, Signal::KILL).await.unwrap());
        self.ready().await;
        over.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        for client in clients {
            let part = client.await.unwrap();
            for (name, count) in part.answers {
                *seen.answers.entry(name).or_default() += count;
            }
            seen.failures.extend(part.failures);
        }
        seen
    }

    async fn stop(mut self) -> u32 {
        self.control.stop().await.unwrap();
        loop {
            if let Event::Over { killed, .. } = self.primary.next_event().await.unwrap() {
                return killed;
            }
        }
    }
}

async fn ask_until(over: Arc<AtomicBool>, at: SocketAddr) -> Seen {
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) {
        match get(at).await {
            Ok(name) => *seen.answers.entry(name).or_default() += 1,
            Err(error) => seen.failures.push(error.kind()),
        }
    }
    seen
}

/// Asks once, over a connection of its own; says who answered.
async fn get(at: SocketAddr) -> std::io::Result<String> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect_timeout(&at, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: it\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let Some((_, body)) = answer.split_once("\r\n\r\n") else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let is_rust = body.starts_with("worker ");
        Ok(if is_rust { "Rust" } else { body }.to_owned())
    })
    .await
    .unwrap()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn server(oracle: &Oracle, words: &[String], at: SocketAddr) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/cluster/who.cjs");
    let mut command = tagged(oracle, Command::new(&words[0]), &[]);
    command
        .args(&words[1..])
        .arg(script.canonicalize().unwrap());
    command.env("PORT", at.port());
    command
}

fn subject(oracle: &Oracle, at: SocketAddr) -> Command {
    let itself = std::env::current_exe().unwrap();
    let examples = itself.ancestors().nth(2).unwrap().join("examples");
    let path = examples.join("cluster_subject");
    assert!(path.exists(), "missing: cargo build --examples");
    tagged(oracle, Command::new(path), &[&at.to_string()])
}

fn node() -> Option<(String, Vec<String>)> {
    // Our service threads begin with the first child: not in another test's view.
    let _alone = exclusive();
    let named = std::env::var("PROCESSION_NODE").ok().map(PathBuf::from);
    let path = named.or_else(|| procession_testkit::node::find().map(|node| node.path))?;
    let asked = Command::new(&path).arg("--version").outcome_blocking();
    let version = String::from_utf8(asked.unwrap().stdout.to_vec()).unwrap();
    let major = version.trim_start_matches('v').split('.').next().unwrap();
    Some((format!("Node {major}"), vec![path.to_str()?.to_owned()]))
}

#[test]
fn several_programs_serve_one_address_and_survive_each_other() {
    let test = "several programs behind one address";
    let Some((name, words)) = node() else {
        return facts::skip(test, "there is no Node here");
    };
    let mut programs = Programs::from([(name, words)]);
    match std::env::var("PROCESSION_MIXED") {
        Ok(others) => programs.extend(serde_json::from_str::<Programs>(&others).unwrap()),
        Err(_) => facts::skip(test, "others than one Node and Rust: no PROCESSION_MIXED"),
    }
    for balance in [Policy::Auto, Policy::Spread, Policy::RoundRobin] {
        scene(async |oracle| {
            let shown = balance.to_string();
            let mut stage = Stage::start(oracle, &programs, true, balance.clone());
            stage.ready().await;
            stage.all_answer().await;
            let workers = u32::try_from(stage.names.len()).unwrap();
            for worker in 1..=workers {
                let seen = stage.kill(WorkerId(worker)).await;
                // What it had begun to serve is lost with it, and nothing else.
                let is_cut = |kind: &ErrorKind| {
                    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
                };
                let cut = seen.failures.iter().filter(|kind| is_cut(kind)).count();
                assert_eq!(cut, seen.failures.len(), "{shown}, {worker}: {seen:?}");
                assert!(cut <= CLIENTS, "{shown}, {worker}: {seen:?}");
                assert!(
                    seen.answers.values().sum::<u32>() > 0,
                    "{shown}, {worker}: {seen:?}"
                );
            }
            stage.all_answer().await;
            assert_eq!((stage.self_bound, stage.stop().await), (0, 0), "{shown}");
        });
    }
}

/// Deno or Bun, where `PROCESSION_OTHER` names one: `["deno","run","-A"]`.
#[test]
fn another_runtime_serves_alone() {
    let Ok(words) = std::env::var("PROCESSION_OTHER") else {
        return facts::skip("another_runtime_serves_alone", "no PROCESSION_OTHER");
    };
    let words: Vec<String> = serde_json::from_str(&words).unwrap();
    let is_bun = std::env::var("PROCESSION_OTHER_NAME").unwrap() == "bun";
    let name = if is_bun { "Bun" } else { "Deno" };
    let programs = Programs::from([(name.to_owned(), words)]);
    for balance in [Policy::Auto, Policy::Spread, Policy::LeastBusy] {
        scene(async |oracle| {
            let shown = balance.to_string();
            let mut stage = Stage::start(oracle, &programs, false, balance.clone());
            stage.ready().await;
            stage.all_answer().await;
            let seen = stage.kill(WorkerId(1)).await;
            // Bun has a socket of its own: what waited there is reset with it.
            let hung =
                |kind: &ErrorKind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!seen.failures.iter().any(hung), "{shown}: {seen:?}");
            assert!(seen.answers[name] > 0, "{shown}: {seen:?}");
            stage.all_answer().await;
            // It binds the port itself, and is not balanced.
            assert_eq!(stage.self_bound, if is_bun { 3 } else { 0 }, "{shown}");
            assert_eq!(stage.stop().await, 0, "{shown}");
        });
    }
}
