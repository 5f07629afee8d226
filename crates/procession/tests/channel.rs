//! The channel, over real sockets and with real Node children.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[expect(dead_code, reason = "the channel is the same on both sides")]
#[path = "support/facts.rs"]
mod facts;
#[expect(dead_code, reason = "the children here are Node's")]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use facts::skip;
use procession::child_process::{Command, Event, Exit, Stdio};
use procession::ipc::{
    Channel, Handle, Limits, Message, ReceiveError, RequestError, SendError, Sender, Serialization,
    blocking,
};
use procession_testkit::leaks::Oracle;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use support::{scene, tagged};

const BOTH: [Serialization; 2] = [Serialization::Json, Serialization::Advanced];

/// Runs in both serializations, and finds what is left after.
fn in_both(scenario: impl AsyncFn(&Oracle, Serialization)) {
    scene(async |oracle| {
        for serialization in BOTH {
            scenario(oracle, serialization).await;
        }
    });
}

/// The two ends of a channel, one for a runtime and one for a thread.
fn async_and_blocking(serialization: Serialization) -> (Channel, blocking::Channel) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let limits = Limits::default();
    let channel = Channel::new(ours, serialization, limits, "a thread".into()).unwrap();
    let end = blocking::Channel::new(theirs, serialization, limits, "async".into());
    (channel, end)
}

/// Says so when the test cannot be run here.
fn has_node() -> bool {
    // Asking starts children, which a test beside this one would take for its own.
    let alone = procession_testkit::leaks::exclusive();
    let found = !procession::node::find_all().is_empty();
    drop(alone);
    if !found {
        skip("a test with a real Node", "there is none here");
    }
    found
}

/// More than any of this takes.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn messages_go_both_ways_in_their_order() {
    in_both(async |_, serialization| {
        let (one, mut other) = Channel::pair(serialization).unwrap();
        for n in 0..10_000_u64 {
            one.tx.send(&json!({ "n": n })).await.unwrap();
            if n % 97 == 0 {
                let got: Value = other.rx.recv().await.unwrap().unwrap().decode().unwrap();
                assert!(got["n"].as_u64().unwrap() <= n);
            }
        }
        let mut last = 0;
        one.tx.send("end").await.unwrap();
        loop {
            let message = other.rx.recv().await.unwrap().unwrap();
            if let Ok(end) = message.decode::<String>() {
                assert_eq!(end, "end");
                break;
            }
            let n = message.decode::<Value>().unwrap()["n"].as_u64().unwrap();
            assert!(n >= last);
            last = n;
        }
        assert_eq!(last, 9_999);
        other.tx.send(&[1, 2, 3]).await.unwrap();
        let Channel { mut rx, tx } = one;
        let back: [u8; 3] = rx.recv().await.unwrap().unwrap().decode().unwrap();
        assert_eq!(back, [1, 2, 3]);
        tx.disconnect().await;
        assert!(rx.recv().await.unwrap().is_none());
        assert!(other.rx.recv().await.unwrap().is_none());
        let error = other.tx.send("late").await.unwrap_err();
        assert_eq!(error.node_code(), Some("ERR_IPC_CHANNEL_CLOSED"));
    });
}

