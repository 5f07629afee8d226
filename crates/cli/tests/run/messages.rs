//! Messages that workers send to a primary which has no use for them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use procession::child_process::{Exit, Stdio};
use procession_testkit::{node, wait};
use serde_json::Value;

use super::stage::{Running, Stage, get};

/// Answers with how many messages are still to be sent. The first request begins with them:
/// as fast as the primary takes them, every thousandth with a connection.
const SENDS: &str = "
const cluster = require('cluster');
const net = require('net');
const text = 'x'.repeat(150);
let [left, unsent] = [100000, 100000];
function done(error) {
  if (error) throw error;
  unsent -= 1;
  next();
}
function next() {
  if (left === 0) return;
  left -= 1;
  if (left % 1000 === 500) net.connect(here.address().port, '127.0.0.1').resume();
  else cluster.worker.send({ text, left }, done);
}
const here = net.createServer({ pauseOnConnect: true });
here.on('connection', (socket) => cluster.worker.send({ text, left }, socket, done));
here.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
  require('http').createServer((q, s) => {
    if (left === 100000) for (let lane = 0; lane < 8; lane++) next();
    s.end(String(unsent));
  }).listen(0, '127.0.0.1');
});
";

/// So much more memory than before they came, in KiB. All of them are 20 MB.
const ROOM: u64 = 3 * 1024;

#[test]
fn what_workers_send_fills_up_nothing() {
    let Some(_) = node::or_skip("messages to procession run") else {
        return;
    };
    let stage = Stage::new(&[("sends.js", SENDS)]);
    let mut run = stage.run(&["-i", "1", "--status", "status", "sends.js"]);
    all_are_taken(&stage, &run);
    assert_eq!(run.stop(), Exit::Code(0), "{}", run.err());
    // Nobody is told of them.
    assert_eq!(run.out(), "");
    stage.end();
}

/// `--json` would tell them, but nobody reads.
#[test]
fn what_workers_send_waits_for_no_reader() {
    let Some(_) = node::or_skip("messages to procession run --json") else {
        return;
    };
    let stage = Stage::new(&[("sends.js", SENDS)]);
    let (reader, writer) = std::io::pipe().unwrap();
    let words = ["run", "--json", "-i", "1", "--status", "status", "sends.js"];
    let mut command = stage.command(&words);
    let mut run = stage.start_to(&mut command, Stdio::fd(writer));
    // Its copy of the pipe.
    drop(command);
    all_are_taken(&stage, &run);
    assert_eq!(run.stop(), Exit::Code(0));
    drop(reader);
    stage.end();
}

/// Waits until the worker has sent all, and looks at what that has cost the primary.
#[track_caller]
fn all_are_taken(stage: &Stage, run: &Running) {
    let at = wait::until("one that listens", || {
        let (_, out, _) = stage.screen(&["status", "status"]);
        let status: Value = serde_json::from_str(&out).ok()?;
        let port = status["listeners"][0]["at"]["port"].as_u64()?;
        (status["ready"] == 1).then_some((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()))
    });
    let at = SocketAddr::from(at);
    let (memory, files) = (kib(run.pid(), "VmRSS:"), descriptors(run.pid()));
    wait::until("the last message", || (get(at) == "0").then_some(()));
    let most = kib(run.pid(), "VmHWM:");
    assert!(most < memory + ROOM, "{memory} KiB became {most}");
    wait::until("what came along is closed", || {
        (descriptors(run.pid()) <= files).then_some(())
    });
}

/// The value of a line of `/proc/PID/status`, in KiB.
fn kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
