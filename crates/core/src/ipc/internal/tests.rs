use proptest::prelude::*;

use super::*;
use crate::ipc::advanced::{self, Dialect, Document, Object};
use crate::ipc::{Shape, json as json_format};

const BOTH: [Serialization; 2] = [Serialization::Json, Serialization::Advanced];

fn body(serialization: Serialization, message: &Internal) -> Bytes {
    let mut out = b"before".to_vec();
    encode(serialization, message, &mut out).unwrap();
    Bytes::from(out).slice(6..)
}

fn read(text: &'static str) -> Result<Internal, BadMessage> {
    parse(Serialization::Json, &Bytes::from_static(text.as_bytes()))
}

fn check(serialization: Serialization, frame: &[u8]) -> Shape {
    match serialization {
        Serialization::Json => json_format::check(frame).unwrap(),
        Serialization::Advanced => advanced::check(frame, Dialect::Ipc).unwrap(),
    }
}

/// A message that says the same in both.
fn text(serialization: Serialization, text: &str) -> Bytes {
    let mut out = Vec::new();
    match serialization {
        Serialization::Json => json_format::encode(text, &mut out).unwrap(),
        Serialization::Advanced => {
            let document = Document::new(text);
            advanced::write(&document, Dialect::Ipc, &Default::default(), &mut out).unwrap();
        }
    }
    out.into()
}

fn all_of(serialization: Serialization) -> Vec<Internal> {
    let message = text(serialization, "sock é");
    let key = || "4:127.0.0.1:0".to_owned();
    let mut all = vec![
        Internal::Ack,
        Internal::Nack,
        Internal::SocketNotifyClose { key: key() },
        Internal::SocketAllClosed { key: key() },
        Internal::SocketGetCount { key: key() },
        Internal::SocketCount {
            key: key(),
            count: 3,
        },
        Internal::Procession(Procession::Request {
            id: 7,
            message: message.clone(),
        }),
        Internal::Procession(Procession::Reply {
            id: 1 << 53,
            message: message.clone(),
        }),
        Internal::Procession(Procession::Refuse {
            id: 0,
            reason: "no \"listener\"\n".to_owned(),
        }),
        Internal::Procession(Procession::Send {
            id: 7,
            message: message.clone(),
        }),
        Internal::Procession(Procession::Ack {
            id: u64::from(u32::MAX),
        }),
        Internal::Unknown {
            cmd: "NODE_DEBUG_ENABLED".to_owned(),
        },
    ];
    let kinds = HandleKind::NAMED.map(|(kind, _)| kind);
    let kinds = kinds
        .into_iter()
        .chain([HandleKind::Unknown("tls.Socket".to_owned())]);
    all.extend(kinds.map(|kind| {
        let with_key = kind == HandleKind::Socket;
        let with_type = kind == HandleKind::DgramSocket;
        Internal::Handle(HandOver {
            kind,
            message: with_key.then(|| message.clone()),
            key: with_key.then(key),
            dgram_type: with_type.then_some(DgramType::Udp6),
        })
    }));
    all
}

#[test]
fn every_message_comes_back_as_it_was() {
    for serialization in BOTH {
        for message in all_of(serialization) {
            let frame = body(serialization, &message);
            let again = parse(serialization, &frame);
            assert_eq!(again.as_ref(), Ok(&message), "{}", frame.escape_ascii());
            let shape = check(serialization, &frame);
            assert!(shape.internal, "{message:?}");
            assert!(serialization == Serialization::Advanced || !frame.contains(&b'\n'));
        }
    }
}

/// As Node 20 and 26 sent them; written again they are the same bytes.
#[test]
fn what_node_sends_is_understood_and_written_alike() {
    let sent = [
        r#"{"cmd":"NODE_HANDLE","type":"net.Server","msg":{"x":"server"}}"#,
        r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"sock","key":"4:127.0.0.1:0"}"#,
        r#"{"cmd":"NODE_HANDLE","type":"dgram.Socket","msg":[1,2.50,"\ud800"],"dgramType":"udp4"}"#,
        r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"127.0.0.1:39871:4:undefined","seq":1}}"#,
        r#"{"cmd":"NODE_HANDLE_ACK"}"#,
        r#"{"cmd":"NODE_HANDLE_NACK"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":39871,"addressType":4,"flags":0,"backlog":0,"seq":1}"#,
        r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":0}"#,
        r#"{"cmd":"NODE_PROCESSION","kind":"request","id":7,"msg":{"a":[1]}}"#,
    ];
    for sent in sent {
        let message = read(sent).unwrap();
        let again = body(Serialization::Json, &message);
        assert_eq!(again, sent.as_bytes());
    }
    let ack = b"\xff\x0fo\"\x03cmd\"\x0fNODE_HANDLE_ACK{\x01";
    let frame = Bytes::from_static(ack);
    assert_eq!(parse(Serialization::Advanced, &frame), Ok(Internal::Ack));
    assert_eq!(body(Serialization::Advanced, &Internal::Ack), frame);
    let handle = b"\xff\x0fo\"\x03cmd\"\x0bNODE_HANDLE\"\x04type\"\nnet.Server\"\x03msgo\"\x01xI\x02{\x01{\x03";
    let frame = Bytes::from_static(handle);
    let message = parse(Serialization::Advanced, &frame).unwrap();
    let Internal::Handle(HandOver {
        message: Some(inner),
        ..
    }) = &message
    else {
        panic!("{message:?}");
    };
    assert_eq!(inner, &b"\xff\x0fo\"\x01xI\x02{\x01"[..]);
    assert_eq!(body(Serialization::Advanced, &message), frame);
}

