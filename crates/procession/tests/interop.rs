//! Every scenario of `interop/ipc/scenarios.json`, with Node and with Rust on
//! either side, in both serializations.
//!
//! The two sides are programs of their own: `interop/ipc/peer.cjs` and the
//! example `ipc_peer`. Node over Node is the control: what the table expects is
//! what Node itself does. The Node on `PATH` takes part, or `PROCESSION_NODE`;
//! `cargo xtask interop` runs others, and asks by `PROCESSION_INTEROP_REPORT`
//! for a line of JSON for each scenario in that file.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[expect(dead_code, reason = "the machine's side does not matter here")]
#[path = "support/facts.rs"]
mod facts;
#[expect(dead_code, reason = "the children here are the scenarios' own")]
mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::{Command, Exit, Signal, Stdio};
use procession_testkit::leaks::{Oracle, exclusive};
use serde::Deserialize;
use serde_json::json;
use support::{scene, tagged};

/// For all scenarios of a pair; the scenarios' own limit is 20 s each.
const LIMIT: Duration = Duration::from_secs(80);

/// Few, so that the sides can be made to run out of them.
const DESCRIPTORS: &str = "ulimit -n 256; exec \"$@\"";

const SERIALIZATIONS: [&str; 2] = ["json", "advanced"];

/// A program that can be one side.
#[derive(Clone, Debug)]
struct Peer {
    /// As the table calls it: `node`, `rust`, `bun` …
    kind: String,
    /// What it is and its version.
    name: String,
    /// The program and its first arguments.
    words: Vec<String>,
    /// Of a Node.
    major: Option<u32>,
    /// It runs only the scenarios that name it.
    is_other: bool,
}

#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    #[serde(default)]
    mirror: bool,
    /// Its parent is killed: nothing can run after it.
    #[serde(default)]
    alone: bool,
    /// Which other runtimes can do it as a child.
    #[serde(default)]
    others: Vec<String>,
    modes: Option<Vec<String>>,
    parents: Option<Vec<String>>,
    children: Option<Vec<String>>,
    /// The oldest Node that can do it as the parent.
    oldest: Option<u32>,
    /// Who hands over, if not anybody can.
    giver: Option<String>,
}

/// What both sides said of each scenario, or that it does not apply.
type Outcomes = BTreeMap<String, String>;

#[test]
fn node_over_node() {
    with_node("node_over_node", |node| run(&node, &node));
}

#[test]
fn node_over_rust() {
    with_node("node_over_rust", |node| run(&node, &rust()));
}

#[test]
fn rust_over_node() {
    with_node("rust_over_node", |node| run(&rust(), &node));
}

#[test]
fn rust_over_rust() {
    run(&rust(), &rust());
}

/// Deno or Bun, where `PROCESSION_OTHER` names one: `["deno","run","-A"]`.
#[test]
fn rust_over_another_runtime() {
    let Ok(words) = std::env::var("PROCESSION_OTHER") else {
        facts::skip("rust_over_another_runtime", "no PROCESSION_OTHER");
        return;
    };
    let mut words: Vec<String> = serde_json::from_str(&words).unwrap();
    let name = std::env::var("PROCESSION_OTHER_NAME").unwrap();
    words.push(script());
    let other = Peer {
        kind: name.clone(),
        name,
        words,
        major: None,
        is_other: true,
    };
    run(&rust(), &other);
}

fn with_node(test: &str, scenarios: impl FnOnce(Peer)) {
    // Our service threads begin with the first child: not in another test's view.
    let alone = exclusive();
    let named = std::env::var("PROCESSION_NODE").ok().map(PathBuf::from);
    let found = named.or_else(|| procession_testkit::node::find().map(|node| node.path));
    let Some(path) = found else {
        facts::skip(test, "there is no Node here");
        return;
    };
    let asked = Command::new(&path).arg("--version").outcome_blocking();
    let name = String::from_utf8(asked.unwrap().stdout).unwrap();
    drop(alone);
    let major = name.trim_start_matches('v').split('.').next().unwrap();
    scenarios(Peer {
        kind: "node".into(),
        name: format!("Node {}", name.trim()),
        words: vec![path.to_str().unwrap().to_owned(), script()],
        major: major.parse().ok(),
        is_other: false,
    });
}

