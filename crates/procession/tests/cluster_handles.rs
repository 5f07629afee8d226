//! Connections and listeners that travel between a primary and an unmodified Node
//! worker, with messages of their programs, in both directions and serializations.
//!
//! The Node on `PATH` takes part, or `PROCESSION_NODE`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all that happens a test looks for one thing"
)]

#[expect(dead_code, reason = "the machine's side does not matter here")]
#[path = "support/facts.rs"]
mod facts;
#[expect(dead_code, reason = "the children here are Node's")]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::{Command, Signal};
use procession::cluster::{Control, ControlError, Event, Policy, Primary, Spec, WorkerId};
use procession::ipc::{Handle, Serialization};
use procession_testkit::leaks::{Oracle, exclusive};
use procession_testkit::wait;
use serde_json::{Value, json};
use support::{scene, tagged};

const ONE: WorkerId = WorkerId(1);
const LIMIT: Duration = Duration::from_secs(20);

/// A cluster of one worker that takes and gives.
struct Stage {
    primary: Primary,
    control: Control,
    /// Where the worker listens.
    at: SocketAddr,
}

impl Stage {
    async fn new(oracle: &Oracle, node: &Path, serialization: Serialization) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/cluster");
        let script = script.canonicalize().unwrap().join("hand_over.js");
        let mut command = tagged(oracle, Command::new(node), &[script.to_str().unwrap()]);
        let (_, at) = listener();
        command.env("PORT", at.port());
        let mut spec = Spec::new(command);
        spec.workers = 1;
        spec.balance = Policy::Auto;
        spec.serialization = serialization;
        let mut primary = Primary::start(spec).unwrap();
        let control = primary.control();
        until(&mut primary, |event| {
            matches!(event, Event::AllReady).then_some(())
        })
        .await;
        Self {
            primary,
            control,
            at,
        }
    }

    /// The next message, and what came with it.
    async fn message(&mut self) -> (Value, Option<Handle>) {
        until(&mut self.primary, |event| match event {
            Event::Message { message, .. } => {
                Some((message.decode().unwrap(), message.take_handle()))
            }
            _ => None,
        })
        .await
    }

    async fn end(mut self) {
        self.control.stop().await.unwrap();
        let (mut codes, mut killed) = (Vec::new(), u32::MAX);
        while let Some(event) = self.primary.next_event().await {
            match event {
                Event::Exit { exit, .. } => codes.push(exit.exit.code()),
                Event::Over { killed: count, .. } => killed = count,
                _ => {}
            }
        }
        assert_eq!((codes, killed), (vec![Some(0)], 0));
    }
}

