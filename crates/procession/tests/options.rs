//! What a command sets is what its child finds.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/roles.rs"]
mod roles;
mod support;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use facts::{is_linux_side, skip};
use processes::{is_alive, state};
use procession::child_process::{Command, Resource, SpawnError, Stdio};
use procession::ipc::Serialization;
use procession::{Outcome, Signal};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use roles::{plays, role, role_by, said};
use support::{scene, tagged, testkit};

/// The fields `NAME: VALUE` that `testkit ids` and `/proc/PID/status` print.
fn fields(outcome: &Outcome) -> BTreeMap<String, String> {
    let text = outcome.stdout_str().unwrap();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| {
            let words: Vec<&str> = value.split_whitespace().collect();
            (name.to_owned(), words.join(" "))
        })
        .collect()
}

async fn ids(command: &Command) -> BTreeMap<String, String> {
    fields(&command.output().await.unwrap())
}

/// Reads the child's own `/proc/self/status` by a program in C: Rust's runtime
/// would change what there is to see.
fn status(oracle: &Oracle, pattern: &str) -> Command {
    tagged(
        oracle,
        Command::new("grep"),
        &["-E", pattern, "/proc/self/status"],
    )
}

fn script(folder: &Path, name: &str, text: &str, mode: u32) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn arguments_arrive_as_they_are() {
    scene(async |oracle| {
        let strange = OsStr::from_bytes(b"\xff\xfe");
        let mut command = testkit(oracle, &["args", "a b", "", "it's", "\"q\"", "$HOME *"]);
        command.arg(strange).arg(3).arg(-1_i64).arg(2.5).arg('c');
        command.arg(true).arg(Path::new("p")).arg(u128::MAX);
        let outcome = command.output().await.unwrap();
        let expected: &[&[u8]] = &[
            b"a b",
            b"",
            b"it's",
            b"\"q\"",
            b"$HOME *",
            b"\xff\xfe",
            b"3",
            b"-1",
            b"2.5",
            b"c",
            b"true",
            b"p",
            b"340282366920938463463374607431768211455",
        ];
        assert_eq!(outcome.lines().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn arguments_of_a_shell_line_stay_arguments() {
    scene(async |oracle| {
        let line = Command::shell("printf '%s|'");
        let mut line = tagged(oracle, line, &["a b", "$(echo x)", "", "';#"]);
        let outcome = line.output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "a b|$(echo x)||';#|");
        line = tagged(oracle, Command::shell_with("bash", "echo $0 $1"), &[]);
        let outcome = line.output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "bash");
    });
}

#[test]
fn argv0_is_the_program_as_given_or_what_was_set() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["ids"]);
        let program = procession_testkit::program();
        assert_eq!(ids(&command).await["argv0"], program.to_str().unwrap());
        command.argv0("-login");
        assert_eq!(ids(&command).await["argv0"], "-login");
    });
}

#[test]
fn the_environment_is_ours_with_the_changes() {
    scene(async |oracle| {
        let mut command = role(oracle, "role_with_an_inherited_environment");
        command
            .env("INHERITED", "yes")
            .env("REMOVED", "no")
            .env("NODE_CHANNEL_FD", 7)
            .env("NODE_CHANNEL_SERIALIZATION_MODE", "json")
            .env("NODE_UNIQUE_ID", 1);
        said(command.outcome().await.unwrap());
    });
}