#[test]
fn handles_arrive_with_their_messages() {
    in_both(async |_, serialization| {
        let (one, mut other) = Channel::pair(serialization).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let outside = TcpStream::connect(address).unwrap();
        let (inside, _) = listener.accept().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiving = tokio::spawn(async move {
            let mut names = Vec::new();
            for _ in 0..4 {
                let mut message = other.rx.recv().await.unwrap().unwrap();
                let name: String = message.decode().unwrap();
                names.push((name, message.take_handle()));
            }
            names
        });
        one.tx.send("plain").await.unwrap();
        one.tx.send_with_handle("tcp", inside).await.unwrap();
        one.tx
            .send_with_handle(&"x".repeat(40_000), listener)
            .await
            .unwrap();
        one.tx.send_with_handle("udp", udp).await.unwrap();
        let mut got = receiving.await.unwrap().into_iter();
        assert!(matches!(got.next().unwrap(), (name, None) if name == "plain"));
        let Some((_, Some(Handle::TcpStream(mut inside)))) = got.next() else {
            panic!("no connection");
        };
        inside.write_all(b"hi").unwrap();
        assert_eq!(inside.peer_addr().unwrap(), outside.local_addr().unwrap());
        let Some((_, Some(Handle::TcpListener(listener)))) = got.next() else {
            panic!("no listener");
        };
        assert_eq!(listener.local_addr().unwrap(), address);
        assert!(matches!(
            got.next().unwrap(),
            (_, Some(Handle::UdpSocket(_)))
        ));
    });
}

#[test]
fn a_descriptor_that_node_cannot_take_comes_back() {
    scene(async |_| {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = Handle::try_from(std::os::fd::OwnedFd::from(file)).unwrap_err();
        assert_eq!(error.kind, "character device");
        assert_eq!(error.node_code(), Some("ERR_INVALID_HANDLE_TYPE"));
    });
}

#[test]
fn questions_are_answered_refused_or_time_out() {
    in_both(async |_, serialization| {
        let (one, mut other) = Channel::pair(serialization).unwrap();
        let answering = tokio::spawn(async move {
            let mut question = other.rx.recv().await.unwrap().unwrap();
            assert!(question.is_request());
            let n: u64 = question.decode().unwrap();
            question.reply(&(n + 1)).await.unwrap();
            // Dropped.
            drop(other.rx.recv().await.unwrap().unwrap());
            // Kept for too long.
            let question = other.rx.recv().await.unwrap().unwrap();
            let confirmed: String = other.rx.recv().await.unwrap().unwrap().decode().unwrap();
            assert_eq!(confirmed, "heard");
            drop(question);
            other
        });
        let answer = one.tx.request(&41, LONG).await.unwrap();
        assert_eq!(answer.decode::<u64>().unwrap(), 42);
        let refused = one.tx.request(&0, LONG).await.unwrap_err();
        assert!(matches!(refused, RequestError::Refused { .. }), "{refused}");
        let late = one.tx.request(&0, Duration::from_millis(1)).await;
        assert!(matches!(late, Err(RequestError::TimedOut { .. })));
        one.tx.send_confirmed("heard", LONG).await.unwrap();
        let other = answering.await.unwrap();
        drop(other.rx);
        let deaf = one.tx.send_confirmed("unheard", LONG).await.unwrap_err();
        assert!(matches!(deaf, RequestError::Refused { .. }), "{deaf}");
    });
}

#[test]
fn a_full_queue_refuses_or_waits() {
    in_both(async |_, serialization| {
        let (socket, silent) = UnixStream::pair().unwrap();
        let mut limits = Limits::default();
        limits.max_queue = 100_000;
        let channel = Channel::new(socket, serialization, limits, "a silent one".into()).unwrap();
        let text = "x".repeat(10_000);
        let mut sent = 0;
        let full = loop {
            match channel.tx.try_send(&text) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            tokio::task::yield_now().await;
        };
        assert!(matches!(full, SendError::Full { .. }), "{full}");
        // What the kernel took, and the queue.
        assert!((10..100).contains(&sent), "{sent}");
        let waits = tokio::time::timeout(Duration::from_millis(20), channel.tx.send(&text));
        assert!(waits.await.is_err());
        // Who waits learns that there never will be room.
        let tx = channel.tx.clone();
        let waits = tokio::spawn(async move { tx.send(&text).await });
        tokio::task::yield_now().await;
        drop(silent);
        let closed = waits.await.unwrap().unwrap_err();
        assert!(matches!(closed, SendError::Closed { .. }), "{closed}");
    });
}

