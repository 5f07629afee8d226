//! The start of a process, step by step, on whichever side was built.

#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use procession_sys::{
    Credentials, FdAssignment, FdKind, HowEnded, Process, Resource, Session, SpawnPlan, StartError,
    Step, dev_null, fd_kind, fork_and_exec, pipe_pair,
};
use rustix::io::FdFlags;

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn plan(program: &str, args: &[&str]) -> SpawnPlan<'static> {
    SpawnPlan {
        programs: vec![c(program)],
        args: args.iter().map(|arg| c(arg)).collect(),
        env: vec![c("PATH=/usr/bin:/bin")],
        ..SpawnPlan::default()
    }
}

/// Runs a shell line with its stdout in a pipe; gives what it wrote and how it ended.
fn shell(line: &str, change: impl FnOnce(&mut SpawnPlan<'_>)) -> (String, HowEnded) {
    let null = dev_null().unwrap();
    let (from_child, stdout) = pipe_pair().unwrap();
    let mut plan = plan("/bin/sh", &["sh", "-c", line]);
    plan.fds = vec![
        FdAssignment {
            index: 0,
            source: null.as_fd(),
        },
        FdAssignment {
            index: 1,
            source: stdout.as_fd(),
        },
        FdAssignment {
            index: 2,
            source: null.as_fd(),
        },
    ];
    change(&mut plan);
    let process = fork_and_exec(&plan).unwrap();
    drop(plan);
    drop(stdout);
    let mut text = String::new();
    File::from(from_child).read_to_string(&mut text).unwrap();
    (text, ended(&process))
}

fn ended(process: &Process) -> HowEnded {
    process
        .wait_timeout(LIMIT)
        .unwrap()
        .expect("the child ends")
        .how
}

fn failure(plan: &SpawnPlan<'_>) -> (Step, i32) {
    let StartError { step, source } = fork_and_exec(plan).expect_err("the start fails");
    (step, source.raw_os_error().unwrap())
}

#[test]
fn a_code_and_a_signal_are_told_apart() {
    assert_eq!(shell("exit 7", |_| {}).1, HowEnded::Code(7));
    let (_, how) = shell("kill -9 $$", |_| {});
    assert_eq!(
        how,
        HowEnded::Signal {
            number: 9,
            core_dumped: false
        }
    );
}

#[test]
fn the_end_can_be_asked_for_again_and_signals_miss_nobody() {
    let process = fork_and_exec(&plan("/bin/true", &["true"])).unwrap();
    assert_eq!(ended(&process), HowEnded::Code(0));
    assert_eq!(
        process.clone().try_wait().unwrap().unwrap().how,
        HowEnded::Code(0)
    );
    assert!(!process.signal(0).unwrap());
    assert!(!process.signal(libc::SIGKILL).unwrap());
}

#[test]
fn an_unknown_signal_is_refused() {
    let process = fork_and_exec(&plan("/bin/sleep", &["sleep", "60"])).unwrap();
    assert_eq!(
        process.signal(999).unwrap_err().raw_os_error(),
        Some(libc::EINVAL)
    );
    assert!(process.signal(0).unwrap());
    assert!(process.signal(libc::SIGKILL).unwrap());
    assert_eq!(
        ended(&process),
        HowEnded::Signal {
            number: 9,
            core_dumped: false
        }
    );
}

#[test]
fn every_failing_step_is_named() {
    assert_eq!(
        failure(&plan("/nonexistent", &["x"])),
        (Step::Exec, libc::ENOENT)
    );
    assert_eq!(
        failure(&plan("/etc/passwd", &["x"])),
        (Step::Exec, libc::EACCES)
    );
    assert_eq!(failure(&plan("/etc", &["x"])), (Step::Exec, libc::EACCES));
    let missing_cwd = SpawnPlan {
        cwd: Some(c("/nonexistent")),
        ..plan("/bin/true", &["true"])
    };
    assert_eq!(failure(&missing_cwd), (Step::Chdir, libc::ENOENT));
    let file_as_cwd = SpawnPlan {
        cwd: Some(c("/etc/passwd")),
        ..plan("/bin/true", &["true"])
    };
    assert_eq!(failure(&file_as_cwd), (Step::Chdir, libc::ENOTDIR));
    let foreign_group = SpawnPlan {
        session: Session::Group(999_999),
        ..plan("/bin/true", &["true"])
    };
    assert_eq!(failure(&foreign_group), (Step::Session, libc::EPERM));
    let above_hard_limit = SpawnPlan {
        limits: vec![(Resource::Core, 2, 1)],
        ..plan("/bin/true", &["true"])
    };
    assert_eq!(failure(&above_hard_limit), (Step::Limits, libc::EINVAL));
    let long = "x".repeat(200_000);
    assert_eq!(
        failure(&plan("/bin/true", &["true", &long])),
        (Step::Exec, libc::E2BIG)
    );
}

#[test]
fn the_first_candidate_that_exists_is_run() {
    let mut both = plan("/nonexistent/sh", &["sh", "-c", "exit 3"]);
    both.programs.push(c("/bin/sh"));
    assert_eq!(ended(&fork_and_exec(&both).unwrap()), HowEnded::Code(3));
}

#[test]
fn the_child_has_the_declared_descriptors_and_no_other() {
    // Open in the parent, and deliberately not close-on-exec.
    let leaky = dev_null().unwrap();
    rustix::io::fcntl_setfd(&leaky, FdFlags::empty()).unwrap();
    let (listing, how) = shell("ls /proc/self/fd | tr '\\n' ' '", |plan| {
        let null = plan.fds[0].source;
        plan.fds.push(FdAssignment {
            index: 7,
            source: null,
        });
    });
    assert_eq!(how, HowEnded::Code(0));
    // `ls` itself opens the directory at the first free number.
    assert_eq!(listing.trim(), "0 1 2 3 7");
}

#[test]
fn descriptors_can_change_places() {
    let (read_one, one) = pipe_pair().unwrap();
    let (read_two, two) = pipe_pair().unwrap();
    let null = dev_null().unwrap();
    let mut swapped = plan("/bin/sh", &["sh", "-c", "echo first >&8; echo second >&9"]);
    // Wherever the pipes are, each source may be the other's target.
    swapped.fds = vec![
        FdAssignment {
            index: 0,
            source: null.as_fd(),
        },
        FdAssignment {
            index: 1,
            source: null.as_fd(),
        },
        FdAssignment {
            index: 2,
            source: null.as_fd(),
        },
        FdAssignment {
            index: 9,
            source: one.as_fd(),
        },
        FdAssignment {
            index: 8,
            source: two.as_fd(),
        },
    ];
    let process = fork_and_exec(&swapped).unwrap();
    drop(swapped);
    drop((one, two));
    let mut text = String::new();
    File::from(read_two).read_to_string(&mut text).unwrap();
    File::from(read_one).read_to_string(&mut text).unwrap();
    assert_eq!(text, "first\nsecond\n");
    assert_eq!(ended(&process), HowEnded::Code(0));
}

#[test]
fn signals_start_out_default_and_unblocked() {
    let (status, _) = shell("grep -E 'SigIgn|SigBlk' /proc/self/status", |_| {});
    // The two signals that the C library keeps to itself may stay ignored.
    let reserved = 0b11_u64 << 31;
    for line in status.lines() {
        let mask = u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
        assert_eq!(mask & !reserved, 0, "{line}");
    }
    assert_eq!(status.lines().count(), 2);
}

#[test]
fn a_session_of_its_own() {
    let (ids, _) = shell("ps -o pid=,pgid=,sid= -p $$", |plan| {
        plan.session = Session::New
    });
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert_eq!((ids[0], ids[0]), (ids[1], ids[2]));
}

#[test]
fn privileges_are_dropped_for_good() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: changing the user needs root");
        return;
    }
    let (status, _) = shell("grep -E '^(Uid|Gid|Groups)' /proc/self/status", |plan| {
        plan.credentials = Credentials {
            uid: Some(65_534),
            gid: Some(65_534),
            groups: None,
        };
    });
    let words: Vec<&str> = status.split_whitespace().collect();
    let nobody = ["65534"; 4];
    assert_eq!(
        words,
        [&["Uid:"], &nobody[..], &["Gid:"], &nobody[..], &["Groups:"]].concat()
    );
}