/// What the test before this one started, whose variables are this process's own.
#[test]
#[ignore = "a role"]
fn role_with_an_inherited_environment() {
    if !plays("role_with_an_inherited_environment") {
        return;
    }
    assert_eq!(std::env::var("NODE_CHANNEL_FD").as_deref(), Ok("7"));
    scene(async |oracle| {
        let mut command = testkit(oracle, &["env"]);
        command
            .env("EMPTY", "")
            .env("EQUALS", "a=b")
            .env("NUMBER", 3)
            .env("LINES_", "a\tb")
            .env_remove("REMOVED")
            .env_remove("NEVER_THERE");
        let outcome = command.output().await.unwrap();
        let has = |line: &str| outcome.lines().any(|it| it == line.as_bytes());
        for line in [
            "EMPTY=",
            "EQUALS=a=b",
            "NUMBER=3",
            "LINES_=a\tb",
            "INHERITED=yes",
        ] {
            assert!(has(line), "{line} is missing");
        }
        let text = outcome.stdout_str().unwrap();
        assert!(!text.contains("REMOVED") && !text.contains("NEVER_THERE"));
        // A child would take our channel for its own.
        assert!(!text.contains("NODE_CHANNEL") && !text.contains("NODE_UNIQUE"));

        command
            .env("NODE_CHANNEL_FD", 4)
            .env("NODE_UNIQUE_ID", "w1");
        let outcome = command.output().await.unwrap();
        let text = outcome.stdout_str().unwrap();
        assert!(text.contains("NODE_CHANNEL_FD=4\n") && text.contains("NODE_UNIQUE_ID=w1\n"));
        assert!(!text.contains("SERIALIZATION"));

        command.env_clear().env("ONLY", "this");
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "ONLY=this");
    });
}

#[test]
fn the_program_is_looked_for_in_the_path_of_the_command() {
    scene(async |oracle| {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Found, but not to be executed: the search goes on, as `execvp` has it.
        script(first.path(), "greet", "#!/bin/sh\necho first", 0o600);
        script(second.path(), "greet", "#!/bin/sh\necho second", 0o700);
        let path = std::env::join_paths([first.path(), Path::new("/nowhere"), second.path()]);
        let mut command = tagged(oracle, Command::new("greet"), &[]);
        assert!(command.output().await.is_err());
        command.env("PATH", path.unwrap());
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "second");

        // An empty entry is the working directory of the child.
        command.env("PATH", "").current_dir(second.path());
        let outcome = command.output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "second");

        // Without any, the usual folders.
        let mut command = Command::new("true");
        command.env_clear();
        assert!(command.output().await.is_ok());
    });
}

#[test]
fn the_working_directory_is_set_before_a_relative_program_is_looked_for() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        script(&folder, "here", "#!/bin/sh\npwd -P", 0o700);
        let mut command = tagged(oracle, Command::new("./here"), &[]);
        let outcome = command.current_dir(&folder).output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), folder.to_str().unwrap());
        assert_eq!(outcome.current_dir.as_deref(), Some(&*folder));
    });
}

#[test]
fn sessions_and_groups() {
    scene(async |oracle| {
        // Read, not asked for: a leader outside our PID namespace is 0.
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let words: Vec<&str> = after_name.split_whitespace().collect();
        let (group, ours) = (words[2], words[3]);
        let mut command = testkit(oracle, &["ids"]);
        let found = ids(&command).await;
        assert_eq!(found["sid"], ours);
        assert_eq!(found["pgid"], group);

        command.process_group(0);
        let found = ids(&command).await;
        assert_eq!(found["sid"], ours);
        assert_eq!(found["pgid"], found["pid"]);

        command.detached();
        let found = ids(&command).await;
        assert_eq!(found["sid"], found["pid"]);
        assert_eq!(found["pgid"], found["pid"]);

        // The group of another child.
        let leader = testkit(oracle, &["exit-on-eof", "0"])
            .process_group(0)
            .spawn();
        let mut leader = leader.unwrap();
        let group = i32::try_from(leader.id()).unwrap();
        let found = ids(testkit(oracle, &["ids"]).process_group(group)).await;
        assert_eq!(found["pgid"], group.to_string());
        leader.wait().await.unwrap();
    });
}

#[test]
fn user_and_groups_are_those_of_the_child_and_there_is_no_way_back() {
    if !rustix::process::geteuid().is_root() {
        return skip("user and groups", "needs root");
    }
    scene(async |oracle| {
        let mut command = status(oracle, "^(Uid|Gid|Groups|CapEff|CapPrm):");
        command.uid(4001).gid(4002);
        let found = ids(&command).await;
        assert_eq!(found["Uid"], "4001 4001 4001 4001");
        assert_eq!(found["Gid"], "4002 4002 4002 4002");
        assert_eq!(found["Groups"], "");
        assert_eq!(found["CapEff"], "0000000000000000");
        assert_eq!(found["CapPrm"], "0000000000000000");

        command.groups(&[4003, 4004]);
        assert_eq!(ids(&command).await["Groups"], "4003 4004");

        // Only the caller's child changed, none of our threads.
        let ours = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(ours.contains("Uid:\t0\t0\t0\t0"));
        let found = ids(&status(oracle, "^Uid:")).await;
        assert_eq!(found["Uid"], "0 0 0 0");
    });
}

