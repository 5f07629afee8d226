//! The oracle sees every kind of leak, and nothing where nothing leaked.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may, its own functions too"
)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

use procession_testkit::leaks::{self, Found, Leak, Oracle};
use procession_testkit::{program, wait};
use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};

fn testkit(words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The lines up to `ready`, as numbers.
fn numbers_until_ready(child: &mut Child) -> Vec<u32> {
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    lines
        .take_while(|line| line != "ready")
        .map(|line| line.parse().unwrap())
        .collect()
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn is_gone(pid: u32) -> Option<()> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    (stat.is_empty() || stat.contains(") Z ")).then_some(())
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn found(leaks: &[Leak], wanted: u32) -> Option<Found> {
    leaks.iter().find_map(|leak| {
        let Leak::Process { pid, found, .. } = leak else {
            return None;
        };
        (*pid == wanted).then_some(*found)
    })
}

#[test]
fn a_clean_test_passes() {
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::start();
    oracle.watch(folder.path());
    let mut child = testkit(&["tree"]).envs([oracle.tag()]).spawn().unwrap();
    let pids = numbers_until_ready(&mut child);
    assert_eq!(pids.len(), 3);
    fs::write(folder.path().join("file"), "").unwrap();
    fs::remove_file(folder.path().join("file")).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop((client, listener));
    thread::spawn(|| ()).join().unwrap();
    end(child);
    pids.into_iter().for_each(kill);
    oracle.check();
    oracle.check_rss(64 << 20);
}

#[test]
fn a_descriptor() {
    let oracle = Oracle::start();
    let file = File::open("/dev/null").unwrap();
    let leaks = oracle.leaks();
    assert!(
        matches!(&leaks[..], [Leak::Descriptor { target, .. }] if target == "/dev/null"),
        "{leaks:?}"
    );
    drop(file);
    oracle.check();
}

#[test]
fn a_descriptor_in_the_place_of_another() {
    let guard = leaks::exclusive();
    let before = File::open("/dev/null").unwrap();
    drop(guard);
    let oracle = Oracle::start();
    drop(before);
    let file = File::open("/dev/zero").unwrap();
    let leaks = oracle.leaks();
    assert!(
        matches!(&leaks[..], [Leak::Descriptor { target, .. }] if target == "/dev/zero"),
        "{leaks:?}"
    );
    drop(file);
}

#[test]
fn a_thread() {
    let oracle = Oracle::start();
    let (sender, receiver) = sync_channel::<()>(0);
    let leaky = thread::Builder::new().name("leaky".into());
    let thread = leaky.spawn(move || receiver.recv().unwrap_err()).unwrap();
    let leaks = oracle.leaks();
    assert!(
        matches!(&leaks[..], [Leak::Thread { name, .. }] if name == "leaky"),
        "{leaks:?}"
    );
    drop(sender);
    thread.join().unwrap();
    oracle.check();
}

/// It has the name of the thread of the test, as others of the harness may have.
#[test]
fn a_thread_without_a_name() {
    let oracle = Oracle::start();
    let (sender, receiver) = sync_channel::<()>(0);
    let thread = thread::spawn(move || receiver.recv().unwrap_err());
    let leaks = oracle.leaks();
    assert!(matches!(&leaks[..], [Leak::Thread { .. }]), "{leaks:?}");
    drop(sender);
    thread.join().unwrap();
    oracle.check();
}

#[test]
fn an_allowed_thread_may_stay() {
    let mut oracle = Oracle::start();
    oracle.allow_threads("runtime-");
    let (sender, receiver) = sync_channel::<()>(0);
    let builder = thread::Builder::new().name("runtime-worker".into());
    let thread = builder.spawn(move || receiver.recv().unwrap_err()).unwrap();
    oracle.check();
    drop(sender);
    thread.join().unwrap();
}

/// Stands in for procession's reaper: the first may stay with its descriptors, the second not.
#[test]
fn one_service_thread_may_stay() {
    let oracle = Oracle::start();
    let start = || {
        let (sender, receiver) = sync_channel::<()>(0);
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let poll =
            rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
        let builder = thread::Builder::new().name("procession-reap".into());
        let serve = move || {
            receiver.recv().unwrap_err();
            drop((event, poll));
        };
        (sender, builder.spawn(serve).unwrap())
    };
    let (first, first_thread) = start();
    oracle.check();
    let (second, second_thread) = start();
    let leaks = oracle.leaks();
    assert_eq!(
        leaks.len(),
        3,
        "a thread, an eventfd and an epoll: {leaks:?}"
    );
    drop((first, second));
    first_thread.join().unwrap();
    second_thread.join().unwrap();
    oracle.check();
}

#[test]
fn a_child() {
    let oracle = Oracle::start();
    let mut child = testkit(&["ready-sleep"]).env_clear().spawn().unwrap();
    numbers_until_ready(&mut child);
    let leaks = oracle.leaks();
    let by_descent = Found {
        by_descent: true,
        ..Found::default()
    };
    assert_eq!(found(&leaks, child.id()), Some(by_descent), "{leaks:?}");
    assert_eq!(leaks.len(), 1, "{leaks:?}");
    end(child);
    oracle.check();
}

#[test]
fn a_daemon_with_the_tag() {
    let oracle = Oracle::start();
    let mut child = testkit(&["tree"]).envs([oracle.tag()]).spawn().unwrap();
    let [plain, leader, daemon] = numbers_until_ready(&mut child)[..] else {
        panic!("not three")
    };
    end(child);
    let leaks = oracle.leaks();
    let by_tag = Found {
        by_tag: true,
        ..Found::default()
    };
    for pid in [plain, leader, daemon] {
        // Never observed, and orphans now.
        assert_eq!(found(&leaks, pid), Some(by_tag), "{leaks:?}");
    }
    assert_eq!(leaks.len(), 3, "{leaks:?}");
    [plain, leader, daemon].into_iter().for_each(kill);
    oracle.check();
}

#[test]
fn orphans_without_the_tag_that_were_observed_or_named() {
    let oracle = Oracle::start();
    let mut child = testkit(&["tree-clean-env"])
        .envs([oracle.tag()])
        .spawn()
        .unwrap();
    let [plain, leader, daemon] = numbers_until_ready(&mut child)[..] else {
        panic!("not three")
    };
    oracle.observe();
    end(child);
    let leaks = oracle.leaks();
    let by_descent = Found {
        by_descent: true,
        ..Found::default()
    };
    assert_eq!(found(&leaks, plain), Some(by_descent), "{leaks:?}");
    assert_eq!(found(&leaks, leader), Some(by_descent), "{leaks:?}");
    // What `follow` is for: nothing leads from here to the daemon.
    assert_eq!(found(&leaks, daemon), None, "{leaks:?}");
    oracle.follow(daemon);
    let leaks = oracle.leaks();
    assert_eq!(found(&leaks, daemon), Some(by_descent), "{leaks:?}");
    [plain, leader, daemon].into_iter().for_each(kill);
    oracle.check();
}

#[test]
fn an_orphan_whose_group_leader_was_observed() {
    let oracle = Oracle::start();
    let script = "read go; sleep 60 </dev/null >/dev/null 2>&1 & echo $!; echo ready";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).env_clear().process_group(0);
    let mut child = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    oracle.observe();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let orphan = numbers_until_ready(&mut child)[0];
    child.wait().unwrap();
    let leaks = oracle.leaks();
    assert!(
        found(&leaks, orphan).is_some_and(|found| found.by_descent),
        "{leaks:?}"
    );
    kill(orphan);
    oracle.check();
}

/// Nobody in it lives for more than a moment, so that a single look would miss it.
#[test]
fn a_chain_of_short_lives() {
    let oracle = Oracle::start();
    let mut command = testkit(&["fork-loop", "20000"]);
    let mut child = command
        .envs([oracle.tag()])
        .process_group(0)
        .spawn()
        .unwrap();
    let group = Pid::from_child(&child);
    numbers_until_ready(&mut child);
    child.wait().unwrap();
    let leaks = oracle.leaks();
    kill_process_group(group, Signal::KILL).unwrap();
    let by_tag = |leak: &Leak| matches!(leak, Leak::Process { found, .. } if found.by_tag);
    assert!(leaks.iter().any(by_tag), "{leaks:?}");
    oracle.check();
}

#[test]
fn a_zombie() {
    let oracle = Oracle::start();
    let mut child = testkit(&["exit", "0"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the child to end", || is_gone(child.id()));
    let leaks = oracle.leaks();
    assert_eq!(
        leaks,
        [Leak::Zombie {
            pid: child.id(),
            name: "testkit".into()
        }]
    );
    child.wait().unwrap();
    oracle.check();
}

#[test]
fn listening_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let oracle = Oracle::start();
    let v4 = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let v6 = TcpListener::bind(("::1", 0)).ok();
    let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    let client = TcpStream::connect(v4.local_addr().unwrap()).unwrap();
    let leaks = oracle.leaks();
    let listening: Vec<String> = leaks
        .iter()
        .filter(|leak| matches!(leak, Leak::Listener { .. }))
        .map(ToString::to_string)
        .collect();
    let port = v4.local_addr().unwrap().port();
    assert!(
        listening.contains(&format!("listening socket, tcp port {port}")),
        "{listening:?}"
    );
    assert!(
        listening.iter().any(|line| line.ends_with("/socket")),
        "{listening:?}"
    );
    // The connected one is a descriptor only.
    assert_eq!(
        listening.len(),
        2 + usize::from(v6.is_some()),
        "{listening:?}"
    );
    drop((v4, v6, unix, client));
    oracle.check();
}

#[test]
fn files_in_watched_folders() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("run")).unwrap();
    fs::write(folder.path().join("run/old"), "").unwrap();
    let mut oracle = Oracle::start();
    oracle.watch(folder.path());
    let new = folder.path().join("run/new");
    fs::write(&new, "").unwrap();
    assert_eq!(oracle.leaks(), [Leak::File { path: new.clone() }]);
    fs::remove_file(new).unwrap();
    oracle.check();
}

