use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, de};

use super::*;

fn decoded<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    from_slice(bytes, Dialect::Ipc)
}

fn from_hex<T: de::DeserializeOwned>(digits: &str) -> Result<T, DecodeError> {
    decoded(&hex(digits))
}

fn message(root: impl FnOnce(&mut Document) -> Value) -> Vec<u8> {
    let mut document = Document::default();
    let root = root(&mut document);
    document.set_root(root);
    written(&document, Dialect::Ipc)
}

/// Whatever bytes serde gives: borrowed, owned, or a sequence.
#[derive(Debug, PartialEq)]
struct Bytes<'a>(&'a [u8]);

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = &'de [u8];

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<&'de [u8], E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_bytes(Visitor).map(Self)
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Job {
    id: u32,
    name: String,
    #[serde(default)]
    note: Option<String>,
    parts: Vec<f32>,
}

#[test]
fn a_struct_is_read_from_an_object_or_a_map() {
    let expected = Job {
        id: 7,
        name: "é".into(),
        note: None,
        parts: vec![1.0, 2.5],
    };
    let object = message(|document| {
        let parts = document.add_array([Value::Int(1), Value::Number(2.5)]);
        document.add_object([
            ("id", Value::Number(7.0)),
            ("name", "é".into()),
            ("note", Value::Undefined),
            ("more", Value::Null),
            ("parts", parts),
        ])
    });
    assert_eq!(decoded::<Job>(&object), Ok(expected));
    let map = message(|document| {
        let parts = document.add_array([Value::Int(1), Value::Number(2.5)]);
        let entries = vec![
            ("id".into(), 7.into()),
            ("name".into(), "é".into()),
            ("note".into(), "n".into()),
            ("parts".into(), parts),
        ];
        document.add(Object::Map(entries)).into()
    });
    assert_eq!(decoded::<Job>(&map).unwrap().note.as_deref(), Some("n"));
}

#[test]
fn numbers_fit_or_say_why_not() {
    assert_eq!(from_hex("ff0f 4e 0000000000000840"), Ok(3_u8));
    assert_eq!(from_hex("ff0f 49 06"), Ok(3.0_f64));
    assert_eq!(
        from_hex::<f64>("ff0f 4e 0000000000000080").map(f64::to_bits),
        Ok((-0.0_f64).to_bits())
    );
    assert_eq!(from_hex("ff0f 5a 11 0100000000000000"), Ok(-1_i8));
    assert_eq!(from_hex("ff0f 5a 10 ffffffffffffffff"), Ok(u64::MAX));
    assert_eq!(
        from_hex("ff0f 5a 20 ffffffffffffffffffffffffffffffff"),
        Ok(u128::MAX)
    );
    assert_eq!(
        from_hex("ff0f 5a 21 00000000000000000000000000000080"),
        Ok(i128::MIN)
    );
    let error = from_hex::<u8>("ff0f 49 8004").unwrap_err();
    assert_eq!(
        error.to_string(),
        "message: invalid value: integer `256`, expected u8"
    );
    let error = from_hex::<u128>("ff0f 5a 30 000000000000000000000000000000000100000000000000");
    assert_eq!(
        error.unwrap_err().to_string(),
        "message: invalid value: a bigint of more than 128 bits, expected u128"
    );
    assert!(from_hex::<u8>("ff0f 4e 000000000000f83f").is_err(), "1.5");
}

#[test]
fn an_error_tells_the_way_to_it() {
    let bytes = message(|document| {
        let job = document.add_object([("id", Value::from("x"))]);
        let list = document.add_array([Value::Null, job]);
        document.add_object([("jobs", list)])
    });
    let error = decoded::<BTreeMap<String, Vec<Option<Job>>>>(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "message.jobs[1].id: invalid type: string \"x\", expected u32"
    );
    assert_eq!(error.path, ".jobs[1].id");
    let cut = decoded::<BTreeMap<String, Vec<Option<Job>>>>(&bytes[..18]).unwrap_err();
    assert!(matches!(cut.problem, DecodeProblem::Bad(bad) if bad.offset == 18));
}

#[test]
fn text_is_borrowed_if_it_is_ascii() {
    assert_eq!(decoded::<&str>(&hex("ff0f 22 03 616263")), Ok("abc"));
    assert_eq!(from_hex::<String>("ff0f 22 02 61e9"), Ok("aé".into()));
    assert_eq!(
        from_hex::<String>("ff0f 63 04 00d8 6100"),
        Ok("\u{fffd}a".into())
    );
    assert_eq!(from_hex::<String>("ff0f 53 03 61c3a9"), Ok("aé".into()));
    assert_eq!(from_hex::<char>("ff0f 22 01 e9"), Ok('é'));
    assert_eq!(
        from_hex::<String>("ff0f 52 22 01 61 03"),
        Ok("/a/gi".into())
    );
}

