//! What Node tells of a child, our API tells too: every case of
//! `interop/child_process/cases.json`, in the same words.
//!
//! Ours is compared with what Node 20 was recorded to tell, or, where we differ
//! on purpose, with what the case says we tell instead (`ours`). Where there is
//! a Node, it runs the case as well and has to tell what was recorded of it.
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are words for what the cases lead to; the rest is a panic"
)]

#[path = "transcripts/cases.rs"]
mod cases;
#[path = "transcripts/exec.rs"]
mod exec;
#[path = "transcripts/probe.rs"]
mod probe;
#[path = "transcripts/sync.rs"]
mod sync;
#[path = "transcripts/transcript.rs"]
mod transcript;
#[path = "transcripts/words.rs"]
mod words;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use cases::Case;
use procession::child_process::Command;
use procession_testkit::leaks::Oracle;
use procession_testkit::node::{self, Node};
use transcript::Transcript;

/// Far more than any case takes.
const LIMIT: Duration = Duration::from_secs(60);
/// The Node whose transcripts ours are compared with.
const REFERENCE: u32 = 20;
/// Somebody without rights.
const NOBODY: u32 = 65_534;
/// Tells this program to play the case of that name as nobody.
const ROLE: &str = "PROCESSION_TRANSCRIPT_ROLE";

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[test] fn $case() { compare(&stringify!($case).replace('_', "-")); })*

        #[test]
        fn every_case_has_its_test() {
            let mut tests = [$(stringify!($case).replace('_', "-")),*];
            tests.sort_unstable();
            let mut names = cases::names();
            names.sort_unstable();
            assert_eq!(names, tests);
        }
    };
}

cases! {
    exit_0
    exit_3
    exit_no_stdio
    exit_unread
    killed_by_itself
    large_output
    both_streams_large
    stdin_eof_cat
    stdin_gone
    stdout_closed_early
    grandchild_holds_stdout
    stdin_ends_at_exit
    extra_fd_duplex
    stdio_is_a_socket
    enoent
    enoent_path
    enoent_interpreter
    enoent_no_stdio
    enoent_then_probe
    eacces
    eacces_directory
    no_shebang
    cwd_missing
    cwd_is_a_file
    cwd
    env_replaces
    env_without_path
    argv0
    shell_true
    shell_joins_args
    detached
    not_detached
    signals_reset
    uid_refused
    e2big
    nul_in_args
    nul_in_file
    nul_in_env
    nul_in_cwd
    nul_in_argv0
    empty_file
    unknown_kill_signal
    negative_timeout
    bad_stdio
    kill_default
    kill_by_number
    kill_0
    kill_twice
    kill_after_exit
    kill_unknown_signal
    kill_at_once
    kill_handled
    kill_ignored
    kill_stopped
    dispose
    abort_before
    abort_running
    abort_kill_signal
    abort_after_exit
    abort_enoent
    abort_exec
    timeout_spawn
    timeout_spawn_kill_signal
    timeout_not_reached
    timeout_exec
    timeout_exec_output
    timeout_exec_grandchild
    timeout_execfile_kill_signal
    exec
    exec_stderr_exit_0
    exec_exit_3
    exec_signal
    exec_not_found
    exec_cwd_missing
    exec_max_buffer
    exec_max_buffer_stderr
    exec_max_buffer_exact
    exec_max_buffer_utf8
    execfile
    execfile_exit_3
    execfile_enoent
    sync
    sync_exit_3
    sync_signal
    sync_input
    sync_enoent
    sync_cwd_missing
    sync_timeout
    sync_timeout_kill_signal
    sync_max_buffer
    sync_nul
    exec_sync
    exec_sync_exit_3
    exec_sync_timeout
    execfile_sync
    execfile_sync_exit_3
    execfile_sync_enoent
}

/// Counted, so that no case leaves our side of the comparison unnoticed.
#[test]
fn what_cannot_be_written_in_rust_and_what_differs_is_counted() {
    let all: Vec<Case> = cases::names()
        .iter()
        .map(|name| cases::case(name))
        .collect();
    let names = |wanted: fn(&Case) -> bool| -> Vec<&str> {
        let cases = all.iter().filter(|case| wanted(case));
        cases.map(|case| case.name.as_str()).collect()
    };
    assert_eq!(
        names(|case| case.not_in_rust().is_some()),
        ["bad-stdio", "negative-timeout"]
    );
    assert_eq!(names(|case| case.differs().is_some()).len(), 28);
}

