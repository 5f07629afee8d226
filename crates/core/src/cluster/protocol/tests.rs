use std::net::SocketAddr;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ipc::Serialization::{self, Advanced, Json};
use crate::ipc::internal::{self, Internal};

const BOTH: [Serialization; 2] = [Json, Advanced];

fn from_worker(body: &str) -> FromWorker {
    decode_from_worker(Json, body.as_bytes()).unwrap()
}

fn from_primary(body: &str) -> FromPrimary {
    decode_from_primary(Json, body.as_bytes()).unwrap()
}

fn to_worker(serialization: Serialization, seq: u64, act: &ToWorker) -> Vec<u8> {
    let mut body = Vec::new();
    encode_to_worker(serialization, seq, act, &mut body);
    body
}

fn to_primary(serialization: Serialization, seq: u64, act: &WorkerAct) -> Vec<u8> {
    let mut body = Vec::new();
    encode_to_primary(serialization, seq, act, &mut body);
    body
}

fn query() -> Query {
    Query {
        address: Some("127.0.0.1".into()),
        port: Some(39871),
        address_type: Some(AddressType::V4),
        ..Query::default()
    }
}

fn listener(errno: i32, sockname: Option<&str>) -> ToWorker {
    ToWorker::Listener(Box::new(Listener {
        ack: 1,
        key: "127.0.0.1:39871:4:undefined".into(),
        errno,
        sockname: sockname.map(|at| at.parse().unwrap()),
        data: None,
    }))
}

/// What Node 26 and its worker said, byte for byte.
fn recorded_of_worker() -> Vec<(&'static str, u64, WorkerAct)> {
    vec![
        (
            r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#,
            0,
            WorkerAct::Online,
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":39871,"addressType":4,"flags":0,"backlog":0,"seq":1}"#,
            1,
            WorkerAct::QueryServer(query().into()),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":"127.0.0.1","port":39871,"addressType":4,"flags":0,"backlog":0,"seq":2}"#,
            2,
            WorkerAct::Listening(query().into()),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":3}"#,
            3,
            WorkerAct::Answer {
                ack: 1,
                accepted: Some(true),
            },
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"close","key":"127.0.0.1:39871:4:undefined","seq":4}"#,
            4,
            WorkerAct::Close {
                key: "127.0.0.1:39871:4:undefined".into(),
            },
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":5}"#,
            5,
            WorkerAct::ExitedAfterDisconnect,
        ),
    ]
}

fn recorded_of_primary() -> Vec<(&'static str, u64, ToWorker)> {
    vec![
        (
            r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"127.0.0.1:39871:4:undefined","ack":1,"data":null,"sockname":{"address":"127.0.0.1","family":"IPv4","port":39871},"seq":0}"#,
            0,
            listener(0, Some("127.0.0.1:39871")),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","errno":0,"key":"127.0.0.1:39871:4:undefined","ack":1,"data":null,"seq":0}"#,
            0,
            listener(0, None),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","errno":-98,"key":"127.0.0.1:39871:4:undefined","ack":1,"data":null,"seq":0}"#,
            0,
            listener(-98, None),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"newconn","key":"127.0.0.1:39871:4:undefined","seq":1}"#,
            1,
            ToWorker::NewConn {
                key: "127.0.0.1:39871:4:undefined".into(),
            },
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":2}"#,
            2,
            ToWorker::Disconnect,
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":5,"seq":3}"#,
            3,
            ToWorker::ExitAllowed { ack: 5 },
        ),
    ]
}

#[test]
fn the_recorded_bytes_are_read_and_written() {
    for (body, seq, act) in recorded_of_worker() {
        assert_eq!(
            from_worker(body),
            FromWorker {
                seq,
                act: act.clone()
            }
        );
        assert_eq!(
            String::from_utf8(to_primary(Json, seq, &act)).unwrap(),
            body
        );
    }
    for (body, seq, act) in recorded_of_primary() {
        assert_eq!(
            from_primary(body),
            FromPrimary {
                seq,
                act: act.clone()
            }
        );
        assert_eq!(String::from_utf8(to_worker(Json, seq, &act)).unwrap(), body);
    }
}

/// The commonest message has a way of its own, which has to read what the other would.
#[test]
fn an_answer_is_read_alike_however_it_is_written() {
    for ack in ["0", "7", "10", "999999999999999", "1000000000000000"] {
        for accepted in ["true", "false", "null"] {
            for more in ["", r#","x":1"#] {
                let plain = format!(
                    r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":{accepted},"seq":{ack}{more}}}"#
                );
                let spaced = plain.replacen('{', "{ ", 1);
                assert_eq!(from_worker(&plain), from_worker(&spaced), "{plain}");
            }
        }
    }
    let broken = br#"{"cmd":"NODE_CLUSTER","ack":07,"accepted":true,"seq":1}"#;
    assert!(decode_from_worker(Json, broken).is_err());
}

