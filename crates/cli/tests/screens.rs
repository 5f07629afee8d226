//! What a user sees, word for word, and with which code the program ends.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use procession::child_process::{Command, Outcome, Stdio};
use procession_testkit::leaks::Oracle;

/// The program in a world where only `path` has programs.
fn procession(oracle: &Oracle, path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procession"));
    command.args(args).env_clear().env("PATH", path);
    // A terminal that can show colour; what is seen here is a pipe.
    command.env("TERM", "xterm");
    command.envs([oracle.tag()]);
    command
}

/// Runs it without any Node; gives code, standard output and standard error.
fn screen(args: &[&str]) -> (Option<i32>, String, String) {
    let oracle = Oracle::start();
    let seen = seen(
        &procession(&oracle, "/nowhere", args)
            .outcome_blocking()
            .unwrap(),
    );
    oracle.check();
    seen
}

fn seen(outcome: &Outcome) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        outcome.exit.code(),
        text(&outcome.stdout),
        text(&outcome.stderr),
    )
}

/// Makes an executable `home/name/node`. A child writes it: no fork of another
/// test can inherit a descriptor that keeps it from being run.
fn make_node(home: &Path, name: &str, script: &str) -> PathBuf {
    let dir = home.join(name);
    std::fs::create_dir(&dir).unwrap();
    Command::shell("cat > node && chmod +x node")
        .current_dir(&dir)
        .input(format!("#!/bin/sh\n{script}\n"))
        .output_blocking()
        .unwrap();
    dir
}

const HELP: &str = "\
Starts, watches and ends processes the way Node does

Usage: procession [COMMAND]

Commands:
  run     Run a server on every core: workers that share its ports and are replaced when they die
  bench   Load an HTTP server, and say how it bears it
  status  Say how a cluster stands that `run --status SOCKET` has started, as JSON
  doctor  Say what this machine offers for starting and ending processes
  trace   Run a program and show what it and its forked children say to each other
  relay   Become a program whose channel is read along: what `trace` starts for a child
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Exit codes:
  0  done, or the reader of the output went away
  1  it went wrong
  2  the command line cannot be understood
  3  this machine lacks something that procession cannot do without
`run` also ends with
  4  workers kept dying, and no more were started
  5  workers lived, but none became ready within --ready-timeout
  6  the address is taken
  7  the address cannot be listened on: no permission, no such address
  126, 127  the program cannot be run, there is no such program
  128+n  signal n came, and a worker had to be killed
`bench` also ends with
  5  the program that it started never listened
  8  what --fail-on names has happened
  9  nobody was reached, or nothing was answered
  126, 127  the program cannot be run, there is no such program
  128+n  signal n came twice, or before there was anything to report
";

#[test]
fn help_is_data_and_comes_also_when_nothing_is_asked() {
    for args in [&["--help"][..], &["-h"], &["help"], &[]] {
        assert_eq!(
            screen(args),
            (Some(0), HELP.into(), String::new()),
            "{args:?}"
        );
    }
}

#[test]
fn the_version_is_one_line() {
    let version = format!("procession {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(screen(&["--version"]), (Some(0), version, String::new()));
}

#[test]
fn help_of_doctor() {
    let help = "\
Say what this machine offers for starting and ending processes

Usage: procession doctor [OPTIONS]

Options:
      --json  Write JSON
  -h, --help  Print help
";
    for args in [["doctor", "--help"], ["help", "doctor"]] {
        assert_eq!(screen(&args), (Some(0), help.into(), String::new()));
    }
}

const RUN_HELP: &str = "\
Run a server on every core: workers that share its ports and are replaced when they die

Usage: procession run [OPTIONS] <PROGRAM>...

Arguments:
  <PROGRAM>...  The program and its arguments

Options:
  -i, --instances <N>          How many workers: a number, `max` (one for each CPU), `-1` (one less) [default: max]
      --name <NAME>            What the app is called in what is written
      --balance <POLICY>       Who gets a connection [default: auto]
      --listen <ADDRESS>       Give workers this listening socket: HOST:PORT, PORT, or a path with a slash
      --env <NAME=VALUE>       Set a variable of the workers
      --env-file <FILE>        Read variables from FILE; those that are set already stay
      --cwd <DIR>              Run the workers in DIR
      --interpreter <PROGRAM>  Run PROGRAM with this one: another Node, `python3`
      --node-args <OPTIONS>    Options for Node, separated by spaces
      --kill-timeout <TIME>    How long a worker may take to leave [default: 8s]
      --ready-timeout <TIME>   How long a worker may take to become ready [default: 30s]
      --ready <WHAT>           What makes a worker ready: listening, message[=TEXT], started, or a time
      --no-restart             Replace nobody: ends with the last worker
      --max-restarts <N>       Give up at this many restarts in 60 s [default: 10]
      --serialization <HOW>    How messages are written: json, advanced [default: json]
      --status <SOCKET>        Answer `procession status SOCKET` of the same user
      --raw                    Write what workers write as it is, without their numbers
      --json                   Write everything to standard output as JSON, one object a line
      --no-color               Write without colour, also on a terminal
  -h, --help                   Print help

PROGRAM runs with Node if it is a JavaScript module (js, mjs, cjs, ts, mts, cts),
else as it is. A Node server needs no change: what its workers listen on is shared.
A program of another language gets its sockets with --listen: LISTEN_FDS (from
descriptor 3 on), and PORT.

Policies: auto, spread, least-busy, round-robin, random-two, weighted=3,1, ip-hash,
cookie=NAME, kernel. Times are seconds, or end in ms, s or m.

A worker that is stopped has half of --kill-timeout to finish what it serves; then
it gets SIGTERM, and at the end SIGKILL. Workers with --listen get SIGTERM at once.

Signals: INT, TERM, HUP and QUIT stop; once more (a second later) kills.
TTIN and TTOU add and remove a worker. USR1 writes the status as JSON to standard
error. USR2 goes to all workers.

The exit code is 0 after a stop. When a worker had to be killed, it is 128 and the
number of the signal that we got. With --no-restart it is that of the first worker
that failed. `procession --help` tells the others.
";

#[test]
fn help_of_run() {
    let (code, help, errors) = screen(&["run", "--help"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(help, RUN_HELP);
}

#[test]
fn bad_usage_is_one_message_with_a_suggestion_and_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["docter"],
            "error: there is no command `docter`\n\nhint: did you mean `doctor`?\n",
        ),
        (
            &["doctor", "--jsn"],
            "error: unexpected `--jsn`\n\nhint: did you mean `--json`?\n",
        ),
        (
            &["frobnicate"],
            "error: there is no command `frobnicate`\n\n\
             hint: `procession --help` shows what there is\n",
        ),
        (
            &["--fast"],
            "error: unexpected `--fast`\n\nhint: `procession --help` shows what there is\n",
        ),
        (
            &["trace"],
            "error: <PROGRAM>... is missing\n\nhint: `procession --help` shows what there is\n",
        ),
        (
            &["run"],
            "error: <PROGRAM>... is missing\n\nhint: `procession --help` shows what there is\n",
        ),
        (
            &["run", "--raw", "--json", "server.js"],
            "error: the argument '--raw' cannot be used with '--json'\n\n\
             hint: `procession --help` shows what there is\n",
        ),
        (
            &["doctor", "now"],
            "error: unexpected `now`\n\nhint: `procession --help` shows what there is\n",
        ),
        (
            &["doctor", "--json=yes"],
            "error: unexpected value 'yes' for '--json' found; no more were expected\n\n\
             hint: `procession --help` shows what there is\n",
        ),
    ];
    for (args, message) in cases {
        let expected = (Some(2), String::new(), (*message).to_owned());
        assert_eq!(screen(args), expected, "{args:?}");
    }
}

