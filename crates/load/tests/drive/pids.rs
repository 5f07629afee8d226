//! Who answered, and how fast.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use procession_load::Keep;
use procession_testkit::leaks::Oracle;

use crate::server::{Server, requests, run};

fn by(pid: u64) -> Vec<u8> {
    let body = format!("pid {pid}");
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[test]
fn each_process_has_its_own_latency() {
    const SLOW: Duration = Duration::from_millis(40);
    let oracle = Oracle::start();
    // Both are there, so that the fast one does not answer all.
    let both = Arc::new(Barrier::new(2));
    let server = Server::start(move |mut client| {
        let is_slow = client.number == 1;
        while client.request() {
            if client.asked() == 1 {
                both.wait();
            }
            if is_slow {
                // The latency to be found, not a wait for a fact.
                thread::sleep(SLOW);
            }
            client.send(&by(7 + client.number));
        }
    });
    let mut spec = server.spec();
    (spec.connections, spec.threads) = (2, 2);
    (spec.until, spec.watch_pids) = (requests(100), true);
    let report = run(spec);
    let [fast, slow] = [7, 8].map(|pid| &report.pid_latency[&pid]);
    assert_eq!(
        [fast.len(), slow.len()],
        [7, 8].map(|pid| report.by_pid[&pid])
    );
    assert_eq!(fast.len() + slow.len(), 100);
    // To two digits.
    assert!(slow.min() >= SLOW.mul_f64(0.99), "{:?}", slow.min());
    assert!(fast.percentile(50.0) < SLOW, "{:?}", fast.percentile(50.0));
    drop(server);
    oracle.check();
}

#[test]
fn latency_is_kept_of_a_few_and_without_being_asked_of_none() {
    let oracle = Oracle::start();
    let server = Server::start(
        |mut client| {
            while client.request() && client.send(&by(client.number + 1)) {}
        },
    );
    let mut spec = server.spec();
    (spec.connections, spec.keep, spec.until) = (1, Keep::Close, requests(40));
    assert!(run(spec.clone()).pid_latency.is_empty());
    spec.watch_pids = true;
    let report = run(spec);
    assert_eq!((report.by_pid.len(), report.pid_latency.len()), (40, 16));
    assert!(report.pid_latency.values().all(|it| it.len() == 1));
    drop(server);
    oracle.check();
}
