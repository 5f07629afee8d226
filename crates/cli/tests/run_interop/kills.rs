//! Workers killed under load, one connection for each request: what is lost is what the
//! victim had in its hands, nobody hangs, nobody is refused, nothing is left.
//!
//! `PROCESSION_KILLS` is the number of kills (20); `cargo xtask chaos` makes it 1,000.

use std::env;
use std::fs;
use std::path::Path;

use procession::child_process::Signal;
use procession_load::Running;
use procession_testkit::node;

use crate::load::{ask_for, begin, finish, requests};
use crate::stage::{Server, Stage, descriptors, is_control, kill, program, state};

/// What makes 1,000 deaths in a few minutes no crash loop.
const OFTEN: [&str; 2] = ["--max-restarts", "1000000"];

fn kills() -> usize {
    let number = env::var("PROCESSION_KILLS").ok();
    number.and_then(|it| it.parse().ok()).unwrap_or(20)
}

/// The folder in which every worker notes what it has accepted and not yet answered.
fn start<'a>(stage: &'a Stage, policy: &str, notes: &Path) -> Server<'a> {
    let options = [&OFTEN[..], &["--balance", policy]].concat();
    let http = program("http.js");
    let mut command = stage.cluster(2, &options, &[http.to_str().unwrap()]);
    let server = stage.start(command.env("OPEN_DIR", notes));
    server.ready(2);
    server
}

/// Kills a worker and returns how many connections it had accepted and not yet answered.
fn kill_counting(victim: u32, notes: &Path) -> u64 {
    kill(victim, Signal::KILL);
    procession_testkit::wait::until("its death", || {
        state(victim).is_none_or(|it| it == 'Z').then_some(())
    });
    let note = fs::read_to_string(notes.join(victim.to_string())).unwrap();
    note.trim().parse().unwrap_or(0)
}

fn answers_go_on(load: &Running, server: &Server<'_>) {
    let before = load.answered();
    server.until("answers", || (load.answered() > before + 20).then_some(()));
}

#[test]
fn a_killed_worker_loses_only_what_it_had_accepted() {
    let Some(_) = node::or_skip("kills under procession run") else {
        return;
    };
    for policy in ["auto", "spread", "least-busy", "round-robin"] {
        let stage = Stage::new();
        let notes = stage.home.path().join("open");
        fs::create_dir(&notes).unwrap();
        let server = start(&stage, policy, &notes);
        let mut load = server.load();
        load.connections = 16;
        ask_for("/wait?n=5", &mut load);
        let load = begin(load);
        let (mut held, share) = (0, kills().div_ceil(4));
        for number in 0..share {
            answers_go_on(&load, &server);
            let workers = server.workers();
            held += kill_counting(workers[number % workers.len()], &notes);
            server.ready(3 + number);
        }
        answers_go_on(&load, &server);
        let report = finish(load);
        assert_eq!(report.refused_or_hung(), 0, "{report}\n{}", server.log());
        let lost = report.failures();
        eprintln!("{policy}: {share} kills, {held} held by the victims, {report}");
        // Between an accept and the note of it a worker may be killed, too.
        let unnoted = share.div_ceil(20) as u64;
        assert!(
            lost <= held + unnoted,
            "{policy}: {lost} lost, {held} were held: {report}"
        );
        assert!(server.stop().success(), "{policy}");
        stage.end();
    }
}

/// Row S7: the port stays open while nobody is there to serve it.
#[test]
fn all_workers_killed_at_once_refuse_nobody() {
    let Some(_) = node::or_skip("S7 under procession run") else {
        return;
    };
    for policy in ["auto", "spread", "least-busy"] {
        let stage = Stage::new();
        let notes = stage.home.path().join("open");
        fs::create_dir(&notes).unwrap();
        let server = start(&stage, policy, &notes);
        let load = begin(server.load());
        let rounds = kills().div_ceil(10);
        let mut held = 0;
        for number in 0..rounds {
            answers_go_on(&load, &server);
            let workers = server.workers();
            // Stopped first, so that the second does not serve what the first leaves behind.
            workers.iter().for_each(|pid| kill(*pid, Signal::STOP));
            held += workers
                .iter()
                .map(|pid| kill_counting(*pid, &notes))
                .sum::<u64>();
            server.ready(2 * (number + 2));
        }
        answers_go_on(&load, &server);
        let report = finish(load);
        eprintln!("{policy}: {rounds} rounds, {held} held by the victims, {report}");
        assert_eq!(report.refused_or_hung(), 0, "{report}\n{}", server.log());
        // Each of the two may stop between an accept and the note of it.
        let unnoted = 2 * rounds as u64;
        assert!(
            report.failures() <= held + unnoted,
            "{policy}: {held} were held: {report}"
        );
        assert!(server.stop().success(), "{policy}");
        stage.end();
    }
}

/// Rows S1 and S1-11: a program that ends at once is started a few times, with growing
/// pauses, and then given up.
#[test]
fn a_crash_loop_is_given_up() {
    let Some(_) = node::or_skip("crash loop under procession run") else {
        return;
    };
    if is_control() {
        return;
    }
    let stage = Stage::new();
    let mut command = stage.procession(&["-i", "2", program("exits.js").to_str().unwrap(), "7"]);
    let counted = stage.home.path().join("starts.cjs");
    let note = "require('fs').appendFileSync(process.env.STARTS, '.')";
    fs::write(&counted, note).unwrap();
    let starts = stage.home.path().join("starts");
    command.env("NODE_OPTIONS", format!("--require {}", counted.display()));
    command.env("STARTS", &starts);
    let server = stage.start(&mut command);
    let exit = server.wait();
    assert_eq!(exit.code(), Some(4), "{}", server.log());
    let starts = fs::read(starts).unwrap().len();
    // Two at the start, ten more by the budget.
    assert!(
        (3..=15).contains(&starts),
        "{starts} starts\n{}",
        server.log()
    );
    assert!(server.log().contains("code 7"), "{}", server.log());
    drop(server);
    stage.end();
}

/// The primary has no more descriptors after many restarts than after the first.
#[test]
fn restarts_leave_nothing_in_the_primary() {
    let Some(_) = node::or_skip("restarts under procession run") else {
        return;
    };
    let stage = Stage::new();
    let notes = stage.home.path().join("open");
    fs::create_dir(&notes).unwrap();
    let server = start(&stage, "auto", &notes);
    let descriptors = || descriptors(server.pid);
    let mut before = usize::MAX;
    for number in 0..=kills().div_ceil(4) {
        kill(server.workers()[0], Signal::KILL);
        server.ready(3 + number);
        assert_eq!(requests(&server.load(), 50).failures(), 0);
        if number == 0 {
            before = descriptors();
        }
    }
    let what = format!("{before} descriptors");
    server.until(&what, || (descriptors() <= before).then_some(()));
    assert!(server.stop().success());
    stage.end();
}
