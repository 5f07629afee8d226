//! Workers that end, in every way.

use procession_testkit::node;

use crate::load::{ask_for, begin, finish, requests};
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
        let load = begin(server.load());
        let mut ask = server.load();
        ask.connections = 1;
        ask_for(way, &mut ask);
        let asked = requests(&ask, 1);
        assert_eq!(asked.refused_or_hung(), 0, "{way}: {asked}");
        server.ready(3 + number);
        let report = finish(load);
        assert_eq!(
            report.refused_or_hung(),
            0,
            "{way}: {report}\n{}",
            server.log()
        );
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
            let load = begin(server.load());
            server.ask("/disconnect");
            server.ready(3 + number);
            let report = finish(load);
            assert_eq!(report.failures(), 0, "{policy}: {report}\n{}", server.log());
        }
        assert!(server.stop().success());
        stage.end();
    }
}
