//! The screen of a person. `script` gives the terminal.

use procession::child_process::{Command, Stdio};

use super::server::Server;
use super::stage::Stage;

/// Takes the line at the bottom off.
const ERASE: &str = "\r\x1b[K";

/// What a terminal of 60 columns got of `procession bench WORDS`; nothing without terminals.
fn screen(stage: &Stage, words: &str) -> Option<String> {
    let found = Command::new("script").arg("--version").outcome_blocking();
    if !found.is_ok_and(|outcome| outcome.exit.success()) {
        return None;
    }
    let program = env!("CARGO_BIN_EXE_procession");
    let line = format!("stty cols 60; exec {program} bench {words}");
    let mut command = stage.like(&Command::new("script"));
    command
        .args(["-qefc", &line, "screen"])
        .stdout(Stdio::ignore());
    command.env("TERM", "xterm");
    let seen = stage.see(&command);
    assert_eq!(seen.code, Some(0), "{}", stage.text("screen"));
    Some(stage.text("screen"))
}

#[test]
fn a_line_at_the_bottom_tells_how_far_it_is_and_is_gone_at_the_end() {
    let stage = Stage::new(&[]);
    let server = Server::new(|number, _| (number != 9).then(|| super::server::ok("")));
    let url = server.url();
    if let Some(screen) = screen(&stage, &format!("-d 700ms -L 100 --debug {url}")) {
        let lines: Vec<&str> = screen.split(ERASE).collect();
        let bottoms = lines.iter().filter(|line| line.contains(" / 0.7 s  ["));
        assert!(bottoms.count() > 3, "{screen:?}");
        assert!(
            lines.iter().any(|line| line.contains(" req/s  p99 ")),
            "{screen:?}"
        );
        // What is told meanwhile, and the result, stand where the line was.
        assert!(
            lines.iter().any(|line| line.contains(" s  reset: ")),
            "{screen:?}"
        );
        let last = lines.last().unwrap();
        assert!(
            last.contains("Latency") && last.contains("1 lost"),
            "{screen:?}"
        );
        // It is cut, and not wrapped.
        for line in lines.iter().filter(|line| line.contains(" / 0.7 s")) {
            let line = line.split(['\r', '\n']).next().unwrap();
            let shown = line.replace("\x1b[31m", "").replace("\x1b[0m", "");
            assert!(shown.chars().count() < 60, "{line:?}");
        }
    }
    drop(server);
    stage.end();
}

#[test]
fn the_line_and_colour_can_be_done_without() {
    let stage = Stage::new(&[]);
    let server = Server::well();
    let url = server.url();
    if let Some(screen) = screen(&stage, &format!("-n --no-color -a 50 {url}")) {
        assert!(!screen.contains('\x1b'), "{screen:?}");
    }
    if let Some(screen) = screen(&stage, &format!("-j -a 50 {url}")) {
        assert!(
            !screen.contains('\x1b') && !screen.contains("Running"),
            "{screen:?}"
        );
        let json = screen.lines().filter(|line| line.starts_with('{'));
        assert_eq!(json.count(), 1, "{screen:?}");
    }
    drop(server);
    stage.end();
}