#[test]
fn doctor_shows_every_node_and_what_is_wrong_with_it() {
    let oracle = Oracle::start();
    let home = tempfile::tempdir().unwrap();
    let new = make_node(home.path(), "new", "echo v24.3.0");
    let broken = make_node(home.path(), "broken", "echo 'no libuv here' >&2; exit 127");
    let path = format!("{}:{}:/nowhere", new.display(), broken.display());

    let outcome = procession(&oracle, &path, &["doctor"])
        .outcome_blocking()
        .unwrap();
    let (code, screen, errors) = seen(&outcome);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let nodes = screen.split_once("\nNode\n").unwrap().1;
    let home = home.path().display().to_string();
    let words: Vec<String> = nodes
        .split_whitespace()
        .map(|word| word.replace(&home, "HOME"))
        .collect();
    let expected = "24.3.0 HOME/new/node broken HOME/broken/node \
                    `HOME/broken/node` did not say its version: \
                    `HOME/broken/node --version` exited with code 127: no libuv here";
    assert_eq!(words.join(" "), expected);
    oracle.check();
}

#[test]
fn doctor_tells_this_machine_in_json_and_on_the_screen_alike() {
    let machine = procession::platform::probe();
    let (code, json, errors) = screen(&["doctor", "--json"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let kernel = machine.kernel.as_str();
    assert_eq!(json["kernel"], kernel);
    assert_eq!(json["cpus"], machine.cpus);
    assert_eq!(
        json["cgroup_kill"]["place"].is_string(),
        machine.cgroup_kill.is_some()
    );
    assert_eq!(json["node"], serde_json::json!([]));
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let expected = [
        "cgroup_kill",
        "close_range",
        "cpus",
        "kernel",
        "missing",
        "node",
        "open_files",
        "parent_death_signal",
        "pidfd",
        "processes",
        "side",
        "subreaper",
        "tree_level",
        "tree_meaning",
        "version",
    ];
    assert_eq!(keys, expected, "fields are added, not renamed");

    let (code, text, errors) = screen(&["doctor"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let first = format!("procession {} on {kernel}", env!("CARGO_PKG_VERSION"));
    assert_eq!(text.lines().next(), Some(first.as_str()));
    let level = json["tree_level"].as_str().unwrap();
    assert!(
        text.contains(&format!("\n  in force     {level} ")),
        "{text}"
    );
    assert!(text.ends_with("\nNode\n  none on PATH\n"), "{text}");
    assert!(!text.contains('\x1b'), "colour in a pipe: {text:?}");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let oracle = Oracle::start();
    for args in [&["doctor"][..], &["doctor", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let outcome = procession(&oracle, "/nowhere", args)
            .stdout(Stdio::fd(writer))
            .outcome_blocking()
            .unwrap();
        assert_eq!(
            seen(&outcome),
            (Some(0), String::new(), String::new()),
            "{args:?}"
        );
    }
    oracle.check();
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_code_1() {
    let oracle = Oracle::start();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let outcome = procession(&oracle, "/nowhere", &["doctor"])
        .stdout(full)
        .outcome_blocking()
        .unwrap();
    let message = "error: cannot write to standard output\n  \
                   cause: No space left on device (os error 28)\n\n\
                   hint: is there room where it goes?\n";
    assert_eq!(seen(&outcome), (Some(1), String::new(), message.into()));
    oracle.check();
}
