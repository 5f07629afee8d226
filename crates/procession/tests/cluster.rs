//! A cluster of our own primary: Rust workers, Node's, and both at once.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all that happens a test looks for one thing"
)]

#[expect(dead_code, reason = "the children here are servers")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use procession::child_process::{Command, Signal};
use procession::cluster::{Control, End, Event, Policy, Primary, Spec, WorkerId};
use procession_testkit::leaks::{Oracle, listening_on};
use support::{scene, tagged};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The exit code of a subject that its primary told to leave.
const TOLD: i32 = 10;

/// A Rust worker that speaks as much HTTP as is needed.
fn subject(oracle: &Oracle, port: u16) -> Command {
    let itself = std::env::current_exe().unwrap();
    let examples = itself.ancestors().nth(2).unwrap().join("examples");
    let path: PathBuf = examples.join("cluster_subject");
    assert!(path.exists(), "missing: cargo build --examples");
    tagged(oracle, Command::new(path), &[&format!("127.0.0.1:{port}")])
}

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn spec(command: Command, workers: u32, balance: Policy) -> Spec {
    let mut spec = Spec::new(command);
    spec.workers = workers;
    spec.balance = balance;
    spec
}

/// Takes events until one fits.
async fn until<T>(primary: &mut Primary, mut fits: impl FnMut(&Event) -> Option<T>) -> T {
    loop {
        let event = primary.next_event().await.expect("the cluster is over");
        if let Some(found) = fits(&event) {
            return found;
        }
    }
}

async fn all_ready(primary: &mut Primary) {
    until(primary, |event| {
        matches!(event, Event::AllReady).then_some(())
    })
    .await;
}

/// Stops the cluster; tells the exit codes of its workers and how it ended.
async fn stop(mut primary: Primary, control: &Control) -> (Vec<Option<i32>>, (End, u32, u32)) {
    control.stop().await.unwrap();
    let mut codes = Vec::new();
    loop {
        match primary.next_event().await.unwrap() {
            Event::Exit { exit, .. } => codes.push(exit.exit.code()),
            Event::Over {
                end,
                signalled,
                killed,
            } => {
                assert!(primary.next_event().await.is_none());
                return (codes, (end, signalled, killed));
            }
            _ => {}
        }
    }
}

/// Asks once, over a connection of its own.
async fn get(port: u16) -> std::io::Result<String> {
    tokio::task::spawn_blocking(move || {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").unwrap_or_default().1;
        Ok(body.trim().to_owned())
    })
    .await
    .unwrap()
}

#[test]
fn rust_workers_serve_with_every_policy() {
    for policy in [
        Policy::Auto,
        Policy::Spread,
        Policy::LeastBusy,
        Policy::RoundRobin,
        Policy::RandomTwo,
        Policy::Weighted(vec![2, 1]),
        Policy::IpHash,
        Policy::Cookie("session".into()),
        Policy::Kernel,
    ] {
        scene(async |oracle| {
            let port = free_port();
            let mut primary =
                Primary::start(spec(subject(oracle, port), 2, policy.clone())).unwrap();
            let control = primary.control();
            all_ready(&mut primary).await;
            let mut by_worker = BTreeMap::<String, u32>::new();
            for _ in 0..20 {
                *by_worker.entry(get(port).await.unwrap()).or_default() += 1;
            }
            let names: BTreeSet<_> = by_worker.keys().map(String::as_str).collect();
            let both = BTreeSet::from(["worker 1", "worker 2"]);
            assert!(names.is_subset(&both), "{policy}: {by_worker:?}");
            match policy {
                Policy::RoundRobin => assert_eq!(by_worker["worker 1"], 10, "{by_worker:?}"),
                Policy::IpHash | Policy::Cookie(_) => assert_eq!(names.len(), 1, "{by_worker:?}"),
                _ => {}
            }
            let (codes, end) = stop(primary, &control).await;
            assert_eq!(codes, [Some(TOLD); 2], "{policy}");
            assert_eq!(end, (End::Stopped, 0, 0), "{policy}");
            assert!(get(port).await.is_err(), "the port is free");
        });
    }
}

