//! The screen of a person. `script` gives the terminal.

use procession::child_process::{Command, Exit, Stdio};
use procession_testkit::{node, wait};

use super::stage::{Running, Stage, get};

/// Says so when a key at the terminal reaches it.
const HEARS: &str = "
process.on('SIGINT', () => console.log('interrupted'));
require('http').createServer((q, s) => s.end('x')).listen(0, '127.0.0.1');
";

/// Takes the line at the bottom off.
const ERASE: &str = "\r\x1b[K";

/// Whether there is a terminal to be had.
fn has_terminals(test: &str) -> bool {
    let found = Command::new("script").arg("--version").outcome_blocking();
    found.is_ok_and(|outcome| outcome.exit.success()) && node::or_skip(test).is_some()
}

/// Two workers that serve, before a terminal of 60 columns.
fn shown(stage: &Stage, options: &str) -> Running {
    let program = env!("CARGO_BIN_EXE_procession");
    let line = format!("stty cols 60; exec {program} run -i 2 {options} hears.js");
    let mut command = Command::new("script");
    command
        .args(["-qefc", &line, "screen"])
        .stdin(Stdio::pipe());
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let run = stage.start_to(stage.prepare(&mut command), Stdio::ignore());
    shows(stage, "(2 workers)");
    run
}

fn shows(stage: &Stage, text: &str) {
    wait::until(text, || stage.text("screen").contains(text).then_some(()));
}

/// What the terminal got, from the start to Ctrl-C and the end.
fn screen(stage: &Stage, options: &str) -> String {
    let mut run = shown(stage, options);
    shows(stage, "2/2 ready | 0 conn/s");
    run.press(b"\x03");
    assert_eq!(run.wait(), Exit::Code(0), "{}", stage.text("screen"));
    stage.text("screen")
}

#[test]
fn a_line_at_the_bottom_tells_how_things_stand_and_is_gone_at_the_end() {
    if !has_terminals("the screen of procession run") {
        return;
    }
    let stage = Stage::new(&[("hears.js", HEARS)]);
    let screen = screen(&stage, "--name api");
    // What is left of each line, when the last has been written.
    let lines = screen
        .lines()
        .map(|line| line.rsplit(ERASE).next().unwrap());
    let lines: Vec<&str> = lines.map(str::trim_end).collect();
    assert!(
        !lines.iter().any(|line| line.contains("ready |")),
        "{screen:?}"
    );
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    // Ctrl-C reaches us and no worker: they leave when we say so.
    assert!(has("api: stopping (SIGINT)"), "{screen}");
    assert!(
        has("api: worker 1 left, pid ") && has("api: worker 2 left, pid "),
        "{screen}"
    );
    assert!(!has("interrupted"), "{screen}");
    assert!(
        screen.contains("\x1b[32mapi: listening on http://"),
        "{screen:?}"
    );
    let bottoms = screen
        .split(ERASE)
        .filter(|text| text.starts_with("2/2 ready"));
    for bottom in bottoms {
        let bottom = bottom.split(['\r', '\n']).next().unwrap();
        assert!(bottom.chars().count() < 60, "{bottom:?}");
    }
    stage.end();
}

#[test]
fn connections_are_counted_where_no_kernel_spreads_them() {
    if !has_terminals("the rate under procession run") {
        return;
    }
    let stage = Stage::new(&[("hears.js", HEARS)]);
    let mut run = shown(&stage, "--no-color --balance least-busy");
    let screen = stage.text("screen");
    let at = screen.split("listening on http://").nth(1).unwrap();
    let at = at.split(' ').next().unwrap().parse().unwrap();
    wait::until("a rate", || {
        get(at);
        let screen = stage.text("screen");
        let mut rates = screen.split("2/2 ready | ").skip(1);
        rates
            .any(|rate| rate.contains("conn/s") && rate.starts_with(|it| matches!(it, '1'..='9')))
            .then_some(())
    });
    run.press(b"\x03");
    assert_eq!(run.wait(), Exit::Code(0), "{}", stage.text("screen"));
    stage.end();
}

#[test]
fn colour_and_the_line_can_be_done_without() {
    if !has_terminals("the plain screen of procession run") {
        return;
    }
    let stage = Stage::new(&[("hears.js", HEARS)]);
    let text = screen(&stage, "--no-color").replace(ERASE, "");
    assert!(!text.contains("\x1b["), "{text:?}");
    stage.end();
}
