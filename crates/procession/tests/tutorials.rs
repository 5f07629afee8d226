//! The tutorials' programs, theirs by Node and ours, print the same.
//!
//! `interop/tutorials/rows.json` lists the runs, `interop/README.md` explains
//! it, `docs/tutorials.md` says what is wrong with which program. Without Node,
//! ours is compared with what Node was recorded to print.
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "tutorials/normalise.rs"]
mod normalise;
#[path = "tutorials/rows.rs"]
mod rows;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use procession::child_process::{Child, Command, Exit, Stdio, Stop};
use procession_testkit::example;
use procession_testkit::leaks::Oracle;
use procession_testkit::node;
use rows::Run;

/// Far more than any of the programs takes.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a program that never ends gets to prove the opposite.
const NEVER: Duration = Duration::from_secs(1);

/// The two files that every listing shows, old enough for `ls` to print the year.
const FILES: [(&str, &str); 2] = [
    ("notes.txt", "first line\nsecond line\n"),
    ("readme.md", "# a directory to list\n"),
];
/// Where no Node may be started.
const NO_NODE: (&str, &str) = ("node", "#!/bin/sh\necho 'Node was started'\nexit 1\n");
/// 2024-06-26 12:00 UTC.
const DATE: Duration = Duration::from_secs(1_719_403_200);

macro_rules! tutorials {
    ($($row:ident)*) => {
        $(#[test] fn $row() { compare(stringify!($row)); })*

        #[test]
        fn every_row_has_its_test() {
            let _alone = procession_testkit::leaks::exclusive();
            let mut tests = [$(stringify!($row)),*];
            let mut rows = rows::dirs();
            tests.sort_unstable();
            rows.sort_unstable();
            assert_eq!(rows, tests);
        }
    };
}

tutorials! {
    s0_3_exec_ls
    s0_5_spawn_ls
    s0_7_fork_nobody_listens
    s0_9_worker_threads
    s0_10_pool
    s1_3_exec_ls_stderr
    s1_4_execfile_node_version
    s1_5_spawn_node_version
    s1_6_fork_ping_pong
    s1_10_cluster_respawn
    s1_11_respawn_storm
    s2_11_exec_execfile_spawn_pipe
    s2_12_fork_heartbeats
    s2_13_fork_starts_at_once
    s2_14_disconnect_then_exit
    s2_15_port_taken
    s2_16_reverse_proxy
    s2_16_pass_socket
    s2_17_refork
    s2_19_orphan
    s2_19_zombie
    s2_20_sigterm_ends_all
    s2_21_cluster_http
    s3_2_broken_thread
    s3_6_exec_loop
    s3_7_spawn_loop_number_arg
    s3_8_fork_loop_number_arg
    s3_10_fork_both_speak
    s3_11_channel_is_a_socket
    s3_12_stdio_fourth_pipe
    s4_2_exec_dir_unknown_option
    s4_3_exec_streamed_and_buffered
    s4_6_fork_both_roles
    s4_7_cluster_fork_file
    s4_9_worker_echo
    s4_10_listen_without_port
}

/// Who holds a port, a death signal, descendants outside of their group: the better
/// answer is Linux's.
const LINUX_ONLY: [&str; 3] = ["s2_15_port_taken", "s2_19_orphan", "s2_20_sigterm_ends_all"];

/// Runs all runs of a row, theirs and ours, and compares.
#[track_caller]
fn compare(dir: &str) {
    if LINUX_ONLY.contains(&dir) && procession::platform::probe().side != "linux" {
        say(&format!("skipped: {dir}: the portable side has no answer"));
        return;
    }
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for run in rows::runs(dir) {
        if let Some(missing) = run.needs().iter().find(|program| !is_on_path(program)) {
            say(&format!("skipped: {}: there is no {missing}", run.name));
            continue;
        }
        let stage = Stage {
            run: &run,
            example: example(dir),
            oracle: &oracle,
        };
        runtime.block_on(stage.compare());
    }
    drop(runtime);
    oracle.check();
}

/// One run, and who takes part.
struct Stage<'a> {
    run: &'a Run,
    example: PathBuf,
    oracle: &'a Oracle,
}

