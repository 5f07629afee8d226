//! Each way to fail is one class, and no server can make a run endless.

use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use procession_load::{Class, Report, Spec, Target, Until};
use procession_testkit::leaks::Oracle;
use tokio::net::TcpSocket;
use tokio::runtime::Builder;

use crate::server::{Client, GOOD, LONG, Server, requests, run, target};

const SOON: Duration = Duration::from_millis(200);

/// Twelve requests to a server, on two connections.
fn twelve(serve: impl Fn(Client) + Send + Sync + 'static) -> Report {
    let server = Server::start(serve);
    let mut spec = server.spec();
    (spec.connections, spec.timeout) = (2, SOON);
    spec.until = requests(12);
    run(spec)
}

#[track_caller]
fn all_are(report: &Report, class: Class, example: &str) {
    assert_eq!(
        (report.answers, report.failed(class)),
        (0, 12),
        "{report:#?}"
    );
    let seen = &report.failures[&class];
    assert!(seen.example.contains(example), "{}", seen.example);
    assert!(report.duration < LONG);
}

#[test]
fn who_closes_at_once_is_a_reset() {
    let oracle = Oracle::start();
    all_are(&twelve(drop), Class::Reset, "");
    let after_the_request = |mut client: Client| {
        client.request();
    };
    all_are(
        &twelve(after_the_request),
        Class::Reset,
        "closed the connection",
    );
    oracle.check();
}

#[test]
fn who_closes_within_an_answer_gives_half_of_it() {
    let oracle = Oracle::start();
    for half in [&b"HTTP/1.1 2"[..], &GOOD[..GOOD.len() - 1]] {
        let report = twelve(move |mut client| {
            let _ = client.request() && client.send(half);
        });
        all_are(&report, Class::Half, "closed the connection");
    }
    oracle.check();
}

#[test]
fn a_reset_is_told_by_its_name() {
    let oracle = Oracle::start();
    // What was not read when it is closed makes it a reset.
    let report = twelve(|mut client| {
        let _ = client.stream.peek(&mut [0; 16]);
        let _ = client.send(b"HTTP/1.1 200 OK\r\n");
    });
    let lost = report.failed(Class::Half) + report.failed(Class::Reset);
    assert_eq!((report.answers, lost), (0, 12), "{report:#?}");
    oracle.check();
}

#[test]
fn who_never_answers_is_hung() {
    let oracle = Oracle::start();
    let report = twelve(|mut client| while client.request() {});
    all_are(&report, Class::Hung, "no whole answer within 200ms");
    let first = report.failures[&Class::Hung].first;
    assert!(first >= SOON && first < 5 * SOON, "{first:?}");
    oracle.check();
}

#[test]
fn a_byte_now_and_then_is_too_slow() {
    let oracle = Oracle::start();
    let report = twelve(|mut client| {
        client.request();
        // The pace of a slow server: no wait for a fact.
        let slowly = |byte| {
            std::thread::sleep(Duration::from_millis(50));
            client.send(&[byte])
        };
        GOOD.iter().copied().all(slowly);
    });
    all_are(&report, Class::TimedOut, "no whole answer within 200ms");
    oracle.check();
}

#[test]
fn endless_answers_end() {
    let oracle = Oracle::start();
    let report = twelve(|mut client| {
        client.request();
        let _ = client.send(b"HTTP/1.1 200 OK\r\n");
        while client.send(b"X-More: and more\r\n") {}
    });
    all_are(&report, Class::Malformed, "endless headers");
    for head in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let report = twelve(move |mut client| {
            client.request();
            let _ = client.send(head);
            while client.send(&b"8\r\nchunked!\r\n".repeat(1000)) {}
        });
        all_are(&report, Class::TimedOut, "no whole answer within 200ms");
        assert!(report.bytes > 1_000_000);
    }
    let report = twelve(|mut client| {
        client.request();
        while client.send(b"HTTP/1.1 100 Continue\r\n\r\n") {}
    });
    let lost = report.failed(Class::Hung) + report.failed(Class::TimedOut);
    assert_eq!((report.answers, lost), (0, 12), "{report:#?}");
    oracle.check();
}

#[test]
fn what_is_no_http_is_malformed() {
    let oracle = Oracle::start();
    let speaks_first = |mut client: Client| {
        let _ = client.send(b"SSH-2.0-OpenSSH_9.2\r\n");
        client.ignore();
    };
    all_are(
        &twelve(speaks_first),
        Class::Malformed,
        "SSH-2.0-OpenSSH_9.2",
    );
    let too_much = |mut client: Client| {
        while client.request() && client.send(GOOD) && client.send(b" and more") {}
    };
    let report = twelve(too_much);
    assert_eq!(
        report.failed(Class::Malformed) + report.answers,
        12,
        "{report:#?}"
    );
    assert!(report.failed(Class::Malformed) >= 4);
    oracle.check();
}

#[test]
fn what_is_in_flight_on_a_lost_connection_is_lost() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        for _ in 0..4 {
            client.request();
        }
        let _ = client.send(&GOOD[..7]);
    });
    let mut spec = server.spec();
    (spec.connections, spec.pipelining, spec.until) = (1, 4, requests(8));
    let report = run(spec);
    let lost = [Class::Half, Class::Reset].map(|class| report.failed(class));
    assert_eq!((report.answers, lost), (0, [2, 6]), "{report:#?}");
    assert_eq!(server.requests(), 8);
    drop(server);
    oracle.check();
}

