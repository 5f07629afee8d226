use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession_core::ipc::{Serialization, frame};
use procession_sys::{PollFd, channel_pair, poll, receive_waiting, send};

use super::*;

/// Both ends of a relayed channel, and what the relay saw when it is over.
struct Relayed {
    parent: UnixStream,
    child: UnixStream,
    relay: JoinHandle<Vec<(Side, Seen)>>,
}

fn relayed(serialization: Serialization) -> Relayed {
    let (parent, upper) = channel_pair().unwrap();
    let (child, lower) = channel_pair().unwrap();
    let relay = thread::spawn(move || {
        let mut seen = Vec::new();
        carry(upper.as_fd(), lower.as_fd(), serialization, |side, what| {
            seen.push((side, what));
        })
        .unwrap();
        seen
    });
    Relayed {
        parent: parent.into(),
        child: child.into(),
        relay,
    }
}

fn read_all(mut socket: &UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    bytes
}

fn bodies(seen: &[(Side, Seen)], of: Side) -> Vec<String> {
    let message = |(side, seen): &(Side, Seen)| match seen {
        Seen::Message { body, recoded, .. } if *side == of => {
            assert_eq!(*recoded, Recoded::Same, "{body:?}");
            Some(String::from_utf8_lossy(body).into_owned())
        }
        Seen::Message { .. } | Seen::Malformed { .. } | Seen::Raw { .. } | Seen::End { .. } => None,
    };
    seen.iter().filter_map(message).collect()
}

#[test]
fn messages_go_both_ways_and_the_end_of_one_side_is_only_its_own() {
    let mut r = relayed(Serialization::Json);
    r.parent.write_all(b"{\"a\":1}\n[2,0.5]\n").unwrap();
    r.parent.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&r.child), b"{\"a\":1}\n[2,0.5]\n");
    r.child.write_all(b"\"after\"\n").unwrap();
    drop(r.child);
    assert_eq!(read_all(&r.parent), b"\"after\"\n");
    let seen = r.relay.join().unwrap();
    assert_eq!(bodies(&seen, Side::Parent), ["{\"a\":1}", "[2,0.5]"]);
    assert_eq!(bodies(&seen, Side::Child), ["\"after\""]);
}

#[test]
fn a_side_that_is_gone_ends_both_ways() {
    let mut r = relayed(Serialization::Json);
    r.child.write_all(b"1\n").unwrap();
    drop(r.child);
    assert_eq!(read_all(&r.parent), b"1\n");
    r.relay.join().unwrap();
}

/// Whether there is room to write within a time in which any relay would have made it.
fn writable(socket: &UnixStream) -> bool {
    let mut socket = [PollFd::writable(socket.as_fd())];
    poll(&mut socket, Some(Duration::from_millis(300))).unwrap() > 0
}

#[test]
fn a_reader_that_stops_holds_up_the_sender() {
    let mut r = relayed(Serialization::Json);
    r.parent.set_nonblocking(true).unwrap();
    let line = format!("\"{}\"\n", "x".repeat(1000));
    let mut sent = 0;
    // Twice the sockets' own room and some 128 KiB of the relay's.
    loop {
        match r.parent.write(line.as_bytes()) {
            Ok(written) => sent += written,
            Err(_) if writable(&r.parent) => {}
            Err(_) => break,
        }
        assert!(sent < 1_000_000, "{sent} bytes were taken");
    }
    let reader = thread::spawn(move || read_all(&r.child).len());
    drop(r.parent);
    assert!(reader.join().unwrap() >= sent);
    r.relay.join().unwrap();
}

