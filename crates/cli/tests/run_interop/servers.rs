//! What is served, by every policy.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use procession::child_process::{Command, Signal, Tree};
use procession_load::Keep;
use procession_testkit::{node, wait};

use crate::load::{Found, ask_for, load_of, requests};
use crate::stage::{
    Stage, descriptors, free_port, is_control, is_open, kill, program, state, ticks,
};

/// Everything was answered, by these and nobody else.
#[track_caller]
fn all_answered_by(report: &Found, pids: &[u32], log: &str) {
    assert_eq!(report.failures(), 0, "{report}\n{log}");
    let by: Vec<u32> = report.by_pid.keys().copied().collect();
    assert_eq!(by, pids, "{report}\n{log}");
}

/// Row S1-10, run as a worker would be, and as the tutorial wrote it.
#[test]
fn the_tutorials_hello_world_survives_a_kill() {
    let Some(_) = node::or_skip("hello world under procession run") else {
        return;
    };
    for name in ["hello.js", "tutorial.js"] {
        let stage = Stage::new();
        let port = free_port();
        let mut command = stage.cluster(2, &[], &[program(name).to_str().unwrap()]);
        let server = stage.start(command.env("PORT", port.to_string()));
        let at = ([127, 0, 0, 1], port).into();
        let mut load = load_of(at);
        let started = || server.log().matches("запущен").count();
        let both = |many: usize| {
            server.until("workers that answer", || {
                (started() >= many && is_open(at)).then_some(())
            });
            server.until("answers of both", || {
                let report = requests(&load, 50);
                (report.failures() == 0 && report.by_pid.len() == 2).then_some(report)
            })
        };
        let before = both(2);
        let victim = *before.by_pid.keys().next().unwrap();
        kill(victim, Signal::KILL);
        let after = both(3);
        assert!(!after.by_pid.contains_key(&victim), "{after}");
        load.keep = Keep::Alive;
        assert_eq!(requests(&load, 200).failures(), 0);
        // Dual-stack, as Node's `listen(port)` is.
        let mut load = load_of((std::net::Ipv6Addr::LOCALHOST, port).into());
        load.keep = Keep::Alive;
        assert_eq!(requests(&load, 20).failures(), 0);
        assert!(server.stop().success());
        assert!(!is_open(at), "{name}: the port is open");
        stage.end();
    }
}

#[test]
fn every_policy_serves_over_both_kinds_of_connection() {
    let Some(_) = node::or_skip("policies of procession run") else {
        return;
    };
    let policies = [
        "auto",
        "spread",
        "least-busy",
        "round-robin",
        "random-two",
        "weighted=3,1",
        "kernel",
        "ip-hash",
        "cookie=session",
    ];
    for policy in policies {
        let stage = Stage::new();
        let http = program("http.js");
        let server = stage.two(&["--balance", policy], &[http.to_str().unwrap(), "word"]);
        assert_eq!(server.said("argument"), ["word", "word"]);
        let pids = server.workers();
        let mut load = server.load();
        for keep in [Keep::Close, Keep::Alive] {
            load.keep = keep;
            let report = requests(&load, 400);
            let log = server.log();
            if matches!(policy, "ip-hash" | "cookie=session") && !is_control() {
                assert_eq!(
                    (report.failures(), report.by_pid.len()),
                    (0, 1),
                    "{policy} {report}"
                );
            } else if policy == "kernel" || keep == Keep::Alive {
                // Eight connections, or the fastest to wake: not always both.
                assert_eq!(report.failures(), 0, "{policy} {report}\n{log}");
            } else {
                all_answered_by(&report, &pids, &format!("{policy}\n{log}"));
            }
        }
        assert!(server.stop().success(), "{policy}");
        stage.end();
    }
}

