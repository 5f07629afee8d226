//! Workers that end, in every way.

use procession_testkit::load::Failure;
use procession_testkit::node;

use crate::stage::{Stage, is_control, program};

/// Each of the ways is followed by a new worker, and nobody is refused meanwhile.
#[test]
fn whatever_ends_a_worker_another_one_comes() {
    let Some(_) = node::or_skip("deaths under procession run") else {
        return;
    };
    let stage = Stage::new();
    // Node's own primary, as every program has it, starts no worker for one that left by itself.
    let ways: &[&str] = match is_control() {
        true => &["/exit?n=3", "/kill", "/throw"],
        false => &[
            "/exit?n=3",
            "/kill",
            "/throw",
            "/disconnect",
            "/worker-kill",
        ],
    };
    let server = stage.two(&[], &[program("http.js").to_str().unwrap()]);
    for (number, way) in ways.iter().enumerate() {
        let before = server.workers();
        let load = server.load().start();
        let mut ask = server.load();
        (ask.connections, ask.path) = (1, (*way).into());
        let asked = ask.requests(1);
        let refused = asked.count(Failure::Refused) + asked.count(Failure::Hung);
        assert_eq!(refused, 0, "{way}: {asked}");
        server.ready(3 + number);
        let report = load.finish();
        for failure in [Failure::Refused, Failure::Hung] {
            assert_eq!(
                report.count(failure),
                0,
                "{way}: {report}\n{}",
                server.log()
            );
        }
        let after = server.workers();
        let stayed = before.iter().filter(|pid| after.contains(pid)).count();
        assert_eq!((after.len(), stayed), (2, 1), "{way}: {before:?} {after:?}");
    }
    assert!(server.stop().success());
    stage.end();
}

/// A worker that leaves by itself loses nobody's request.
#[test]
fn a_worker_that_disconnects_loses_nothing() {
    let Some(_) = node::or_skip("worker.disconnect() under procession run") else {
        return;
    };
    if is_control() {
        return;
    }
    for policy in ["least-busy", "spread", "round-robin"] {
        let stage = Stage::new();
        let server = stage.two(
            &["--balance", policy],
            &[program("http.js").to_str().unwrap()],
        );
        for number in 0..5 {
            let load = server.load().start();
            server.ask("/disconnect");
            server.ready(3 + number);
            let report = load.finish();
            assert_eq!(report.failures(), 0, "{policy}: {report}\n{}", server.log());
        }
        assert!(server.stop().success());
        stage.end();
    }
}
