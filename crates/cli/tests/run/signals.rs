//! What signals do, and with which code it ends.

use procession::child_process::{Command, Exit, Signal, Stdio};
use procession_testkit::{node, wait};

use super::stage::{HELLO, Stage, get, kill};

#[test]
fn every_polite_signal_stops_and_the_code_is_0() {
    let Some(_) = node::or_skip("signals to procession run") else {
        return;
    };
    let stage = Stage::new(&[("hello.js", HELLO)]);
    for signal in ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] {
        let mut run = stage.run(&["-i", "2", "hello.js"]);
        let at = run.address();
        run.signal(signal);
        assert_eq!(run.wait(), Exit::Code(0), "{signal}");
        run.said(&format!("stopping ({signal})"));
        assert!(
            std::net::TcpStream::connect(at).is_err(),
            "the port is not free"
        );
    }
    stage.end();
}

/// With nohup a terminal may go away.
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let Some(_) = node::or_skip("procession run under nohup") else {
        return;
    };
    let stage = Stage::new(&[("hello.js", HELLO)]);
    let program = env!("CARGO_BIN_EXE_procession");
    let line = format!("trap '' HUP; exec {program} run -i 1 hello.js");
    let mut run = stage.start(stage.prepare(&mut Command::shell(line)));
    let at = run.address();
    run.signal("SIGHUP");
    run.signal("SIGUSR1");
    run.said("\"wanted\":1");
    assert!(!get(at).is_empty());
    assert!(!run.err().contains("stopping"), "{}", run.err());
    run.stop();
    stage.end();
}

#[test]
fn a_worker_that_will_not_leave_is_killed_and_the_code_says_so() {
    let Some(_) = node::or_skip("stubborn workers of procession run") else {
        return;
    };
    let stays = "
process.on('SIGTERM', () => {});
process.on('disconnect', () => {});
setInterval(() => {}, 1000);
require('http').createServer().listen(0, '127.0.0.1');
";
    let stage = Stage::new(&[("stays.js", stays)]);
    let mut run = stage.run(&["-i", "1", "--kill-timeout", "400ms", "stays.js"]);
    run.said("(1 worker)");
    run.signal("SIGINT");
    assert_eq!(run.wait(), Exit::Code(128 + 2), "{}", run.err());
    run.said("procession: stopped; 1 worker had to be killed");

    // Twice at once is one request; later it is impatience.
    let mut run = stage.run(&["-i", "1", "--kill-timeout", "1m", "stays.js"]);
    run.said("(1 worker)");
    run.signal("SIGTERM");
    run.said("stopping (SIGTERM)");
    run.signal("SIGINT");
    run.signal("SIGUSR1");
    run.said("\"wanted\":");
    assert!(!run.err().contains("killing"), "{}", run.err());
    wait::until("it kills", || {
        run.signal("SIGINT");
        run.err().contains("killing (SIGINT)").then_some(())
    });
    assert_eq!(run.wait(), Exit::Code(128 + 15), "{}", run.err());
    stage.end();
}

#[test]
fn workers_come_and_go_by_ttin_and_ttou() {
    let Some(_) = node::or_skip("scaling procession run") else {
        return;
    };
    let stage = Stage::new(&[("hello.js", HELLO)]);
    let mut run = stage.run(&["-i", "1", "hello.js"]);
    let at = run.address();
    run.signal("SIGTTIN");
    run.said("procession: one worker more (at least 1)");
    run.said("procession: 2 workers ready");
    run.signal("SIGTTOU");
    run.said("left, pid");
    run.signal("SIGTTOU");
    run.said_times("one worker fewer", 2);
    assert!(!get(at).is_empty(), "the last one stays");
    assert_eq!(run.stop(), Exit::Code(0));
    assert_eq!(run.err().matches("left, pid").count(), 2);
    stage.end();
}

#[test]
fn usr2_reaches_every_worker_and_a_dead_one_is_replaced() {
    let Some(_) = node::or_skip("signals through procession run") else {
        return;
    };
    let hears = "
process.on('SIGUSR2', () => console.error('heard'));
require('http').createServer((q, s) => s.end('x')).listen(0, '127.0.0.1');
";
    let stage = Stage::new(&[("hears.js", hears)]);
    let mut run = stage.run(&["-i", "2", "hears.js"]);
    run.said("(2 workers)");
    run.signal("SIGUSR2");
    run.said("[1] heard");
    run.said("[2] heard");
    kill(run.worker(2), Signal::KILL);
    run.said("worker 2 (pid ");
    run.said("was ended by SIGKILL (killed) after");
    run.said("restart 1 of its place");
    run.said("all is well again: 2 workers ready");
    assert_eq!(run.stop(), Exit::Code(0));
    stage.end();
}

