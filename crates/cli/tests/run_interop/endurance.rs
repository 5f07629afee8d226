//! Restarts and connections without end: the primary is as small afterwards as before.
//!
//! `PROCESSION_RESTARTS` workers are killed (20) while `PROCESSION_CONNECTIONS` requests
//! are answered, each over a connection of its own (4,000): `cargo xtask chaos` makes it
//! 1,000 and 1,000,000, with the release build, whose memory has a limit.

use std::env;
use std::fs;

use procession::child_process::Signal;
use procession_testkit::node;

use crate::load::{begin, finish, requests};
use crate::stage::{Server, Stage, is_control, kill, program};

/// The most that the primary may ever take, in KiB. The debug build is larger from the start.
const MOST: Option<u64> = if cfg!(debug_assertions) {
    None
} else {
    Some(6 * 1024)
};

/// What makes 1,000 deaths in a few minutes no crash loop.
const OFTEN: [&str; 2] = ["--max-restarts", "1000000"];

/// What the primary has.
#[derive(Debug)]
struct Has {
    /// KiB, now and at most.
    rss: u64,
    most: u64,
    descriptors: usize,
}

impl Has {
    fn of(server: &Server<'_>) -> Self {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid)).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self {
            rss: kib("VmRSS:"),
            most: kib("VmHWM:"),
            descriptors: descriptors(server),
        }
    }
}

fn descriptors(server: &Server<'_>) -> usize {
    let folder = fs::read_dir(format!("/proc/{}/fd", server.pid));
    folder.unwrap().count()
}

fn number(name: &str, usual: u64) -> u64 {
    let number = env::var(name).ok();
    number.map_or(usual, |number| number.parse().unwrap())
}

/// Kills a worker and waits for the next.
fn replace_one(server: &Server<'_>, number: usize) {
    let workers = server.workers();
    kill(workers[number % workers.len()], Signal::KILL);
    server.ready(3 + number);
}

#[test]
fn restarts_and_connections_leave_nothing_in_the_primary() {
    let Some(_) = node::or_skip("endurance of procession run") else {
        return;
    };
    if is_control() {
        return;
    }
    let restarts = number("PROCESSION_RESTARTS", 20);
    let connections = number("PROCESSION_CONNECTIONS", 4_000);
    let stage = Stage::new();
    let server = stage.two(&OFTEN, &[program("http.js").to_str().unwrap()]);
    // Everything was used once.
    assert_eq!(requests(&server.load(), 200).failures(), 0);
    replace_one(&server, 0);
    assert_eq!(requests(&server.load(), 200).failures(), 0);
    let before = Has::of(&server);

    let mut load = server.load();
    load.connections = 16;
    let load = begin(load);
    for restart in 1..=restarts {
        // Both come to their end at the same time.
        let so_far = connections * restart / (restarts + 1);
        server.until("answers", || (load.answered() >= so_far).then_some(()));
        replace_one(&server, usize::try_from(restart).unwrap());
    }
    server.until("the last answers", || {
        (load.answered() >= connections).then_some(())
    });
    let report = finish(load);
    let what = format!("{} descriptors again", before.descriptors);
    server.until(&what, || {
        (descriptors(&server) <= before.descriptors).then_some(())
    });
    let after = Has::of(&server);
    eprintln!(
        "{restarts} restarts, {} answers, {} lost with a worker, {:.0} s\nprimary: {} KiB at the start, {} at most, {} at the end; \
         {} descriptors before, {} after",
        report.answers,
        report.failures(),
        report.duration.as_secs_f64(),
        before.rss,
        after.most,
        after.rss,
        before.descriptors,
        after.descriptors
    );
    assert_eq!(report.refused_or_hung(), 0, "{report}");
    if let Some(most) = MOST {
        assert!(
            after.most <= most,
            "{} KiB are more than {most}",
            after.most
        );
    }
    // Neither depends on how many there were.
    let grown = after.rss.saturating_sub(before.rss);
    assert!(grown <= 2 * 1024, "{grown} KiB more at the end");
    assert!(server.stop().success());
    stage.end();
}