/// Where a control group can be made, or a line that says why this is skipped.
fn make_group(name: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let Some(place) = mount.and_then(|line| line.split(' ').nth(4)) else {
        eprintln!("skipped: no version 2 control groups");
        return None;
    };
    let group = PathBuf::from(place).join(name);
    match fs::create_dir(&group) {
        Ok(()) => Some(group),
        Err(error) => {
            eprintln!("skipped: no control group can be made: {error}");
            None
        }
    }
}

#[test]
fn a_control_group_and_who_lives_in_it() {
    let oracle = Oracle::start();
    let name = format!("procession-{}-leak", getpid().as_raw_nonzero());
    let Some(group) = make_group(&name) else {
        return;
    };
    let path = group.clone();
    assert_eq!(
        oracle.leaks(),
        [Leak::ControlGroup {
            path,
            inhabitants: vec![]
        }]
    );

    let mut child = testkit(&["daemonise"]).env_clear().spawn().unwrap();
    let mut line = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut line)
        .unwrap();
    child.wait().unwrap();
    let daemon: u32 = line.trim().parse().unwrap();
    fs::write(group.join("cgroup.procs"), daemon.to_string()).unwrap();
    let leaks = oracle.leaks();
    let by_group = Found {
        by_group: true,
        ..Found::default()
    };
    assert_eq!(found(&leaks, daemon), Some(by_group), "{leaks:?}");
    let path = group.clone();
    assert!(
        leaks.contains(&Leak::ControlGroup {
            path,
            inhabitants: vec![daemon]
        }),
        "{leaks:?}"
    );
    kill(daemon);
    wait::until("the group to be empty", || fs::remove_dir(&group).ok());
    oracle.check();
}

