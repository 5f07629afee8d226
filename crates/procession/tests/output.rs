//! What a run gives back: the bytes, how it ended and why.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/processes.rs"]
mod processes;
mod support;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use facts::{is_linux_side, skip};
use processes::is_alive;
use procession::child_process::{
    Command, Drain, FileMode, MaxBuffer, Resource, Stdio, Target, Transform, Tree, Verdict,
};
use procession::{Exit, Outcome, Signal};
use procession_testkit::wait;
use rustix::process::{Pid, kill_process};
use support::{scene, tagged, testkit};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

const MIB: usize = 1024 * 1024;

fn killed(signal: Signal) -> Exit {
    Exit::Signal {
        signal,
        core_dumped: false,
    }
}

/// `a` to `z` over and over, as `testkit flood` writes them.
fn alphabet(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}

fn numbers(outcome: &Outcome) -> Vec<u32> {
    let text = outcome.stdout_str().unwrap();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn end(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn bytes_and_text_and_lines() {
    scene(async |oracle| {
        let line = r"printf 'one\r\ntwo\n\nfour'; printf 'x\n\n y \nz\n' >&2";
        let command = tagged(oracle, Command::shell(line), &[]);
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout, b"one\r\ntwo\n\nfour");
        let lines: Vec<_> = outcome.lines().collect();
        assert_eq!(lines, [&b"one"[..], b"two", b"", b"four"]);
        assert_eq!(outcome.stderr_str().unwrap(), "x\n\n y \nz");
        assert_eq!(outcome.last_words(2), [" y", "z"]);
        assert_eq!(outcome.last_words(9), ["x", " y", "z"]);
        assert_eq!(outcome.received[&1], 14);
        assert!(outcome.pid > 1 && outcome.duration > Duration::ZERO);
        assert!(outcome.all.is_none() && outcome.leaked.is_empty());

        let command = tagged(oracle, Command::shell(r"printf '\377'; exit 4"), &[]);
        let error = command.output().await.unwrap_err();
        let outcome = error.outcome().unwrap();
        assert!(outcome.stdout_str().is_err(), "no text");
        assert_eq!(outcome.stdout, b"\xff");
        assert_eq!(outcome.exit, Exit::Code(4));
    });
}

#[test]
fn both_outputs_interleave_as_they_were_written() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["interleave", "100"]);
        let outcome = command.all().output().await.unwrap();
        let all = String::from_utf8(outcome.all.unwrap()).unwrap();
        // Two pipes have no common clock; nothing is lost, and each keeps its order.
        let of = |kind: &str| -> String {
            let lines = all.lines().filter(|line| line.starts_with(kind));
            lines.map(|line| format!("{line}\n")).collect()
        };
        assert_eq!(of("out").as_bytes(), outcome.stdout);
        assert_eq!(of("err").as_bytes(), outcome.stderr);
        assert_eq!(all.len(), outcome.stdout.len() + outcome.stderr.len());
    });
}

#[test]
fn too_much_output_ends_the_whole_tree_and_keeps_what_fits() {
    scene(async |oracle| {
        let mut command = tagged(oracle, Command::shell("yes | cat"), &[]);
        if !is_linux_side() {
            command.detached();
        }
        command.max_buffer(MaxBuffer::fail(1001));
        let error = command.output().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`yes | cat` wrote more than 1001 bytes to stdout and was ended"
        );
        assert_eq!(error.node_code(), Some("ERR_CHILD_PROCESS_STDIO_MAXBUFFER"));
        let outcome = error.outcome().unwrap();
        let verdict = Verdict::TooMuchOutput {
            index: 1,
            limit: 1001,
        };
        assert_eq!(outcome.verdict, verdict);
        assert_eq!(outcome.stdout.len(), 1001);
        assert!(outcome.received[&1] > 1001);
    });
}