#[test]
fn memory_is_bytes_or_numbers_as_the_type_likes() {
    let buffer = hex("ff0f 5c 00 0a 03 010203");
    assert_eq!(decoded(&buffer), Ok(Bytes(&[1, 2, 3])));
    assert_eq!(decoded(&buffer), Ok(vec![1_u8, 2, 3]));
    assert_eq!(decoded(&buffer), Ok(serde_json::json!([1, 2, 3])));
    assert_eq!(decoded(&hex("ff0f 42 02 0102")), Ok(Bytes(&[1, 2])));
    assert_eq!(
        from_hex("ff0f 5c 00 03 04 ffff 0100"),
        Ok(vec![Some(-1_i16), Some(1)])
    );
    assert_eq!(
        from_hex("ff0f 5c 00 0c 08 ffffffffffffffff"),
        Ok(vec![u64::MAX])
    );
    // 1, -2, the greatest, the least above 0, infinity
    let halves = "ff0f 5c 00 0d 0a 003c 00c0 ff7b 0100 007c";
    let expected = vec![1.0, -2.0, 65_504.0, 2.0_f64.powi(-24), f64::INFINITY];
    assert_eq!(from_hex(halves), Ok(expected));
    let error = from_hex::<(u8, u8)>("ff0f 5c 00 0a 03 010203").unwrap_err();
    assert_eq!(
        error.to_string(),
        "message: more elements than the type has room for"
    );
}

#[test]
fn views_of_one_buffer_are_each_what_they_show() {
    // [buffer, Uint8Array(buffer, 1, 2), buffer, the view again]
    let bytes = hex("ff0f 41 04 42 04 01020304 5e 01 56 42 01 02 00 5e 01 5e 02 24 00 04");
    let expected = vec![
        vec![1_u8, 2, 3, 4],
        vec![2, 3],
        vec![1, 2, 3, 4],
        vec![2, 3],
    ];
    assert_eq!(from_slice(&bytes, Dialect::V8), Ok(expected));
    // [Uint8Array with its buffer, the buffer, the view again]
    let bytes = hex("ff0f 41 03 42 04 01020304 56 42 01 02 00 5e 01 5e 02 24 00 03");
    let expected = vec![vec![2_u8, 3], vec![1, 2, 3, 4], vec![2, 3]];
    assert_eq!(from_slice(&bytes, Dialect::V8), Ok(expected));
    let all: Vec<Bytes<'_>> = from_slice(&bytes, Dialect::V8).unwrap();
    assert_eq!(all, [Bytes(&[2, 3]), Bytes(&[1, 2, 3, 4]), Bytes(&[2, 3])]);
}

#[test]
fn arrays_of_every_kind_are_sequences() {
    assert_eq!(
        from_hex("ff0f 41 03 49 02 2d 49 06 24 00 03"),
        Ok(vec![Some(1), None, Some(3)])
    );
    assert_eq!(
        from_hex("ff0f 61 04 49 02 49 0a 40 01 04"),
        Ok([None, Some(5), None, None])
    );
    assert_eq!(
        from_hex("ff0f 41 01 49 02 22 01 78 6f 7b 00 24 01 01"),
        Ok((1,))
    );
    assert_eq!(from_hex("ff0f 27 49 02 49 04 2c 02"), Ok(vec![1, 2]));
    let claim = from_hex::<Vec<Option<u8>>>("ff0f 61 ffffffff0f 40 00 ffffffff0f").unwrap_err();
    assert_eq!(claim.problem, DecodeProblem::TooManyHoles(u32::MAX));
    let backwards = from_hex::<Vec<u8>>("ff0f 61 04 49 02 49 02 49 00 49 02 40 02 04").unwrap_err();
    assert_eq!(
        backwards.to_string(),
        "message: invalid type: unit value, expected u8".replace("message", "message[0]")
    );
    let more = from_hex::<(u8,)>("ff0f 41 02 49 02 49 02 24 00 02").unwrap_err();
    assert_eq!(
        more.to_string(),
        "message: more elements than the type has room for"
    );
}

#[test]
fn keys_become_what_the_map_wants() {
    let bytes = message(|document| document.add_object([("1", "a"), ("x", "b")]));
    let names: BTreeMap<String, String> = decoded(&bytes).unwrap();
    assert_eq!(
        names,
        BTreeMap::from([("1".into(), "a".into()), ("x".into(), "b".into())])
    );
    let bytes = message(|document| document.add_object([("1", "a"), ("30", "b")]));
    assert_eq!(decoded(&bytes), Ok(HashMap::from([(1_u8, "a"), (30, "b")])));
    // A Map can have any keys.
    let map = "ff0f 3b 41 02 49 02 49 04 24 00 02 54 3a 02";
    assert_eq!(from_hex(map), Ok(BTreeMap::from([((1, 2), true)])));
}