/// Tests of other processes make groups too, at the same time and in the same place.
#[test]
fn the_control_group_of_a_stranger_is_no_leak() {
    let oracle = Oracle::start();
    let Some(group) = make_group("procession-1-testkit") else {
        return;
    };
    let leaks = oracle.leaks();
    fs::remove_dir(&group).unwrap();
    assert_eq!(leaks, []);
}

#[test]
fn memory_beyond_the_bound() {
    let oracle = Oracle::start();
    let memory = vec![1_u8; 64 << 20];
    std::hint::black_box(&memory);
    let message = panic_message(|| oracle.check_rss(1 << 20));
    assert!(
        message.contains("more than 1024 KiB of growth"),
        "{message}"
    );
    drop(memory);
}

#[test]
fn a_failed_check_lists_everything() {
    let oracle = Oracle::start();
    let file = File::open("/dev/null").unwrap();
    let mut child = testkit(&["ready-sleep"])
        .envs([oracle.tag()])
        .spawn()
        .unwrap();
    numbers_until_ready(&mut child);
    let message = panic_message(|| oracle.check());
    end(child);
    drop(file);
    assert!(
        message.starts_with("2 left 1 s after the test:\n"),
        "{message}"
    );
    assert!(message.contains("-> /dev/null"), "{message}");
    assert!(
        message.contains("ready-sleep` (state S, child of"),
        "{message}"
    );
    assert!(message.contains("found by tag, descent)"), "{message}");
    assert!(message.contains("resident memory: "), "{message}");
}

#[test]
fn asking_twice_is_told_and_does_not_hang() {
    let oracle = Oracle::start();
    let message = panic_message(|| drop(leaks::exclusive()));
    assert!(message.contains("already holds"), "{message}");
    // The next test can go on, although this one has seen a panic.
    drop(oracle);
    Oracle::start().check();
}

/// Many threads that wait for their turn are what `cargo test` makes of a file of such tests.
#[test]
fn those_who_wait_are_no_leak() {
    let oracle = Oracle::start();
    let waiting: Vec<_> = (0..8)
        .map(|_| thread::spawn(|| Oracle::start().check()))
        .collect();
    oracle.check();
    drop(oracle);
    for thread in waiting {
        thread.join().unwrap();
    }
}

fn panic_message(action: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(action));
    let payload = payload.expect_err("it should have panicked");
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .expect("a panic with a message")
}