/// Takes events until one fits.
async fn until<T>(primary: &mut Primary, mut fits: impl FnMut(&mut Event) -> Option<T>) -> T {
    loop {
        let mut event = primary.next_event().await.expect("the cluster is over");
        if let Some(found) = fits(&mut event) {
            return found;
        }
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// A client that says this and waits for the whole answer.
fn client(at: SocketAddr, says: &'static str) -> tokio::task::JoinHandle<String> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(says.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

/// A client that is connected, and our side of the connection.
fn connection() -> (TcpStream, TcpStream) {
    let (listener, at) = listener();
    let client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    (client, listener.accept().unwrap().0)
}

fn major(node: &Path) -> u32 {
    let asked = Command::new(node).arg("--version").outcome_blocking();
    let version = String::from_utf8(asked.unwrap().stdout.to_vec()).unwrap();
    let major = version.trim_start_matches('v').split('.').next();
    major.unwrap().parse().unwrap()
}

/// In both serializations, with a Node that is no older.
fn each(test: &str, oldest: u32, scenes: impl AsyncFn(&mut Stage)) {
    // Our service threads begin with the first child: not in another test's view.
    let alone = exclusive();
    let named = std::env::var("PROCESSION_NODE").ok().map(PathBuf::from);
    let found = named.or_else(|| procession_testkit::node::find().map(|node| node.path));
    let major = found.as_deref().map(major);
    drop(alone);
    let (Some(node), Some(major)) = (found, major) else {
        return facts::skip(test, "there is no Node here");
    };
    if major < oldest {
        return facts::skip(test, &format!("Node {major} cannot, as a cluster's worker"));
    }
    for serialization in [Serialization::Json, Serialization::Advanced] {
        scene(async |oracle| {
            let mut stage = Stage::new(oracle, &node, serialization).await;
            scenes(&mut stage).await;
            stage.end().await;
        });
    }
}

#[test]
fn a_worker_serves_a_connection_that_the_program_sends_it() {
    each("connections to a Node worker", 0, async |stage| {
        for _ in 0..20 {
            let (mut client, ours) = connection();
            client.write_all(b"hello").unwrap();
            let sent = json!({ "what": "connection" });
            stage
                .control
                .send_with_handle(ONE, &sent, ours)
                .await
                .unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "worker 1 heard hello");
        }
    });
}

/// A worker of Node 18 asks its primary for what it was sent: Node's own dies of that.
#[test]
fn a_worker_accepts_from_a_listener_that_the_program_sends_it() {
    each("a listener to a Node worker", 20, async |stage| {
        let (listener, at) = listener();
        let sent = json!({ "what": "server" });
        stage
            .control
            .send_with_handle(ONE, &sent, listener)
            .await
            .unwrap();
        let (message, handle) = stage.message().await;
        let port = at.port();
        assert_eq!(message, json!({ "what": "accepting", "port": port }));
        assert!(handle.is_none());
        assert_eq!(client(at, "").await.unwrap(), "worker 1 accepted");
    });
}

/// `process.send(message, socket)`.
#[test]
fn the_program_gets_a_connection_that_a_worker_sends() {
    each("connections from a Node worker", 0, async |stage| {
        for _ in 0..20 {
            let client = client(stage.at, "hello");
            let (message, handle) = stage.message().await;
            assert_eq!(message["what"], "client");
            let Some(Handle::TcpStream(stream)) = handle else {
                panic!("{message} came with {handle:?}");
            };
            let from = stream.peer_addr().unwrap().port();
            assert_eq!(message["from"], from);
            let answered = tokio::task::spawn_blocking(move || {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                let mut heard = [0; 5];
                (&stream).read_exact(&mut heard).unwrap();
                (&stream).write_all(b"the primary heard ").unwrap();
                (&stream).write_all(&heard).unwrap();
            });
            answered.await.unwrap();
            assert_eq!(client.await.unwrap(), "the primary heard hello");
        }
    });
}

/// `cluster.worker.send(message, server)`.
#[test]
fn the_program_gets_a_listener_that_a_worker_sends() {
    each("a listener from a Node worker", 0, async |stage| {
        let sent = json!({ "what": "give a server" });
        stage.control.send(ONE, &sent).await.unwrap();
        let (message, handle) = stage.message().await;
        let Some(Handle::TcpListener(listener)) = handle else {
            panic!("{message} came with {handle:?}");
        };
        let at = listener.local_addr().unwrap();
        assert_eq!(message, json!({ "what": "server", "port": at.port() }));
        let client = client(at, "");
        let answered = tokio::task::spawn_blocking(move || {
            listener.set_nonblocking(false).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"the primary accepted").unwrap();
        });
        answered.await.unwrap();
        assert_eq!(client.await.unwrap(), "the primary accepted");
    });
}

/// Nothing travels by accident, and what finds no worker comes back open.
#[test]
fn a_handle_that_nobody_can_have_comes_back() {
    each("handles that nobody can have", 0, async |stage| {
        let asked = json!({ "what": "nothing" });
        stage.control.send(ONE, &asked).await.unwrap();
        let (message, handle) = stage.message().await;
        assert_eq!(message, json!({ "what": "nothing", "handle": "undefined" }));
        assert!(handle.is_none());

        let nobody = WorkerId(9);
        let (mut client, ours) = connection();
        let sent = stage.control.send_with_handle(nobody, &asked, ours).await;
        let error = sent.unwrap_err();
        assert_eq!(error.to_string(), "cannot send to worker 9");
        answers(error, &mut client);

        // It has a channel as far as we know: it is killed with the handle on its way.
        let (mut client, ours) = connection();
        let channel = stage.control.channel(ONE).await.unwrap();
        stage.control.signal(ONE, Signal::STOP).await.unwrap();
        let pid = stage.control.status().await.unwrap().workers[0].pid;
        wait::until("a stopped worker", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.contains(") T ").then_some(())
        });
        let control = stage.control.clone();
        let sending = tokio::spawn(async move {
            let sent = json!({ "what": "connection" });
            control.send_with_handle(ONE, &sent, ours).await
        });
        while channel.flush().await.is_ok() && !sending.is_finished() {
            stage.control.signal(ONE, Signal::KILL).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(channel);
        answers(sending.await.unwrap().unwrap_err(), &mut client);
        until(&mut stage.primary, |event| {
            matches!(event, Event::AllReady).then_some(())
        })
        .await;
    });
}

/// The handle that an error brings back is the client's.
#[track_caller]
fn answers(error: ControlError, client: &mut TcpStream) {
    let Some(Handle::TcpStream(mut ours)) = error.into_handle() else {
        panic!("the handle is lost");
    };
    ours.write_all(b"sorry").unwrap();
    drop(ours);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "sorry");
}
