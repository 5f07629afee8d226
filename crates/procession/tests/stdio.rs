//! The descriptors of a child are connected to what the command says.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/roles.rs"]
mod roles;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};

use procession::Outcome;
use procession::child_process::{Command, FileMode, Stdio, Target};
use roles::{plays, role, said};
use rustix::io::{FdFlags, fcntl_setfd};
use support::{scene, tagged, testkit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The descriptors that `testkit fds` prints.
fn descriptors(outcome: &Outcome) -> BTreeMap<u32, String> {
    let text = outcome.stdout_str().unwrap();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(number, target)| (number.parse().unwrap(), target.to_owned()))
        .collect()
}

#[test]
fn exactly_the_declared_descriptors_arrive() {
    scene(async |oracle| {
        // Ours, and not close-on-exec: what a careless library leaves lying around.
        let careless: Vec<File> = (0..4).map(|_| File::open("/dev/zero").unwrap()).collect();
        for file in &careless {
            fcntl_setfd(file, FdFlags::empty()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("file");
        let mut command = testkit(oracle, &["fds"]);
        command
            .stdio(3, Stdio::ignore())
            .stdio(7, Stdio::write(&path))
            .stdio(20, Stdio::pipe());
        let found = descriptors(&command.output().await.unwrap());
        let numbers: Vec<u32> = found.keys().copied().collect();
        assert_eq!(numbers, [0, 1, 2, 3, 7, 20]);
        assert_eq!(found[&0], "/dev/null");
        assert!(found[&1].starts_with("pipe:") && found[&2].starts_with("pipe:"));
        assert_eq!(found[&3], "/dev/null");
        assert_eq!(found[&7], path.to_str().unwrap());
        assert!(found[&20].starts_with("socket:"));
    });
}

#[test]
fn further_descriptors_go_both_ways() {
    scene(async |oracle| {
        for index in [3, 7, 20] {
            let mut command = testkit(oracle, &["fd-echo"]);
            command.arg(index).stdio(index, Stdio::pipe());
            let mut child = command.spawn().unwrap();
            assert!(child.take_stdio(index + 1).is_none());
            let mut duplex = child.take_stdio(index).unwrap();
            assert!(child.take_stdio(index).is_none(), "taken once");
            duplex.write_all(b"ping").await.unwrap();
            let mut answer = [0; 4];
            duplex.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"ping");
            duplex.shutdown().await.unwrap();
            assert_eq!(duplex.read(&mut answer).await.unwrap(), 0);
            assert!(child.wait().await.unwrap().success());
        }
    });
}

/// Whoever collects can write to it no more: the child must see its end.
#[test]
fn a_child_that_reads_a_further_descriptor_to_the_end_can_be_collected() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["fd-echo", "3"]);
        command.stdio(3, Stdio::pipe());
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdio[&3], b"");
        let outcome = command.output_blocking().unwrap();
        assert_eq!(outcome.stdio[&3], b"");
    });
}

#[test]
fn descriptors_may_swap_their_numbers() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let make = |name| File::create(folder.path().join(name)).unwrap();
        let (one, other) = (make("one"), make("other"));
        let numbers = [
            one.as_raw_fd().unsigned_abs(),
            other.as_raw_fd().unsigned_abs(),
        ];
        let line = format!("echo 1 >&{}; echo 2 >&{}", numbers[0], numbers[1]);
        let mut command = tagged(oracle, Command::shell_with("bash", line), &[]);
        command
            .stdio(numbers[0], Stdio::fd(other))
            .stdio(numbers[1], Stdio::fd(one));
        command.output().await.unwrap();
        let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("one"), read("other")), ("2\n".into(), "1\n".into()));
    });
}

