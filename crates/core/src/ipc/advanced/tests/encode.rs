use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::golden::{describe, rows};
use super::*;

/// The hexadecimal digits of the message without its header.
fn encoded<T: Serialize>(value: T) -> String {
    let bytes = to_vec(&value, Dialect::Ipc).unwrap();
    assert!(bytes.starts_with(&[0xff, 0x0f]));
    bytes[2..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn recorded(name: &str) -> Vec<u8> {
    let row = rows()
        .into_iter()
        .find(|row| row.name == name && row.dialect() == Dialect::Ipc);
    row.unwrap().bytes()
}

#[test]
fn what_rust_writes_is_what_node_writes() {
    #[derive(Serialize)]
    struct Fields {
        a: u8,
        b: &'static str,
        c: (),
        d: Option<u8>,
        e: bool,
    }
    let fields = Fields {
        a: 1,
        b: "two",
        c: (),
        d: None,
        e: true,
    };
    assert_eq!(to_vec(&fields, Dialect::Ipc).unwrap(), recorded("object"));
    let keys = [("length", 'Ω', 64), ("length", 'x', 16384)];
    for (_, char, count) in keys {
        let text: String = std::iter::repeat_n(char, count).collect();
        let name = if char == 'x' {
            "string length 16384"
        } else {
            "string two-byte 64"
        };
        assert_eq!(to_vec(&text, Dialect::Ipc).unwrap(), recorded(name));
    }
    for (text, name) in [
        ("hé ÿ", "latin1"),
        ("Ā", "two-byte"),
        ("😀", "emoji"),
        ("", "empty"),
    ] {
        let name = format!("string {name}");
        assert_eq!(to_vec(text, Dialect::Ipc).unwrap(), recorded(&name));
    }
    for lead in 0..4 {
        let map = BTreeMap::from([("k".repeat(lead), "…")]);
        let name = format!("two-byte string behind {lead}");
        assert_eq!(
            to_vec(&map, Dialect::Ipc).unwrap(),
            recorded(&name),
            "{lead}"
        );
    }
}

#[test]
fn numbers_are_written_as_javascript_keeps_them() {
    let whole: [i64; 9] = [
        0,
        1,
        -1,
        63,
        -65,
        1 << 30,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        1 << 53,
    ];
    for number in whole {
        let name = format!("number {number}");
        assert_eq!(to_vec(&number, Dialect::Ipc).unwrap(), recorded(&name));
        #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
        let float = number as f64;
        assert_eq!(to_vec(&float, Dialect::Ipc).unwrap(), recorded(&name));
    }
    for (number, name) in [
        (-0.0, "-0"),
        (0.5, "0.5"),
        (f64::NAN, "NaN"),
        (1e300, "1e+300"),
    ] {
        assert_eq!(
            to_vec(&number, Dialect::Ipc).unwrap(),
            recorded(&format!("number {name}"))
        );
    }
    let big: [i128; 5] = [
        i128::from(i64::MAX),
        i128::from(i64::MIN),
        i128::from(u64::MAX),
        i128::from(u64::MAX) + 1,
        i128::MIN,
    ];
    for number in big {
        let mut bare = recorded(&format!("bigint in array {number}"));
        bare.drain(2..4);
        bare.truncate(bare.len() - 3);
        assert_eq!(to_vec(&number, Dialect::Ipc).unwrap(), bare, "{number}");
    }
    // 2^53 is a number, the next one is none.
    assert_eq!(encoded((1_i64 << 53) + 1), "5a100100000000002000");
    assert_eq!(encoded(-(1_i64 << 53)), "4e00000000000040c3");
    assert_eq!(encoded(u64::MAX), "5a10ffffffffffffffff");
}

struct Bytes(&'static [u8]);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn bytes_are_a_buffer_in_both_dialects() {
    assert_eq!(encoded(Bytes(b"xyz")), "5c000a0378797a");
    assert_eq!(
        to_vec(&Bytes(b"xyz"), Dialect::V8).unwrap(),
        hex("ff0f 5c 0a 03 78797a")
    );
}

#[derive(Serialize)]
enum Choice {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { a: u8 },
}

#[test]
fn enums_are_as_serde_json_has_them() {
    let all = [
        Choice::Unit,
        Choice::Newtype(1),
        Choice::Tuple(1, 2),
        Choice::Struct { a: 3 },
    ];
    let document = read_all(&to_vec(&all, Dialect::Ipc).unwrap(), Dialect::Ipc);
    let json: serde_json::Value =
        from_slice(&written(&document, Dialect::Ipc), Dialect::Ipc).unwrap();
    assert_eq!(json, serde_json::to_value(&all).unwrap());
    assert_eq!(
        encoded(Choice::Struct { a: 3 }),
        "6f22065374727563746f22016149067b017b01"
    );
}

#[test]
fn an_unknown_length_is_filled_in_later() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq((0..300).filter(|n| n % 2 == 0))
        }
    }
    let bytes = to_vec(&Endless, Dialect::Ipc).unwrap();
    let numbers: Vec<u16> = from_slice(&bytes, Dialect::Ipc).unwrap();
    assert_eq!(numbers, (0..300).step_by(2).collect::<Vec<u16>>());
}

#[test]
fn integer_keys_are_indices_and_others_names() {
    let keys = BTreeMap::from([(-1_i64, 'a'), (7, 'b'), (1 << 32, 'c')]);
    let document = read_all(&to_vec(&keys, Dialect::Ipc).unwrap(), Dialect::Ipc);
    let Some(Object::Plain(properties)) = document.view().object() else {
        panic!("{document:?}")
    };
    let keys: Vec<Key> = properties.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(
        keys,
        [
            Key::Name("-1".into()),
            Key::Index(7),
            Key::Name("4294967296".into())
        ]
    );
    assert_eq!(encoded(BTreeMap::from([("7", 1)])), "6f490e49027b01");
    assert_eq!(
        encoded(BTreeMap::from([(true, 1)])),
        "6f22047472756549027b01"
    );
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    let keys = BTreeMap::from([((1, 2), 3)]);
    let error = to_writer(&mut out, &keys, Dialect::Ipc).unwrap_err();
    assert_eq!(error, EncodeError::Key);
    assert_eq!(
        error.to_string(),
        "a key of the message's map is no string and no integer"
    );
    assert_eq!(out, b"before");

    struct Liar;
    impl Serialize for Liar {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq as _;
            let mut elements = serializer.serialize_seq(Some(3))?;
            elements.serialize_element(&1)?;
            elements.end()
        }
    }
    let error = to_writer(&mut out, &Liar, Dialect::Ipc).unwrap_err();
    assert_eq!(error, EncodeError::Length { said: 3, had: 1 });
    assert_eq!(out, b"before");
}

/// serde_json's values take both ways, so that a message can be forwarded from one to the other.
#[test]
fn json_values_go_both_ways() {
    let json = serde_json::json!({"z": [1, 2.5, -7, "é…", null, true, {"deep": [[]]}], "1": "one"});
    let bytes = to_vec(&json, Dialect::Ipc).unwrap();
    assert_eq!(
        from_slice::<serde_json::Value>(&bytes, Dialect::Ipc).unwrap(),
        json
    );
    assert_eq!(
        describe(&read_all(
            &to_vec(&json["1"], Dialect::V8).unwrap(),
            Dialect::V8
        )),
        "s006f006e0065"
    );
}