#[test]
fn rubbish_ends_the_channel_with_a_reason() {
    scene(async |_| {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut channel = Channel::new(
            socket,
            Serialization::Json,
            Limits::default(),
            "a liar".into(),
        )
        .unwrap();
        peer.write_all(b"\"fine\"\n{\"a\":nonsense}\n").unwrap();
        let fine: String = channel.rx.recv().await.unwrap().unwrap().decode().unwrap();
        assert_eq!(fine, "fine");
        let error = channel.rx.recv().await.unwrap_err();
        let ReceiveError::Protocol { peer: name, source } = error else {
            panic!("{error}");
        };
        assert_eq!(name, "a liar");
        assert!(source.to_string().contains("nonsense"), "{source}");
        assert!(channel.rx.recv().await.unwrap().is_none());
        assert!(channel.tx.is_closed());
    });
}

/// A Node child that runs this code, with a channel.
fn node(oracle: &Oracle, serialization: Serialization, code: &str) -> Command {
    let mut command = tagged(oracle, Command::new("node"), &["-e", code]);
    command.ipc(serialization);
    command.stdout(Stdio::Inherit).stderr(Stdio::Inherit);
    command
}

#[test]
fn an_unmodified_node_child_answers_and_hands_over() {
    if !has_node() {
        return;
    }
    in_both(async |oracle, serialization| {
        const CODE: &str = "
            let n = 0;
            process.on('message', (message, handle) => {
                if (message === 'bye') return process.disconnect();
                n += 1;
                const got = handle?.constructor.name ?? null;
                // A server that was sent stays open here as well.
                process.send({ n, message, got }, handle, () => handle?.close?.());
            });
            process.on('internalMessage', ({ cmd, kind, id, msg }) => {
                if (cmd !== 'NODE_PROCESSION') return;
                if (kind === 'request') process._send({ cmd, kind: 'reply', id, msg: msg * 2 });
                if (kind === 'send') process._send({ cmd, kind: 'ack', id });
            });";
        let mut child = node(oracle, serialization, CODE).spawn().unwrap();
        let mut channel = child.channel.take().unwrap();
        channel.tx.send(&json!(["é", 1.5, null])).await.unwrap();
        let answer: Value = channel.rx.recv().await.unwrap().unwrap().decode().unwrap();
        assert_eq!(
            answer,
            json!({ "n": 1, "message": ["é", 1.5, null], "got": null })
        );

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let outside = TcpStream::connect(address).unwrap();
        let (inside, _) = listener.accept().unwrap();
        for (handle, name) in [
            (Handle::from(inside), "Socket"),
            (listener.into(), "Server"),
        ] {
            channel.tx.send_with_handle(name, handle).await.unwrap();
            let mut back = channel.rx.recv().await.unwrap().unwrap();
            assert_eq!(back.decode::<Value>().unwrap()["got"], name);
            assert!(back.take_handle().is_some());
        }
        drop(outside);

        let doubled = channel.tx.request(&21, LONG).await.unwrap();
        assert_eq!(doubled.decode::<u64>().unwrap(), 42);
        channel.tx.send_confirmed("strictly", LONG).await.unwrap();
        channel.tx.send("bye").await.unwrap();
        assert!(channel.rx.recv().await.unwrap().is_none());
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn what_was_sent_just_before_the_exit_arrives() {
    if !has_node() {
        return;
    }
    in_both(async |oracle, serialization| {
        const CODE: &str = "
            for (let n = 0; n < 100; n++) process.send({ n });
            process.exit(3);";
        let mut child = node(oracle, serialization, CODE).spawn().unwrap();
        assert_eq!(child.wait().await.unwrap(), Exit::Code(3));
        let mut channel = child.channel.take().unwrap();
        for n in 0..100 {
            let message = channel.rx.recv().await.unwrap().unwrap();
            assert_eq!(message.decode::<Value>().unwrap(), json!({ "n": n }));
        }
        assert!(channel.rx.recv().await.unwrap().is_none());
    });
}

#[test]
fn a_channel_may_be_at_any_descriptor_and_is_not_inherited_further() {
    if !has_node() {
        return;
    }
    in_both(async |oracle, serialization| {
        const CODE: &str = "
            const { spawnSync } = require('child_process');
            const line = 'ls -l /proc/self/fd | grep -c socket; env | grep -c NODE_CHANNEL';
            const stdio = ['ignore', 'pipe', 'ignore'];
            process.send(spawnSync('sh', ['-c', line], { stdio }).stdout.toString());
            process.disconnect();";
        for index in [0, 4, 9] {
            let mut command = node(oracle, serialization, CODE);
            command.ipc_at(index, serialization);
            let mut child = command.spawn().unwrap();
            let mut channel = child.channel.take().unwrap();
            let said: String = channel.rx.recv().await.unwrap().unwrap().decode().unwrap();
            assert_eq!(said, "0\n0\n", "at {index}");
            assert!(child.wait().await.unwrap().success());
        }
    });
}

#[test]
fn events_tell_messages_before_the_exit() {
    if !has_node() {
        return;
    }
    in_both(async |oracle, serialization| {
        const CODE: &str = "
            process.on('message', (message) => {
                process.send([message, 1]);
                process.send([message, 2], () => process.exit(0));
            });";
        let mut events = node(oracle, serialization, CODE).events();
        events.channel.as_ref().unwrap().send("go").await.unwrap();
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            told.push(match event {
                Event::Spawn { .. } => "spawn".to_owned(),
                Event::Message(message) => message.decode::<Value>().unwrap().to_string(),
                Event::Disconnect => "disconnect".to_owned(),
                Event::Exit(exit) => exit.to_string(),
                Event::Close(_) => "close".to_owned(),
                Event::Error(error) => panic!("{error}"),
                Event::Aborted
                | Event::ChannelError(_)
                | Event::Stdout(_)
                | Event::Stderr(_)
                | Event::StdoutEnd
                | Event::StderrEnd
                | _ => panic!("an event that cannot be here"),
            });
        }
        let exit = Exit::Code(0).to_string();
        let wanted = [
            "spawn",
            "[\"go\",1]",
            "[\"go\",2]",
            "disconnect",
            &exit,
            "close",
        ];
        assert_eq!(told, wanted);
    });
}

/// The first message is written by who sends it, as far as it fits.
#[test]
fn the_first_message_may_be_longer_than_the_socket_takes() {
    in_both(async |_, serialization| {
        let (one, mut other) = Channel::pair(serialization).unwrap();
        let long = "x".repeat(1_000_000);
        for text in [&*long, "short"] {
            one.tx.send(text).await.unwrap();
        }
        for text in [&*long, "short"] {
            let came: String = other.rx.recv().await.unwrap().unwrap().decode().unwrap();
            assert!(came == text, "{} bytes came", came.len());
        }
    });
}

/// A large message is read to where it stays, and what follows it may come in the same read.
#[test]
fn handles_between_large_messages_arrive_with_theirs() {
    const LENGTHS: [usize; 5] = [300_000, 20_000, 2_500_000, 10, 300_001];
    in_both(async |_, serialization| {
        let (mut channel, mut end) = async_and_blocking(serialization);
        let thread = std::thread::spawn(move || {
            while let Some(mut message) = end.recv().unwrap() {
                match message.take_handle() {
                    Some(handle) => end
                        .send_with_handle(&message.decode::<String>().unwrap(), handle)
                        .unwrap(),
                    None => end.forward(&message).unwrap(),
                }
            }
        });
        let sender = channel.tx.clone();
        let sending = tokio::spawn(async move {
            let mut addresses = Vec::new();
            for length in LENGTHS {
                sender.send(&"x".repeat(length)).await.unwrap();
                let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
                addresses.push(udp.local_addr().unwrap());
                let short = "y".repeat(length / 100);
                sender.send_with_handle(&short, udp).await.unwrap();
            }
            addresses
        });
        let mut came = Vec::new();
        for length in LENGTHS {
            for (letter, length, has_handle) in [("x", length, false), ("y", length / 100, true)] {
                let mut message = channel.rx.recv().await.unwrap().unwrap();
                let text: String = message.decode().unwrap();
                assert!(text == letter.repeat(length), "{} of {length}", text.len());
                let handle = message.take_handle();
                assert_eq!(handle.is_some(), has_handle);
                if let Some(Handle::UdpSocket(udp)) = handle {
                    came.push(udp.local_addr().unwrap());
                }
            }
        }
        assert_eq!(came, sending.await.unwrap());
        channel.disconnect().await;
        thread.join().unwrap();
    });
}

/// It would be written into the same memory.
#[test]
fn a_value_may_send_another_while_it_is_written() {
    struct Nested(Sender);

    impl Serialize for Nested {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.try_send("inner").unwrap();
            serializer.serialize_str("outer")
        }
    }

    in_both(async |_, serialization| {
        let (one, mut other) = Channel::pair(serialization).unwrap();
        one.tx.send(&Nested(one.tx.clone())).await.unwrap();
        for text in ["inner", "outer"] {
            let came: String = other.rx.recv().await.unwrap().unwrap().decode().unwrap();
            assert_eq!(came, text);
        }
    });
}

#[test]
fn a_blocking_end_talks_to_an_async_one() {
    in_both(async |_, serialization| {
        let (mut channel, mut end) = async_and_blocking(serialization);
        let thread = std::thread::spawn(move || {
            let mut seen = 0;
            while let Some(mut message) = end.recv().unwrap() {
                seen += 1;
                match message.take_handle() {
                    Some(handle) => end.send_with_handle("back", handle).unwrap(),
                    None => end.send_raw(message.body()).unwrap(),
                }
            }
            seen
        });
        // More than fits between them, before anything is received.
        let text = "x".repeat(100_000);
        for _ in 0..8 {
            channel.tx.send(&text).await.unwrap();
        }
        for _ in 0..8 {
            let back: String = channel.rx.recv().await.unwrap().unwrap().decode().unwrap();
            assert_eq!(back, text);
        }
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        channel.tx.send_with_handle("there", udp).await.unwrap();
        let mut back = channel.rx.recv().await.unwrap().unwrap();
        let Some(Handle::UdpSocket(udp)) = back.take_handle() else {
            panic!("no socket");
        };
        assert_eq!(udp.local_addr().unwrap(), address);
        channel.tx.send_confirmed("sure", LONG).await.unwrap();
        let refused = channel.tx.request("what?", LONG).await.unwrap_err();
        assert!(matches!(refused, RequestError::Refused { .. }));
        channel.disconnect().await;
        assert_eq!(thread.join().unwrap(), 10);
    });
}

#[test]
fn what_was_sent_is_written_when_the_runtime_goes() {
    for serialization in BOTH {
        let oracle = Oracle::start();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let limits = Limits::default();
        let reader = std::thread::spawn(move || {
            let mut end = blocking::Channel::new(theirs, serialization, limits, "gone".into());
            let mut bytes = 0;
            while let Some(message) = end.recv().unwrap() {
                bytes += message.body().len();
            }
            bytes
        });
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let channel = Channel::new(ours, serialization, limits, "reader".into()).unwrap();
            for _ in 0..20 {
                channel.tx.send(&"x".repeat(100_000)).await.unwrap();
            }
        });
        drop(runtime);
        assert!(reader.join().unwrap() >= 2_000_000);
        oracle.check();
    }
}