#[test]
fn files_and_bytes_and_descriptors_can_be_connected() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "old\n").unwrap();
        let read = || fs::read_to_string(&path).unwrap();

        let mut command = testkit(oracle, &["cat"]);
        command
            .stdin(Stdio::bytes("new\n"))
            .stdout(Stdio::append(&path));
        // The same command again: files are opened, bytes are fed at every spawn.
        for _ in 0..2 {
            let outcome = command.output().await.unwrap();
            assert!(outcome.stdout.is_empty());
        }
        assert_eq!(read(), "old\nnew\nnew\n");

        command.stdout(Stdio::write(&path));
        command.output().await.unwrap();
        assert_eq!(read(), "new\n");

        command.stdin(Stdio::read(&path)).stdout(Stdio::pipe());
        assert_eq!(command.output().await.unwrap().stdout, b"new\n");

        command.stdin(Stdio::ignore());
        assert_eq!(command.output().await.unwrap().stdout, b"");

        let (mut ours, theirs) = std::io::pipe().unwrap();
        command
            .stdin(Stdio::bytes("by fd"))
            .stdout(OwnedFd::from(theirs));
        command.output().await.unwrap();
        drop(command);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "by fd");
    });
}

/// Two inputs from memory: the second one used to replace the first.
#[test]
fn several_descriptors_can_be_fed_from_memory() {
    scene(async |oracle| {
        let mut command = tagged(oracle, Command::shell("cat; cat <&3"), &[]);
        command.input("one ").stdio(3, Stdio::bytes("two"));
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "one two");
        let outcome = command.output_blocking().unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "one two");
        let child = command.spawn().unwrap();
        let outcome = child.outcome().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "one two");
    });
}

/// A running child used to hold the descriptors of its command: whoever read
/// the other end waited for the drop of the handle.
#[test]
fn a_handle_does_not_keep_the_descriptors_of_its_child_open() {
    scene(async |oracle| {
        let (mut ours, theirs) = std::io::pipe().unwrap();
        let mut command = testkit(oracle, &["echo", "hello"]);
        command.stdout(OwnedFd::from(theirs));
        let mut child = command.spawn().unwrap();
        drop(command);
        assert!(child.wait().await.unwrap().success());
        let flags = rustix::fs::fcntl_getfl(&ours).unwrap();
        rustix::fs::fcntl_setfl(&ours, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        let mut text = String::new();
        ours.read_to_string(&mut text)
            .expect("all that could write is closed");
        assert_eq!(text, "hello\n");
        drop(child);
    });
}

#[test]
fn inherited_streams_are_ours() {
    scene(async |oracle| {
        let mut command = role(oracle, "role_that_lends_its_streams");
        let outcome = command.input("from our stdin").outcome().await.unwrap();
        let stderr = outcome.stderr_str().unwrap().to_owned();
        let stdout = said(outcome);
        assert!(stdout.contains("<from our stdin>"), "{stdout}");
        assert!(stdout.contains("to both\n"), "{stdout}");
        assert!(stderr.contains("to our stderr"), "{stderr}");
    });
}

#[test]
#[ignore = "a role"]
fn role_that_lends_its_streams() {
    if !plays("role_that_lends_its_streams") {
        return;
    }
    scene(async |oracle| {
        let line = "printf '<'; cat; echo '>'; echo to our stderr >&2; exit 3";
        let command = tagged(oracle, Command::shell(line), &[]);
        assert_eq!(command.status().await.unwrap().code(), Some(3));
        // Kept and shown.
        let mut command = testkit(oracle, &["echo", "to both"]);
        command.stdout(Stdio::tee([Target::Inherit, Target::Capture]));
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "to both");
    });
}

#[test]
fn a_tee_reaches_all_of_its_targets() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "old\n").unwrap();
        let (mut ours, theirs) = std::io::pipe().unwrap();
        let mut command = testkit(oracle, &["lines", "3"]);
        command.stdout(Stdio::tee([
            Target::Capture,
            Target::File(path.clone(), FileMode::Append),
            Target::Fd(OwnedFd::from(theirs).into()),
        ]));
        let outcome = command.output().await.unwrap();
        drop(command);
        let expected = "line 1\nline 2\nline 3\n";
        assert_eq!(outcome.stdout, expected.as_bytes());
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("old\n{expected}")
        );
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
    });
}