#[test]
fn a_tls_session_is_resumed_by_another_worker() {
    let Some(_) = node::or_skip("TLS tickets under procession run") else {
        return;
    };
    let stage = Stage::new();
    let Some([key, cert]) = certificate(stage.home.path()) else {
        eprintln!("skipped: no openssl: TLS tickets under procession run");
        return;
    };
    // 13 with Node's resumption needs the tickets' key, which the first worker gives to all.
    let https = program("https.js");
    let mut command = stage.cluster(2, &["--balance", "round-robin"], &[https.to_str().unwrap()]);
    let server = stage.start(command.env("TLS_KEY", &key).env("TLS_CERT", &cert));
    let port = server.ready(2).to_string();
    let client = program("https_client.js");
    let said = stage.node(&[client.to_str().unwrap(), &port, "12"]);
    let first = said.split(' ').next().unwrap().to_owned();
    let resumed: BTreeSet<&str> = said
        .lines()
        .filter_map(|line| line.strip_suffix(" reused=true"))
        .collect();
    assert!(resumed.iter().any(|pid| *pid != first), "{said}");
    assert_eq!(said.matches("reused=false").count(), 1, "{said}");
    assert!(server.stop().success());
    stage.end();
}

fn certificate(folder: &Path) -> Option<[String; 2]> {
    let [key, cert] =
        ["key.pem", "cert.pem"].map(|name| folder.join(name).to_string_lossy().into_owned());
    let words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout";
    let mut openssl = Command::new("openssl");
    openssl
        .args(words.split(' '))
        .arg(&*key)
        .args(["-out", &cert]);
    let done = openssl.timeout(wait::LIMIT).output_blocking().is_ok();
    done.then_some([key, cert])
}

#[test]
fn http2_is_served_by_both() {
    let Some(_) = node::or_skip("HTTP/2 under procession run") else {
        return;
    };
    let stage = Stage::new();
    let http2 = program("http2.js");
    let http2 = http2.to_str().unwrap();
    for policy in ["auto", "spread"] {
        let server = stage.two(&["--balance", policy], &[http2]);
        let said = stage.node(&[http2, &server.at().port().to_string(), "40"]);
        let pids: BTreeSet<&str> = said.lines().collect();
        assert_eq!(
            (said.lines().count(), pids.len()),
            (40, 2),
            "{policy}: {said}"
        );
        assert!(server.stop().success());
    }
    stage.end();
}

/// What runs is finished before the worker leaves, and the port is free when we are gone.
#[test]
fn a_stop_waits_for_what_is_being_answered() {
    let Some(_) = node::or_skip("stop of procession run") else {
        return;
    };
    for signal in [Signal::TERM, Signal::INT] {
        if is_control() && signal == Signal::INT {
            continue;
        }
        let stage = Stage::new();
        let server = stage.two(&[], &[program("http.js").to_str().unwrap()]);
        let mut load = server.load();
        load.connections = 4;
        // Long enough to be seen on a busy machine.
        ask_for("/wait?n=2000", &mut load);
        let at = server.at();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| requests(&load, 4));
            server.until("four connections", || {
                (established(at.port()) == 8).then_some(())
            });
            server.signal(signal);
            let report = asked.join().unwrap();
            assert_eq!(
                (report.good(), report.failures()),
                (4, 0),
                "{signal}: {report}"
            );
        });
        let exit = server.wait();
        assert!(exit.success(), "{signal}: {exit:?}\n{}", server.log());
        assert!(!is_open(at));
        drop(server);
        stage.end();
    }
}

/// Established sockets of this port on this machine, both ends.
fn established(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let ends = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(3) == Some(&"01") && words[1..3].iter().any(|it| it.ends_with(&port))
    };
    table.lines().filter(|line| ends(line)).count()
}

/// A primary that is killed takes nobody's port with it.
#[test]
fn workers_leave_when_the_primary_is_killed() {
    let Some(_) = node::or_skip("SIGKILL of procession run") else {
        return;
    };
    let stage = Stage::new();
    let mut command = stage.cluster(2, &[], &[program("http.js").to_str().unwrap()]);
    let server = stage.start(command.tree(Tree::default()));
    server.ready(2);
    let at = server.at();
    stage.oracle.observe();
    server.signal(Signal::KILL);
    assert!(!server.wait().success());
    wait::until("a free port", || (!is_open(at)).then_some(()));
    drop(server);
    stage.end_after_sigkill();
}

