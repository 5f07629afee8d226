//! What cannot be started: the words, the code, the step, and that nothing is left.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/facts.rs"]
mod facts;
#[path = "support/roles.rs"]
mod roles;
mod support;

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use facts::{is_linux_side, skip};
use procession::child_process::{
    Command, Event, Resource, Signal, SpawnError, Stdio, Step, Target, Tree,
};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use roles::{plays, role, said};
use support::{scene, tagged, testkit};

/// The message of an error and those of its sources, as a report prints them.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// What a start that fails says.
struct Says(&'static str, Option<&'static str>, Option<Step>);

const INVALID: Option<&str> = Some("ERR_INVALID_ARG_VALUE");

/// Starts the command in every way there is: all say the same.
async fn refused(command: &Command, says: &Says) -> SpawnError {
    let check = |error: &SpawnError| {
        assert_eq!(chain(error), says.0);
        assert_eq!((error.node_code(), error.step()), (says.1, says.2));
    };
    let error = command.spawn().expect_err(says.0);
    check(&error);
    for result in [command.outcome().await, command.outcome_blocking()] {
        let run = result.expect_err(says.0);
        assert_eq!((chain(&run), run.node_code()), (says.0.into(), says.1));
        assert!(run.outcome().is_none());
    }
    let mut events = command.events();
    assert_eq!(events.id(), None);
    match events.next().await {
        Some(Event::Error(error)) => check(&error),
        other => panic!("{other:?}"),
    }
    error
}

/// `true` with one thing wrong.
async fn wrong(oracle: &Oracle, change: impl FnOnce(&mut Command) -> &mut Command, says: Says) {
    let mut command = tagged(oracle, Command::new("true"), &[]);
    change(&mut command);
    let error = refused(&command, &says).await;
    assert!(!error.is_temporary(), "{}", says.0);
}

#[test]
fn a_nul_byte_is_refused_wherever_it_is() {
    let refuses = |says| Says(says, INVALID, None);
    scene(async |oracle| {
        let says = "invalid program of `tr\0ue`: it holds a NUL byte";
        let command = tagged(oracle, Command::new("tr\0ue"), &[]);
        refused(&command, &refuses(says)).await;
        let says = "invalid program of `/bin/tr\0ue`: it holds a NUL byte";
        let command = tagged(oracle, Command::new("/bin/tr\0ue"), &[]);
        refused(&command, &refuses(says)).await;
        let says = "invalid argument 2 of `echo \0`: it holds a NUL byte";
        let command = tagged(oracle, Command::shell("echo \0"), &[]);
        refused(&command, &refuses(says)).await;

        let says = "invalid argument 2 of `true a b\0c`: it holds a NUL byte";
        wrong(oracle, |c| c.args(["a", "b\0c"]), refuses(says)).await;
        let says = "invalid argv0 of `true`: it holds a NUL byte";
        wrong(oracle, |c| c.argv0("\0"), refuses(says)).await;
        let says = "invalid environment of `true`: it holds a NUL byte";
        wrong(oracle, |c| c.env("A", "b\0c"), refuses(says)).await;
        wrong(oracle, |c| c.env("A\0B", "c"), refuses(says)).await;
        wrong(oracle, |c| c.env_remove("A\0B"), refuses(says)).await;
        let says = "invalid current_dir of `true`: it holds a NUL byte";
        wrong(oracle, |c| c.current_dir("/\0"), refuses(says)).await;
    });
}

#[test]
fn what_nobody_could_start_is_refused() {
    let refuses = |says| Says(says, INVALID, None);
    scene(async |oracle| {
        let says = "invalid program of `''`: it is empty";
        refused(&tagged(oracle, Command::new(""), &[]), &refuses(says)).await;

        let says = "invalid environment of `true`: a name is empty or holds `=`";
        wrong(oracle, |c| c.env("A=B", "c"), refuses(says)).await;
        wrong(oracle, |c| c.env("", "c"), refuses(says)).await;
        wrong(oracle, |c| c.env_remove("A=B"), refuses(says)).await;

        let says = "invalid timeout of `true`: it is zero; leave it out for no limit";
        wrong(oracle, |c| c.timeout(Duration::ZERO), refuses(says)).await;
        let says = "invalid timeout of `true`: it is out of range";
        wrong(oracle, |c| c.timeout(Duration::MAX), refuses(says)).await;
        let says = "invalid grace of `true`: it is out of range";
        wrong(oracle, |c| c.grace(Duration::MAX), refuses(says)).await;
        let says = "invalid kill_signal of `true`: 0 only probes; it ends nobody";
        wrong(oracle, |c| c.kill_signal(Signal::PROBE), refuses(says)).await;

        let says = "invalid stdio 65536 of `true`: it is out of range";
        wrong(oracle, |c| c.stdio(65_536, Stdio::Pipe), refuses(says)).await;
        let says = "invalid stdin of `true`: a tee is for output";
        let tee = || Stdio::tee([Target::Capture]);
        wrong(oracle, |c| c.stdin(tee()), refuses(says)).await;
    });
}