/// The queue is full: the kernel drops what would begin a connection.
#[test]
fn who_accepts_nothing_is_too_slow() {
    let oracle = Oracle::start();
    let listener = TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let listener = runtime.block_on(async { listener.listen(1).unwrap() });
    let address = listener.local_addr().unwrap();
    let full: Vec<_> = (0..16)
        .filter_map(|_| TcpStream::connect_timeout(&address, SOON).ok())
        .collect();
    assert!(full.len() < 16);
    let mut spec = Spec::new(target(address));
    (spec.connections, spec.timeout) = (2, SOON);
    spec.until = requests(4);
    let report = run(spec);
    assert_eq!(report.failed(Class::TimedOut), 4, "{report:#?}");
    let example = &report.failures[&Class::TimedOut].example;
    assert_eq!(example, "no connection within 200ms");
    drop((full, listener, runtime));
    oracle.check();
}

#[test]
fn a_wrong_answer_is_an_answer() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        while client.request() {
            let _ = match client.asked() % 3 {
                0 => client.send(GOOD),
                1 => client.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello"),
                _ => client.send(b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nhallo"),
            };
        }
    });
    let mut spec = server.spec();
    spec.expect_body = Some("hello".into());
    (spec.connections, spec.until) = (1, requests(30));
    let report = run(spec);
    assert_eq!((report.answers, report.lost()), (30, 0));
    assert_eq!(
        (report.failed(Class::Non2xx), report.failed(Class::Mismatch)),
        (20, 10)
    );
    assert_eq!(
        report.statuses.into_iter().collect::<Vec<_>>(),
        [(200, 10), (404, 10), (503, 10)]
    );
    drop(server);
    oracle.check();
}

#[test]
fn a_dead_server_is_asked_now_and_then_and_each_try_counts() {
    let oracle = Oracle::start();
    let address = Server::good().address;
    let mut spec = Spec::new(target(address));
    (spec.connections, spec.threads) = (4, 2);
    spec.until = Until::Elapsed(Duration::from_millis(500));
    let report = run(spec);
    let refused = report.failed(Class::Refused);
    // 1, 2, 4 … 64, 100, 100 ms: eleven of each connection.
    assert!((16..=48).contains(&refused), "{report:#?}");
    assert_eq!((report.sent, report.connected), (refused, 0));
    let mut spec = Spec::new(target(address));
    spec.until = requests(7);
    assert_eq!(run(spec).failed(Class::Refused), 7);
    let mut spec = Spec::new(Target::parse("unix:/nowhere/at/all").unwrap());
    spec.until = requests(3);
    assert_eq!(run(spec).failed(Class::Refused), 3);
    oracle.check();
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        // Every other connection is cut after some requests.
        let most = if client.number % 2 == 0 { 3 } else { 5 };
        while client.asked() < most && client.request() && client.send(GOOD) {}
    });
    let mut spec = server.spec();
    (spec.connections, spec.threads, spec.until) = (4, 2, requests(400));
    let report = run(spec);
    assert!(report.answers > 200, "{report:#?}");
    assert!(report.connected > 80, "{report:#?}");
    drop(server);
    oracle.check();
}

#[test]
fn it_is_over_after_so_many_failures_exactly() {
    let oracle = Oracle::start();
    // Ten answers come at once, so that there are more than may be counted.
    let ten = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".repeat(10);
    let server = Server::start(
        move |mut client| {
            while (0..10).all(|_| client.request()) && client.send(&ten) {}
        },
    );
    for (threads, class) in [(1, Class::Non2xx), (2, Class::Non2xx), (2, Class::Refused)] {
        let mut spec = server.spec();
        (spec.threads, spec.connections, spec.pipelining) = (threads, 8, 10);
        spec.until = Until::Elapsed(LONG);
        spec.bailout = NonZeroU64::new(25);
        if class == Class::Refused {
            spec.targets = vec![target(Server::good().address)];
        }
        let began = Instant::now();
        let report = run(spec);
        assert_eq!(report.failed(class), 25, "{report:#?}");
        assert!(began.elapsed() < LONG);
    }
    drop(server);
    oracle.check();
}

#[test]
fn everything_at_once_adds_up() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        let number = client.number;
        let _ = match number % 7 {
            0 => client.request() && client.request() && client.send(&GOOD.repeat(2)),
            1 => false,
            2 => client.request() && client.send(&GOOD[..9]),
            3 => client.request() && client.send(b"nonsense\r\n\r\n"),
            4 => client.request() && client.send(&[GOOD, b"surplus"].concat()),
            5 => {
                client.ignore();
                false
            }
            _ => {
                while client.request() && client.send(GOOD) && client.asked() < 50 {}
                false
            }
        };
    });
    let mut spec = server.spec();
    (spec.threads, spec.connections, spec.pipelining) = (2, 9, 3);
    spec.timeout = Duration::from_millis(50);
    spec.until = requests(2000);
    let report = run(spec);
    assert_eq!((report.sent, report.unfinished), (2000, 0));
    for class in [Class::Reset, Class::Half, Class::Malformed, Class::Hung] {
        assert!(report.failed(class) > 0, "{class:?}: {report:#?}");
    }
    drop(server);
    oracle.check();
}