#[derive(Debug, PartialEq, Deserialize)]
enum Choice {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { a: u8 },
}

#[test]
fn enums_are_as_serde_json_has_them() {
    let json =
        r#"["Unit", {"Newtype": 1}, {"Tuple": [1, 2]}, {"Struct": {"a": 3}}, {"Unit": null}]"#;
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let bytes = to_vec(&json, Dialect::Ipc).unwrap();
    let all: Vec<Choice> = decoded(&bytes).unwrap();
    let expected = [
        Choice::Unit,
        Choice::Newtype(1),
        Choice::Tuple(1, 2),
        Choice::Struct { a: 3 },
        Choice::Unit,
    ];
    assert_eq!(all, expected);
    let two = serde_json::json!({"Newtype": 1, "Tuple": [1, 2]});
    let error = decoded::<Choice>(&to_vec(&two, Dialect::Ipc).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "message: more properties than the type has room for"
    );
    let number = decoded::<Choice>(&to_vec(&1, Dialect::Ipc).unwrap()).unwrap_err();
    assert_eq!(
        number.to_string(),
        "message: invalid type: integer `1`, expected enum Choice"
    );
}

#[derive(Debug, PartialEq, Deserialize)]
struct Failure {
    name: Option<String>,
    message: String,
    stack: Option<String>,
    cause: Option<Box<Self>>,
}

#[test]
fn an_error_is_its_parts_in_any_order() {
    let inner = "72 52 6d 22 01 62 2e";
    for digits in [
        format!("ff0f 72 54 6d 22 01 61 73 22 01 73 63 {inner} 2e"),
        format!("ff0f 72 54 6d 22 01 61 63 {inner} 73 22 01 73 2e"),
        format!("ff0f 72 54 63 {inner} 73 22 01 73 6d 22 01 61 2e"),
    ] {
        let failure: Failure = from_hex(&digits).unwrap();
        let cause = failure.cause.unwrap();
        assert_eq!(failure.name.as_deref(), Some("TypeError"));
        assert_eq!(
            (&*failure.message, failure.stack.as_deref()),
            ("a", Some("s"))
        );
        assert_eq!(
            (cause.name.as_deref(), &*cause.message),
            (Some("RangeError"), "b")
        );
    }
    let plain: Failure = from_hex("ff0f 72 6d 22 01 61 2e").unwrap();
    assert_eq!(plain.name.as_deref(), Some("Error"));
}

#[derive(Debug, PartialEq, Deserialize)]
struct Tail {
    shared: Vec<u8>,
    again: Vec<u8>,
}

#[test]
fn what_is_shared_is_copied_and_what_is_skipped_is_found() {
    let bytes = message(|document| {
        let first = document.add_object([("x", 1)]);
        let list = document.add_array([1, 2]);
        // Nobody reads `skipped`, but it numbers two objects, one of which comes again.
        let skipped = document.add_array([first, list.clone()]);
        document.add_object([
            ("skipped", skipped),
            ("shared", list.clone()),
            ("again", list),
        ])
    });
    let expected = Tail {
        shared: vec![1, 2],
        again: vec![1, 2],
    };
    assert_eq!(decoded(&bytes), Ok(expected));
}

#[derive(Debug, Deserialize)]
struct Ring {
    #[expect(dead_code, reason = "only to be asked for")]
    next: Option<Box<Self>>,
}

#[test]
fn a_cycle_is_an_error_unless_it_is_skipped() {
    let cycle = hex("ff0f 6f 22 04 6e657874 5e 00 7b 01");
    let error = decoded::<Ring>(&cycle).unwrap_err();
    assert_eq!(
        (&*error.path, &error.problem),
        (".next", &DecodeProblem::Cycle)
    );
    assert!(decoded::<de::IgnoredAny>(&cycle).is_ok());
}

#[test]
fn what_is_wrapped_is_what_is_in_it() {
    assert_eq!(from_hex("ff0f 79"), Ok(true));
    assert_eq!(from_hex("ff0f 6e 0000000000000840"), Ok(3_u8));
    assert_eq!(from_hex("ff0f 73 22 01 61"), Ok("a".to_owned()));
    assert_eq!(from_hex("ff0f 44 0000000000000840"), Ok(3.0));
    assert_eq!(from_hex("ff0f 5c 01 6f 7b 00"), Ok(serde_json::json!({})));
    assert_eq!(from_hex("ff0f 5f"), Ok(()));
    assert_eq!(from_hex("ff0f 30"), Ok(None::<u8>));
}