#[test]
fn limits_are_set_before_the_program_begins() {
    scene(async |oracle| {
        let line = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -St; ulimit -Sf";
        let mut command = tagged(oracle, Command::shell_with("bash", line), &[]);
        command
            .limit(Resource::OpenFiles, 40, 50)
            .limit(Resource::Core, 0, 0)
            .limit(Resource::Cpu, 7, 9)
            .limit(Resource::FileSize, 1024 * 1024, 1024 * 1024);
        let outcome = command.output().await.unwrap();
        assert_eq!(
            outcome.lines().collect::<Vec<_>>(),
            [&b"40"[..], b"50", b"0", b"7", b"1024"]
        );
    });
}

#[test]
fn niceness_is_added_and_kept_within_its_range() {
    scene(async |oracle| {
        let starter = ["nice", "-n", "2"];
        let role = role_by(oracle, &starter, "role_that_is_nice_itself");
        said(role.outcome().await.unwrap());
    });
}

#[test]
#[ignore = "a role"]
fn role_that_is_nice_itself() {
    if !plays("role_that_is_nice_itself") {
        return;
    }
    scene(async |oracle| {
        let mut command = tagged(oracle, Command::new("nice"), &[]);
        let ours = nice_value(&command).await;
        assert!(ours >= 2);
        command.nice(3);
        assert_eq!(nice_value(&command).await, (ours + 3).min(19));
        // The last call counts; the sum may be out of range, of the number as well.
        for increment in [5, 100, i32::MAX] {
            command.nice(increment);
            let expected = ours.saturating_add(increment).min(19);
            assert_eq!(nice_value(&command).await, expected);
        }
        let nicer = command.nice(7).outcome_blocking().unwrap();
        assert_eq!(nicer.stdout_str().unwrap(), (ours + 7).min(19).to_string());
        // Only the child's has changed, also where another thread of ours starts it.
        if is_linux_side() {
            command.parent_death_signal(Signal::KILL);
            assert_eq!(nice_value(&command).await, (ours + 7).min(19));
        }
        let mut plain = tagged(oracle, Command::new("nice"), &[]);
        assert_eq!(nice_value(&plain).await, ours);
        if rustix::process::geteuid().is_root() {
            // Before the rights are given up.
            plain.nice(-4).uid(4001);
            assert_eq!(nice_value(&plain).await, (ours - 4).max(-20));
        }
    });
}

/// What `nice` without arguments prints.
async fn nice_value(command: &Command) -> i32 {
    let outcome = command.output().await.unwrap();
    outcome.stdout_str().unwrap().parse().unwrap()
}

#[test]
fn no_new_privileges() {
    scene(async |oracle| {
        let mut command = status(oracle, "^NoNewPrivs:");
        assert_eq!(ids(&command).await["NoNewPrivs"], "0");
        command.no_new_privs();
        if is_linux_side() {
            assert_eq!(ids(&command).await["NoNewPrivs"], "1");
        } else {
            let error = command.output().await.unwrap_err();
            assert_eq!(error.node_code(), Some("ENOTSUP"));
        }
    });
}

/// The handlers, the ignored signals and the mask of this process are its own matter.
#[test]
fn signals_begin_with_their_defaults() {
    scene(async |oracle| {
        let ignore = "--ignore-signal=HUP,INT,QUIT,USR1,TERM,WINCH,RTMAX";
        let block = "--block-signal=HUP,INT,USR2,ALRM,TERM,CHLD,RTMIN";
        let starter = ["env", ignore, block];
        let role = role_by(oracle, &starter, "role_with_strange_signals");
        said(role.outcome().await.unwrap());
    });
}

