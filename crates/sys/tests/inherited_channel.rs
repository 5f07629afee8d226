//! Taking the channel that a parent gave, in children of our own.

#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use procession_sys::{
    FdAssignment, FdKind, HowEnded, InheritedChannel, InheritedError, SpawnPlan, channel_pair,
    dev_null, fd_kind, fork_and_exec, pipe_pair, send,
};
use rustix::io::FdFlags;

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// What the child test is to see.
const CASE: &str = "INHERITED_CHANNEL_CASE";

/// The last thing that a child says over the channel that it took.
const LAST_WORDS: &str = "\ntaken\n";

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Runs the test below, which sees `case`, with `fd` at `index` and those variables.
fn run(case: &str, index: i32, fd: OwnedFd, variables: &[(&str, &str)]) {
    let null = dev_null().unwrap();
    let this_test = env::current_exe().unwrap();
    let program = CString::new(this_test.as_os_str().as_bytes()).unwrap();
    let args = ["this", "in_the_child", "--exact", "--ignored"];
    let mut env: Vec<_> = variables
        .iter()
        .map(|(name, value)| c(&format!("{name}={value}")))
        .collect();
    env.push(c(&format!("{CASE}={case}")));
    let standard = (0..3).filter(|number| *number != index);
    let mut fds: Vec<_> = standard
        .map(|index| FdAssignment {
            index,
            source: null.as_fd(),
        })
        .collect();
    fds.push(FdAssignment {
        index,
        source: fd.as_fd(),
    });
    let plan = SpawnPlan {
        programs: vec![program],
        args: args.iter().map(|arg| c(arg)).collect(),
        inherit_env: true,
        env,
        fds,
        ..SpawnPlan::default()
    };
    let child = fork_and_exec(&plan).unwrap();
    drop(plan);
    drop(fd);
    let ended = child.wait_timeout(LIMIT).unwrap().expect("the child ends");
    assert_eq!(ended.how, HowEnded::Code(0), "{case} at {index}");
}

/// The body of the children.
#[test]
#[ignore = "a part of the others"]
fn in_the_child() {
    let Ok(case) = env::var(CASE) else { return };
    match case.as_str() {
        "taken" => take(),
        "none" => assert!(InheritedChannel::take().unwrap().is_none()),
        "not-inherited" => {
            let (ours, _other) = channel_pair().unwrap();
            let copy = rustix::io::fcntl_dupfd_cloexec(&ours, 50).unwrap();
            assert_eq!(copy.as_raw_fd(), 50);
            refused(&case);
            assert_eq!(fd_kind(copy.as_fd()).unwrap(), FdKind::UnixStream);
        }
        _ => refused(&case),
    }
}

fn take() {
    let mode = env::var("EXPECTED_MODE").ok();
    let channel = InheritedChannel::take().unwrap().expect("there is one");
    assert_eq!(channel.serialization, mode);
    let fd = channel.fd;
    assert_eq!(rustix::io::fcntl_getfd(&fd).unwrap(), FdFlags::CLOEXEC);
    let number: i32 = env::var("EXPECTED_NUMBER").unwrap().parse().unwrap();
    if number > 2 {
        assert_eq!(fd.as_raw_fd(), number);
    } else {
        assert!(fd.as_raw_fd() > 2);
        let standard = [
            std::io::stdin().as_fd().try_clone_to_owned().unwrap(),
            std::io::stdout().as_fd().try_clone_to_owned().unwrap(),
            std::io::stderr().as_fd().try_clone_to_owned().unwrap(),
        ];
        for stream in standard {
            let kind = fd_kind(stream.as_fd()).unwrap();
            assert_eq!(kind, FdKind::Other("character device"));
        }
    }
    for gone in ["NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE"] {
        assert_eq!(env::var_os(gone), None);
    }
    assert_eq!(
        env::var("NODE_UNIQUE_ID").ok(),
        None,
        "ours, not our children's"
    );
    let again = InheritedChannel::take().unwrap_err();
    assert!(matches!(again, InheritedError::Taken), "{again}");
    send(fd.as_fd(), LAST_WORDS.as_bytes(), None).unwrap();
}

/// The case's error, twice: nothing of it is forgotten.
fn refused(case: &str) {
    for _ in 0..2 {
        let error = InheritedChannel::take().unwrap_err();
        let as_expected = match case {
            "not-a-number" => matches!(error, InheritedError::NotANumber { .. }),
            "not-open" => matches!(error, InheritedError::NotOpen { number: 50 }),
            "not-inherited" => matches!(error, InheritedError::NotInherited { number: 50 }),
            "a-pipe" => matches!(
                error,
                InheritedError::NotAChannel {
                    number: 50,
                    kind: FdKind::Fifo
                }
            ),
            _ => false,
        };
        assert!(as_expected, "{case}: {error:?}");
        let message = error.to_string();
        assert!(message.contains("NODE_CHANNEL_FD"), "{message}");
    }
}

#[test]
fn a_channel_is_taken_at_any_number() {
    for (index, mode) in (0..=9)
        .chain([37])
        .zip([None, Some("advanced")].iter().cycle())
    {
        let (ours, theirs) = channel_pair().unwrap();
        let number = index.to_string();
        let mut variables = vec![
            ("NODE_CHANNEL_FD", number.as_str()),
            ("EXPECTED_NUMBER", number.as_str()),
            ("NODE_UNIQUE_ID", "1"),
        ];
        if let Some(mode) = mode {
            variables.push(("NODE_CHANNEL_SERIALIZATION_MODE", mode));
            variables.push(("EXPECTED_MODE", mode));
        }
        run("taken", index, theirs, &variables);
        let mut text = String::new();
        // The test harness writes to the channel too when that is its stdout.
        File::from(ours).read_to_string(&mut text).unwrap();
        assert!(text.ends_with(LAST_WORDS), "at {index}: {text}");
        assert!(index == 1 || text == LAST_WORDS, "at {index}: {text}");
    }
}

#[test]
fn no_variable_or_an_empty_one_is_no_channel() {
    let nothing = || dev_null().unwrap();
    run("none", 3, nothing(), &[]);
    run("none", 3, nothing(), &[("NODE_CHANNEL_FD", "")]);
}

#[test]
fn what_is_no_number_is_refused() {
    for value in ["abc", "3x", "-1", " 3", "2147483648", "99999999999"] {
        let variables = [("NODE_CHANNEL_FD", value)];
        run("not-a-number", 3, channel_pair().unwrap().1, &variables);
    }
}

#[test]
fn a_stale_number_takes_nobodys_file() {
    let stale = [("NODE_CHANNEL_FD", "50")];
    run("not-open", 3, dev_null().unwrap(), &stale);
    run("a-pipe", 50, pipe_pair().unwrap().0, &stale);
    run("not-inherited", 3, dev_null().unwrap(), &stale);
}
