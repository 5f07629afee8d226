//! Each trick does what it says.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may, its own functions too")]

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use procession_testkit::leaks::Oracle;
use procession_testkit::{program, wait};
use rustix::process::{Pid, Signal, kill_process};

fn testkit(words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(words: &[&str]) -> Output {
    testkit(words).stdin(Stdio::null()).output().unwrap()
}

fn answer(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A child that has said `ready`.
fn ready(words: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = testkit(words).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut stdout), "ready");
    (child, stdout)
}

fn line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn state(child: &Child) -> char {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

#[test]
fn output_tricks() {
    assert_eq!(answer(&["echo", "a b", "c"]), "a b c\n");
    assert_eq!(answer(&["args", "a b", "", "c"]), "a b\n\nc\n");
    assert_eq!(answer(&["lines", "2"]), "line 1\nline 2\n");
    assert_eq!(run(&["stderr-lines", "2"]).stderr, b"line 1\nline 2\n");
    let both = run(&["interleave", "2"]);
    assert_eq!(both.stdout, b"out 1\nout 2\n");
    assert_eq!(both.stderr, b"err 1\nerr 2\n");
}

#[test]
fn floods_have_the_same_bytes_whatever_the_chunk() {
    let whole = answer(&["flood", "stdout", "1000"]);
    assert_eq!(whole.len(), 1000);
    assert!(whole.starts_with("abc") && whole[26..].starts_with("abc"));
    assert_eq!(answer(&["flood", "stdout", "1000", "7"]), whole);
    assert_eq!(run(&["flood", "stderr", "1000"]).stderr, whole.as_bytes());
    let both = run(&["flood-both", "300000"]);
    assert_eq!((both.stdout.len(), both.stderr.len()), (300_000, 300_000));
}

#[test]
fn input_tricks() {
    let mut child = testkit(&["echo-lines"]).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stdout = BufReader::new(stdout);
    for text in ["one", "two"] {
        writeln!(stdin, "{text}").unwrap();
        assert_eq!(line(&mut stdout), text);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());

    for (trick, expected) in [("cat", "12345"), ("count", "5\n")] {
        let mut child = testkit(&[trick]).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"12345").unwrap();
        assert_eq!(
            child.wait_with_output().unwrap().stdout,
            expected.as_bytes()
        );
    }

    let (mut child, _stdout) = ready(&["exit-on-eof", "9"]);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn a_closed_stdout_ends_for_the_reader_while_the_child_lives() {
    let mut child = testkit(&["close-stdout-live"]).spawn().unwrap();
    let mut nothing = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut nothing)
        .unwrap();
    assert_eq!(nothing, "");
    assert_eq!(
        line(&mut BufReader::new(child.stderr.take().unwrap())),
        "ready"
    );
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_descriptor_answers() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = testkit(&["fd-echo", "0"]);
    let mut child = command.stdin(OwnedFd::from(theirs)).spawn().unwrap();
    drop(command);
    ours.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    ours.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    drop(ours);
    assert!(child.wait().unwrap().success());
    assert_eq!(run(&["fd-echo", "77"]).status.code(), Some(1));
}

#[test]
fn ends() {
    assert_eq!(run(&["exit", "7"]).status.code(), Some(7));
    assert_eq!(run(&["die", "TERM"]).status.signal(), Some(15));
    assert_eq!(run(&["die", "SIGKILL"]).status.signal(), Some(9));
    assert_eq!(run(&["die", "13"]).status.signal(), Some(13));
    assert_eq!(run(&["die", "40"]).status.signal(), Some(40));
    assert_eq!(answer(&["sleep", "0.01"]), "");
    assert_eq!(answer(&["spin", "0.01"]), "");
}