/// Says it in these pieces; each but the last is heard by the primary before the next. Tells who
/// answers.
async fn say(port: u16, pieces: Vec<String>) -> String {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (last, first) = pieces.split_last().unwrap();
    for piece in first {
        stream.write_all(piece.as_bytes()).await.unwrap();
        // The primary lives in our thread: whoever came later is heard later.
        get(port).await.unwrap();
    }
    stream.write_all(last.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap_or_default().1;
    body.trim().to_owned()
}

/// A request with that cookie, far behind its start.
fn with_cookie(cookie: &str, before: usize) -> String {
    let before = "x".repeat(before);
    format!("GET / HTTP/1.1\r\nX-Before: {before}\r\nCookie: session={cookie}\r\n\r\n")
}

fn in_three(head: &str) -> Vec<String> {
    let (first, rest) = head.split_at(2);
    // In the middle of the cookie's value.
    let (second, third) = rest.split_at(rest.len() - 5);
    [first, second, third].map(str::to_owned).into()
}

#[test]
fn a_cookie_counts_in_whatever_pieces_it_comes() {
    scene(async |oracle| {
        let port = free_port();
        let policy = Policy::Cookie("session".into());
        let mut primary = Primary::start(spec(subject(oracle, port), 2, policy)).unwrap();
        let control = primary.control();
        all_ready(&mut primary).await;
        let mut cookies = BTreeMap::new();
        for number in 0.. {
            let cookie = format!("client-{number}");
            let by = say(port, vec![with_cookie(&cookie, 0)]).await;
            cookies.entry(by).or_insert(cookie);
            if cookies.len() == 2 {
                break;
            }
        }
        for (by, cookie) in &cookies {
            for before in [0, 8 * 1024] {
                let head = with_cookie(cookie, before);
                assert_eq!(say(port, in_three(&head)).await, *by, "{before} before it");
                assert_eq!(say(port, vec![head]).await, *by, "{before} before it");
            }
        }
        control.signal(WorkerId(1), Signal::KILL).await.unwrap();
        all_ready(&mut primary).await;
        for (by, cookie) in &cookies {
            // Its place is filled again, and its clients are back.
            let by = by.replace("worker 1", "worker 3");
            assert_eq!(say(port, in_three(&with_cookie(cookie, 0))).await, by);
        }
        stop(primary, &control).await;
    });
}

/// What it has said before stays readable: it is not to be looked at without end.
#[test]
fn a_client_that_says_half_and_hangs_up_is_served_at_once() {
    scene(async |oracle| {
        let port = free_port();
        let policy = Policy::Cookie("session".into());
        let mut primary = Primary::start(spec(subject(oracle, port), 1, policy)).unwrap();
        let control = primary.control();
        all_ready(&mut primary).await;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET / HTT").await.unwrap();
        get(port).await.unwrap();
        stream.shutdown().await.unwrap();
        // The worker hangs up: half a request has no answer.
        stream.read_to_string(&mut String::new()).await.unwrap();
        stop(primary, &control).await;
    });
}

/// Which numbers new descriptors may have; those that are open stay so.
fn let_descriptors_be_below(end: u64) -> u64 {
    let resource = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(resource);
    let before = limit.current.replace(end);
    rustix::process::setrlimit(resource, limit).unwrap();
    before.unwrap_or(u64::MAX)
}

#[test]
fn a_client_for_whom_no_descriptor_was_free_is_served_as_soon_as_one_is() {
    scene(async |oracle| {
        let port = free_port();
        let mut primary =
            Primary::start(spec(subject(oracle, port), 1, Policy::LeastBusy)).unwrap();
        all_ready(&mut primary).await;
        let control = primary.control();
        // By then nothing else wakes the primary.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let before = let_descriptors_be_below(3);
        tokio::time::sleep(Duration::from_millis(30)).await;
        let_descriptors_be_below(before);
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let answered = tokio::task::spawn_blocking(move || client.read(&mut [0; 64]));
        assert!(answered.await.unwrap().unwrap() > 0);
        stop(primary, &control).await;
    });
}

#[test]
fn messages_go_both_ways() {
    scene(async |oracle| {
        let mut primary =
            Primary::start(spec(subject(oracle, free_port()), 2, Policy::Auto)).unwrap();
        let control = primary.control();
        all_ready(&mut primary).await;
        control.send(WorkerId(2), "hello").await.unwrap();
        let echo = until(&mut primary, |event| match event {
            Event::Message { worker, message } => Some((*worker, message.decode::<String>())),
            _ => None,
        });
        let (worker, text) = echo.await;
        assert_eq!((worker, text.unwrap()), (WorkerId(2), "hello".to_owned()));
        let nobody = control.send(WorkerId(9), "hello").await.unwrap_err();
        assert_eq!(nobody.to_string(), "worker 9 is gone");
        stop(primary, &control).await;
    });
}

#[test]
fn when_all_workers_are_killed_nobody_is_refused() {
    scene(async |oracle| {
        let port = free_port();
        let mut primary = Primary::start(spec(subject(oracle, port), 2, Policy::Auto)).unwrap();
        let control = primary.control();
        all_ready(&mut primary).await;
        for worker in [1, 2] {
            let killed = control
                .signal(WorkerId(worker), Signal::KILL)
                .await
                .unwrap();
            assert!(killed);
        }
        let answers = (0..8).map(|_| tokio::spawn(get(port))).collect::<Vec<_>>();
        for answer in answers {
            let by = answer.await.unwrap().unwrap();
            assert!(["worker 3", "worker 4"].contains(&&*by), "{by}");
        }
        let mut killed = 0;
        until(&mut primary, |event| {
            if let Event::Exit { exit, .. } = event {
                assert!(!exit.expected);
                assert_eq!(exit.exit.signal(), Some(Signal::KILL));
                killed += 1;
            }
            matches!(event, Event::AllReady).then_some(())
        })
        .await;
        assert_eq!(killed, 2);
        let status = control.status().await.unwrap();
        assert_eq!((status.wanted, status.restarts), (2, 2));
        stop(primary, &control).await;
    });
}

/// Nobody waits for it, so it is left as it is.
#[test]
fn a_worker_that_was_stopped_just_now_is_given_nothing() {
    scene(async |oracle| {
        let port = free_port();
        let mut primary =
            Primary::start(spec(subject(oracle, port), 2, Policy::LeastBusy)).unwrap();
        let (worker, pid) = until(&mut primary, |event| match event {
            Event::Fork { worker, pid, .. } => Some((*worker, *pid)),
            _ => None,
        })
        .await;
        all_ready(&mut primary).await;
        let control = primary.control();
        // The processes were looked at just now, and will not be again for a while.
        get(port).await.unwrap();
        control.signal(worker, Signal::STOP).await.unwrap();
        let stopped = move || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.contains(") T ").then_some(())
        };
        let waiting = move || procession_testkit::wait::until("its stop", stopped);
        tokio::task::spawn_blocking(waiting).await.unwrap();
        // Who spoke just now is taken to run still.
        tokio::time::sleep(Duration::from_millis(20)).await;
        for _ in 0..8 {
            get(port).await.unwrap();
        }
        control.signal(worker, Signal::CONT).await.unwrap();
        let (codes, end) = stop(primary, &control).await;
        assert_eq!((codes, end), (vec![Some(TOLD); 2], (End::Stopped, 0, 0)));
    });
}