#[test]
fn without_restarts_it_ends_as_the_first_that_failed() {
    let Some(_) = node::or_skip("procession run --no-restart") else {
        return;
    };
    let stage = Stage::new(&[
        ("three.js", "process.exit(3)"),
        ("zero.js", "process.exit(0)"),
    ]);
    for (program, code) in [("three.js", 3), ("zero.js", 0)] {
        let (ended, _, err) = stage.screen(&["run", "-i", "2", "--no-restart", program]);
        assert_eq!(ended, Some(code), "{err}");
        assert!(
            err.ends_with("procession: all workers have ended\n"),
            "{err}"
        );
    }
    stage.end();
}

/// The first process of a container: strangers are reaped, and signals obeyed
/// that the kernel keeps from other first processes.
#[test]
fn as_the_first_process_it_reaps_and_stops() {
    let Some(_) = node::or_skip("procession run as process 1") else {
        return;
    };
    // The first worker leaves a grandchild; when it is gone too, that is ours.
    let orphans = "
const { spawn } = require('child_process');
const { readdirSync, readFileSync } = require('fs');
const comm = (pid) => { try { return readFileSync(`/proc/${pid}/comm`, 'utf8'); } catch { return ''; } };
const look = () => {
  if (readdirSync('/proc').some((pid) => +pid && comm(pid) === 'sleep\\n')) return setTimeout(look, 20);
  console.error('all are reaped');
  require('http').createServer((q, s) => s.end('x')).listen(0, '127.0.0.1');
};
if (require('cluster').worker.id > 1) look();
else spawn('sh', ['-c', 'sleep 0.1 &'], { stdio: ['ignore', 'pipe', 'ignore'] })
  .on('close', () => process.exit(0)).stdout.resume();
";
    let stage = Stage::new(&[("orphans.js", orphans)]);
    let can = Command::new("unshare")
        .args(["--fork", "--pid", "--mount-proc", "true"])
        .stderr(Stdio::ignore())
        .outcome_blocking();
    if !can.is_ok_and(|outcome| outcome.exit.success()) {
        return stage.end();
    }
    let mut command = Command::new("unshare");
    command.args(["--fork", "--kill-child=KILL", "--pid", "--mount-proc"]);
    command.arg(env!("CARGO_BIN_EXE_procession"));
    command.args(["run", "-i", "1", "orphans.js"]);
    let mut run = stage.start(stage.prepare(&mut command));
    run.said("[2] all are reaped");
    run.said("(1 worker)");
    let first = wait::until("the first process", || {
        let children = format!("/proc/{0}/task/{0}/children", run.pid());
        std::fs::read_to_string(children).ok()?.trim().parse().ok()
    });
    kill(first, Signal::TERM);
    run.said("procession: stopped");
    assert_eq!(run.wait(), Exit::Code(0), "{}", run.err());
    stage.end();
}

#[test]
fn a_reader_that_went_away_is_no_reason_to_end() {
    let Some(_) = node::or_skip("procession run into a closed pipe") else {
        return;
    };
    let talks = "
require('http').createServer((q, s) => { console.log('asked'); s.end('served'); })
  .listen(0, '127.0.0.1');
";
    let stage = Stage::new(&[("talks.js", talks)]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = stage.command(&["run", "-i", "1", "talks.js"]);
    let mut run = stage.start_to(&mut command, Stdio::fd(writer));
    // Its copy of the pipe.
    drop(command);
    let at = run.address();
    for _ in 0..3 {
        assert_eq!(get(at), "served");
    }
    assert_eq!(run.stop(), Exit::Code(0));
    stage.end();
}

/// Neither output is read, and both are full.
#[test]
fn it_ends_though_nobody_reads_its_last_words() {
    let Some(_) = node::or_skip("procession run into two full pipes") else {
        return;
    };
    let floods = "
const line = 'x'.repeat(999) + '\\n';
for (let i = 0; i < 1000; i++) process.stderr.write(line);
process.exit(9);
";
    let stage = Stage::new(&[("floods.js", floods)]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = stage.command(&["run", "-i", "1", "floods.js"]);
    command.stdout(Stdio::ignore()).stderr(Stdio::fd(writer));
    let wait = async {
        let mut child = command.spawn().unwrap();
        tokio::time::timeout(wait::LIMIT, child.wait()).await
    };
    let exit = stage.runtime().block_on(wait);
    assert_eq!(exit.unwrap().unwrap(), Exit::Code(4));
    drop((reader, command));
    stage.end();
}