fn rust() -> Peer {
    let itself = std::env::current_exe().unwrap();
    let path = itself.ancestors().nth(2).unwrap().join("examples/ipc_peer");
    let shown = path.display();
    assert!(path.exists(), "missing {shown}: cargo build --examples");
    Peer {
        kind: "rust".into(),
        name: "Rust".into(),
        words: vec![path.to_str().unwrap().to_owned()],
        major: None,
        is_other: false,
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/ipc")
}

fn script() -> String {
    let script = folder().canonicalize().unwrap().join("peer.cjs");
    script.to_str().unwrap().to_owned()
}

/// The whole table with these two, and the verdict.
fn run(parent: &Peer, child: &Peer) {
    let table = std::fs::read(folder().join("scenarios.json")).unwrap();
    let table: Vec<Scenario> = serde_json::from_slice(&table).unwrap();
    let mut failures = Vec::new();
    scene(async |oracle| {
        let cells = SERIALIZATIONS.map(|serialization| {
            let table = &table;
            async move {
                let outcomes = cell(oracle, table, serialization, (parent, child)).await;
                (serialization, outcomes)
            }
        });
        let [json, advanced] = cells;
        for (serialization, outcomes) in <[_; 2]>::from(tokio::join!(json, advanced)) {
            report(parent, child, serialization, &outcomes);
            let failed = outcomes.iter().filter(|(_, outcome)| *outcome != "ok");
            failures.extend(
                failed.map(|(name, outcome)| format!("{name} ({serialization}): {outcome}")),
            );
        }
    });
    assert!(
        failures.is_empty(),
        "{} over {}:\n{}",
        parent.name,
        child.name,
        failures.join("\n")
    );
}

/// One pair in one serialization: most scenarios in one process of the parent's.
async fn cell(
    oracle: &Oracle,
    table: &[Scenario],
    serialization: &str,
    (parent, child): (&Peer, &Peer),
) -> Outcomes {
    let fits = |scenario: &&Scenario| scenario.fits(serialization, parent, child);
    let (alone, others): (Vec<_>, Vec<_>) = table.iter().filter(fits).partition(|one| one.alone);
    let names: Vec<String> = others
        .iter()
        .flat_map(|scenario| scenario.names(parent, child))
        .collect();
    let pair = (parent, child);
    let mut outcomes = scenarios(oracle, serialization, pair, &names).await;
    for scenario in alone {
        let name = scenario.name.clone();
        outcomes.extend(scenarios(oracle, serialization, pair, &[name]).await);
    }
    outcomes
}

impl Scenario {
    fn fits(&self, serialization: &str, parent: &Peer, child: &Peer) -> bool {
        let admits = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref()
                .is_none_or(|list| list.iter().any(|one| one == word))
        };
        admits(&self.modes, serialization)
            && admits(&self.parents, &parent.kind)
            && self.oldest <= parent.major.or(self.oldest)
            && admits(&self.children, &child.kind)
            && (!child.is_other || admits(&Some(self.others.clone()), &child.kind))
            // Which is its own there, and no Node's.
            && (child.kind != "bun" || serialization == "json")
    }

    fn names(&self, parent: &Peer, child: &Peer) -> Vec<String> {
        let can_give = |peer: &Peer| self.giver.as_ref().is_none_or(|giver| *giver == peer.kind);
        let mut names = Vec::new();
        if can_give(parent) {
            names.push(self.name.clone());
        }
        if self.mirror && can_give(child) && !child.is_other {
            names.push(format!("{}, from the child", self.name));
        }
        names
    }
}

async fn scenarios(
    oracle: &Oracle,
    serialization: &str,
    (parent, child): (&Peer, &Peer),
    names: &[String],
) -> Outcomes {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = tagged(oracle, Command::new("sh"), &["-c", DESCRIPTORS, "sh"]);
    command.args(&parent.words);
    command.args(["parent", serialization]).arg(scratch.path());
    command
        .arg(serde_json::to_string(&child.words).unwrap())
        .args(names);
    command.stdin(Stdio::Ignore).timeout(LIMIT);
    let outcome = command.outcome().await.unwrap();
    let said = String::from_utf8_lossy(&outcome.stdout);
    let mut outcomes = Outcomes::new();
    for name in names {
        outcomes.insert(name.clone(), verdict(name, &said));
    }
    let killed = matches!(
        outcome.exit,
        Exit::Signal {
            signal: Signal::KILL,
            ..
        }
    );
    if killed && let [name] = names {
        // The parent had no time to say how it went: its child did.
        let is_told = said.contains(&format!("{name}\tchild\tok\n"));
        outcomes.insert(
            name.clone(),
            if is_told {
                "ok"
            } else {
                "its child said nothing"
            }
            .into(),
        );
    } else if outcome.exit != Exit::Code(0) {
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        outcomes.insert("all".into(), format!("{:?}\n{stderr}", outcome.exit));
    }
    outcomes
}

/// Of what both sides said.
fn verdict(name: &str, said: &str) -> String {
    let mut wrong = Vec::new();
    for side in ["parent", "child"] {
        let prefix = format!("{name}\t{side}\t");
        match said.lines().find_map(|line| line.strip_prefix(&prefix)) {
            Some("ok") => {}
            Some(failure) => wrong.push(format!("{side}: {failure}")),
            None => wrong.push(format!("{side}: said nothing")),
        }
    }
    if wrong.is_empty() {
        "ok".into()
    } else {
        wrong.join("; ")
    }
}

/// For `cargo xtask interop`.
fn report(parent: &Peer, child: &Peer, serialization: &str, outcomes: &Outcomes) {
    let Ok(path) = std::env::var("PROCESSION_INTEROP_REPORT") else {
        return;
    };
    let mut file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    let mut lines = String::new();
    for (name, outcome) in outcomes {
        let line = json!({
            "parent": parent.name, "child": child.name, "serialization": serialization,
            "name": name, "outcome": outcome,
        });
        lines += &format!("{line}\n");
    }
    file.write_all(lines.as_bytes()).unwrap();
}
