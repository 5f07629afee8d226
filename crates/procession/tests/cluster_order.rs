//! The events of a worker's life in Node's order: the same program under Node's
//! own primary and under ours.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "Node has no more events than these"
)]

#[expect(dead_code, reason = "the test kit's tricks are not needed here")]
mod support;

use std::path::Path;

use procession::child_process::{Command, Signal};
use procession::cluster::{Event, Primary, Spec};
use procession_testkit::leaks::Oracle;
use procession_testkit::node;
use support::{scene, tagged};

const WORKER: &str = "
process.send('here');
const server = require('http').createServer();
server.listen(0, '127.0.0.1', () => {
  if (process.env.END === 'exit') setImmediate(() => process.exit(3));
});
";

const PRIMARY: &str = "
const cluster = require('cluster');
cluster.setupPrimary({ exec: process.argv[2] });
const seen = [];
for (const name of ['fork', 'online', 'message', 'listening', 'disconnect', 'exit']) {
  cluster.on(name, () => seen.push(name));
}
cluster.on('listening', (worker) => {
  if (process.env.END === 'disconnect') worker.disconnect();
  if (process.env.END === 'kill') worker.process.kill('SIGKILL');
});
process.on('exit', () => console.log(seen.join(' ')));
cluster.fork();
";

async fn under_node(oracle: &Oracle, folder: &Path, end: &str) -> String {
    let (primary, worker) = (folder.join("primary.js"), folder.join("worker.js"));
    let words = [primary.to_str().unwrap(), worker.to_str().unwrap()];
    let mut command = tagged(oracle, Command::new("node"), &words);
    command.env("END", end);
    let output = command.output().await.unwrap();
    output.stdout_str().unwrap().trim().to_owned()
}

async fn under_ours(oracle: &Oracle, folder: &Path, end: &str) -> String {
    let mut command = Command::node(folder.join("worker.js"));
    command.envs([oracle.tag()]).env("END", end);
    let mut spec = Spec::new(command);
    spec.workers = 1;
    let mut primary = Primary::start(spec).unwrap();
    let control = primary.control();
    let (mut seen, mut worker_ended) = (Vec::new(), None);
    while let Some(event) = primary.next_event().await {
        let name = match &event {
            Event::Fork { .. } => "fork",
            Event::Online { .. } => "online",
            Event::Message { .. } => "message",
            Event::Listening { worker, .. } => {
                match end {
                    "disconnect" => control.disconnect(*worker).await.unwrap(),
                    "kill" => drop(control.signal(*worker, Signal::KILL).await.unwrap()),
                    _ => {}
                }
                "listening"
            }
            Event::Disconnect { .. } => "disconnect",
            Event::Exit { worker, .. } => {
                worker_ended.get_or_insert(*worker);
                "exit"
            }
            Event::Over { .. } => break,
            _ => continue,
        };
        if worker_ended.is_none() || name == "exit" && !seen.contains(&"exit") {
            seen.push(name);
        }
        if name == "exit" {
            // Another would take its place.
            let _over = control.kill().await;
        }
    }
    seen.join(" ")
}

#[test]
fn a_workers_events_come_in_nodes_order() {
    if node::or_skip("the order of a cluster's events").is_none() {
        return;
    }
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("worker.js"), WORKER).unwrap();
        std::fs::write(folder.path().join("primary.js"), PRIMARY).unwrap();
        for end in ["disconnect", "kill", "exit"] {
            let node = under_node(oracle, folder.path(), end).await;
            // What overtakes another does so only now and then.
            for _ in 0..5 {
                let ours = under_ours(oracle, folder.path(), end).await;
                assert_eq!(ours, node, "{end}");
            }
        }
    });
}