#[test]
fn a_message_inside_is_a_part_of_its_frame() {
    let frame = Bytes::from_static(br#"{"msg": [1, 2] ,"type":"net.Server","cmd":"NODE_HANDLE"}"#);
    let Ok(Internal::Handle(HandOver {
        message: Some(inner),
        ..
    })) = parse(Serialization::Json, &frame)
    else {
        panic!("a handle");
    };
    assert_eq!(inner, "[1, 2]");
    assert_eq!(inner.as_ptr(), frame[8..].as_ptr());
}

#[test]
fn escapes_repetitions_and_null_are_as_in_javascript() {
    let message = read(
        r#"{"cmd":1,"t\u0079pe":"net.Server","type":"net\u002eSocket","key":null,"dgramType":5,"msg":null,"cmd":"NODE_HANDLE"}"#,
    );
    let wanted = HandOver {
        kind: HandleKind::Socket,
        message: Some(Bytes::from_static(b"null")),
        key: None,
        dgram_type: None,
    };
    assert_eq!(message, Ok(Internal::Handle(wanted)));
    let message = read(r#"{"cmd":"NODE_PROCESSION","kind":"send","id":1}"#);
    let wanted = Procession::Send {
        id: 1,
        message: Bytes::from_static(b"null"),
    };
    assert_eq!(message, Ok(Internal::Procession(wanted)), "undefined");
}

#[test]
fn what_is_missing_is_named() {
    let refused = [
        (
            r#"{"cmd":"NODE_HANDLE","type":null,"msg":1}"#,
            "the type of a handle",
            28,
        ),
        (r#"{"cmd":"NODE_SOCKET_GET_COUNT"}"#, "a key", 0),
        (
            r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":-1}"#,
            "a count",
            45,
        ),
        (
            r#"{"cmd":"NODE_PROCESSION","kind":"ack","id":"7"}"#,
            "a number",
            43,
        ),
        (r#"{"cmd":7}"#, "a command", 7),
        (r#"["NODE_X"]"#, "a command", 0),
        (r#"{"cmd":"NODE_X""#, "`,` or `}`", 15),
    ];
    for (text, wanted, offset) in refused {
        let error = read(text).unwrap_err();
        assert_eq!((error.wanted, error.offset), (wanted, offset), "{text}");
    }
    let later = read(r#"{"cmd":"NODE_PROCESSION","kind":"stream","id":1}"#);
    assert_eq!(
        later,
        Ok(Internal::Unknown {
            cmd: PROCESSION.to_owned()
        })
    );
}

#[test]
fn a_message_that_would_break_the_frame_is_refused() {
    let breaking: [(Serialization, &'static [u8]); 5] = [
        (Serialization::Json, b"[1,\n2]"),
        (Serialization::Json, b""),
        (Serialization::Advanced, b""),
        (Serialization::Advanced, b"\xff\x0fo"),
        (Serialization::Advanced, b"[1]"),
    ];
    for (serialization, message) in breaking {
        let message = Bytes::from_static(message);
        let message = Internal::Procession(Procession::Reply { id: 1, message });
        let mut out = b"before".to_vec();
        let error = encode(serialization, &message, &mut out).unwrap_err();
        assert!(matches!(error, EncodeError::Malformed(_)), "{error}");
        assert_eq!(out, b"before");
    }
}

/// V8 numbers objects through a whole message, so references shift when a
/// message is put into another; a cycle shows it.
#[test]
fn cycles_survive_being_put_inside_and_taken_out() {
    let mut document = Document::default();
    let list = document.add_array([1, 2]);
    let root = document.add_object([("list", list.clone()), ("same", list)]);
    let id = root.as_object().unwrap();
    if let Some(Object::Plain(properties)) = document.object_mut(id) {
        properties.insert("self", root.clone());
    }
    document.set_root(root);
    let mut message = Vec::new();
    advanced::write(&document, Dialect::Ipc, &Default::default(), &mut message).unwrap();
    let message = Bytes::from(message);
    let sent = Internal::Procession(Procession::Request { id: 1, message });
    let frame = body(Serialization::Advanced, &sent);
    assert_eq!(parse(Serialization::Advanced, &frame), Ok(sent));
}

/// A native object that is inside itself must not be looked into for ever.
#[test]
fn a_native_object_inside_itself_is_no_message() {
    let frame = Bytes::from_static(b"\xff\x0f\\\x01^\x00");
    if let Ok(message) = parse(Serialization::Advanced, &frame) {
        panic!("{message:?}");
    }
}

proptest! {
    #[test]
    fn any_message_goes_inside(value in any::<String>(), key in any::<String>(), id in 0_u64..1 << 53) {
        for serialization in BOTH {
            let message = text(serialization, &value);
            let sent = Internal::Procession(Procession::Send { id, message: message.clone() });
            prop_assert_eq!(parse(serialization, &body(serialization, &sent)), Ok(sent));
            let sent = Internal::Handle(HandOver {
                kind: HandleKind::from_name(&key),
                message: Some(message),
                key: Some(key.clone()),
                dgram_type: None,
            });
            prop_assert_eq!(parse(serialization, &body(serialization, &sent)), Ok(sent));
        }
    }

    /// One byte of a sound message is another, or it is cut: no panic, and
    /// what is still understood can be written and read again.
    #[test]
    fn a_spoilt_message_is_an_error_or_another_message(
        pick in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in prop::option::of(any::<u8>()),
        serialization in prop::sample::select(&BOTH),
    ) {
        let all = all_of(serialization);
        let mut frame = body(serialization, &all[pick.index(all.len())]).to_vec();
        let place = place.index(frame.len());
        match byte {
            Some(byte) => frame[place] = byte,
            None => frame.truncate(place),
        }
        if let Ok(message) = parse(serialization, &frame.into()) {
            let again = body(serialization, &message);
            prop_assert_eq!(parse(serialization, &again), Ok(message));
        }
    }
}
