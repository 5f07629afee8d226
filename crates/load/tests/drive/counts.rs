//! What is counted: exactly what the server counts.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use procession_load::{Keep, Request, Until};
use procession_testkit::leaks::Oracle;

use crate::server::{GOOD, LONG, Server, requests, run};

#[test]
fn an_amount_is_sent_exactly_by_all_threads_together() {
    let oracle = Oracle::start();
    for (threads, connections, pipelining, amount) in [
        (1, 1, 1, 100),
        (2, 7, 1, 1001),
        (3, 4, 5, 777),
        (2, 50, 1, 9),
        (1, 1, 64, 10),
    ] {
        let server = Server::good();
        let mut spec = server.spec();
        (spec.threads, spec.connections, spec.pipelining) = (threads, connections, pipelining);
        spec.until = requests(amount);
        let report = run(spec);
        assert_eq!((report.sent, report.answers), (amount, amount));
        assert_eq!(server.requests(), amount);
        assert_eq!(report.raw.len(), amount);
        assert_eq!(report.bytes, amount * GOOD.len() as u64);
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert!(report.connected <= amount.min(connections as u64));
        assert_eq!(server.connections(), report.connected);
    }
    oracle.check();
}

#[test]
fn the_smaller_of_amount_and_most_requests_holds() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    spec.threads = 2;
    spec.until = Until::Elapsed(LONG);
    spec.most_requests = NonZeroU64::new(123);
    let report = run(spec);
    assert_eq!((report.answers, server.requests()), (123, 123));
    assert!(report.duration < LONG);
    drop(server);
    oracle.check();
}

#[test]
fn a_connection_is_used_for_as_many_requests_as_it_should() {
    let oracle = Oracle::start();
    let seven = NonZeroU64::new(7).unwrap();
    for (keep, on_one, connected) in [(Keep::For(seven), 7, 30), (Keep::Close, 1, 210)] {
        for pipelining in [1, 3] {
            let server = Server::good();
            let mut spec = server.spec();
            (spec.connections, spec.pipelining) = (3, pipelining);
            spec.keep = keep;
            // Each of three connections makes 70, so that all are used up.
            spec.most_per_connection = NonZeroU64::new(70);
            spec.until = Until::Elapsed(LONG);
            let report = run(spec);
            assert_eq!((report.answers, report.lost()), (210, 0), "{report:#?}");
            assert_eq!(server.requests(), 210);
            assert_eq!(server.most_on_one(), on_one);
            assert_eq!(
                (report.connected, server.connections()),
                (connected, connected)
            );
        }
    }
    oracle.check();
}

#[test]
fn a_server_that_closes_politely_loses_nothing() {
    let oracle = Oracle::start();
    let closing = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let endless = b"HTTP/1.0 200 OK\r\n\r\nuntil the end";
    for answer in [&closing[..], &endless[..]] {
        let server = Server::start(move |mut client| {
            let _ = client.request() && client.send(answer);
        });
        let mut spec = server.spec();
        spec.until = requests(100);
        let report = run(spec);
        assert_eq!(
            (report.answers, report.lost(), server.requests()),
            (100, 0, 100)
        );
        assert_eq!(report.connected, 100);
    }
    oracle.check();
}

#[test]
fn time_is_over_when_it_is_and_what_is_under_way_is_unfinished() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| while client.request() {});
    let mut spec = server.spec();
    (spec.threads, spec.connections, spec.pipelining) = (2, 5, 3);
    let began = Instant::now();
    let report = run(spec);
    assert!(began.elapsed() < LONG, "{report:#?}");
    assert!(report.duration >= Duration::from_millis(300));
    assert_eq!((report.answers, report.unfinished), (0, 15), "{report:#?}");
    assert_eq!(report.samples.len(), 3, "{:?}", report.samples);
    drop(server);
    oracle.check();
}

#[test]
fn requests_are_made_one_after_the_other_and_again() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        while client.request() && client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") {
            // Of three requests, the second is a `HEAD`: its answer has no body.
            if client.asked() % 3 != 2 && !client.send(b"hello") {
                break;
            }
        }
    });
    let mut spec = server.spec();
    let head = Request {
        method: "HEAD".into(),
        ..Request::default()
    };
    spec.requests = vec![Request::default(), head, Request::default()];
    spec.connections = 2;
    spec.most_per_connection = NonZeroU64::new(30);
    let report = run(spec);
    assert_eq!(
        (report.answers, report.lost(), report.sent),
        (60, 0, 60),
        "{report:#?}"
    );
    drop(server);
    oracle.check();
}

#[test]
fn connections_are_dealt_out_to_the_targets_in_turn() {
    let oracle = Oracle::start();
    let servers = [Server::good(), Server::good(), Server::good()];
    let mut spec = servers[0].spec();
    spec.targets = servers.iter().map(Server::target).collect();
    (spec.connections, spec.threads) = (6, 2);
    spec.most_per_connection = NonZeroU64::new(5);
    run(spec);
    for server in &servers {
        assert_eq!((server.connections(), server.requests()), (2, 10));
    }
    drop(servers);
    oracle.check();
}

#[test]
fn answers_are_counted_by_pid() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        let body = format!("pid: {}\n", 100 + client.number % 2);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        while client.request() && client.send(answer.as_bytes()) {}
    });
    let mut spec = server.spec();
    spec.watch_pids = true;
    spec.connections = 4;
    spec.most_per_connection = NonZeroU64::new(10);
    let report = run(spec);
    assert_eq!(
        report.by_pid.into_iter().collect::<Vec<_>>(),
        [(100, 20), (101, 20)]
    );
    drop(server);
    oracle.check();
}
