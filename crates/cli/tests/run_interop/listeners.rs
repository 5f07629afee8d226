//! Every kind of listener (sheet 5.5), from unmodified code.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use procession::child_process::Stdio;
use procession_testkit::{node, wait};

use crate::load::{load_of, requests};
use crate::stage::{Server, Stage, free_port, is_control, program};

const KINDS: [&str; 9] = [
    "tcp",
    "any",
    "first",
    "second",
    "path",
    "long",
    "fd",
    "exclusive",
    "reuse",
];

#[test]
fn every_kind_of_listener() {
    let Some(_) = node::or_skip("listeners under procession run") else {
        return;
    };
    let stage = Stage::new();
    let inherited = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let inherited_port = inherited.local_addr().unwrap().port().to_string();
    let [tcp, exclusive, reuse] = [(); 3].map(|()| free_port().to_string());
    let mut command = stage.cluster(2, &[], &[program("kinds.js").to_str().unwrap()]);
    command
        .env("SOCKETS", stage.home.path())
        .env("PORT", &*tcp)
        .env("EXCLUSIVE", &*exclusive)
        .env("REUSE", &*reuse)
        .env("LISTEN_FD", "5")
        .stdio(5, Stdio::fd(inherited));
    let server = stage.start(&mut command);
    drop(command);
    let both = |kind: &str| {
        let what = format!("two of {kind}");
        server.until(&what, || {
            let said = server.said(kind);
            (said.len() == 2).then(|| (said[0].clone(), said[1].clone()))
        })
    };
    for kind in KINDS {
        // Node cuts the path off, or refuses it.
        if kind == "long" && is_control() {
            continue;
        }
        let (one, other) = both(kind);
        match kind {
            "tcp" => assert_eq!((&one, &other), (&tcp, &tcp)),
            "fd" => assert_eq!((&one, &other), (&inherited_port, &inherited_port)),
            "exclusive" => {
                let said = BTreeSet::from([&*one, &*other]);
                assert_eq!(said, BTreeSet::from([&*exclusive, "EADDRINUSE"]));
            }
            _ => assert_eq!(one, other, "{kind}"),
        }
        let served_by = match kind {
            "path" | "long" => pids_of(|| over_unix(&one)),
            "exclusive" => continue,
            _ => over_tcp(one.parse().unwrap()),
        };
        assert!(!served_by.is_empty(), "{kind}");
        assert!(
            served_by.is_subset(&workers(&server)),
            "{kind}: {served_by:?}"
        );
    }
    assert_ne!(server.said("first"), server.said("second"));
    assert_eq!(both("udp").0, both("udp").1);
    let answer = over_udp(both("udp").0.parse().unwrap());
    assert!(answer.ends_with(" hello"), "{answer}");
    assert!(server.stop().success());
    stage.end();
}

fn workers(server: &Server<'_>) -> BTreeSet<u32> {
    server.workers().into_iter().collect()
}

fn over_tcp(port: u16) -> BTreeSet<u32> {
    let report = requests(&load_of((Ipv4Addr::LOCALHOST, port).into()), 40);
    assert_eq!(report.failures(), 0, "{port}: {report}");
    report.by_pid.keys().copied().collect()
}

fn pids_of(ask: impl Fn() -> u32) -> BTreeSet<u32> {
    (0..40).map(|_| ask()).collect()
}

fn over_unix(path: &str) -> u32 {
    // However long it is: by the number of its folder.
    let (folder, name) = path.rsplit_once('/').unwrap();
    let folder = File::open(folder).unwrap();
    let short = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    let mut socket = UnixStream::connect(short).unwrap();
    socket.set_read_timeout(Some(wait::LIMIT)).unwrap();
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text.lines().last().unwrap().trim().parse().unwrap()
}