#[test]
fn the_same_words_go_through_the_advanced_format() {
    for (_, seq, act) in recorded_of_worker() {
        let said = decode_from_worker(Advanced, &to_primary(Advanced, seq, &act));
        assert_eq!(said, Ok(FromWorker { seq, act }));
    }
    for (_, seq, act) in recorded_of_primary() {
        let said = decode_from_primary(Advanced, &to_worker(Advanced, seq, &act));
        assert_eq!(said, Ok(FromPrimary { seq, act }));
    }
}

#[test]
fn a_channel_takes_them_for_internal_messages() {
    for serialization in BOTH {
        let key = Key::from("k");
        let body = Bytes::from(to_worker(serialization, 7, &ToWorker::NewConn { key }));
        let shape = crate::ipc::check(serialization, &body).unwrap();
        assert!(shape.internal);
        let parsed = internal::parse(serialization, &body);
        assert_eq!(parsed, Ok(Internal::Cluster(body)));
    }
}

/// `fd: undefined` and `flags: undefined`, as Node's advanced workers say it.
#[test]
fn undefined_is_as_good_as_missing() {
    let mut document = advanced::Document::default();
    let undefined = || advanced::Value::Undefined;
    let root = document.add_object([
        ("cmd", "NODE_CLUSTER".into()),
        ("act", "queryServer".into()),
        ("data", advanced::Value::Null),
        ("port", 8080.into()),
        ("addressType", 4.into()),
        ("fd", undefined()),
        ("flags", undefined()),
        ("backlog", false.into()),
        ("ack", undefined()),
        ("seq", 1.0.into()),
    ]);
    document.set_root(root);
    let mut body = Vec::new();
    let options = advanced::WriteOptions::default();
    advanced::write(&document, advanced::Dialect::Ipc, &options, &mut body).unwrap();
    let wanted = Query {
        address: None,
        port: Some(8080),
        ..query()
    };
    let said = decode_from_worker(Advanced, &body).unwrap();
    assert_eq!(said.act, WorkerAct::QueryServer(wanted.into()));
}

#[test]
fn what_programs_pass_to_listen_is_taken_as_it_comes() {
    for (backlog, wanted) in [
        ("0", None),
        ("-1", None),
        ("false", None),
        ("null", None),
        ("\"64\"", Some(64)),
        ("12.5", Some(12)),
        ("1e300", Some(u32::MAX)),
        ("128", Some(128)),
    ] {
        let said = from_worker(&format!(
            r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","address":"/a","port":-1,"addressType":-1,"backlog":{backlog},"readableAll":1,"seq":1}}"#
        ));
        let WorkerAct::QueryServer(query) = said.act else {
            panic!("{said:?}");
        };
        assert_eq!(query.backlog, wanted, "{backlog}");
        assert!(query.readable_all && !query.writable_all);
    }
}

#[test]
fn every_kind_of_listener_goes_there_and_back() {
    let udp = Query {
        address_type: Some(AddressType::Udp6),
        flags: 5,
        ..query()
    };
    let by_fd = Query {
        fd: Some(7),
        backlog: Some(9),
        ..Query::default()
    };
    let path = Query {
        index: 2,
        address: Some("/tmp/\u{e9}\"\n".into()),
        port: Some(-1),
        address_type: Some(AddressType::Path),
        readable_all: true,
        writable_all: true,
        data: Some(json!({ "ticketKeys": "00ff" })),
        ..Query::default()
    };
    assert_eq!(udp.key(), "127.0.0.1:39871:udp6:-1");
    assert_eq!(by_fd.key(), "null:null:null:7");
    let any = Query {
        index: 3,
        address: None,
        port: Some(0),
        ..query()
    };
    assert_eq!(any.key(), "null:0:4:undefined:3");
    for query in [udp, by_fd, path, any] {
        let act = WorkerAct::QueryServer(query.into());
        for serialization in BOTH {
            let said = decode_from_worker(serialization, &to_primary(serialization, 1, &act));
            assert_eq!(said.unwrap().act, act);
        }
    }
}