/// Two descriptors, of which only the second message says that it has one, and
/// an ordinary message with one that nobody wants.
#[test]
fn a_descriptor_goes_with_its_message_and_others_do_not_go() {
    let r = relayed(Serialization::Json);
    let (one, _kept) = UnixStream::pair().unwrap();
    let handle = b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":7}\n";
    send(r.parent.as_fd(), b"\"plain\"\n", Some(one.as_fd())).unwrap();
    send(r.parent.as_fd(), handle, Some(one.as_fd())).unwrap();
    send(r.parent.as_fd(), b"8\n", None).unwrap();
    r.parent.shutdown(std::net::Shutdown::Write).unwrap();

    let mut buffer = [0; 256];
    let mut came: Vec<(Vec<u8>, usize)> = Vec::new();
    loop {
        let mut handles: Vec<OwnedFd> = Vec::new();
        let got = receive_waiting(r.child.as_fd(), &mut buffer, &mut handles).unwrap();
        if got.bytes == 0 {
            break;
        }
        came.push((buffer[..got.bytes].to_vec(), handles.len()));
    }
    let with: Vec<_> = came.iter().filter(|(_, handles)| *handles > 0).collect();
    assert_eq!(with.len(), 1, "{came:?}");
    // Linux ends a read after what carries a descriptor, not before it.
    assert!(with[0].0.ends_with(handle), "{came:?}");
    assert_eq!(with[0].1, 1);
    drop(r.child);
    let seen = r.relay.join().unwrap();
    let kinds: Vec<_> = seen
        .iter()
        .filter_map(|(_, seen)| match seen {
            Seen::Message { handle, .. } => Some(handle.as_deref()),
            Seen::Malformed { .. } | Seen::Raw { .. } | Seen::End { .. } => None,
        })
        .collect();
    assert_eq!(kinds, [None, Some("unix stream socket"), None]);
}

/// Whoever holds the other end of it would wait for ever.
#[test]
fn a_descriptor_that_no_message_wants_is_closed() {
    let r = relayed(Serialization::Json);
    let (mut kept, unwanted) = UnixStream::pair().unwrap();
    send(r.parent.as_fd(), b"1\n", Some(unwanted.as_fd())).unwrap();
    drop(unwanted);
    send(r.parent.as_fd(), b"2\n", None).unwrap();
    kept.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    drop((r.parent, r.child));
    r.relay.join().unwrap();
}

#[test]
fn what_is_no_message_is_passed_as_it_is_from_there_on() {
    let mut r = relayed(Serialization::Json);
    let wire = b"{\"fine\":true}\nnot json\n\x00\xff\nhalf";
    r.child.write_all(wire).unwrap();
    r.child.write_all(b" more").unwrap();
    drop(r.child);
    assert_eq!(read_all(&r.parent), [&wire[..], b" more"].concat());
    let seen = r.relay.join().unwrap();
    assert_eq!(bodies(&seen, Side::Child), ["{\"fine\":true}"]);
    let Seen::Malformed { bytes, problem } = &seen[1].1 else {
        panic!("{seen:?}");
    };
    assert_eq!(bytes, "not json\n");
    assert!(problem.contains("not"), "{problem}");
}

#[test]
fn half_a_message_at_the_end_is_passed_on() {
    for (serialization, wire) in [
        (Serialization::Json, &b"1\n{\"half\":"[..]),
        (
            Serialization::Advanced,
            b"\0\0\0\x03\xff\x0f0\0\0\0\x09\xff\x0f",
        ),
    ] {
        let mut r = relayed(serialization);
        r.child.write_all(wire).unwrap();
        drop(r.child);
        assert_eq!(read_all(&r.parent), wire);
        let seen = r.relay.join().unwrap();
        let ended = |(side, seen): &(Side, Seen)| {
            *side == Side::Child && matches!(seen, Seen::End { partial } if *partial > 0)
        };
        assert!(seen.iter().any(ended), "{seen:?}");
    }
}

/// A message that is larger than all buffers together, in many pieces.
#[test]
fn large_messages_in_both_serializations() {
    let text = "é\u{1f600}x".repeat(300_000);
    let json = serde_json::to_vec(&text).unwrap();
    let v8 =
        procession_core::ipc::advanced::to_vec(&text, procession_core::ipc::advanced::Dialect::Ipc)
            .unwrap();
    for (serialization, body) in [(Serialization::Json, json), (Serialization::Advanced, v8)] {
        let mut r = relayed(serialization);
        let mut wire = Vec::new();
        frame::write(serialization, &body, &mut wire).unwrap();
        let sent = wire.clone();
        let writer = thread::spawn(move || {
            r.parent.write_all(&sent).unwrap();
            r.parent
        });
        let child = r.child;
        let reader = thread::spawn(move || read_all(&child));
        drop(writer.join().unwrap());
        assert!(reader.join().unwrap() == wire);
        let seen = r.relay.join().unwrap();
        assert!(
            matches!(
                &seen[0].1,
                Seen::Message {
                    recoded: Recoded::Same,
                    ..
                }
            ),
            "{serialization:?}"
        );
    }
}