fn over_udp(port: u16) -> String {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(wait::LIMIT)).unwrap();
    socket
        .send_to(b"hello", (Ipv4Addr::LOCALHOST, port))
        .unwrap();
    let mut answer = [0; 64];
    let (length, _) = socket.recv_from(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// A client of echo.js: who serves it, and the connection.
struct Client {
    pid: u32,
    lines: BufReader<TcpStream>,
}

impl Client {
    /// `None` when nobody answers within the time.
    fn connect(at: SocketAddr, limit: Duration) -> Option<Self> {
        let socket = TcpStream::connect(at).unwrap();
        socket.set_read_timeout(Some(limit)).unwrap();
        let (mut lines, mut line) = (BufReader::new(socket), String::new());
        lines.read_line(&mut line).ok()?;
        let pid = line.trim().parse().ok()?;
        Some(Self { pid, lines })
    }

    fn echo(&mut self, word: &str) -> String {
        self.lines.get_mut().write_all(word.as_bytes()).unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn a_raw_tcp_server_echoes() {
    let Some(_) = node::or_skip("net under procession run") else {
        return;
    };
    for policy in ["auto", "spread", "round-robin"] {
        let stage = Stage::new();
        let server = stage.two(
            &["--balance", policy],
            &[program("echo.js").to_str().unwrap()],
        );
        let mut clients: Vec<Client> = (0..30)
            .map(|_| Client::connect(server.at(), wait::LIMIT).unwrap())
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let word = format!("{number}\n");
            assert_eq!(client.echo(&word), word);
        }
        let pids: BTreeSet<u32> = clients.iter().map(|client| client.pid).collect();
        assert_eq!(pids.len(), 2, "{policy}");
        drop(clients);
        assert!(server.stop().success(), "{policy}");
        stage.end();
    }
}

/// Each worker takes one connection and refuses the next: it waits, costs no CPU, and is
/// served when there is room (Node's primary passes it round and round meanwhile).
#[test]
fn a_refused_connection_waits_for_room() {
    let Some(_) = node::or_skip("maxConnections under procession run") else {
        return;
    };
    let stage = Stage::new();
    let program = program("echo.js");
    let mut command = stage.cluster(
        2,
        &["--balance", "least-busy"],
        &[program.to_str().unwrap()],
    );
    let server = stage.start(command.env("MAX_CONNECTIONS", "1"));
    server.ready(2);
    let one = Client::connect(server.at(), wait::LIMIT).unwrap();
    let other = Client::connect(server.at(), wait::LIMIT).unwrap();
    assert_ne!(one.pid, other.pid);
    let before = cpu_ticks(server.pid);
    let third = TcpStream::connect(server.at()).unwrap();
    third
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    assert!((&third).read(&mut [0; 8]).is_err(), "served by whom?");
    let used = cpu_ticks(server.pid) - before;
    if !is_control() {
        assert!(
            used <= 10,
            "{used} ticks of CPU in half a second of refusals"
        );
    }
    let freed = one.pid;
    drop(one);
    third.set_read_timeout(Some(wait::LIMIT)).unwrap();
    let mut line = String::new();
    BufReader::new(&third).read_line(&mut line).unwrap();
    assert_eq!(
        line.trim(),
        freed.to_string(),
        "served by the one with room"
    );
    drop((third, other));
    assert!(server.stop().success());
    stage.end();
}

/// User and system time of a process; a tick is 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let words: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
}

/// A port that was closed is opened again; on a taken one the worker gets Node's error.
#[test]
fn closed_and_taken_ports() {
    let Some(node) = node::or_skip("closed and taken ports under procession run") else {
        return;
    };
    let stage = Stage::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port().to_string();
    let mut command = stage.cluster(2, &[], &[program("many.js").to_str().unwrap()]);
    command
        .env("TAKEN", &*taken_port)
        .env("PORT", free_port().to_string());
    let server = stage.start(&mut command);
    server.until("both workers", || {
        (server.said("pid").len() >= 4).then_some(())
    });
    server.until("their errors", || {
        (server.log().matches("taken EADDRINUSE").count() == 2).then_some(())
    });
    // Node 18 and 20 count the listeners of a port instead of finding the shared one again.
    if !is_control() || node.version.0 >= 22 {
        assert!(!server.log().contains("again E"), "{}", server.log());
    }
    assert!(server.stop().success());
    drop(taken);
    stage.end();
}