#[test]
fn it_grows_and_shrinks() {
    scene(async |oracle| {
        let port = free_port();
        let mut primary = Primary::start(spec(subject(oracle, port), 1, Policy::Spread)).unwrap();
        let control = primary.control();
        all_ready(&mut primary).await;
        control.scale(3).await.unwrap();
        all_ready(&mut primary).await;
        control.add(-2).await.unwrap();
        let mut left = BTreeSet::new();
        while left.len() < 2 {
            let worker = until(&mut primary, |event| match event {
                Event::Exit { worker, exit } => Some((*worker, exit.expected)),
                _ => None,
            });
            let (worker, expected) = worker.await;
            assert!(expected);
            left.insert(worker);
        }
        assert_eq!(left, BTreeSet::from([WorkerId(2), WorkerId(3)]));
        for _ in 0..10 {
            assert_eq!(get(port).await.unwrap(), "worker 1");
        }
        stop(primary, &control).await;
    });
}

#[test]
fn two_workers_share_a_socket_and_one_of_them_serves_what_comes() {
    scene(async |oracle| {
        let port = free_port();
        let mut primary = Primary::start(spec(subject(oracle, port), 3, Policy::Spread)).unwrap();
        let control = primary.control();
        all_ready(&mut primary).await;
        if procession_sys::PORTS_ARE_SHARED {
            assert_eq!(listening_on(port), 3, "ours, of two workers, of the third");
        }
        control.signal(WorkerId(1), Signal::STOP).await.unwrap();
        for _ in 0..64 {
            assert_ne!(get(port).await.unwrap(), "worker 1");
        }
        control.signal(WorkerId(1), Signal::CONT).await.unwrap();
        stop(primary, &control).await;
    });
}

/// A worker that heeds neither its channel nor a polite signal, and its process id.
async fn stubborn(oracle: &Oracle) -> (Primary, u32) {
    // Where only the shell is killed, its `sleep` ends before the oracle looks.
    let mut command = Command::shell("trap '' TERM; while :; do sleep 0.1; done");
    command.envs([oracle.tag()]);
    let mut spec = spec(command, 1, Policy::Auto);
    spec.ready = procession::cluster::Ready::Started;
    let mut primary = Primary::start(spec).unwrap();
    let pid = until(&mut primary, |event| match event {
        Event::Fork { pid, .. } => Some(*pid),
        _ => None,
    });
    let pid = pid.await;
    (primary, pid)
}

#[test]
fn the_end_of_the_runtime_is_the_end_of_stubborn_workers() {
    scene(async |oracle| {
        let held = stubborn(oracle).await;
        // It is held until the runtime is gone; the oracle sees whether anybody is left.
        tokio::spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
    });
}