#[test]
fn a_disconnect_waits_for_the_rest_of_a_message() {
    scene(async |_| {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let serialization = Serialization::Json;
        let limits = Limits::default();
        let channel = Channel::new(socket, serialization, limits, "a slow one".into()).unwrap();
        let Channel { tx, mut rx } = channel;
        peer.write_all(b"\"whole\"\n\"ha").unwrap();
        let whole: String = rx.recv().await.unwrap().unwrap().decode().unwrap();
        assert_eq!(whole, "whole");
        let closing = tokio::spawn(async move { tx.disconnect().await });
        // The disconnect is under way, and the message arrives all the same.
        tokio::task::yield_now().await;
        peer.write_all(b"lf\"\n").unwrap();
        let half: String = rx.recv().await.unwrap().unwrap().decode().unwrap();
        assert_eq!(half, "half");
        assert!(rx.recv().await.unwrap().is_none());
        closing.await.unwrap();
    });
}

/// Says this over and over until nothing is read any more; gives what is left of the last.
/// Each turn of the loop is one of the owner's.
async fn fill<'a>(peer: &mut UnixStream, said: &'a [u8]) -> &'a [u8] {
    const PATIENCE: u32 = 1_000;
    peer.set_nonblocking(true).unwrap();
    let (mut rest, mut idle) = (said, 0);
    while idle < PATIENCE {
        match peer.write(rest) {
            Ok(count) => (rest, idle) = (&rest[count..], 0),
            Err(_) => idle += 1,
        }
        if rest.is_empty() {
            rest = said;
        }
        tokio::task::yield_now().await;
    }
    peer.set_nonblocking(false).unwrap();
    rest
}

