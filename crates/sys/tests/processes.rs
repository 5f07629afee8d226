//! What can be learned about processes and ports, on whichever side was built.

#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use procession_sys::{
    FdAssignment, Process, SpawnPlan, TcpOptions, bind_tcp, fork_and_exec, listen, listeners_of,
    local_address, platform, port_owner, process_load,
};

const LIMIT: Duration = Duration::from_secs(20);

fn is_linux_side() -> bool {
    platform().side == "linux"
}

fn plan(words: &[&str]) -> SpawnPlan<'static> {
    let words: Vec<_> = words
        .iter()
        .map(|word| CString::new(*word).unwrap())
        .collect();
    SpawnPlan {
        programs: vec![words[0].clone()],
        args: words,
        inherit_env: true,
        null_fds: vec![0, 1, 2],
        ..SpawnPlan::default()
    }
}

/// A child that ends with the test, however that goes.
struct Child(Process);

impl Child {
    fn start(plan: &SpawnPlan<'_>) -> Self {
        Self(fork_and_exec(plan).unwrap())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.signal(libc::SIGKILL);
        let _ = self.0.wait_timeout(Some(LIMIT));
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_owner_of_a_port_is_found() {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = bind_tcp(loopback(0), TcpOptions::default()).unwrap();
    let at = local_address(&socket).unwrap().unwrap();
    assert_eq!(port_owner(at), None, "nobody listens yet");
    listen(&socket, 1).unwrap();
    if !is_linux_side() {
        assert_eq!(port_owner(at), None);
        return;
    }
    assert_eq!(port_owner(at).unwrap().pid, std::process::id());
    // Who wants all addresses is in this one's way too.
    for all in [
        Ipv4Addr::UNSPECIFIED.into(),
        std::net::IpAddr::from(Ipv6Addr::UNSPECIFIED),
    ] {
        let owner = port_owner((all, at.port()).into()).unwrap();
        assert_eq!(owner.pid, std::process::id());
    }
    let mut sleeps = plan(&["/bin/sleep", "60"]);
    sleeps.fds = vec![FdAssignment {
        index: 3,
        source: socket.as_fd(),
    }];
    let child = Child::start(&sleeps);
    drop(sleeps);
    drop(socket);
    let owner = port_owner(at).unwrap();
    assert_eq!(owner.pid, child.0.id());
    // A link to another program on some systems.
    assert!(
        !owner.name.is_empty() && !owner.name.contains('/'),
        "{owner:?}"
    );
    drop(child);
    // Another test's child may hold a copy for the moment before its `execve`.
    wait_until("nobody listens", || port_owner(at).is_none());
}

#[test]
fn a_wildcard_listener_owns_every_address() {
    let socket = bind_tcp((Ipv4Addr::UNSPECIFIED, 0).into(), TcpOptions::default()).unwrap();
    listen(&socket, 1).unwrap();
    let port = local_address(&socket).unwrap().unwrap().port();
    let owner = port_owner((Ipv4Addr::LOCALHOST, port).into());
    assert_eq!(owner.is_some(), is_linux_side());
    assert!(owner.is_none_or(|owner| owner.pid == std::process::id()));
}

#[test]
fn where_a_process_and_its_children_listen_is_found() {
    let own = std::process::id();
    if !is_linux_side() {
        let error = listeners_of(own).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        return;
    }
    let bind = |ip: std::net::IpAddr| bind_tcp((ip, 0).into(), TcpOptions::default()).unwrap();
    let address = |socket| local_address(socket).unwrap().unwrap();
    let (four, six) = (
        bind(Ipv4Addr::LOCALHOST.into()),
        bind(Ipv6Addr::LOCALHOST.into()),
    );
    listen(&four, 1).unwrap();
    listen(&six, 1).unwrap();
    let (at4, at6) = (address(&four), address(&six));
    let given = |words: &[&str], source| {
        let mut plan = plan(words);
        plan.fds = vec![FdAssignment { index: 3, source }];
        Child::start(&plan)
    };
    let child = given(&["/bin/sh", "-c", "sleep 60 3>&- & wait"], four.as_fd());
    // It is the grandchild that has it.
    let line = "sleep 60 & exec 3>&-; wait";
    let parent = given(&["/bin/sh", "-c", line], six.as_fd());
    let of = |child: &Child| listeners_of(child.0.id()).unwrap();
    wait_until("the child has its own alone", || of(&child) == [at4]);
    wait_until("so has its grandchild", || of(&parent) == [at6]);
    let ours = listeners_of(own).unwrap();
    assert!(ours.contains(&at4) && ours.contains(&at6), "{ours:?}");
    for shell in [&child, &parent] {
        assert!(shell.0.tree().end(LIMIT));
    }
    wait_until("nobody listens", || of(&child).is_empty());
}

#[test]
fn the_load_of_a_process_is_told() {
    if !is_linux_side() {
        let error = process_load(std::process::id()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        return;
    }
    let busy = Child::start(&plan(&["/bin/sh", "-c", "while :; do :; done"]));
    let pid = busy.0.id();
    let load = || process_load(pid).unwrap();
    wait_until("it works", || load().cpu >= Duration::from_millis(30));
    assert!(load().rss > 64 * 1024, "{:?}", load());
    drop(busy);
    assert_eq!(
        process_load(pid).unwrap_err().raw_os_error(),
        Some(libc::ESRCH)
    );
}

#[test]
fn a_child_is_seen_to_be_stopped_until_it_goes_on_or_ends() {
    let child = Child::start(&plan(&["/bin/sleep", "60"]));
    assert!(!child.0.is_stopped());
    for end in [libc::SIGCONT, libc::SIGKILL] {
        child.0.signal(libc::SIGSTOP).unwrap();
        wait_until("it is stopped", || child.0.is_stopped());
        assert!(child.0.is_stopped(), "also when it is asked again");
        assert_eq!(
            child.0.try_wait().unwrap(),
            None,
            "and is not taken for ended"
        );
        child.0.signal(end).unwrap();
        wait_until("it is not stopped any more", || !child.0.is_stopped());
    }
    assert!(child.0.wait_timeout(Some(LIMIT)).unwrap().is_some());
}