#[test]
fn a_dropped_process_leaves_no_zombie() {
    let process = fork_and_exec(&plan("/bin/true", &["true"])).unwrap();
    let pid = process.id();
    drop(process);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while std::fs::exists(format!("/proc/{pid}")).unwrap() {
        assert!(
            std::time::Instant::now() < deadline,
            "process {pid} was not reaped"
        );
        std::thread::yield_now();
    }
}

#[test]
fn the_environment_is_passed_without_what_is_unwanted() {
    // PATH is there wherever tests run; the plan replaces it and adds one.
    let (text, _) = shell(
        "echo $PATH; echo $ADDED; env | grep -c ^CARGO_MANIFEST_DIR=",
        |plan| {
            plan.inherit_env = true;
            plan.env_without = vec![c"PATH".into(), c"CARGO_MANIFEST".into()];
            plan.env = vec![c("PATH=/usr/bin:/bin"), c("ADDED=x")];
        },
    );
    // A name is unwanted whole, not by its beginning.
    assert_eq!(text, "/usr/bin:/bin\nx\n1\n");
}

#[test]
fn the_child_knows_that_the_descriptors_are_for_itself() {
    let line = "echo $LISTEN_PID $$ $PATH; env | grep -c ^LISTEN_PID=";
    let (text, _) = shell(line, |plan| plan.listen_pid = true);
    let (ids, count) = text.trim().split_once('\n').unwrap();
    let ids: Vec<&str> = ids.split(' ').collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!((ids[2], count), ("/usr/bin:/bin", "1"));
    assert_eq!(shell(line, |_| {}).0.split('\n').nth(1), Some("0"));
}

#[test]
fn a_start_changes_none_of_our_own_descriptors() {
    let (ours, _other_end) = UnixStream::pair().unwrap();
    rustix::io::fcntl_setfd(&ours, FdFlags::empty()).unwrap();
    // What the child has at this number is something else.
    let line = format!("readlink /proc/self/fd/{}", ours.as_raw_fd());
    let (text, _) = shell(&line, |plan| plan.null_fds = vec![ours.as_raw_fd()]);
    assert_eq!(text, "/dev/null\n");
    assert_eq!(fd_kind(ours.as_fd()).unwrap(), FdKind::UnixStream);
    assert_eq!(rustix::io::fcntl_getfd(&ours).unwrap(), FdFlags::empty());
}

#[test]
fn everybody_who_waits_without_a_limit_hears_of_the_end() {
    for _ in 0..50 {
        let process = fork_and_exec(&plan("/bin/sh", &["sh", "-c", "exit 7"])).unwrap();
        let wait = || process.wait_timeout(None).unwrap().unwrap().how;
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..4).map(|_| scope.spawn(wait)).collect();
            for waiting in waiting {
                assert_eq!(waiting.join().unwrap(), HowEnded::Code(7));
            }
        });
    }
}
