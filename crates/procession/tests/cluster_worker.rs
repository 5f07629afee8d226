//! Rust workers under Node's own primary, in both serializations and both of
//! its ways to share a port.
//!
//! The Node on `PATH` takes part, or `PROCESSION_NODE`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[expect(dead_code, reason = "the machine's side does not matter here")]
#[path = "support/facts.rs"]
mod facts;
#[expect(dead_code, reason = "the children here are Node's")]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::{Command, Stdio};
use procession_testkit::example;
use procession_testkit::leaks::{Oracle, exclusive};
use serde::Deserialize;
use support::{scene, tagged};

const LIMIT: Duration = Duration::from_secs(50);

/// The exit codes of the subject.
const TOLD: i32 = 10;
const ALLOWED: i32 = 11;
const LOST: i32 = 13;

/// What the primary saw.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// By worker, in order.
    events: BTreeMap<u32, Vec<String>>,
    answers: Vec<String>,
    echoes: Vec<bool>,
    exits: Vec<SeenExit>,
    ports: Vec<i32>,
    #[serde(default)]
    slow: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenExit {
    code: Option<i32>,
    signal: Option<String>,
    on_purpose: bool,
}

impl Seen {
    /// Both workers were online, listened and left, with this code.
    fn check(&self, code: i32, on_purpose: bool) {
        let life = ["online", "listening", "disconnect"].map(String::from);
        assert_eq!(self.events.len(), 2, "{self:?}");
        assert!(
            self.events.values().all(|events| *events == life),
            "{self:?}"
        );
        assert_eq!(self.ports[0], self.ports[1], "one port for both");
        let exit = SeenExit {
            code: Some(code),
            signal: None,
            on_purpose,
        };
        assert_eq!(self.exits.len(), 2, "{self:?}");
        assert!(self.exits.iter().all(|seen| *seen == exit), "{self:?}");
    }

    fn answered_by(&self, worker: &str) -> usize {
        self.answers
            .iter()
            .filter(|answer| *answer == worker)
            .count()
    }
}

#[test]
fn requests_are_served_and_messages_answered_until_the_primary_disconnects() {
    each(
        |policy, seen| {
            seen.check(TOLD, true);
            assert_eq!(seen.answers.len(), 20);
            let one = seen.answered_by("worker 1");
            let other = seen.answered_by("worker 2");
            assert_eq!(one + other, 20, "{seen:?}");
            if policy == "rr" {
                assert_eq!((one, other), (10, 10));
            }
            assert_eq!(seen.echoes, [true, true]);
            assert_eq!(seen.slow.len(), 2, "what had begun was answered");
        },
        "serve",
        "127.0.0.1:0",
    );
}

#[test]
fn workers_leave_by_themselves_and_no_request_is_lost() {
    each(
        |_, seen| {
            seen.check(ALLOWED, true);
            assert!(!seen.answers.is_empty());
        },
        "leave",
        "127.0.0.1:0",
    );
}

#[test]
fn workers_end_themselves_on_purpose() {
    each(|_, seen| seen.check(ALLOWED, true), "kill", "127.0.0.1:0");
}

#[test]
fn workers_end_when_their_primary_is_lost() {
    each(|_, seen| seen.check(LOST, false), "lost", "127.0.0.1:0");
}

#[test]
fn a_unix_socket_is_served_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    each(
        |_, seen| {
            seen.check(TOLD, true);
            assert_eq!(seen.answers.len(), 20);
        },
        "serve",
        path.to_str().unwrap(),
    );
}

#[test]
fn axum_is_a_worker() {
    let Some(node) = node() else { return };
    scene(async |oracle| {
        for policy in ["rr", "none"] {
            let words = ["json", policy, "127.0.0.1:0", "axum"];
            let seen = primary(oracle, &node, &example("axum_worker"), words).await;
            seen.check(0, true);
            assert_eq!(seen.answers.len(), 20);
            assert_eq!(seen.echoes, [true, true]);
        }
    });
}

/// A scenario in both serializations and with both policies.
fn each(check: impl Fn(&str, &Seen), scenario: &str, at: &str) {
    let Some(node) = node() else { return };
    let subject = example("cluster_subject");
    scene(async |oracle| {
        for policy in ["rr", "none"] {
            for serialization in ["json", "advanced"] {
                let words = [serialization, policy, at, scenario];
                let seen = primary(oracle, &node, &subject, words).await;
                check(policy, &seen);
            }
        }
    });
}

async fn primary(oracle: &Oracle, node: &Path, worker: &Path, words: [&str; 4]) -> Seen {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/cluster_worker/primary.cjs"
    );
    let mut command = tagged(oracle, Command::new(node), &[script]);
    command.arg(worker).args(words);
    command.stdin(Stdio::Ignore).timeout(LIMIT);
    let output = command.output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn node() -> Option<PathBuf> {
    // Our service threads begin with the first child: not in another test's view.
    let _alone = exclusive();
    let named = std::env::var("PROCESSION_NODE").ok().map(PathBuf::from);
    let found = named.or_else(|| procession_testkit::node::find().map(|node| node.path));
    if found.is_none() {
        facts::skip("cluster_worker", "there is no Node here");
    }
    found
}