/// A child that has ended before its output was read got away with it, and its
/// output was cut without a word.
#[test]
fn too_much_output_is_an_error_however_fast_the_child_ends() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["flood", "stderr", "1000"]);
        command.max_buffer_of(2, MaxBuffer::fail(999));
        for _ in 0..30 {
            let outcome = command.outcome().await.unwrap();
            let verdict = Verdict::TooMuchOutput {
                index: 2,
                limit: 999,
            };
            assert_eq!(outcome.verdict, verdict);
            assert_eq!(outcome.stderr, alphabet(999));
            assert_eq!(outcome.received[&2], 1000);
        }
        command.max_buffer_of(2, MaxBuffer::fail(1000));
        assert!(command.outcome().await.unwrap().success());
        command.max_buffer_of(2, MaxBuffer::fail(0)).args(["1"]);
        assert!(command.outcome().await.unwrap().stderr.is_empty());
    });
}

#[test]
fn a_character_is_not_cut_in_two() {
    scene(async |oracle| {
        // Two bytes, then three for each: 5 cuts the second.
        let mut command = tagged(oracle, Command::shell("printf 'ä€€'"), &[]);
        for (limit, kept) in [
            (8, "ä€€"),
            (7, "ä€"),
            (6, "ä€"),
            (5, "ä€"),
            (4, "ä"),
            (1, ""),
        ] {
            command.max_buffer(MaxBuffer::fail(limit));
            let outcome = command.outcome().await.unwrap();
            assert_eq!(outcome.stdout_str(), Ok(kept), "{limit}");
            assert_eq!(outcome.success(), limit == 8);
        }
    });
}

#[test]
fn the_tail_can_be_kept() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["flood", "stdout"]);
        command.arg(3 * MIB).max_buffer(MaxBuffer::tail(1000));
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout, &alphabet(3 * MIB)[3 * MIB - 1000..]);
        assert_eq!(outcome.received[&1], 3 * MIB as u64);
    });
}

#[test]
fn all_of_it_can_be_spilled_to_a_file() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["flood", "stdout"]);
        command.arg(3 * MIB).max_buffer(MaxBuffer::spill(1000));
        let mut outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout, alphabet(1000));
        let mut whole = Vec::new();
        let mut file = outcome.spilled.remove(&1).unwrap();
        file.read_to_end(&mut whole).unwrap();
        assert!(whole == alphabet(3 * MIB), "{} bytes", whole.len());
        assert!(outcome.spilled.is_empty(), "stderr did not need a file");
    });
}

#[test]
fn lines_are_changed_and_dropped_on_their_way() {
    scene(async |oracle| {
        let shout = Transform::lines("shout", |line| {
            (line != b"line 2").then(|| line.to_ascii_uppercase())
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut command = testkit(oracle, &["lines", "3"]);
        command.transform(1, shout).all().stdout(Stdio::tee([
            Target::Capture,
            Target::File(path.clone(), FileMode::Write),
        ]));
        let outcome = command.output().await.unwrap();
        let changed = b"LINE 1\nLINE 3\n";
        assert_eq!(outcome.stdout, changed);
        assert_eq!(outcome.all.unwrap(), changed);
        assert_eq!(fs::read(&path).unwrap(), changed);
        assert_eq!(outcome.received[&1], 21, "as it arrived");
    });
}

/// What a tee does not keep has arrived all the same; it was counted as nothing.
#[test]
fn what_is_not_kept_is_counted() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut command = testkit(oracle, &["flood", "stdout", "100000"]);
        command.stdout(Stdio::tee([Target::File(path.clone(), FileMode::Write)]));
        let outcome = command.output().await.unwrap();
        assert!(outcome.stdout.is_empty());
        assert_eq!(outcome.received[&1], 100_000);
        assert!(fs::read(&path).unwrap() == alphabet(100_000));
    });
}

/// The chunk that waited for room in the queue of a slow target was lost when
/// the child ended.
#[test]
fn a_slow_target_of_a_tee_gets_everything() {
    scene(async |oracle| {
        let (mut ours, mut theirs) = io::pipe().unwrap();
        // Full from the start: the first chunk waits, then the queue fills up.
        let filler = fill(&mut theirs);
        let line = "for n in $(seq 40); do echo $n; sleep 0.01; done";
        let mut command = tagged(oracle, Command::shell(line), &[]);
        command.stdout(Stdio::tee([Target::Fd(OwnedFd::from(theirs).into())]));
        let child = command.spawn().unwrap();
        drop(command);
        let pid = child.id();
        let reader = std::thread::spawn(move || {
            wait::until("the child's end", || (!is_alive(pid)).then_some(()));
            let mut whole = Vec::new();
            ours.read_to_end(&mut whole).unwrap();
            whole
        });
        assert!(child.outcome().await.unwrap().success());
        let whole = reader.join().unwrap();
        let text: String = (1..=40).map(|n| format!("{n}\n")).collect();
        assert_eq!(std::str::from_utf8(&whole[filler..]), Ok(&*text));
    });
}