#[test]
fn wrong_words_are_told() {
    for words in [
        &["exit"][..],
        &["exit", "256"],
        &["die", "NONE"],
        &["flood", "2"],
        &["x"],
        &[],
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(!output.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn a_lost_reader_ends_it_as_it_ends_a_program_in_c() {
    let mut child = testkit(&["flood", "stdout", "10000000"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().signal(), Some(13));
}

#[test]
fn term_is_ignored() {
    let (mut child, _stdout) = ready(&["ignore-term"]);
    send(&child, Signal::TERM);
    // Delivered before the next one, which it can be seen to obey.
    send(&child, Signal::STOP);
    wait::until("the child to stop", || (state(&child) == 'T').then_some(()));
    send(&child, Signal::CONT);
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn term_is_answered() {
    let (mut child, mut stdout) = ready(&["term-exit", "3"]);
    send(&child, Signal::TERM);
    assert_eq!(line(&mut stdout), "bye");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn signals_are_reported() {
    let (mut child, mut stdout) = ready(&["signals"]);
    for (signal, name) in [(Signal::USR1, "SIGUSR1"), (Signal::TERM, "SIGTERM")] {
        send(&child, signal);
        assert_eq!(line(&mut stdout), name);
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_child_that_stops_itself() {
    let (mut child, mut stdout) = ready(&["stop-self"]);
    wait::until("the child to stop", || (state(&child) == 'T').then_some(()));
    send(&child, Signal::CONT);
    assert_eq!(line(&mut stdout), "continued");
    assert!(child.wait().unwrap().success());
}

/// It could not end by itself any more, so it goes with the thread that started it.
#[test]
fn a_stopped_child_does_not_outlive_its_parent() {
    let starter = std::thread::spawn(|| {
        let (child, _stdout) = ready(&["stop-self"]);
        wait::until("the child to stop", || (state(&child) == 'T').then_some(()));
        child
    });
    let mut child = starter.join().unwrap();
    let status = wait::until("the child to be killed", || child.try_wait().unwrap());
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn a_grandchild_holds_stdout() {
    let oracle = Oracle::start();
    let mut command = testkit(&["grandchild-holds-stdout", "60"]);
    let mut child = command.envs([oracle.tag()]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let pid: i32 = line(&mut stdout).parse().unwrap();
    assert!(child.wait().unwrap().success());
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(line(&mut stdout), "", "the pipe ends with the grandchild");
    drop((child, stdout));
    oracle.check();
}

#[test]
fn a_fork_loop_ends() {
    let oracle = Oracle::start();
    let mut child = testkit(&["fork-loop", "5"])
        .envs([oracle.tag()])
        .spawn()
        .unwrap();
    assert_eq!(
        line(&mut BufReader::new(child.stdout.take().unwrap())),
        "ready"
    );
    child.wait().unwrap();
    drop(child);
    oracle.check();
}

#[test]
fn what_it_was_started_with() {
    let mut command = testkit(&["env"]);
    command.env_clear().env("B", "2").env("A", "1 1");
    assert_eq!(command.output().unwrap().stdout, b"A=1 1\nB=2\n");

    let lines = answer(&["fds"]);
    let numbers: Vec<&str> = lines
        .lines()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    assert!(numbers.starts_with(&["0", "1", "2"]), "{lines}");
    assert!(lines.starts_with("0 /dev/null\n1 pipe:["), "{lines}");

    let mut command = testkit(&["ids"]);
    let output = command
        .current_dir("/")
        .arg0("other name")
        .process_group(0)
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let value = |name: &str| {
        let line = lines
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in\n{lines}"))
            .to_owned()
    };
    assert_eq!(value("cwd"), "/");
    assert_eq!(value("argv0"), "other name");
    assert_eq!(value("pgid"), value("pid"));
    assert_eq!(value("ppid"), std::process::id().to_string());
    assert_eq!(value("pdeathsig"), "0");
    assert_eq!(value("Uid").split(' ').count(), 4);
    for name in [
        "Gid",
        "Groups",
        "CapEff",
        "NoNewPrivs",
        "SigIgn",
        "SigBlk",
        "sid",
    ] {
        value(name);
    }
}

#[test]
fn memory_is_really_used() {
    let (mut child, _stdout) = ready(&["alloc", "64"]);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib > 60 * 1024, "{kib} KiB");
    child.kill().unwrap();
    child.wait().unwrap();
}