#[test]
fn a_hostile_worker_gets_a_typed_error() {
    let bad = |body: &str| decode_from_worker(Json, body.as_bytes()).unwrap_err();
    let missing = |member| BadClusterMessage::Missing { member };
    assert_eq!(bad(r#"{"act":"queryServer"}"#), missing("seq"));
    assert_eq!(bad(r#"{"act":"exitedAfterDisconnect"}"#), missing("seq"));
    assert_eq!(bad(r#"{"seq":1}"#), missing("act"));
    assert_eq!(bad(r#"{"seq":1,"act":"close"}"#), missing("key"));
    assert_eq!(
        bad(r#"{"seq":1,"act":"queryServer","port":65536}"#),
        BadClusterMessage::OutOfRange {
            member: "port",
            value: 65536
        }
    );
    for body in [
        r#"{"seq":-1,"act":"online"}"#,
        r#"{"seq":1,"act":7}"#,
        r#"{"seq":1,"act":"close","key":{}}"#,
        r#"{"seq":1,"act":"queryServer","addressType":5}"#,
        r#"{"seq":1,"act":"queryServer","address":9}"#,
        r#"{"seq":1,"act":"queryServer","fd":"x"}"#,
        r#"{"seq":1,"act":"queryServer","flags":-1}"#,
        r#"{"seq":1,"act":"queryServer","index":4294967296}"#,
        r#"{"seq":1,"ack":1,"accepted":"yes"}"#,
        r#"[1]"#,
        r#"{"seq":1"#,
    ] {
        assert!(matches!(bad(body), BadClusterMessage::Json(_)), "{body}");
    }
    let deep = format!(
        r#"{{"seq":1,"act":"queryServer","data":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(matches!(
        bad(&deep),
        BadClusterMessage::Json(json::DecodeError::TooDeep { .. })
    ));
}

#[test]
fn lone_surrogates_in_a_worker_s_address_are_no_end() {
    let said = from_worker(r#"{"seq":1,"act":"queryServer","address":"/\ud800"}"#);
    let WorkerAct::QueryServer(query) = said.act else {
        panic!("{said:?}");
    };
    assert_eq!(query.address.as_deref(), Some("/\u{fffd}"));
}

#[test]
fn what_is_new_is_unknown() {
    let act = "resume".to_owned();
    let said = from_worker(r#"{"seq":1,"act":"resume"}"#);
    assert_eq!(said.act, WorkerAct::Unknown { act: act.clone() });
    let said = from_primary(r#"{"seq":1,"act":"resume","errno":null}"#);
    assert_eq!(said.act, ToWorker::Unknown { act });
}

#[test]
fn a_sockname_without_a_place_is_none() {
    for sockname in ["{}", "null", r#"{"address":"x","port":1}"#] {
        let said = from_primary(&format!(
            r#"{{"seq":0,"ack":1,"key":"k","sockname":{sockname}}}"#
        ));
        let ToWorker::Listener(listener) = said.act else {
            panic!("{said:?}");
        };
        assert_eq!(listener.sockname, None);
    }
    let said = from_primary(
        r#"{"seq":0,"ack":1,"key":"k","sockname":{"address":"fe80::1%eth0","port":80}}"#,
    );
    let ToWorker::Listener(listener) = said.act else {
        panic!("{said:?}");
    };
    let wanted: SocketAddr = "[fe80::1]:80".parse().unwrap();
    assert_eq!(listener.sockname, Some(wanted));
}

proptest! {
    /// Whatever comes is words or an error.
    #[test]
    fn any_bytes_are_no_panic(bytes: Vec<u8>) {
        for serialization in BOTH {
            let _ = decode_from_worker(serialization, &bytes);
            let _ = decode_from_primary(serialization, &bytes);
        }
    }

    /// One byte of a sound message is another, or it is cut: what is still
    /// understood can be said and understood again.
    #[test]
    fn a_spoilt_message_is_an_error_or_another(
        pick in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in prop::option::of(any::<u8>()),
        serialization in prop::sample::select(&BOTH),
    ) {
        let spoil = |mut body: Vec<u8>| {
            let place = place.index(body.len());
            match byte {
                Some(byte) => body[place] = byte,
                None => body.truncate(place),
            }
            body
        };
        let (_, seq, act) = recorded_of_worker().swap_remove(pick.index(6));
        let body = spoil(to_primary(serialization, seq, &act));
        if let Ok(said) = decode_from_worker(serialization, &body) {
            let again = to_primary(serialization, said.seq, &said.act);
            prop_assert_eq!(decode_from_worker(serialization, &again), Ok(said));
        }
        let (_, seq, act) = recorded_of_primary().swap_remove(pick.index(6));
        let body = spoil(to_worker(serialization, seq, &act));
        if let Ok(said) = decode_from_primary(serialization, &body) {
            let again = to_worker(serialization, said.seq, &said.act);
            prop_assert_eq!(decode_from_primary(serialization, &again), Ok(said));
        }
    }
}

/// As Bun 1.4 says it: nobody answers, so it needs no number.
#[test]
fn what_nobody_answers_needs_no_number() {
    let body = br#"{"cmd":"NODE_CLUSTER","act":"listening","port":9899,"data":null,"address":"127.0.0.1","addressType":4}"#;
    let said = decode_from_worker(Json, body).unwrap();
    assert_eq!(said.seq, 0);
    assert!(matches!(said.act, WorkerAct::Listening(query) if query.port == Some(9899)));
}