/// Writes zeros until there is no room; gives how many.
fn fill(pipe: &mut io::PipeWriter) -> usize {
    let flags = rustix::fs::fcntl_getfl(&*pipe).unwrap();
    rustix::fs::fcntl_setfl(&*pipe, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    while let Ok(count) = pipe.write(&[0; 4096]) {
        filled += count;
    }
    rustix::fs::fcntl_setfl(&*pipe, flags).unwrap();
    filled
}

#[test]
fn large_input_and_large_outputs_do_not_wait_for_each_other() {
    scene(async |oracle| {
        let input = alphabet(16 * MIB);
        let mut command = testkit(oracle, &["cat"]);
        let outcome = command.input(input.clone()).output().await.unwrap();
        assert!(outcome.stdout == input);

        // Nobody reads the input while both outputs flood.
        let mut command = testkit(oracle, &["flood-both"]);
        command.arg(4 * MIB).input(input.clone());
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout.len(), 4 * MIB);
        assert_eq!(outcome.stderr.len(), 4 * MIB);
    });
}

#[test]
fn input_can_come_from_a_file_and_from_a_reader() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        fs::write(&path, "12345").unwrap();
        let mut command = testkit(oracle, &["count"]);
        let outcome = command.input_file(&path).output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "5");

        let command = testkit(oracle, &["count"]);
        let mut reader = tokio::io::repeat(7).take(3 * MIB as u64);
        let outcome = command.outcome_with_input(&mut reader).await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), (3 * MIB).to_string());
    });
}

#[test]
fn a_child_need_not_read_its_input() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["exit", "0"]);
        let endless = tokio::io::repeat(7);
        let outcome = command.outcome_with_input(endless).await.unwrap();
        assert!(outcome.success());
        command.input(alphabet(16 * MIB));
        assert!(command.output().await.unwrap().success());
        assert!(command.output_blocking().unwrap().success());
        let mut child = command.spawn().unwrap();
        assert!(child.wait().await.unwrap().success());
    });
}

struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(rustix::io::Errno::IO.into()))
    }
}

#[test]
fn a_reader_that_fails_ends_the_child() {
    scene(async |oracle| {
        let command = testkit(oracle, &["count"]);
        let error = command.outcome_with_input(Broken).await.unwrap_err();
        assert_eq!(error.to_string(), format!("output of `{command}` was lost"));
        assert_eq!(error.node_code(), Some("EIO"));
    });
}

#[test]
fn a_descendant_that_holds_an_output_does_not_hold_us() {
    scene(async |oracle| {
        let command = testkit(oracle, &["grandchild-holds-stdout", "60"]);
        let outcome = command.output().await.unwrap();
        let holder = numbers(&outcome)[0];
        oracle.follow(holder);
        assert!(is_alive(holder), "we did not wait for its end");
        assert_eq!(outcome.leaked, [1]);
        end(holder);
    });
}

#[test]
fn a_descendant_that_holds_an_output_can_be_waited_for() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["grandchild-holds-stdout", "0.4"]);
        let outcome = command.drain(Drain::UntilClosed).output().await.unwrap();
        assert!(!is_alive(numbers(&outcome)[0]));
        assert!(outcome.leaked.is_empty());

        // The time-out covers this as well: nobody waits for ever.
        let mut command = testkit(oracle, &["grandchild-holds-stdout", "60"]);
        command
            .drain(Drain::UntilClosed)
            .timeout(Duration::from_secs(2));
        let outcome = command.outcome().await.unwrap();
        assert_eq!(outcome.leaked, [1]);
        end(numbers(&outcome)[0]);
    });
}

