//! Programs under `procession trace` notice nothing, and the trace tells all.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::{Command, Outcome, Signal, Tree};
use procession_testkit::leaks::Oracle;
use procession_testkit::{node, program, wait};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any of these programs takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const BOTH: [&str; 2] = ["json", "advanced"];

/// A folder with programs, under the eyes of the oracle.
struct Stage {
    oracle: Oracle,
    home: TempDir,
}

/// One run: what the program said, and its trace.
struct Run {
    outcome: Outcome,
    trace: Vec<Value>,
}

impl Stage {
    fn new(files: &[(&str, &str)]) -> Self {
        let oracle = Oracle::start();
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(home.path().join(name), text).unwrap();
        }
        Self { oracle, home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command.args(args).current_dir(self.home.path());
        command.envs([self.oracle.tag()]).timeout(LIMIT);
        command.env("TMPDIR", self.home.path());
        command.env_remove("NODE_OPTIONS");
        command
    }

    fn procession(&self, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_procession"), args)
    }

    /// Runs `node ARGS` as it is.
    fn plain(&self, args: &[&str]) -> Outcome {
        self.command("node", args).outcome_blocking().unwrap()
    }

    /// Runs `node ARGS` under trace, and reads the trace.
    fn traced(&self, args: &[&str]) -> Run {
        let words = ["trace", "--json", "-o", "trace.json", "--", "node"];
        let outcome = self
            .procession(&[&words[..], args].concat())
            .outcome_blocking()
            .unwrap();
        Run {
            outcome,
            trace: self.trace("trace.json"),
        }
    }

    fn trace(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(file)).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.map(Result::unwrap).collect()
    }

    /// Nothing is left, neither processes nor the folder of the trace.
    fn end(self) {
        let left = fs::read_dir(self.home.path()).unwrap().flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name.starts_with("procession-trace-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        drop(self.home);
        self.oracle.check();
    }
}

fn said(outcome: &Outcome) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        outcome.exit.code(),
        text(&outcome.stdout),
        text(&outcome.stderr),
    )
}

fn of_kind<'t>(trace: &'t [Value], kind: &str) -> Vec<&'t Value> {
    trace.iter().filter(|line| line["kind"] == kind).collect()
}

/// Every message was read and came out as it went in.
fn all_understood(trace: &[Value]) {
    for line in trace {
        for mark in ["rewritten", "unread", "problem"] {
            assert!(line.get(mark).is_none(), "{line}");
        }
        assert!(
            line["kind"] != "raw" && line["partial"].as_u64().unwrap_or(0) == 0,
            "{line}"
        );
    }
}

/// A parent that goes through everything that a channel can do, one after the
/// other, and says what it sees. Whatever differs from run to run is left out.
const TOUR: &str = r"
const { fork, spawn } = require('child_process');
const net = require('net'), dgram = require('dgram'), once = require('events').once;
const serialization = process.argv[2];
const rich = serialization === 'advanced'
  ? { map: new Map([[{ k: 1 }, new Set(['é', -0, 1n])]]), date: new Date(7), re: /x/gi, b: Buffer.from('hi'), u: undefined,
      err: new RangeError('far'), f: new Float64Array([0.1, NaN]), big: 123456789012345678901234567890n, holes: [1, , 3] }
  : { list: [1, 0.1, -1e-7, 1e21, 5e-324, null], text: 'é\u2028\u{1f600}\n\u0001', nested: { a: { b: [[]] } }, 7: 1, '': 2 };