/// A channel in JSON, and the other end of its socket.
fn bare() -> (Channel, UnixStream) {
    let (socket, peer) = UnixStream::pair().unwrap();
    let limits = Limits::default();
    let channel = Channel::new(socket, Serialization::Json, limits, "a bare one".into());
    (channel.unwrap(), peer)
}

/// The inbox was full, so that neither the rest of a message nor the end was ever heard.
#[test]
fn a_disconnect_ends_also_when_nobody_receives() {
    const SAID: &[u8] = b"[\"never received\",\"and never at an end\"]\n";
    scene(async |_| {
        for with_receiver in [false, true] {
            let (channel, mut peer) = bare();
            // Many at once, so that the last that was read is not whole.
            let said = SAID.repeat(1_000);
            let rest = fill(&mut peer, &said).await.to_vec();
            let mut reader = peer.try_clone().unwrap();
            let writing = std::thread::spawn(move || {
                let mut written = peer.write_all(&rest);
                while written.is_ok() {
                    written = peer.write_all(&said);
                }
            });
            let reading = std::thread::spawn(move || {
                let mut heard = Vec::new();
                // The connection is reset, for it said more than was read.
                let _ = reader.read_to_end(&mut heard);
                heard
            });
            // More than the socket takes.
            let last = "y".repeat(1_000_000);
            channel.tx.send(&last).await.unwrap();
            let closing = async {
                if with_receiver {
                    channel.tx.disconnect().await;
                } else {
                    channel.disconnect().await;
                }
            };
            tokio::time::timeout(LONG, closing).await.unwrap();
            writing.join().unwrap();
            let heard: String = serde_json::from_slice(&reading.join().unwrap()).unwrap();
            assert!(heard == last, "{} bytes were heard", heard.len());
        }
    });
}