#[test]
fn an_unknown_signal_is_refused_by_its_name() {
    for text in ["SIGFOO", "", "-1", "65"] {
        let error = text.parse::<Signal>().unwrap_err();
        assert_eq!(chain(&error), format!("unknown signal: {text}"));
    }
    let error = Signal::from_raw(-9).unwrap_err();
    assert_eq!(chain(&error), "unknown signal: -9");
}

#[test]
fn who_is_to_blame_is_named() {
    scene(async |oracle| {
        let says = Says(
            "failed to start `true`: cannot enter the working directory `/no/such`: \
             No such file or directory (os error 2)",
            Some("ENOENT"),
            Some(Step::Chdir),
        );
        wrong(oracle, |c| c.current_dir("/no/such"), says).await;
        let says = Says(
            "failed to start `true`: cannot enter the working directory `/dev/null`: \
             Not a directory (os error 20)",
            Some("ENOTDIR"),
            Some(Step::Chdir),
        );
        wrong(oracle, |c| c.current_dir("/dev/null"), says).await;
        let says = Says(
            "failed to start `true`: cannot run `true`: Argument list too long (os error 7)",
            Some("E2BIG"),
            Some(Step::Exec),
        );
        wrong(oracle, |c| c.env("A", "b".repeat(3 << 20)), says).await;
        let says = Says(
            "failed to start `true`: cannot run `true`: No such file or directory (os error 2)",
            Some("ENOENT"),
            Some(Step::Exec),
        );
        wrong(oracle, |c| c.env("PATH", "/no/such:/dev/null"), says).await;
        let says = Says(
            "failed to start `true`: cannot open `/no/such`: No such file or directory (os error 2)",
            Some("ENOENT"),
            None,
        );
        wrong(oracle, |c| c.input_file("/no/such"), says).await;
        let says = Says(
            "failed to start `true`: cannot open `/no/such`: No such file or directory (os error 2)",
            Some("ENOENT"),
            None,
        );
        let tee = Stdio::tee([Target::File(
            "/no/such".into(),
            procession::child_process::FileMode::Read,
        )]);
        wrong(oracle, |c| c.stdout(tee), says).await;
        let says = Says(
            "failed to start `true`: cannot open descriptor 55: Bad file descriptor (os error 9)",
            Some("EBADF"),
            None,
        );
        wrong(oracle, |c| c.stdio(55, Stdio::Inherit), says).await;
        let says = Says(
            "failed to start `true`: setsid: Operation not permitted (os error 1)",
            Some("EPERM"),
            Some(Step::Session),
        );
        // Process 1 is of another session, if it leads a group at all.
        wrong(oracle, |c| c.process_group(1), says).await;
    });
}

#[test]
fn what_is_no_program_is_not_run_by_a_shell_either() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, text: &str, mode| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        make("no-shebang", "echo run by accident\n", 0o755);
        make("no-mode", "#!/bin/sh\n", 0o644);
        make("no-interpreter", "#!/no/such/interpreter\n", 0o755);
        fs::create_dir(folder.path().join("directory")).unwrap();
        let exec = Some(Step::Exec);
        for (name, says) in [
            (
                "no-such-program",
                Says(
                    "failed to start `no-such-program`: cannot run `no-such-program`: \
                     No such file or directory (os error 2)",
                    Some("ENOENT"),
                    exec,
                ),
            ),
            (
                "no-shebang",
                Says(
                    "failed to start `no-shebang`: cannot run `no-shebang`: \
                     Exec format error (os error 8)",
                    Some("ENOEXEC"),
                    exec,
                ),
            ),
            (
                "no-mode",
                Says(
                    "failed to start `no-mode`: cannot run `no-mode`: \
                     Permission denied (os error 13)",
                    Some("EACCES"),
                    exec,
                ),
            ),
            (
                "no-interpreter",
                Says(
                    "failed to start `no-interpreter`: cannot run `no-interpreter`: \
                     No such file or directory (os error 2)",
                    Some("ENOENT"),
                    exec,
                ),
            ),
            (
                "directory",
                Says(
                    "failed to start `directory`: cannot run `directory`: \
                     Permission denied (os error 13)",
                    Some("EACCES"),
                    exec,
                ),
            ),
        ] {
            let mut command = tagged(oracle, Command::new(name), &[]);
            command.env("PATH", folder.path());
            refused(&command, &says).await;
            // The same by its path, relative to the child's folder.
            let path = format!("./{name}");
            let mut command = tagged(oracle, Command::new(&path), &[]);
            command.current_dir(folder.path());
            let error = command.spawn().unwrap_err();
            assert_eq!(chain(&error), says.0.replace(name, &path));
            assert_eq!((error.node_code(), error.step()), (says.1, says.2));
        }
    });
}