rich.self = serialization === 'advanced' ? rich : 0;
const start = (what, options) => fork(__dirname + '/child.js', [what], { serialization, ...options });
const exited = async (c, note) => { const [code, signal] = await once(c, 'exit'); console.log(note, code, signal); };
async function messages() {
  const c = start('echo');
  console.log(c.spawnfile === process.execPath, c.spawnargs.slice(1).map((a) => a.replace(__dirname, '.')), c.connected);
  for (const m of [rich, 'text', 0, -0, 1.5, true, false, null, [], {}, { cmd: 'NODE_' }, 'x'.repeat(1 << 20)]) {
    c.send(m);
    const [answer] = await once(c, 'message');
    console.log(typeof m === 'string' ? answer === m : answer);
  }
  c.send({ pid: true });
  const [who] = await once(c, 'message');
  console.log(who.pid === c.pid, who.ppid === process.pid, who.children, who.fd, who.env);
  c.disconnect();
  await once(c, 'disconnect');
  await exited(c, 'echo');
}
async function handles() {
  const c = start('handles');
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  c.send('server', server);
  await once(c, 'message');
  const client = net.connect(server.address().port, '127.0.0.1');
  server.close();
  console.log('from the child:', String((await once(client, 'data'))[0]));
  client.destroy();
  const own = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(own, 'listening');
  const other = net.connect(own.address().port, '127.0.0.1');
  const [socket] = await once(own, 'connection');
  c.send('socket', socket);
  console.log('over the socket:', String((await once(other, 'data'))[0]));
  other.destroy();
  own.close();
  const udp = dgram.createSocket('udp4');
  udp.bind(0, '127.0.0.1');
  await once(udp, 'listening');
  c.send('udp', udp);
  console.log('udp:', (await once(c, 'message'))[0] === udp.address().port);
  udp.close();
  const [back, handle] = await new Promise((done) => {
    c.once('message', (...all) => done(all));
    c.send('give');
  });
  console.log(back, handle.constructor.name, handle.listening);
  handle.close();
  c.disconnect();
  await exited(c, 'handles');
}
async function ends() {
  const burst = start('burst'), got = [];
  burst.on('message', (m) => got.push(m.i));
  await exited(burst, 'burst');
  if (burst.connected) await once(burst, 'disconnect');
  console.log(got.length, got.every((i, at) => i === at));
  await exited(start('code'), 'code');
  const killed = start('wait');
  await once(killed, 'message');
  killed.kill('SIGUSR2');
  await exited(killed, 'killed');
  const last = start('last');
  for (let i = 0; i < 100; i++) last.send({ i });
  last.disconnect();
  await exited(last, 'last');
  const missing = spawn('/nonexistent/program', ['a'], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const [error] = await once(missing, 'error');
  console.log(error.code, error.path, error.spawnargs, missing.pid);
  const sent = start('last');
  sent.disconnect();
  sent.send('late', (e) => console.log(e.code));
  await exited(sent, 'late');
}
(async () => { await messages(); await handles(); await ends(); })();
";

const CHILD: &str = r"
const fs = require('fs'), net = require('net'), once = require('events').once;
const what = process.argv[2];
if (what === 'echo') process.on('message', (m) => {
  if (!m?.pid) return process.send(m);
  let children = 'unknown';
  try { children = fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8'); } catch {}
  const env = Object.keys(process.env).filter((k) => k.startsWith('NODE_CHANNEL'));
  process.send({ pid: process.pid, ppid: process.ppid, children, fd: process.channel.fd, env });
});
if (what === 'handles') process.on('message', (m, h) => {
  if (m === 'server') { h.once('connection', (s) => { s.end('served by ' + typeof h); h.close(); }); process.send('ready'); }
  if (m === 'socket') h.end('hello');
  if (m === 'udp') { process.send(h.address().port); h.close(); }
  if (m === 'give') { const s = net.createServer().listen(0, '127.0.0.1', () => process.send('given', s, () => s.close())); }
});
if (what === 'burst') {
  for (let i = 0; i < 99; i++) process.send({ i, pad: 'p'.repeat(i * 10) });
  process.send({ i: 99 }, () => process.exit(0));
}
if (what === 'code') process.exit(42);
if (what === 'wait') { process.send('up'); process.on('message', () => {}); }
if (what === 'last') {
  let n = 0;
  process.on('message', () => { n += 1; });
  process.on('disconnect', () => process.exit(n));
}
";

#[test]
fn an_unmodified_parent_and_its_children_notice_nothing() {
    let Some(_) = node::or_skip("an_unmodified_parent_and_its_children_notice_nothing") else {
        return;
    };
    let stage = Stage::new(&[("parent.js", TOUR), ("child.js", CHILD)]);
    for serialization in BOTH {
        let plain = said(&stage.plain(&["parent.js", serialization]));
        assert_eq!((plain.0, plain.2.as_str()), (Some(0), ""), "{}", plain.1);
        assert!(plain.1.contains("last 100 null"), "{}", plain.1);
        let run = stage.traced(&["parent.js", serialization]);
        assert_eq!(said(&run.outcome), plain, "{serialization}");
        all_understood(&run.trace);
        assert_eq!(of_kind(&run.trace, "start").len(), 7);
        let handles = of_kind(&run.trace, "handle");
        let types: Vec<_> = handles.iter().map(|line| &line["handle"]["type"]).collect();
        assert_eq!(
            types,
            ["net.Server", "net.Socket", "dgram.Socket", "net.Server"]
        );
        assert_eq!(of_kind(&run.trace, "handle_ack").len(), 4);
    }
    stage.end();
}

/// Fills a child that is stopped, then lets it go on.
const FILLER: &str = r"
const { fork } = require('child_process');
const c = fork(__dirname + '/counter.js');
c.once('message', () => {
  c.kill('SIGSTOP');
  let sent = 0, full = false;
  const pad = 'x'.repeat(4096);
  while (!full && sent < 5000) { full = !c.send({ sent, pad }); sent += 1; }
  setTimeout(() => {
    let more = 0;
    while (c.send({ sent, pad }) && more < 5000) { more += 1; sent += 1; }
    sent += 1;
    console.log(JSON.stringify({ sent, full, more }));
    c.send('end');
    c.kill('SIGCONT');
  }, 300);
  c.on('message', (count) => { console.log(JSON.stringify({ arrived: count - 1 === sent })); });
});
";

const COUNTER: &str = r"
let n = 0;
process.on('message', (m) => { n += 1; if (m === 'end') { process.send(n); process.disconnect(); } });
process.send('up');
";

/// The relay has room for the buffers of one more socket, and not for more.
#[test]
fn a_child_that_does_not_read_holds_up_its_parent() {
    let Some(_) = node::or_skip("a_child_that_does_not_read_holds_up_its_parent") else {
        return;
    };
    let stage = Stage::new(&[("parent.js", FILLER), ("counter.js", COUNTER)]);
    let sent = |outcome: &Outcome| {
        let (code, out, err) = said(outcome);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let mut lines = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let first = lines.next().unwrap();
        assert_eq!(first["full"], true, "send returned false");
        assert_eq!(lines.next().unwrap()["arrived"], true);
        first["sent"].as_u64().unwrap()
    };
    let plain = sent(&stage.plain(&["parent.js"]));
    let traced = sent(&stage.traced(&["parent.js"]).outcome);
    assert!(
        traced <= plain * 5,
        "{plain} messages of 4 KiB before, {traced} now"
    );
    stage.end();
}

const CLUSTER: &str = r"
const cluster = require('cluster'), http = require('http');
if (cluster.isPrimary) {
  let up = 0;
  const served = new Set();
  for (let i = 0; i < 2; i++) cluster.fork();
  cluster.on('listening', async (worker, address) => {
    if (++up < 2) return;
    for (let i = 0; i < 10; i++) await new Promise((done) => {
      http.get({ port: address.port, host: '127.0.0.1', agent: false }, (r) => {
        r.on('data', (d) => served.add(String(d))).on('end', done);
      });
    });
    console.log([...served].sort());
    cluster.disconnect(() => console.log('done'));
  });
} else {
  http.createServer((_, r) => r.end(String(cluster.worker.id))).listen(0, '127.0.0.1');
}
";

#[test]
fn a_cluster_is_served_and_its_orders_are_told() {
    let Some(_) = node::or_skip("a_cluster_is_served_and_its_orders_are_told") else {
        return;
    };
    let stage = Stage::new(&[("cluster.js", CLUSTER)]);
    let run = stage.traced(&["cluster.js"]);
    let out = "[ '1', '2' ]\ndone\n".to_owned();
    assert_eq!(said(&run.outcome), (Some(0), out, String::new()));
    all_understood(&run.trace);
    let orders = of_kind(&run.trace, "cluster");
    let count = |act: &str| orders.iter().filter(|line| line["act"] == act).count();
    assert_eq!(
        ["online", "queryServer", "listening", "newconn"].map(count),
        [2, 2, 2, 10]
    );
    let connection = orders.iter().find(|line| line["act"] == "newconn").unwrap();
    assert_eq!(connection["handle"]["type"], "net.Native");
    assert_eq!(connection["handle"]["descriptor"], "TCP connection");
    assert_eq!(connection["sender"], "parent");
    stage.end();
}

const AT: &str = r"
const { spawn } = require('child_process');
const [index, argv0] = [Number(process.argv[2]), process.argv[3]];
const stdio = Array(10).fill('ignore');
stdio[1] = stdio[2] = 'inherit';
stdio[index] = 'ipc';
const c = spawn(process.execPath, ['-e', `
  process.send([process.argv0, process.channel.fd], () => process.disconnect());
`], { stdio, argv0 });
c.on('message', (m) => console.log(m, c.spawnargs[0]));
c.on('exit', (code) => console.log(code));
";

#[test]
fn the_channel_may_be_at_any_number_and_the_child_may_have_any_name() {
    let Some(_) = node::or_skip("the_channel_may_be_at_any_number") else {
        return;
    };
    let stage = Stage::new(&[("parent.js", AT)]);
    for index in ["0", "3", "4", "9"] {
        let args = ["parent.js", index, "-odd name"];
        let plain = said(&stage.plain(&args));
        assert_eq!(plain.0, Some(0), "{plain:?}");
        assert!(plain.1.contains("-odd name"), "{plain:?}");
        let run = stage.traced(&args);
        assert_eq!(said(&run.outcome), plain, "at {index}");
        assert_eq!(of_kind(&run.trace, "message").len(), 1);
    }
    stage.end();
}

/// Its channel's bytes come back as they were sent; it is no Node.
const ECHO: &str = r"
const { spawn } = require('child_process');
const c = spawn(process.argv[2], ['fd-echo', '3'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
const sent = [{ a: 'é' }, 2, 'three'];
sent.forEach((m) => c.send(m));
const got = [];
c.on('message', (m) => { got.push(m); if (got.length === 3) { console.log(JSON.stringify(got)); c.disconnect(); } });
c.on('exit', (code, signal) => console.log(code, signal));
";

#[test]
fn a_child_that_is_no_node_is_passed_through() {
    let Some(_) = node::or_skip("a_child_that_is_no_node_is_passed_through") else {
        return;
    };
    let stage = Stage::new(&[("parent.js", ECHO)]);
    let run = stage.traced(&["parent.js", program().to_str().unwrap()]);
    let out = "[{\"a\":\"é\"},2,\"three\"]\n0 null\n".to_owned();
    assert_eq!(said(&run.outcome), (Some(0), out, String::new()));
    let senders = of_kind(&run.trace, "message");
    let senders: Vec<_> = senders
        .iter()
        .filter(|line| line["sender"] == "child")
        .collect();
    assert_eq!(senders.len(), 3);
    stage.end();
}

/// What is no message is shown as such, and reaches the parent, which dies of it as it would.
#[test]
fn a_malformed_message_is_shown_and_passed_on() {
    let Some(_) = node::or_skip("a_malformed_message_is_shown_and_passed_on") else {
        return;
    };
    let script = r#"
const { spawn } = require('child_process');
process.on('uncaughtException', (e) => { console.log(e.name); c.disconnect(); });
const c = spawn('/bin/sh', ['-c', `printf '{"fine":1}\\noh no\\n' >&3; read -r _ <&3`],
  { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
c.on('message', (m) => console.log(m));
"#;
    let stage = Stage::new(&[("parent.js", script)]);
    let plain = said(&stage.plain(&["parent.js"]));
    let run = stage.traced(&["parent.js"]);
    assert_eq!(said(&run.outcome), plain);
    assert!(plain.1.contains("SyntaxError"), "{plain:?}");
    let malformed = of_kind(&run.trace, "malformed");
    assert_eq!(malformed[0]["text"], "oh no\n");
    stage.end();
}

/// A child that says that it is there and then waits for the end of its channel,
/// of which a file tells.
const WAITER: &str = r"
process.on('message', () => {});
process.on('disconnect', () => { require('fs').writeFileSync(__dirname + '/left', ''); process.exit(0); });
process.send('up');
";

#[test]
fn a_child_that_is_killed_is_seen_as_killed() {
    let Some(_) = node::or_skip("a_child_that_is_killed_is_seen_as_killed") else {
        return;
    };
    let parent = r"
const c = require('child_process').fork(__dirname + '/waiter.js');
c.once('message', () => process.kill(c.pid, 'SIGKILL'));
c.on('disconnect', () => console.log('disconnect'));
c.on('exit', (code, signal) => console.log(code, signal));
";
    let stage = Stage::new(&[("parent.js", parent), ("waiter.js", WAITER)]);
    let run = stage.traced(&["parent.js"]);
    let (code, out, err) = said(&run.outcome);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["disconnect", "null SIGKILL"]);
    stage.end();
}

#[test]
fn a_parent_that_is_killed_leaves_no_relay_and_its_child_is_told() {
    let Some(_) = node::or_skip("a_parent_that_is_killed_leaves_no_relay") else {
        return;
    };
    let parent = r"
const c = require('child_process').fork(__dirname + '/waiter.js');
c.once('message', () => process.kill(process.pid, 'SIGKILL'));
";
    let stage = Stage::new(&[("parent.js", parent), ("waiter.js", WAITER)]);
    let run = stage.traced(&["parent.js"]);
    assert_eq!(run.outcome.exit.code(), Some(128 + 9));
    wait::until("the child to be told", || {
        stage.path("left").exists().then_some(())
    });
    stage.end();
}

#[test]
fn signals_reach_the_program_and_the_exit_code_is_its_own() {
    let Some(_) = node::or_skip("signals_reach_the_program") else {
        return;
    };
    let script = r"
process.on('SIGTERM', () => { console.log('asked'); process.exit(7); });
require('fs').writeFileSync('up', '');
setInterval(() => {}, 1000);
";
    let stage = Stage::new(&[("main.js", script)]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(async {
        let child = stage
            .procession(&["trace", "--", "node", "main.js"])
            .tree(Tree::Contain)
            .kill_on_drop()
            .spawn()
            .unwrap();
        wait::until("the program to be up", || {
            stage.path("up").exists().then_some(())
        });
        assert!(child.signal(Signal::TERM).unwrap());
        child.outcome().await.unwrap()
    });
    drop(runtime);
    assert_eq!(said(&outcome), (Some(7), "asked\n".into(), String::new()));
    stage.end();
}

/// The kernel tells a parent of the end of its child before a relay has passed
/// on what the child said last. A Node that has only that child left to wait for
/// would then leave without having heard it.
#[test]
fn the_last_message_comes_before_the_exit() {
    let Some(_) = node::or_skip("the_last_message_comes_before_the_exit") else {
        return;
    };
    let parent = r"
let left = 20;
const next = () => {
  const c = require('child_process').fork(__dirname + '/child.js');
  let heard = false;
  // A send that has to wait takes the channel off what keeps the parent alive.
  c.send('x'.repeat(1 << 20));
  c.on('message', () => { heard = true; });
  c.on('exit', (code) => { console.log(code, heard); if (--left) next(); });
};
next();
";
    let child = "process.once('message', (m) => process.send(m.length, () => process.exit(3)));";
    let stage = Stage::new(&[("parent.js", parent), ("child.js", child)]);
    let run = stage.traced(&["parent.js"]);
    let out = "3 true\n".repeat(20);
    assert_eq!(said(&run.outcome), (Some(0), out, String::new()));
    stage.end();
}

/// The tracing process is gone: the programs go on, and nobody tells them.
#[test]
fn programs_outlive_their_trace() {
    let Some(_) = node::or_skip("programs_outlive_their_trace") else {
        return;
    };
    let script = r"
const fs = require('fs');
const c = require('child_process').fork(__dirname + '/echo.js');
let n = 0;
c.on('message', () => {
  n += 1;
  if (n === 1) process.kill(process.ppid, 'SIGKILL');
  if (n < 200) return c.send('x'.repeat(1000));
  c.disconnect();
});
c.on('exit', (code) => fs.writeFileSync('code', String(code)));
";
    let echo = "process.on('message', (m) => process.send(m)); process.send('up');";
    let stage = Stage::new(&[("parent.js", script), ("echo.js", echo)]);
    let run = stage
        .procession(&["trace", "-o", "trace", "--", "node", "parent.js"])
        .outcome_blocking()
        .unwrap();
    assert_eq!(run.exit.signal(), Some(Signal::KILL));
    let code = wait::until("the program to end", || {
        fs::read_to_string(stage.path("code"))
            .ok()
            .filter(|code| !code.is_empty())
    });
    assert_eq!(code, "0");
    // Nobody was left to remove it.
    for entry in fs::read_dir(stage.home.path()).unwrap().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("procession-trace-")
        {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    stage.end();
}

/// It would hold a terminal open, or keep a pipe from ending.
#[test]
fn a_relay_has_its_two_sockets_and_nothing_of_the_childs() {
    let Some(_) = node::or_skip("a_relay_has_its_two_sockets") else {
        return;
    };
    let parent = "
const c = require('child_process').fork(__dirname + '/waiter.js', [], { stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'ipc'] });
c.once('message', () => require('fs').writeFileSync('up', String(c.pid)));
process.once('SIGTERM', () => c.disconnect());
setInterval(() => {}, 1000).unref();
";
    let stage = Stage::new(&[("parent.js", parent), ("waiter.js", WAITER)]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let child = stage
            .procession(&["trace", "-o", "trace", "--", "node", "parent.js"])
            .tree(Tree::Contain)
            .kill_on_drop()
            .spawn()
            .unwrap();
        let of = wait::until("the child to be up", || {
            let pid = fs::read_to_string(stage.path("up")).ok()?;
            (!pid.is_empty()).then_some(pid)
        });
        let relay = relay_of(&of);
        let mut files: Vec<String> = fs::read_dir(relay.join("fd"))
            .unwrap()
            .map(|fd| fs::read_link(fd.unwrap().path()).unwrap())
            .map(|file| file.to_str().unwrap().split(':').next().unwrap().to_owned())
            .collect();
        files.sort_unstable();
        assert_eq!(files, ["/dev/null", "socket", "socket", "socket"]);
        let session = |process: &Path| {
            let stat = fs::read_to_string(process.join("stat")).unwrap();
            let fields = stat.rsplit_once(") ").unwrap().1;
            fields.split(' ').nth(3).unwrap().to_owned()
        };
        let childs = Path::new("/proc").join(&of);
        assert_ne!(session(&relay), session(&childs));
        assert_eq!(fs::read_link(relay.join("cwd")).unwrap(), Path::new("/"));
        assert!(child.signal(Signal::TERM).unwrap());
        let outcome = child.outcome().await.unwrap();
        assert_eq!(said(&outcome), (Some(0), String::new(), String::new()));
    });
    drop(runtime);
    stage.end();
}

/// The folder in /proc of the relay of that child.
fn relay_of(child: &str) -> PathBuf {
    let is_it = |process: &PathBuf| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&&b"relay-between"[..]) && words.contains(&child.as_bytes())
    };
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    let relay = processes.find_map(|entry| Some(entry.path()).filter(is_it));
    relay.expect("every child has a relay")
}

/// Process ids and times are different in each run; the rest is not.
#[test]
fn the_screen() {
    let Some(node) = node::or_skip("the_screen") else {
        return;
    };
    let parent = r"
const { fork } = require('child_process');
const c = fork(__dirname + '/child.js', [], { serialization: 'advanced' });
const server = require('net').createServer().listen(0, '127.0.0.1', () => {
  c.send({ hello: 'child', at: new Date(0), ids: new Set([1, 2]), 'a b': Buffer.from('xyz') });
  c.send('here is a server', server);
  server.close();
  c.send('\u001b[31m' + 'long '.repeat(100));
});
c.on('message', () => c.disconnect());
";
    let child = "process.on('message', (m) => { if (m.length > 100) process.send([undefined, null]); else if (m.hello) ; });
process.on('message', (m, h) => h?.close());";
    let stage = Stage::new(&[("parent.js", parent), ("child.js", child)]);
    let outcome = stage
        .procession(&["trace", "--", "node", "parent.js"])
        .outcome_blocking()
        .unwrap();
    let (code, out, screen) = said(&outcome);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    let home = stage.home.path().to_str().unwrap();
    let first = screen.split_whitespace().collect::<Vec<_>>();
    let (parent, child) = (first[1].to_owned(), first[3].to_owned());
    let screen: String = screen
        .lines()
        .map(|line| line[10..].to_owned() + "\n")
        .collect::<String>()
        .replace(
            &node.path.canonicalize().unwrap().display().to_string(),
            "NODE",
        )
        .replace(&node.path.display().to_string(), "NODE")
        .replace(home, "HOME")
        .replace(&parent, "1001")
        .replace(&child, "1002");
    let long = "long ".repeat(38);
    let expected = format!(
        "\
1001 → 1002  start: NODE HOME/child.js (advanced)
1001 → 1002  message       56 B  {{ hello: 'child', at: 1970-01-01T00:00:00.000Z, ids: Set(2) {{ 1, 2 }}, 'a b': <Buffer 78 79 7a> }}
1001 → 1002  handle        64 B  net.Server (listening TCP socket) 'here is a server'
1001 ← 1002  taken         27 B
1001 → 1002  message      510 B  '\\u{{1b}}[31m{}…
1001 ← 1002  message        9 B  [ undefined, null ]
1001 → 1002  end
",
        &long[..188],
    );
    assert_eq!(screen, expected);
    stage.end();
}

#[test]
fn a_relay_without_a_channel_only_becomes_the_program() {
    let stage = Stage::new(&[]);
    let relay = |args: &[&str]| {
        said(
            &stage
                .procession(&[&["relay"], args].concat())
                .outcome_blocking()
                .unwrap(),
        )
    };
    let shell = ["--argv0", "called", "sh", "-c", "echo $0; exit 5"];
    assert_eq!(relay(&shell), (Some(5), "called\n".into(), String::new()));
    for value in ["", "99", "1", "three"] {
        let mut command = stage.procession(&["relay", "sh", "-c", "echo $NODE_CHANNEL_FD"]);
        let outcome = command
            .env("NODE_CHANNEL_FD", value)
            .outcome_blocking()
            .unwrap();
        assert_eq!(
            said(&outcome),
            (Some(0), format!("{value}\n"), String::new())
        );
    }
    let (code, _, message) = relay(&["/nonexistent/program"]);
    assert_eq!(code, Some(127));
    assert!(
        message.starts_with("error: cannot run `/nonexistent/program`\n"),
        "{message}"
    );
    assert_eq!(relay(&["/dev/null"]).0, Some(126));
    stage.end();
}

/// Through `execPath`, without `procession trace`.
#[test]
fn a_relay_may_be_put_in_by_hand() {
    let Some(_) = node::or_skip("a_relay_may_be_put_in_by_hand") else {
        return;
    };
    let parent = r"
const c = require('child_process').fork(__dirname + '/child.js', ['a b'], { execPath: __dirname + '/traced-node', execArgv: ['--no-warnings'] });
c.on('message', (m) => console.log(JSON.stringify(m), c.spawnfile.endsWith('traced-node')));
";
    let child = "process.send([process.argv.length, process.argv[2], process.execArgv]);";
    let stage = Stage::new(&[("parent.js", parent), ("child.js", child)]);
    let wrapper = format!(
        "#!/bin/sh\nexec {} relay --json -o {}/trace.json node \"$@\"\n",
        env!("CARGO_BIN_EXE_procession"),
        stage.home.path().display()
    );
    stage
        .command("sh", &["-c", "cat > traced-node && chmod +x traced-node"])
        .input(wrapper)
        .output_blocking()
        .unwrap();
    let outcome = stage.plain(&["parent.js"]);
    let out = "[3,\"a b\",[\"--no-warnings\"]] true\n".to_owned();
    assert_eq!(said(&outcome), (Some(0), out, String::new()));
    let trace = wait::until("the whole trace", || {
        let trace = stage.trace("trace.json");
        (!of_kind(&trace, "end").is_empty()).then_some(trace)
    });
    assert_eq!(trace[0]["kind"], "start");
    assert_eq!(trace[1]["message"][1], "a b");
    stage.end();
}

#[test]
fn a_program_that_cannot_be_run_is_one_error() {
    let stage = Stage::new(&[]);
    let outcome = stage
        .procession(&["trace", "/nonexistent/program"])
        .outcome_blocking()
        .unwrap();
    let (code, out, err) = said(&outcome);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.starts_with("error: cannot run `/nonexistent/program`\n"),
        "{err}"
    );
    stage.end();
}

#[test]
fn the_help() {
    let stage = Stage::new(&[]);
    let help = |command: &str| {
        let outcome = stage.procession(&[command, "--help"]).outcome_blocking();
        said(&outcome.unwrap()).1
    };
    let trace = "\
Run a program and show what it and its forked children say to each other

Usage: procession trace [OPTIONS] <PROGRAM>...

Arguments:
  <PROGRAM>...  The program, found on PATH, and its arguments

Options:
      --json           Write the trace as JSON, one object a line
  -o, --output <FILE>  Write the trace to FILE
  -h, --help           Print help

Every Node that PROGRAM starts is looked at, and what they start in turn. The
trace goes to standard error, or to FILE; the streams of the programs are their
own. The exit code is the program's, or 128 and the number of the signal that
ended it.
";
    assert_eq!(help("trace"), trace);
    let relay = "\
Become a program whose channel is read along: what `trace` starts for a child

Usage: procession relay [OPTIONS] <PROGRAM>...

Arguments:
  <PROGRAM>...  The program, found on PATH, and its arguments

Options:
      --argv0 <NAME>   Call it NAME instead of PROGRAM
      --json           Write the trace as JSON, one object a line
  -o, --output <FILE>  Write the trace to FILE
  -h, --help           Print help

To be started in the place of a child that has a channel (NODE_CHANNEL_FD).
Without a channel it only becomes PROGRAM. The trace is appended to FILE. The
exit code is the program's; 127 if there is no such program, 126 if it cannot be
run.
";
    assert_eq!(help("relay"), relay);
    stage.end();
}