/// The peer is gone while the inbox is full: nothing was read any more, nor the end.
#[test]
fn a_peer_that_is_gone_is_noticed_by_who_receives_nothing() {
    const SAID: &[u8] = b"\"kept\"\n";
    scene(async |_| {
        for sends in [true, false] {
            let (mut channel, mut peer) = bare();
            let gone = channel.tx.cancel_signal();
            fill(&mut peer, SAID).await;
            if sends {
                // More than the socket takes, so that there is something to wait for.
                channel.tx.send(&"x".repeat(1_000_000)).await.unwrap();
            }
            drop(peer);
            tokio::time::timeout(LONG, gone.cancelled()).await.unwrap();
            if sends {
                let flushed = channel.tx.flush().await.unwrap_err();
                assert!(matches!(flushed, SendError::Closed { .. }), "{flushed}");
            }
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let refused = channel.tx.send_with_handle("late", udp).await.unwrap_err();
            assert!(matches!(
                refused,
                SendError::Closed {
                    handle: Some(_),
                    ..
                }
            ));
            // All that was sent is received nevertheless, also what the socket held.
            let mut bytes = 0;
            while let Some(message) = channel.rx.recv().await.unwrap() {
                assert_eq!(message.body(), "\"kept\"");
                bytes += message.body().len() + 1;
            }
            assert!(bytes > 50_000, "{bytes} bytes");
            tokio::time::timeout(LONG, channel.disconnect())
                .await
                .unwrap();
        }
    });
}

