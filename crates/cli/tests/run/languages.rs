//! Programs of any language, by `LISTEN_FDS` and `PORT`.

use std::collections::BTreeSet;
use std::path::Path;

use procession::child_process::{Command, Exit, Signal};
use procession_testkit::{node, wait};

use super::stage::{Stage, get, kill};

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    path.join(name)
        .canonicalize()
        .unwrap()
        .display()
        .to_string()
}

#[test]
fn the_example_in_python_is_served_by_two() {
    let found = Command::new("python3").arg("--version").outcome_blocking();
    if !found.is_ok_and(|outcome| outcome.exit.success()) {
        eprintln!("skipped: no python3");
        return;
    }
    let stage = Stage::new(&[]);
    let program = example("python_server.py");
    let words = [
        "-i",
        "2",
        "--listen",
        "127.0.0.1:0",
        "--interpreter",
        "python3",
        &program,
    ];
    let mut run = stage.run(&words);
    let at = run.address();
    let pids: BTreeSet<String> = [1, 2]
        .map(|number| format!("hello from process {}\n", run.worker(number)))
        .into();
    let mut heard = BTreeSet::new();
    wait::until("both answer", || {
        heard.insert(get(at));
        (heard == pids).then_some(())
    });
    // The kernel keeps the port open for the other.
    kill(run.worker(1), Signal::KILL);
    run.worker(3);
    assert!(get(at).starts_with("hello from process "));
    assert_eq!(run.stop(), Exit::Code(0), "{}", run.err());
    stage.end();
}

/// Without a channel it is nobody's worker, and listens itself.
#[test]
fn a_node_program_serves_at_the_socket_that_it_was_given() {
    let Some(_) = node::or_skip("a Node program under --listen") else {
        return;
    };
    let program = "
require('http').createServer((request, response) => response.end(String(process.pid)))
  .listen({ fd: 3 });
";
    let stage = Stage::new(&[("given.js", program)]);
    let mut run = stage.run(&["-i", "1", "--listen", "127.0.0.1:0", "given.js"]);
    assert_eq!(get(run.address()), run.worker(1).to_string());
    assert_eq!(run.stop(), Exit::Code(0), "{}", run.err());
    stage.end();
}

#[test]
fn a_shell_finds_its_sockets_and_its_port() {
    let stage = Stage::new(&[]);
    let line = "test $LISTEN_PID = $$ && echo $LISTEN_FDS $PORT && test -S /proc/$$/fd/4";
    let words = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "./s",
        "--no-restart",
        "-i",
        "1",
    ];
    let words = [&["run"], &words[..], &["sh", "-c", line]].concat();
    let (code, out, err) = stage.screen(&words);
    assert_eq!(code, Some(0), "{err}");
    let said = out.strip_prefix("[1] 2 ").unwrap();
    assert!(said.trim().parse::<u16>().unwrap() > 0, "{out}");
    assert!(!stage.path("s").exists(), "the socket's file is left");
    stage.end();
}

#[test]
fn the_first_command_of_the_readme_serves() {
    let Some(_) = node::or_skip("examples/hello.js") else {
        return;
    };
    let stage = Stage::new(&[]);
    let program = example("hello.js");
    let mut run = stage.run(&["-i", "max", "--env", "PORT=0", &program]);
    assert!(get(run.address()).starts_with("hello from process "));
    assert_eq!(run.stop(), Exit::Code(0));
    stage.end();
}