/// With no time to drain, the child's own words were read only in part.
#[test]
fn what_the_child_wrote_itself_is_read_even_without_time_to_drain() {
    scene(async |oracle| {
        let line = "sleep 60 & echo $! >&2; \"$0\" flood stdout 900000";
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .arg(procession_testkit::program())
            .envs([oracle.tag()])
            .drain(Drain::For(Duration::ZERO));
        for _ in 0..5 {
            for outcome in [command.output().await, command.output_blocking()] {
                let outcome = outcome.unwrap();
                end(outcome.stderr_str().unwrap().parse().unwrap());
                assert_eq!(outcome.leaked, [1, 2]);
                assert!(outcome.stdout == alphabet(900_000));
            }
        }
    });
}

#[test]
fn the_cause_is_one_line_with_the_last_words() {
    scene(async |oracle| {
        let line = "printf 'a\\nb\\n\\nc\\033[2J\\nd\\n' >&2; exit 7";
        let command = tagged(oracle, Command::shell(line), &[]);
        let error = command.output().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{line}` exited with code 7: b | c\u{fffd}[2J | d")
        );
        assert_eq!(error.node_code(), None);
        let command = testkit(oracle, &["die", "SEGV"]);
        let mut command = command;
        command.limit(Resource::Core, 0, 0);
        let outcome = command.outcome().await.unwrap();
        assert_eq!(
            outcome.cause(),
            format!("`{command}` was ended by SIGSEGV (segmentation fault)")
        );
    });
}

#[test]
fn a_signal_a_core_and_a_code_are_told_apart() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = testkit(oracle, &["die", "ABRT"]);
        command
            .current_dir(folder.path())
            .limit(Resource::Core, 0, 0);
        let outcome = command.outcome().await.unwrap();
        assert_eq!(outcome.exit, killed(Signal::ABRT));
        assert_eq!(outcome.exit.shell_code(), 134);

        // 134 as a code is no signal.
        let outcome = testkit(oracle, &["exit", "134"]).outcome().await.unwrap();
        assert_eq!(outcome.exit, Exit::Code(134));

        let outcome = testkit(oracle, &["die", "KILL"]).outcome().await.unwrap();
        assert_eq!(outcome.exit, killed(Signal::KILL));
        assert_eq!(outcome.verdict, Verdict::Finished);
        assert!(!outcome.out_of_memory && !outcome.forced);
        let cause = outcome.cause();
        assert!(cause.ends_with("was ended by SIGKILL (killed)"), "{cause}");
    });
}

#[test]
fn a_core_is_reported() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let hard = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
    if pattern.starts_with(['|', '/']) || hard.is_some() {
        return skip("a core", "no core files in the working directory here");
    }
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = testkit(oracle, &["die", "ABRT"]);
        command
            .current_dir(folder.path())
            .limit(Resource::Core, u64::MAX, u64::MAX);
        let outcome = command.outcome().await.unwrap();
        let dumped = Exit::Signal {
            signal: Signal::ABRT,
            core_dumped: true,
        };
        assert_eq!(outcome.exit, dumped);
        let cause = outcome.cause();
        assert!(cause.ends_with("SIGABRT (aborted), core dumped"), "{cause}");
        assert!(fs::read_dir(folder.path()).unwrap().next().is_some());
    });
}

#[test]
fn usage_is_measured() {
    scene(async |oracle| {
        // Some work, however long it takes.
        let line = "n=0; while [ $n -lt 300000 ]; do n=$((n + 1)); done";
        let command = tagged(oracle, Command::shell(line), &[]);
        let outcome = command.outcome().await.unwrap();
        let usage = outcome.usage;
        assert!(usage.user + usage.system > Duration::from_millis(10));
        assert!(usage.max_rss > 100 * 1024, "{usage:?}");
        let mut child = testkit(oracle, &["exit", "0"]).spawn().unwrap();
        child.wait().await.unwrap();
        assert!(child.usage().unwrap().max_rss > 100 * 1024);
    });
}

#[test]
fn a_tree_that_is_contained_is_gone_before_the_outcome() {
    if !is_linux_side() {
        return skip("containing", "needs control groups or subreapers");
    }
    scene(async |oracle| {
        let mut command = testkit(oracle, &["grandchild-holds-stdout", "60"]);
        let outcome = command.tree(Tree::Contain).output().await.unwrap();
        assert!(!is_alive(numbers(&outcome)[0]));
        assert!(outcome.leaked.is_empty(), "its end closed the pipe");
        assert_eq!(outcome.verdict, Verdict::Finished);
    });
}