/// The peer took nothing of us any more, but goes on.
#[test]
fn who_only_sends_is_heard_until_nobody_receives() {
    scene(async |_| {
        let (mut channel, mut peer) = bare();
        peer.shutdown(std::net::Shutdown::Read).unwrap();
        let gone = channel.tx.cancel_signal();
        channel.tx.send("?").await.unwrap();
        tokio::time::timeout(LONG, gone.cancelled()).await.unwrap();
        peer.write_all(b"\"still here\"\n").unwrap();
        let message = channel.rx.recv().await.unwrap().unwrap();
        assert_eq!(message.body(), "\"still here\"");
        drop(channel);
        let ended = async {
            while peer.write_all(b"\"?\"\n").is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, ended).await.unwrap();
    });
}

/// It kept answers without end while it waited for room.
#[test]
fn a_blocking_end_reads_no_questions_while_its_answers_are_not_read() {
    const QUESTION: &[u8] = b"{\"cmd\":\"NODE_SOCKET_GET_COUNT\",\"key\":\"k\"}\n";
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let limits = Limits::default();
    let mut end = blocking::Channel::new(socket, Serialization::Json, limits, "a deaf one".into());
    let sending = std::thread::spawn(move || end.send(&"x".repeat(1_000_000)));
    // Far more than the kernel and 64 KiB of answers make room for.
    let questions = QUESTION.repeat(200_000);
    peer.set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let said = peer.write_all(&questions).map_err(|error| error.kind());
    assert_eq!(said, Err(std::io::ErrorKind::WouldBlock));
    // What it has to say is heard all the same, and the questions that came.
    drop(peer);
    let sent = sending.join().unwrap().unwrap_err();
    assert!(matches!(sent, SendError::Closed { .. }), "{sent}");
}

#[test]
fn what_travels_with_a_message_is_passed_on_with_it() {
    scene(async |_| {
        let sent = async |to: Serialization| {
            let (one, mut other) = Channel::pair(to).unwrap();
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = udp.local_addr().unwrap();
            let (handed, message) =
                tokio::join!(one.tx.send_with_handle("udp", udp), other.rx.recv());
            handed.unwrap();
            (message.unwrap().unwrap(), address)
        };
        for serialization in BOTH {
            let (message, address) = sent(serialization).await;
            let (one, mut other) = Channel::pair(serialization).unwrap();
            let (passed, came) = tokio::join!(one.tx.forward(message), other.rx.recv());
            passed.unwrap();
            let mut came = came.unwrap().unwrap();
            assert_eq!(came.decode::<String>().unwrap(), "udp");
            let Some(Handle::UdpSocket(udp)) = came.take_handle() else {
                panic!("it is lost");
            };
            assert_eq!(udp.local_addr().unwrap(), address);
            // It comes back with whatever goes wrong.
            let (message, _) = sent(serialization).await;
            drop(other);
            one.tx.cancel_signal().cancelled().await;
            let closed = one.tx.forward(message).await.unwrap_err();
            assert!(matches!(closed, SendError::Closed { .. }), "{closed}");
            assert!(closed.into_handle().is_some());
        }
        let (message, _) = sent(Serialization::Advanced).await;
        let (one, _other) = Channel::pair(Serialization::Json).unwrap();
        let none = one.tx.forward(message).await.unwrap_err();
        assert!(matches!(none, SendError::Encode { .. }), "{none}");
        assert!(none.into_handle().is_some());
    });
}