#[test]
fn a_cluster_that_nobody_holds_ends_while_the_runtime_goes_on() {
    scene(async |oracle| {
        let (primary, pid) = stubborn(oracle).await;
        drop(primary);
        let gone = move || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_err().then_some(())
        };
        let waiting = move || procession_testkit::wait::until("its end", gone);
        tokio::task::spawn_blocking(waiting).await.unwrap();
    });
}

#[test]
fn a_cluster_that_nobody_holds_is_killed() {
    scene(async |oracle| {
        let mut primary =
            Primary::start(spec(subject(oracle, free_port()), 2, Policy::Auto)).unwrap();
        all_ready(&mut primary).await;
        drop(primary);
        // The oracle sees whether anybody is left.
    });
}

#[test]
fn node_and_rust_serve_one_port() {
    let Some(node) = procession_testkit::node::or_skip("node_and_rust_serve_one_port") else {
        return;
    };
    scene(async |oracle| {
        let port = free_port();
        let script = format!(
            "require('http').createServer((_, answer) => answer.end('node')).listen({port}, '127.0.0.1')"
        );
        let mut server = Command::new(&node.path);
        // Without a further argument Node takes itself for no worker.
        server.args(["-e", &script, "server"]);
        let mut spec = spec(tagged(oracle, server, &[]), 2, Policy::RoundRobin);
        spec.mixed_with = vec![subject(oracle, port)];
        let mut primary = Primary::start(spec).unwrap();
        let control = primary.control();
        all_ready(&mut primary).await;
        let mut seen = BTreeMap::<String, u32>::new();
        for _ in 0..10 {
            *seen.entry(get(port).await.unwrap()).or_default() += 1;
        }
        assert_eq!(
            seen,
            BTreeMap::from([("node".into(), 5), ("worker 2".into(), 5)])
        );
        let (mut codes, end) = stop(primary, &control).await;
        codes.sort_unstable();
        assert_eq!(codes, [Some(0), Some(TOLD)]);
        assert_eq!(end, (End::Stopped, 0, 0));
    });
}

#[test]
fn a_program_that_is_not_there_is_given_up_at_once() {
    scene(async |oracle| {
        let missing = tagged(oracle, Command::new("/does/not/exist"), &[]);
        let mut primary = Primary::start(spec(missing, 2, Policy::Auto)).unwrap();
        let mut failed = 0;
        let end = until(&mut primary, |event| match event {
            Event::StartFailed { error, .. } => {
                assert_eq!(error.node_code(), Some("ENOENT"));
                failed += 1;
                None
            }
            Event::Over { end, .. } => Some(*end),
            _ => None,
        });
        assert_eq!(end.await, End::GaveUp);
        assert!((1..=2).contains(&failed), "{failed}");
    });
}

#[test]
fn the_cause_of_death_comes_with_its_last_words() {
    scene(async |oracle| {
        let mut command = Command::shell("echo one >&2; echo last words >&2; exit 3");
        command.envs([oracle.tag()]);
        let mut primary = Primary::start(spec(command, 1, Policy::Auto)).unwrap();
        let exit = until(&mut primary, |event| match event {
            Event::Exit { exit, .. } => Some(exit.clone()),
            _ => None,
        });
        let exit = exit.await;
        assert_eq!(exit.last_lines, ["one", "last words"]);
        assert!(
            exit.to_string().starts_with("exited with code 3 after"),
            "{exit}"
        );
        let end = until(&mut primary, |event| match event {
            Event::Over { end, .. } => Some(*end),
            _ => None,
        });
        assert_eq!(end.await, End::GaveUp, "it was never ready");
    });
}

/// Memory of this program, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

/// `PROCESSION_RESTARTS` says how many; who says so runs it alone in its process, and
/// is told how much memory they took: not a mebibyte.
#[test]
fn restarts_without_bounds_leave_nothing() {
    let asked = std::env::var("PROCESSION_RESTARTS").ok();
    let wanted: u64 = asked.as_ref().map_or(300, |it| it.parse().unwrap());
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut spec = spec(
            tagged(&oracle, Command::new("/bin/false"), &[]),
            1,
            Policy::Auto,
        );
        spec.restart.first = Duration::ZERO;
        spec.restart.budget = None;
        let mut primary = Primary::start(spec).unwrap();
        let control = primary.control();
        let (mut restarts, mut before) = (0, 0);
        while restarts < wanted {
            restarts += until(&mut primary, |event| match event {
                Event::Fork { restarts, .. } => Some(u64::from(*restarts > 0)),
                _ => None,
            })
            .await;
            if restarts == wanted / 10 {
                before = memory();
            }
        }
        let grown = memory().saturating_sub(before);
        println!("{restarts} restarts, {grown} KiB more than after a tenth of them");
        assert!(asked.is_none() || grown < 1024, "{grown} KiB");
        stop(primary, &control).await;
    });
    drop(runtime);
    oracle.check();
}