impl Stage<'_> {
    /// Every parent over every child.
    async fn compare(&self) {
        let (name, recorded) = (&self.run.name, self.run.recorded());
        match node::find() {
            Some(node) => {
                let theirs = self.theirs(&node.path).await;
                same(name, "Node", &theirs, "the record of Node", &recorded);
            }
            None => say(&format!("no node: {name}: compared with the record only")),
        }
        let ours = self.ours().await;
        match self.run.better() {
            None => same(name, "our example", &ours, "Node", &recorded),
            Some(better) => {
                same(name, "our example", &ours, "the better answer", &better);
                assert_ne!(better, recorded, "{name}: no better than Node's");
            }
        }
        if let Some(expected) = self.run.rust_child() {
            if let Some(node) = node::find() {
                let mixed = self.theirs_over_ours(&node.path).await;
                same(name, "Node over our child", &mixed, "Node", &recorded);
            }
            let ours = self.ours_over_ours().await;
            same(
                name,
                "ours over ours",
                &ours,
                "what it should be",
                &expected,
            );
        }
    }

    async fn theirs(&self, node: &Path) -> String {
        let mut command = bare(node);
        command.arg(self.run.program());
        self.transcript(command, self.run.until(), &[]).await
    }

    /// The tutorial's parent, which is told by `exec_path.cjs` to start our
    /// example, by way of a script that leaves a trace of it.
    async fn theirs_over_ours(&self, node: &Path) -> String {
        let scratch = tempfile::tempdir().unwrap();
        let [script, trace] = ["child", "child.started"].map(|name| scratch.path().join(name));
        let text = format!(
            "#!/bin/sh\n: >\"$0.started\"\nexec '{}' \"$@\"\n",
            self.example.display()
        );
        write(&script, &text, 0o755);
        let mut command = bare(node);
        command
            .arg("--require")
            .arg(rows::root().join("exec_path.cjs"))
            .arg(self.run.program())
            .env("EXEC_PATH", script.as_os_str());
        let text = self.transcript(command, self.run.until(), &[]).await;
        assert!(
            trace.exists(),
            "{}: our child was not started",
            self.run.name
        );
        text
    }

    /// Ours ends by itself, whatever theirs does.
    async fn ours(&self) -> String {
        let mut command = bare(&self.example);
        command.args(self.run.words());
        self.transcript(command, None, &[]).await
    }

    async fn ours_over_ours(&self) -> String {
        let mut command = bare(&self.example);
        command.args(self.run.words()).arg("rust");
        self.transcript(command, None, &[NO_NODE]).await
    }

    /// Runs a program in a fresh directory and says what a reader would see.
    async fn transcript(
        &self,
        mut command: Command,
        until: Option<String>,
        stubs: &[(&str, &str)],
    ) -> String {
        let scratch = tempfile::Builder::new()
            .prefix("procession-tutorial-")
            .tempdir()
            .unwrap();
        let [work, bin, log] = ["work", "bin", "log"].map(|name| scratch.path().join(name));
        furnish(self.run, &work, &bin);
        for (name, text) in stubs {
            write(&bin.join(name), text, 0o755);
        }
        File::create(&log).unwrap();
        command
            .current_dir(&work)
            .env("PATH", path_with(&bin))
            .env("HOME", scratch.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .envs(self.run.env())
            .envs([self.oracle.tag()])
            .stdin(Stdio::ignore())
            // One file for both keeps the order in which a reader sees the words.
            .stdout(Stdio::append(&log))
            .stderr(Stdio::append(&log));
        let mut child = command.spawn().unwrap();
        let ending = match until {
            None => ended(tokio::time::timeout(LIMIT, child.wait()).await.ok()),
            Some(last_words) => still_running(&mut child, &log, &last_words).await,
        };
        // Nothing may be left of a program that hangs; the test will fail by its ending.
        child.stop(Stop::default()).await.unwrap();
        let output = fs::read_to_string(&log).unwrap();
        let text = normalise::normalise(&output, &work, &self.run.folder);
        let body = normalise::in_order(&text, &self.run.order(), &self.run.before());
        format!("{body}[{ending}]\n")
    }
}

#[track_caller]
fn same(run: &str, name: &str, text: &str, other_name: &str, other: &str) {
    assert!(
        text == other,
        "{run}: {name} and {other_name} differ\n--- {name}\n{text}--- {other_name}\n{other}"
    );
}

/// A command that gets nothing of our environment.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}

fn ended(exit: Option<io::Result<Exit>>) -> String {
    match exit {
        Some(Ok(Exit::Code(code))) => format!("exit {code}"),
        Some(Ok(Exit::Signal { signal, .. })) => format!("signal {signal}"),
        Some(Err(error)) => format!("lost: {error}"),
        None => format!("hangs: not over after {LIMIT:?}"),
    }
}

/// Waits for the last words of a program that never ends, and gives it a
/// moment to end all the same.
async fn still_running(child: &mut Child, log: &Path, last_words: &str) -> String {
    let spoken = || fs::read_to_string(log).is_ok_and(|text| text.contains(last_words));
    let waiting = async {
        while !spoken() && child.try_wait().is_ok_and(|exit| exit.is_none()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(LIMIT, waiting).await.is_err() {
        return ended(None);
    }
    match tokio::time::timeout(NEVER, child.wait()).await {
        Err(_) => "still running".into(),
        Ok(exit) => ended(Some(exit)),
    }
}

/// Makes the directory that `interop/README.md` describes.
fn furnish(run: &Run, work: &Path, bin: &Path) {
    fs::create_dir(work).unwrap();
    fs::create_dir(bin).unwrap();
    for (name, text) in FILES {
        write(&work.join(name), text, 0o644);
        let file = File::options().append(true).open(work.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + DATE).unwrap();
    }
    for (name, text) in run.texts() {
        write(&work.join(name), &text, 0o644);
    }
    for name in run.files() {
        fs::copy(run.folder.join(&name), work.join(&name)).unwrap();
    }
    for (name, text) in run.stubs() {
        write(&bin.join(name), &text, 0o755);
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The stubs first, then the Node that is tested, then what was there.
fn path_with(bin: &Path) -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let node = node::find().and_then(|node| node.path.parent().map(Path::to_owned));
    let dirs = [bin.to_owned()].into_iter().chain(node);
    std::env::join_paths(dirs.chain(std::env::split_paths(&rest))).unwrap()
}

fn is_on_path(program: impl AsRef<OsStr>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program.as_ref()).is_file())
}

/// Past the capture of the test harness, so that it is always seen.
fn say(words: &str) {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{words}");
}
