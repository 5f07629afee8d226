//! An end that waits for what is under way, and the answers so far.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use procession_load::{Class, Event, Keep, Rate, Running, Until, Warmup, start};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use tokio::runtime::Builder;

use crate::server::{GOOD, LONG, Server, check, requests};

fn until_answered(running: &Running, count: u64) {
    wait::until("answers", || (running.answered() >= count).then_some(()));
}

#[test]
fn what_is_under_way_is_answered_and_nothing_else_is_begun() {
    let oracle = Oracle::start();
    let gate = Arc::new(Barrier::new(4));
    let server = {
        let gate = Arc::clone(&gate);
        Server::start(move |mut client| {
            while client.request() {
                if client.asked() == 1 {
                    gate.wait();
                }
                client.send(GOOD);
            }
        })
    };
    for keep in [Keep::Alive, Keep::Close] {
        let before = server.requests();
        let mut spec = server.spec();
        (spec.connections, spec.threads, spec.keep) = (3, 2, keep);
        // What it would do without.
        spec.until = requests(9);
        let running = start(spec).unwrap();
        wait::until("three requests", || {
            (server.requests() == before + 3).then_some(())
        });
        running.drain();
        gate.wait();
        let report = running.report_blocking();
        check(&report);
        assert_eq!(
            (report.answers, report.sent, report.unfinished),
            (3, 3, 0),
            "{report:#?}"
        );
        assert_eq!(server.requests(), before + 3);
    }
    drop(server);
    oracle.check();
}

#[test]
fn what_is_never_answered_fails_by_its_time_out() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        client.request();
        client.ignore();
    });
    let mut spec = server.spec();
    (spec.connections, spec.until) = (3, Until::Stopped);
    spec.timeout = Duration::from_millis(200);
    let running = start(spec).unwrap();
    wait::until("three requests", || (server.requests() >= 3).then_some(()));
    running.drain();
    let report = running.report_blocking();
    check(&report);
    assert_eq!(report.failed(Class::Hung), report.sent, "{report:#?}");
    assert!(report.duration >= Duration::from_millis(200));
    drop(server);
    oracle.check();
}

#[test]
fn what_is_not_due_yet_is_not_waited_for() {
    let oracle = Oracle::start();
    // Connections that wait with their next request, and one that is not there any more.
    for keep in [Keep::Alive, Keep::Close] {
        let server = Server::good();
        let mut spec = server.spec();
        // The first request at once, the next one on another connection after 100 s.
        (spec.rate, spec.keep) = (Rate::Overall(0.01), keep);
        spec.until = Until::Elapsed(2 * LONG);
        let running = start(spec).unwrap();
        until_answered(&running, 1);
        wait::until("ten connections", || {
            (server.connections() == 10).then_some(())
        });
        running.drain();
        let report = running.report_blocking();
        check(&report);
        assert_eq!((report.sent, report.answers), (1, 1), "{report:#?}");
        assert!(report.duration < LONG, "{:?}", report.duration);
    }
    oracle.check();
}

#[test]
fn who_finds_nobody_makes_no_further_try() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    drop(server);
    spec.until = Until::Stopped;
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut running = start(spec).unwrap();
        let first = running.next_event().await;
        assert!(matches!(first, Some(Event::Failed { .. })), "{first:?}");
        running.drain();
        let report = running.report().await;
        check(&report);
        assert_eq!(
            (report.failed(Class::Refused), report.answers),
            (report.sent, 0)
        );
    });
    drop(runtime);
    oracle.check();
}

#[test]
fn answers_so_far_are_those_of_the_report_without_the_warm_up() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    (spec.threads, spec.until) = (2, requests(1000));
    spec.warmup = Some(Warmup {
        connections: 2,
        lasts: Duration::from_millis(50),
    });
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut running = start(spec).unwrap();
        let report = loop {
            match running.next_event().await {
                Some(Event::Done(report)) => break report,
                event => assert!(event.is_some()),
            }
        };
        check(&report);
        assert_eq!((report.answers, running.answered()), (1000, 1000));
    });
    drop((runtime, server));
    oracle.check();
}

#[test]
fn the_last_answer_before_a_stall_is_told() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        while client.request() && client.asked() <= 5 && client.send(GOOD) {}
        client.ignore();
    });
    let mut spec = server.spec();
    (spec.connections, spec.until) = (1, Until::Stopped);
    let running = start(spec).unwrap();
    until_answered(&running, 5);
    running.stop();
    let report = running.report_blocking();
    check(&report);
    assert_eq!(report.answers, 5);
    drop(server);
    oracle.check();
}