/// The file was emptied before the time-out was looked at.
#[test]
fn a_mistake_empties_no_file() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "precious").unwrap();
        let says = "invalid timeout of `true`: it is zero; leave it out for no limit";
        let says = Says(says, INVALID, None);
        let write = || Stdio::write(&path);
        wrong(oracle, |c| c.timeout(Duration::ZERO).stdout(write()), says).await;
        let says = "invalid memory_max of `true`: it is zero; leave it out for no limit";
        wrong(oracle, |c| c.memory_max(0), Says(says, INVALID, None)).await;
        let says = "invalid memory_max of `true`: it needs `Tree::Contain`";
        let says = Says(says, INVALID, None);
        wrong(oracle, |c| c.memory_max(1).tree(Tree::Walk), says).await;
        let says = "invalid argument 1 of `true \0`: it holds a NUL byte";
        let says = Says(says, INVALID, None);
        wrong(oracle, |c| c.arg("\0").stdout(write()), says).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    });
}

/// Runs the role as a user without rights; `None` where that cannot be done.
async fn as_nobody(role: &mut Command, user: u32) -> Option<String> {
    role.uid(user).gid(user);
    match role.outcome().await {
        Ok(outcome) => Some(said(outcome)),
        // This very program lies where only its owner may look.
        Err(error) if error.node_code() == Some("EACCES") => None,
        Err(error) => panic!("{}", chain(&error)),
    }
}

async fn ask_for_rights(oracle: &Oracle) {
    let not_permitted = |says, step| Says(says, Some("EPERM"), Some(step));
    let says = "failed to start `true`: setuid: Operation not permitted (os error 1)";
    let says = not_permitted(says, Step::Uid);
    wrong(oracle, |c| c.uid(0), says).await;
    let says = "failed to start `true`: setgid: Operation not permitted (os error 1)";
    let says = not_permitted(says, Step::Gid);
    wrong(oracle, |c| c.gid(0), says).await;
    let says = "failed to start `true`: setgroups: Operation not permitted (os error 1)";
    let says = not_permitted(says, Step::Groups);
    wrong(oracle, |c| c.groups(&[0]), says).await;
    let says = "failed to start `true`: setrlimit: Operation not permitted (os error 1)";
    let says = not_permitted(says, Step::Limits);
    let too_many = 1 << 40;
    wrong(
        oracle,
        |c| c.limit(Resource::OpenFiles, too_many, too_many),
        says,
    )
    .await;
    let says = "failed to start `true`: setpriority: Permission denied (os error 13)";
    let says = Says(says, Some("EACCES"), Some(Step::Nice));
    wrong(oracle, |c| c.nice(-1), says).await;
}

#[test]
fn rights_that_we_do_not_have_are_refused() {
    if !rustix::process::geteuid().is_root() {
        return scene(ask_for_rights);
    }
    scene(async |oracle| {
        let mut role = role(oracle, "role_without_rights");
        if as_nobody(&mut role, 65_534).await.is_none() {
            skip("refused rights", "nobody but us may run this program");
        }
    });
}

#[test]
#[ignore = "a role"]
fn role_without_rights() {
    if plays("role_without_rights") {
        scene(ask_for_rights);
    }
}