#[test]
#[ignore = "a role"]
fn role_with_strange_signals() {
    if !plays("role_with_strange_signals") {
        return;
    }
    let ours = fs::read_to_string("/proc/thread-self/status").unwrap();
    let nothing = "0000000000000000";
    for name in ["SigBlk", "SigIgn"] {
        let line = ours.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(!line.contains(nothing), "not strange at all: {line}");
    }
    scene(async |oracle| {
        for parent_death in [false, true] {
            let mut command = status(oracle, "^Sig(Blk|Ign):");
            if parent_death && is_linux_side() {
                // Started by another thread of ours, with a mask of its own.
                command.parent_death_signal(Signal::KILL);
            }
            let found = ids(&command).await;
            // The portable side knows the signals 1 to 31, as libuv does.
            let known = if is_linux_side() {
                u64::MAX
            } else {
                (1 << 31) - 1
            };
            for name in ["SigBlk", "SigIgn"] {
                let set = u64::from_str_radix(&found[name], 16).unwrap();
                assert_eq!(set & known, 0, "{name}: {set:x}");
            }
        }
    });
}

#[test]
fn a_child_with_a_parent_death_signal_dies_with_us_however_we_die() {
    if !is_linux_side() {
        return scene(async |oracle| {
            let mut command = testkit(oracle, &["exit", "0"]);
            command.parent_death_signal(Signal::KILL);
            let error = command.output().await.unwrap_err();
            assert_eq!(error.node_code(), Some("ENOTSUP"));
        });
    }
    scene(async |oracle| {
        let middle = role(oracle, "role_that_is_killed_in_the_middle");
        let mut middle = middle.spawn().unwrap();
        let mut lines = middle.stdout.take().unwrap().lines();
        let grandchild: u32 = loop {
            let line = lines.next_line().await.unwrap().expect("a number");
            if let Some(number) = line.strip_prefix(b"grandchild ") {
                break std::str::from_utf8(number).unwrap().parse().unwrap();
            }
        };
        oracle.follow(grandchild);
        // It outlived the thread that asked for it.
        assert!(is_alive(grandchild));
        middle.kill().unwrap();
        middle.wait().await.unwrap();
        wait::until("the end of the grandchild", || {
            (!is_alive(grandchild)).then_some(())
        });
    });
}

#[test]
#[ignore = "a role"]
fn role_that_is_killed_in_the_middle() {
    if !plays("role_that_is_killed_in_the_middle") {
        return;
    }
    scene(async |oracle| {
        let mut command = testkit(oracle, &["ready-sleep"]);
        command.parent_death_signal(Signal::KILL);
        // A thread of a runtime comes and goes; the child stays.
        let handle = tokio::runtime::Handle::current();
        let started = std::thread::spawn(move || {
            let _context = handle.enter();
            command.spawn().unwrap()
        });
        let mut child = started.join().unwrap();
        let mut lines = child.stdout.take().unwrap().lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
        assert_ne!(state(child.id()), None);
        // The harness has begun a line of its own.
        println!("\ngrandchild {}", child.id());
        std::io::stdout().flush().unwrap();
        child.wait().await.unwrap();
        unreachable!("we are killed first");
    });
}

#[test]
fn one_command_starts_many_children() {
    scene(async |oracle| {
        let mut command = testkit(oracle, &["cat"]);
        command.input("again");
        let printed = format!("{command:?}");
        let copy = command.clone();
        for _ in 0..5 {
            assert_eq!(command.output().await.unwrap().stdout, b"again");
        }
        assert_eq!(copy.output().await.unwrap().stdout, b"again");
        assert_eq!(format!("{command:?}"), printed, "spawning changed it");
        let words: Vec<OsString> = vec!["a".into(), "b".into()];
        let parsed = Command::parse("echo 'a b'").unwrap();
        let mut parsed = tagged(oracle, parsed, &[]);
        let outcome = parsed.args(words).output().await.unwrap();
        assert_eq!(outcome.stdout_str().unwrap(), "a b a b");
    });
}

/// A shell that says for whom its sockets are, and what `more` prints.
fn listens(oracle: &Oracle, more: &str) -> Command {
    let line = format!("echo $LISTEN_PID $$; echo $LISTEN_FDS $LISTEN_FDNAMES; {more}");
    tagged(oracle, Command::shell(line), &[])
}

fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// What `/proc` says that a descriptor of ours is.
fn link(fd: &impl AsRawFd) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    link.to_str().unwrap().to_owned()
}