/// They were kept without end.
#[test]
fn what_is_passed_over_has_a_bound() {
    scene(async |_| {
        let (mut channel, mut peer) = bare();
        let writing = std::thread::spawn(move || {
            for n in 0..50_000 {
                if writeln!(peer, "{n}").is_err() {
                    return;
                }
            }
        });
        let is = |wanted: u32| move |m: &Message| m.decode::<u32>().is_ok_and(|n| n == wanted);
        let found = channel.rx.recv_where(is(7)).await.unwrap().unwrap();
        assert_eq!(found.body(), "7");
        for _ in 0..2 {
            let full = channel.rx.recv_where(is(100_000)).await.unwrap_err();
            assert!(matches!(full, ReceiveError::Full { .. }), "{full}");
        }
        let again = channel.rx.recv_where(is(8)).await.unwrap().unwrap();
        assert_eq!(again.body(), "8");
        // Nothing is lost, and the channel goes on.
        for n in (0..50_000).filter(|n| ![7, 8].contains(n)) {
            let next = channel.rx.recv().await.unwrap().unwrap();
            assert_eq!(next.decode::<u32>().unwrap(), n);
        }
        assert!(channel.rx.recv().await.unwrap().is_none());
        writing.join().unwrap();
    });
}

#[test]
fn threads_send_at_once_and_nothing_is_missed() {
    for serialization in BOTH {
        let oracle = Oracle::start();
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, mut other) = Channel::pair(serialization).unwrap();
            let echoing = tokio::spawn(async move {
                while let Some(mut message) = other.rx.recv().await.unwrap() {
                    if message.is_request() {
                        let n: u64 = message.decode().unwrap();
                        message.reply(&n).await.unwrap();
                    }
                }
            });
            // Asked from many tasks: nobody receives on this side but the owner.
            let Channel { tx, rx } = one;
            let mut asking = tokio::task::JoinSet::new();
            for task in 0..8_u64 {
                let tx = tx.clone();
                asking.spawn(async move {
                    for n in 0..500 {
                        let answer = tx.request(&(task * 1_000 + n), LONG).await.unwrap();
                        assert_eq!(answer.decode::<u64>().unwrap(), task * 1_000 + n);
                    }
                });
            }
            while let Some(done) = asking.join_next().await {
                done.unwrap();
            }
            drop((tx, rx));
            echoing.await.unwrap();
        });
        drop(runtime);
        oracle.check();
    }
}

/// An owner that had stopped reading, because its answers were left unread, went
/// to sleep without an ear at the socket when they were read at last.
#[test]
fn a_peer_that_reads_our_answers_late_is_heard_again() {
    scene(async |_| {
        const ASKS: &[u8] = b"{\"cmd\":\"NODE_SOCKET_GET_COUNT\",\"key\":\"k\"}\n";
        const PATIENCE: u32 = 1_000;
        let (channel, mut peer) = bare();
        let Channel { mut rx, .. } = channel;
        let rest = fill(&mut peer, ASKS).await;
        peer.set_nonblocking(true).unwrap();
        // Reads everything, and finishes what it had begun to say.
        let (mut buffer, mut idle) = (vec![0; 64 * 1024], 0);
        while idle < PATIENCE {
            idle = peer.read(&mut buffer).map_or(idle + 1, |_| 0);
            tokio::task::yield_now().await;
        }
        let last = [rest, b"\"after\"\n"].concat();
        assert_eq!(peer.write(&last).unwrap(), last.len());
        let heard = tokio::time::timeout(LONG, rx.recv()).await;
        let heard: String = heard.unwrap().unwrap().unwrap().decode().unwrap();
        assert_eq!(heard, "after");
    });
}