/// Opens files until there is no descriptor left.
fn fill() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn without_descriptors_nothing_is_started_and_nothing_is_lost() {
    scene(async |oracle| {
        for name in [
            "role_without_descriptors",
            "role_without_descriptors_contained",
        ] {
            let mut role = role(oracle, name);
            role.limit(Resource::OpenFiles, 64, 64);
            said(role.outcome().await.unwrap());
        }
    });
}

#[test]
#[ignore = "a role"]
fn role_without_descriptors() {
    if plays("role_without_descriptors") {
        scene(async |oracle| {
            let command = tagged(oracle, Command::new("true"), &[]);
            let seen = starve(&command).await;
            let expected = [
                "cannot open a pipe for stdin",
                "cannot open a pipe for stdout",
                "cannot open a pipe for stderr",
                // The pidfd; elsewhere the wait for the end needs a pipe.
                if is_linux_side() { "clone" } else { "prepare" },
            ];
            let expected = expected.map(|what| {
                format!("failed to start `true`: {what}: Too many open files (os error 24)")
            });
            assert_eq!(seen, expected);
        });
    }
}

#[test]
#[ignore = "a role"]
fn role_without_descriptors_contained() {
    if plays("role_without_descriptors_contained") {
        scene(async |oracle| {
            let mut command = testkit(oracle, &["exit", "0"]);
            command.tree(Tree::Contain);
            starve(&command).await;
        });
    }
}

/// Starts with no descriptor left, with one, with two, until it works: all that
/// was said on the way.
async fn starve(command: &Command) -> Vec<String> {
    // The first time there is a service thread to start as well, which stays.
    let _ = starve_once(command, |_| {}).await;
    starve_once(command, |free| {
        let all_back = || (fill().len() == free).then_some(());
        wait::until("all descriptors of the failed start back", all_back);
    })
    .await
}

/// Threads of procession that hold descriptors for a while only.
fn busy_threads() -> usize {
    let is_busy = |task: &fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        ["procession-wait", "procession-kill"].contains(&name.trim_end())
    };
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter(is_busy).count()
}

async fn starve_once(command: &Command, after_failure: impl Fn(usize)) -> Vec<String> {
    let mut seen = Vec::new();
    for free in 0.. {
        wait::until("the end of what an earlier start has left to do", || {
            (busy_threads() == 0).then_some(())
        });
        let mut filler = fill();
        filler.truncate(filler.len() - free);
        match command.spawn() {
            Ok(child) => {
                drop(filler);
                assert!(child.outcome().await.unwrap().success());
                break;
            }
            Err(error) => {
                after_failure(free);
                assert_eq!(error.node_code(), Some("EMFILE"), "{}", chain(&error));
                assert!(error.is_temporary());
                seen.push(chain(&error));
            }
        }
    }
    seen.dedup();
    seen
}

#[test]
fn when_there_are_too_many_processes_nothing_is_started() {
    if !rustix::process::geteuid().is_root() {
        return skip(
            "a limit of processes",
            "needs root, to be a user without processes",
        );
    }
    scene(async |oracle| {
        // Nobody else's, and another one for each run of this test.
        let user = 60_000 + std::process::id() % 5000;
        let mut role = role(oracle, "role_of_many_processes");
        if as_nobody(&mut role, user).await.is_none() {
            skip("a limit of processes", "nobody but us may run this program");
        }
    });
}

/// Lets this user have so many processes and threads.
fn let_there_be(count: usize) {
    let resource = rustix::process::Resource::Nproc;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = Some(count as u64);
    rustix::process::setrlimit(resource, limit).unwrap();
}

#[test]
#[ignore = "a role"]
fn role_of_many_processes() {
    if !plays("role_of_many_processes") {
        return;
    }
    scene(async |oracle| {
        let command = tagged(oracle, Command::new("true"), &[]);
        let ours = fs::read_dir("/proc/self/task").unwrap().count();
        // A start has a thread in its service, and then makes the child.
        for (more, step) in [(0, Step::Prepare), (1, Step::Clone)] {
            let_there_be(ours + more);
            let error = command.spawn().unwrap_err();
            let says = "Resource temporarily unavailable (os error 11)";
            assert_eq!(
                chain(&error),
                format!("failed to start `true`: {step}: {says}")
            );
            assert_eq!(error.node_code(), Some("EAGAIN"));
            assert_eq!(error.step(), Some(step));
            assert!(error.is_temporary());
        }
        // One for a thread that is just leaving.
        let_there_be(ours + 3);
        assert!(command.output().await.unwrap().success());
    });
}
