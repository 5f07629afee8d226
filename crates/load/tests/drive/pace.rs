//! Requests at a rate.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use procession_load::{Class, Keep, Rate, Spec, Until};
use procession_testkit::leaks::Oracle;

use crate::server::{GOOD, LONG, Server, requests, run, target};

#[test]
fn a_rate_is_one_of_all_threads_together() {
    let oracle = Oracle::start();
    let cases = [
        (Rate::Overall(200.0), 8, 1),
        (Rate::PerConnection(50.0), 4, 3),
        // These are not all there before 3 ms; the queue of a listener has room for 128.
        (Rate::Overall(200.0), 100, 1),
    ];
    for (rate, connections, pipelining) in cases {
        let server = Server::good();
        let mut spec = server.spec();
        (spec.threads, spec.connections, spec.rate) = (2, connections, rate);
        spec.pipelining = pipelining;
        spec.until = Until::Elapsed(Duration::from_secs(1));
        let report = run(spec);
        // From 1 ms on, each 5 ms; a busy machine may have kept the last ones back.
        assert!((150..=200).contains(&report.answers), "{report:#?}");
        assert_eq!(report.connected, connections as u64);
        assert!(report.raw.min() > Duration::ZERO, "even of the first");
        assert_eq!(report.corrected.unwrap().len(), report.answers);
    }
    oracle.check();
}

#[test]
fn an_amount_at_a_rate_takes_its_time() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    spec.rate = Rate::Overall(100.0);
    spec.correct = false;
    (spec.threads, spec.until) = (2, requests(30));
    let report = run(spec);
    assert_eq!((report.answers, server.requests()), (30, 30));
    assert!(
        report.duration >= Duration::from_millis(290),
        "{:?}",
        report.duration
    );
    assert!(report.duration < LONG);
    assert!(report.corrected.is_none());
    drop(server);
    oracle.check();
}

/// The requests that a stall kept from being sent waited for as long as they were late.
#[test]
fn a_stall_is_in_the_corrected_latency_of_all_whom_it_kept_waiting() {
    let oracle = Oracle::start();
    const STALL: Duration = Duration::from_millis(500);
    let server = Server::start(|mut client| {
        while client.request() {
            if client.asked() == 20 {
                // The stall itself: no wait for a fact.
                std::thread::sleep(STALL);
            }
            if !client.send(GOOD) {
                return;
            }
        }
    });
    let mut spec = server.spec();
    (spec.connections, spec.until) = (1, requests(100));
    spec.rate = Rate::Overall(100.0);
    let report = run(spec);
    let corrected = report.corrected.unwrap();
    let at_least =
        |limit: Duration, histogram: &procession_load::Histogram| histogram.between(limit, LONG);
    let half = STALL / 2;
    // 50 were due within the stall, and half of them waited for more than half of it; a busy
    // machine adds waits of its own.
    let waited = [&report.raw, &corrected].map(|histogram| at_least(half, histogram));
    assert!(
        waited[0] <= 5 && waited[1] >= 15,
        "{waited:?}, {:?}",
        report.client
    );
    assert!(corrected.max() >= STALL && report.raw.max() >= STALL);
    drop(server);
    oracle.check();
}

#[test]
fn a_dead_server_is_asked_at_the_rate_too() {
    let oracle = Oracle::start();
    let mut spec = Spec::new(target(Server::good().address));
    (spec.connections, spec.rate) = (1, Rate::Overall(5.0));
    spec.until = Until::Elapsed(Duration::from_secs(1));
    let report = run(spec);
    // One to begin with, then one each 200 ms; at its own pace it would ask 16 times.
    let refused = report.failed(Class::Refused);
    assert!((3..=6).contains(&refused), "{report:#?}");
    assert_eq!(report.sent, refused);
    oracle.check();
}

/// Not a busy loop, and no failure: nothing was asked.
#[test]
fn who_closes_idle_connections_loses_nothing() {
    let oracle = Oracle::start();
    let served = AtomicU64::new(0);
    let server = Server::start(move |mut client| {
        // The first connections are closed before anything is asked, later ones after an answer.
        if served.fetch_add(1, Ordering::SeqCst) >= 2 && client.request() {
            let _ = client.send(GOOD);
        }
    });
    let mut spec = server.spec();
    (spec.connections, spec.rate) = (2, Rate::Overall(20.0));
    spec.keep = Keep::Alive;
    // Two are due while the connections are there; they may be lost.
    spec.most_requests = NonZeroU64::new(10);
    spec.until = Until::Elapsed(LONG);
    let report = run(spec);
    assert_eq!(report.sent, 10, "{report:#?}");
    assert!(report.answers >= 8, "{report:#?}");
    assert!(report.connected <= 12, "{report:#?}");
    drop(server);
    oracle.check();
}