/// Runs a case by our API and by Node, and compares.
#[track_caller]
#[expect(clippy::print_stderr, reason = "what is skipped")]
fn compare(name: &str) {
    if name == "signals-reset" && procession::platform::probe().side != "linux" {
        // The C library lets nobody reset the two signals that it keeps to itself
        // (32 and 33), so one that our own parent ignored stays so.
        eprintln!("skipped: plain POSIX resets the signals 1 to 31");
        return;
    }
    let case = cases::case(name);
    let oracle = Oracle::start();
    let recorded = recorded(REFERENCE, name);
    match (case.not_in_rust(), case.differs(), case.ours()) {
        (Some(_), None, None) => {}
        (None, None, None) => same(name, "ours", &ours(&case, &oracle), "Node's", &recorded),
        (None, Some(_), Some(stated)) => {
            same(
                name,
                "ours",
                &ours(&case, &oracle),
                "what the case states",
                &stated,
            );
            assert_ne!(stated, recorded, "{name}: it does not differ");
        }
        other => panic!("{name}: `differs` and `ours` go together, `not_in_rust` alone: {other:?}"),
    }
    if let Some(node) = find_node() {
        let theirs = theirs(&node, name, &oracle);
        let recorded = self::recorded(newest_record(node.version.0), name);
        let is_other_version = || versions().any(|major| theirs == self::recorded(major, name));
        if !(case.varies() && is_other_version()) {
            same(name, "Node's", &theirs, "the record of it", &recorded);
        }
    }
    oracle.check();
}

/// Finds Node, or says once that there is none.
fn find_node() -> Option<Node> {
    static SAID: Once = Once::new();
    let node = node::find();
    if node.is_none() {
        // Past the capture of the harness; with stderr gone there is nobody to tell.
        SAID.call_once(|| {
            let _ = writeln!(
                io::stderr(),
                "no node: compared with the record of Node {REFERENCE} only"
            );
        });
    }
    node
}

#[track_caller]
fn same(case: &str, name: &str, text: &str, other_name: &str, other: &str) {
    assert!(
        text == other,
        "{case}: {name} and {other_name} differ\n--- {name}\n{text}--- {other_name}\n{other}"
    );
}

/// What our API tells.
fn ours(case: &Case, oracle: &Oracle) -> String {
    if case.is_unprivileged() && rustix::process::geteuid().is_root() {
        return ours_as_nobody(case, oracle);
    }
    let tmp = case.fixtures();
    let transcript = match case.command(tmp.path()) {
        Err(_) => "throws ERR_UNKNOWN_SIGNAL\n".into(),
        Ok(mut command) => {
            command.envs([oracle.tag()]);
            let transcript = run(case, command);
            if !case.call().ends_with("Sync") {
                assert_eq!(transcript.out_of_order(), None, "{}", transcript.seen());
            }
            if case.is_canonical() {
                transcript.canonical()
            } else {
                transcript.seen()
            }
        }
    };
    transcript.replace(tmp.path().to_str().unwrap(), "<tmp>")
}

fn run(case: &Case, command: Command) -> Transcript {
    if case.call().ends_with("Sync") {
        return sync::run(case, &command);
    }
    block_on(async {
        match case.call() {
            "spawn" => probe::Probe::run(case, command).await,
            "exec" | "execFile" => exec::run(case, command).await,
            other => panic!("{}: no such call: {other}", case.name),
        }
    })
}

fn block_on<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.block_on(async { tokio::time::timeout(LIMIT, task).await });
    done.unwrap_or_else(|_| panic!("it hangs: not over after {LIMIT:?}"))
}

/// Runs this program as nobody, to play the case there.
fn ours_as_nobody(case: &Case, oracle: &Oracle) -> String {
    // By this path the program need not be reachable for nobody.
    let role = Command::new("/proc/self/exe")
        .args(["as_nobody", "--exact", "--ignored", "--nocapture"])
        .env(ROLE, case.name.as_str())
        .envs([oracle.tag()])
        .uid(NOBODY)
        .gid(NOBODY)
        .output_blocking()
        .unwrap();
    let text = role.stdout_str().unwrap();
    let told = text
        .split_once("<<<\n")
        .and_then(|(_, rest)| rest.split_once(">>>"));
    told.unwrap_or_else(|| panic!("no transcript in {text}"))
        .0
        .to_owned()
}

#[test]
#[ignore = "it is played by the test that needs it"]
fn as_nobody() {
    let Ok(name) = std::env::var(ROLE) else {
        return;
    };
    let oracle = Oracle::start();
    let transcript = ours(&cases::case(&name), &oracle);
    oracle.check();
    println!("<<<\n{transcript}>>>");
}

/// What Node tells.
fn theirs(node: &Node, name: &str, oracle: &Oracle) -> String {
    let probe = interop().join("probe.js");
    let mut command = Command::new(&node.path);
    command
        .arg(probe)
        .arg(name)
        .envs([oracle.tag()])
        .timeout(LIMIT);
    let outcome = command
        .output_blocking()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    String::from_utf8(outcome.stdout).unwrap()
}

/// What Node of that major version was recorded to tell.
fn recorded(major: u32, name: &str) -> String {
    let path = transcripts(major).join(format!("{name}.txt"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The newest recorded version that is not newer than this one.
fn newest_record(major: u32) -> u32 {
    versions()
        .filter(|version| *version <= major)
        .max()
        .unwrap_or(REFERENCE)
}

/// The major versions of Node that were recorded.
fn versions() -> impl Iterator<Item = u32> {
    let folders = fs::read_dir(interop().join("transcripts")).unwrap();
    folders.map(|folder| {
        let name = folder.unwrap().file_name().into_string().unwrap();
        name.strip_prefix("node").unwrap().parse().unwrap()
    })
}

fn transcripts(major: u32) -> PathBuf {
    interop().join(format!("transcripts/node{major}"))
}

fn interop() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/child_process");
    fs::canonicalize(path).unwrap()
}