/// A client that a stopped worker was handed waits until that one is killed, a second or so;
/// nobody hangs.
#[test]
fn nobody_hangs_on_a_stopped_worker() {
    let Some(_) = node::or_skip("a stopped worker under procession run") else {
        return;
    };
    for policy in ["auto", "spread"] {
        let stage = Stage::new();
        let http = program("http.js");
        let server = stage.two(&["--balance", policy], &[http.to_str().unwrap()]);
        assert_eq!(requests(&server.load(), 400).failures(), 0);
        let stopped = server.ask("/stop");
        server.until("a stopped worker", || {
            (state(stopped)? == 'T').then_some(())
        });
        let report = requests(&server.load(), 2000);
        assert_eq!(report.good(), 2000, "{policy}: {report}\n{}", server.log());
        if state(stopped).is_some() {
            kill(stopped, Signal::CONT);
        }
        server.until("two at work", || {
            let report = requests(&server.load(), 400);
            assert_eq!(report.failures(), 0, "{policy}: {report}");
            (report.by_pid.len() == 2).then_some(())
        });
        assert!(server.stop().success());
        stage.end();
    }
}

/// Longer than who spoke just now is taken to run still.
const A_WHILE: Duration = Duration::from_millis(500);

/// By hand-over nobody waits for a stopped worker, and it is left as it is.
#[test]
fn a_stopped_worker_is_handed_nothing() {
    let Some(_) = node::or_skip("a stopped worker under procession run") else {
        return;
    };
    if is_control() {
        return;
    }
    let stage = Stage::new();
    let http = program("http.js");
    let server = stage.two(&["--balance", "least-busy"], &[http.to_str().unwrap()]);
    let stopped = server.ask("/stop");
    server.until("a stopped worker", || {
        (state(stopped)? == 'T').then_some(())
    });
    sleep(A_WHILE);
    let report = requests(&server.load(), 400);
    let others: Vec<u32> = server.workers();
    let others: Vec<u32> = others.into_iter().filter(|pid| *pid != stopped).collect();
    all_answered_by(&report, &others, &server.log());
    assert_eq!(state(stopped), Some('T'), "{}", server.log());
    kill(stopped, Signal::CONT);
    assert!(server.stop().success());
    stage.end();
}

/// A client that a worker had not accepted when that was stopped waits until it is killed,
/// and is given to another one.
#[test]
fn what_a_stopped_worker_was_handed_is_handed_to_another() {
    let Some(_) = node::or_skip("the watchdog of procession run") else {
        return;
    };
    if is_control() {
        return;
    }
    let stage = Stage::new();
    let http = program("http.js");
    let options = ["--balance", "least-busy"];
    let server = stage.start(&mut stage.cluster(1, &options, &[http.to_str().unwrap()]));
    server.ready(1);
    let stopped = server.ask("/");
    let ask = |path: &str| {
        let mut client = TcpStream::connect(server.at()).unwrap();
        client.set_read_timeout(Some(2 * wait::LIMIT)).unwrap();
        write!(
            client,
            "GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        client
    };
    let idle = ticks(stopped).unwrap();
    let lost = ask("/block?n=20000");
    server.until("a worker that does nothing else", || {
        (ticks(stopped)? > idle + 20).then_some(())
    });
    let before = descriptors(server.pid);
    let mut client = ask("/");
    server.until("a connection on its way", || {
        (descriptors(server.pid) > before).then_some(())
    });
    kill(stopped, Signal::STOP);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop((lost, client));
    server.until("its end", || state(stopped).is_none().then_some(()));
    server.ready(2);
    assert!(server.stop().success());
    stage.end();
}
