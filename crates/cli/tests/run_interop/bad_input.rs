//! What cannot work: one clear error, a documented code, nothing left running.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use procession_testkit::node;

use crate::stage::{Stage, is_control, program};

/// Runs it until it ends; its code and what it said on stderr.
fn refused(stage: &Stage, words: &[&str], port: Option<u16>) -> (Option<i32>, String) {
    let mut command = stage.procession(words);
    if let Some(port) = port {
        command.env("PORT", port.to_string());
    }
    let outcome = stage.outcome(&mut command);
    let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
    (outcome.exit.code(), text)
}

#[test]
fn lines_that_make_no_sense() {
    if is_control() {
        return;
    }
    let stage = Stage::new();
    let http = program("http.js");
    let http = http.to_str().unwrap();
    let lines: [&[&str]; 4] = [
        &["-i", "0", http],
        &["-i", "many", http],
        &["--balance", "fair", http],
        &[],
    ];
    for line in lines {
        let (code, text) = refused(&stage, line, None);
        assert_eq!(code, Some(2), "{line:?}: {text}");
        assert!(text.starts_with("error: "), "{line:?}: {text}");
    }
    let (_, text) = refused(&stage, &["--balance", "fair", http], None);
    for policy in ["auto", "spread", "least-busy", "round-robin", "ip-hash"] {
        assert!(text.contains(policy), "{text}");
    }
    stage.end();
}

#[test]
fn programs_that_cannot_run() {
    let Some(_) = node::or_skip("bad programs under procession run") else {
        return;
    };
    if is_control() {
        return;
    }
    let stage = Stage::new();
    let path = |name: &str| program(name).to_string_lossy().into_owned();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let us = format!("pid {}", std::process::id());
    let cases = [
        ("missing.js", None, 127, vec!["missing.js"]),
        ("broken.js", None, 4, vec!["SyntaxError"]),
        ("forks.js", None, 4, vec!["cluster.fork is not a function"]),
        ("http.js", Some(port), 6, vec!["EADDRINUSE", &*us]),
    ];
    for (name, port, exit, wanted) in cases {
        let began = Instant::now();
        let (code, text) = refused(&stage, &["-i", "2", &path(name)], port);
        assert_eq!(code, Some(exit), "{name}: {text}");
        for wanted in wanted {
            assert!(text.contains(wanted), "{name}: no {wanted:?} in\n{text}");
        }
        assert!(text.contains("\nhint: "), "{name}: no hint in\n{text}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{name}: {:?}",
            began.elapsed()
        );
    }
    drop(taken);
    stage.end();
}

/// Row S2: the time-out never counts as ready.
#[test]
fn a_program_that_never_listens() {
    let Some(_) = node::or_skip("a silent program under procession run") else {
        return;
    };
    if is_control() {
        return;
    }
    let stage = Stage::new();
    let silent = program("silent.js");
    let words = [
        "-i",
        "2",
        "--ready-timeout",
        "500ms",
        silent.to_str().unwrap(),
    ];
    let (code, text) = refused(&stage, &words, None);
    assert_eq!(code, Some(5), "{text}");
    assert!(
        text.contains("listen") && text.contains("\nhint: "),
        "{text}"
    );
    stage.end();
}