#[test]
fn what_node_writes_comes_out_as_it_went_in() {
    let same: &[&'static str] = &[
        "null",
        "0.30000000000000004",
        "1.7976931348623157e+308",
        "5e-324",
        "1e+21",
        "123456789012345680000",
        "1152921504606847000",
        "-9007199254740993",
        "[1,-1,0.1,1e-7]",
        r#"{"b":1,"a":{"2":[],"1":{}},"b ":"\"\\\b\f\n\r\t\u0001/"}"#,
        "\"é\u{2028}\u{1f600}\"",
    ];
    for text in same {
        let recoded = recode(Serialization::Json, &Bytes::from_static(text.as_bytes()));
        assert_eq!(recoded, Recoded::Same, "{text}");
    }
    let differ = [("1.0", "1"), (" 1", "1"), ("\"\\u0041\"", "\"A\"")];
    for (text, ours) in differ {
        let recoded = recode(Serialization::Json, &Bytes::from_static(text.as_bytes()));
        assert_eq!(
            recoded,
            Recoded::Differs(Bytes::from_static(ours.as_bytes()))
        );
    }
    let deep = "[".repeat(2000) + &"]".repeat(2000);
    assert!(matches!(
        recode(Serialization::Json, &deep.into()),
        Recoded::Impossible(_)
    ));
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// Sound and unsound messages, cut anywhere: every byte comes out as it went in.
#[test]
fn whatever_is_sent_arrives_byte_for_byte() {
    let mut dice = Dice(7);
    for round in 0..60 {
        let serialization = [Serialization::Json, Serialization::Advanced][round % 2];
        let mut wire = Vec::new();
        for _ in 0..dice.below(20) {
            let body: &[u8] = match (dice.below(12), serialization) {
                (0, _) => b"\x00\xffrubbish",
                (1, _) => b"",
                (2, Serialization::Json) => b"\x02{\"cmd\":\"NODE_HANDLE_ACK\"}",
                (3, Serialization::Json) => b" [ 1.0 ] ",
                (_, Serialization::Json) => b"{\"a\":[1,\"\xc3\xa9\"]}",
                (_, Serialization::Advanced) => b"\xff\x0fo\"\x01aI\x02{\x01",
            };
            frame::write(serialization, body, &mut wire).unwrap();
        }
        wire.truncate(wire.len() - usize::try_from(dice.below(3)).unwrap().min(wire.len()));
        let mut r = relayed(serialization);
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let cut = usize::try_from(dice.below(30) + 1).unwrap().min(rest.len());
            r.child.write_all(&rest[..cut]).unwrap();
            rest = &rest[cut..];
        }
        drop(r.child);
        assert_eq!(read_all(&r.parent), wire, "round {round}");
        r.relay.join().unwrap();
    }
}

/// As a sender that does not wait for each confirmation does it.
#[test]
fn many_descriptors_in_a_row_stay_with_their_messages() {
    const MANY: usize = 300;
    let r = relayed(Serialization::Json);
    let receiver = r.child;
    let reader = thread::spawn(move || {
        let mut inbound = procession_core::ipc::inbound::Inbound::<OwnedFd>::new(
            Serialization::Json,
            &procession_core::ipc::Limits::default(),
        );
        let mut buffer = [0; 4096];
        let mut came = Vec::new();
        while came.len() < MANY {
            let mut handles = Vec::new();
            let got = receive_waiting(receiver.as_fd(), &mut buffer, &mut handles).unwrap();
            assert!(got.bytes > 0 && !got.lost_handles);
            inbound.received(&buffer[..got.bytes], handles.into_iter().map(Some));
            while let Some(step) = inbound.next_step().unwrap() {
                if let procession_core::ipc::inbound::Step::Message(body, .., attached) = step {
                    let (_, handle) = attached.expect("every message has one");
                    let mut said = [0; 8];
                    let mut socket = UnixStream::from(handle);
                    socket.read_exact(&mut said).unwrap();
                    came.push((body, u64::from_ne_bytes(said)));
                }
            }
        }
        came
    });
    for number in 0..MANY {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&(number as u64).to_ne_bytes()).unwrap();
        let text =
            format!("{{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":{number}}}\n");
        let mut handle = Some(theirs.as_fd());
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match send(r.parent.as_fd(), rest, handle) {
                Ok(sent) => {
                    rest = &rest[sent..];
                    handle = None;
                }
                Err(_) => drop(writable(&r.parent)),
            }
        }
    }
    let came = reader.join().unwrap();
    for (number, (body, said)) in came.iter().enumerate() {
        assert_eq!(
            (&body[..], *said),
            (number.to_string().as_bytes(), number as u64)
        );
    }
    drop(r.parent);
    r.relay.join().unwrap();
}