async fn lines(command: &Command) -> Vec<String> {
    let outcome = command.output().await.unwrap();
    let text = outcome.stdout_str().unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_child_finds_its_sockets_open_and_knows_that_they_are_its_own() {
    scene(async |oracle| {
        let (first, second) = (port(), port());
        let links = [link(&first), link(&second)];
        // The shell becomes another program and keeps its number.
        let more = "readlink /proc/$$/fd/3 /proc/$$/fd/4; exec sh -c 'echo $LISTEN_PID $$'";
        let mut command = listens(oracle, more);
        command.listen_fd(first).listen_fd(second);
        // A stale copy, as a program that systemd has started would hand it on.
        command.env("LISTEN_PID", 1).env("LISTEN_FDNAMES", "stale");
        let mut seen = Vec::new();
        for _ in 0..2 {
            let said = lines(&command).await;
            let (told, own) = said[0].split_once(' ').unwrap();
            assert_eq!(told, own);
            assert_eq!(said[1], "2");
            assert_eq!(said[2..4], links);
            assert_eq!(said[4], said[0]);
            seen.push(own.to_owned());
        }
        assert_ne!(seen[0], seen[1], "each start has a number of its own");
    });
}

#[test]
fn sockets_that_we_were_passed_ourselves_are_not_told_of_to_a_child_with_its_own() {
    scene(async |oracle| {
        let mut command = role(oracle, "role_that_was_passed_sockets");
        command
            .env("LISTEN_PID", 1)
            .env("LISTEN_FDS", 7)
            .env("LISTEN_FDNAMES", "stale");
        said(command.outcome().await.unwrap());
    });
}

/// What the test before this one started, whose variables are this process's own.
#[test]
#[ignore = "a role"]
fn role_that_was_passed_sockets() {
    if !plays("role_that_was_passed_sockets") {
        return;
    }
    assert_eq!(std::env::var("LISTEN_FDS").as_deref(), Ok("7"));
    scene(async |oracle| {
        // Not by a shell, which would hide that a name is there twice.
        let mut command = testkit(oracle, &["env"]);
        command.listen_fd(port());
        let told = lines(&command).await;
        let told: Vec<_> = told.iter().filter(|it| it.starts_with("LISTEN_")).collect();
        assert!(told.iter().any(|it| *it == "LISTEN_FDS=1"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    });
}

#[test]
fn sockets_have_names_and_the_channel_comes_after_them() {
    scene(async |oracle| {
        let mut command = listens(oracle, "echo ${NODE_CHANNEL_FD:-none}");
        command.listen_fd_named("web", port()).listen_fd(port());
        assert_eq!(lines(&command).await[1..], ["2 web:unknown", "none"]);
        command.ipc(Serialization::Json);
        assert_eq!(lines(&command).await[1..], ["2 web:unknown", "5"]);
        command.ipc_at(9, Serialization::Json);
        assert_eq!(lines(&command).await[1..], ["2 web:unknown", "9"]);
    });
}

#[test]
fn sockets_in_the_way_of_something_else_are_refused() {
    scene(async |oracle| {
        let refused = |change: &dyn Fn(&mut Command)| {
            let mut command = tagged(oracle, Command::new("true"), &[]);
            command.listen_fd(port()).listen_fd(port());
            change(&mut command);
            let error = command.spawn().unwrap_err();
            let SpawnError::Invalid { option, reason, .. } = error else {
                panic!("{error}");
            };
            (option, reason)
        };
        let taken = "its descriptor is connected to something else";
        let name = "a name is empty, too long, or holds a colon or what cannot be printed";
        let stdio = refused(&|command| {
            command.stdio(4, Stdio::Ignore);
        });
        assert_eq!(stdio, ("listen_fd".into(), taken));
        let channel = refused(&|command| {
            command.ipc_at(4, Serialization::Json);
        });
        assert_eq!(channel, ("ipc".into(), taken));
        let pushed = refused(&|command| {
            command.ipc(Serialization::Json).stdio(5, Stdio::Ignore);
        });
        assert_eq!(pushed, ("ipc".into(), taken));
        for wrong in ["", "a:b", "a\nb", "a\0b", "\u{e9}", &"n".repeat(256)] {
            let named = refused(&|command| {
                command.listen_fd_named(wrong, port());
            });
            assert_eq!(named, ("listen_fd".into(), name), "{wrong:?}");
        }
    });
}
