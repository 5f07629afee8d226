use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde::ser::SerializeStruct as _;
use serde_json::Value;

use super::scan::plain_until;
use super::*;

fn depth(text: &str) -> usize {
    check(text.as_bytes()).unwrap().depth
}

fn internal(text: &str) -> bool {
    check(text.as_bytes()).unwrap().internal
}

fn encoded<T: serde::Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::new();
    encode(value, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_json_parse_takes_is_taken() {
    let taken: [&[u8]; 18] = [
        b"1\r",
        b" \t[1 , 2]\r\n ",
        b"-0",
        b"0.5e-7",
        b"1E+5",
        b"1e400",
        b"null",
        b"true",
        b"false",
        b"\"\"",
        b"\"\\ud800\"",
        b"\"\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u00e9\"",
        b"\"\xe2\x80\xa8 \x7f\"",
        b"\"\xff\xfe cut \xe2\x82\"",
        b"\"\xed\xa0\x80\"",
        b"{\"a\":1,\"a\":2,\"__proto__\":3}",
        b"{ }",
        b"[ ]",
    ];
    for text in taken {
        assert!(check(text).is_ok(), "{}", text.escape_ascii());
    }
}

#[test]
fn what_json_parse_refuses_is_refused_with_its_place() {
    let refused: [(&[u8], usize); 31] = [
        (b"", 0),
        (b" ", 1),
        (b"NaN", 0),
        (b"undefined", 0),
        (b"nul", 0),
        (b"truely", 4),
        (b"01", 1),
        (b"-", 1),
        (b"+1", 0),
        (b".5", 0),
        (b"1.", 2),
        (b"1e", 2),
        (b"1e+", 3),
        (b"[1,]", 3),
        (b"[1", 2),
        (b"[1}", 2),
        (b"[,1]", 1),
        (b"{\"a\":1,}", 7),
        (b"{\"a\":1]", 6),
        (b"{\"a\" 1}", 5),
        (b"{a:1}", 1),
        (b"[{\"a\":1,}]", 8),
        (b"1 2", 2),
        (b"\"a\tb\"", 2),
        (b"\"a\0b\"", 2),
        (b"\"abc", 4),
        (b"\"\\x\"", 2),
        (b"\"\\u12g4\"", 5),
        (b"\xef\xbb\xbf1", 0),
        (b"'a'", 0),
        (b"\xff\x0f\x30", 0),
    ];
    for (text, offset) in refused {
        let error = check(text).expect_err(&text.escape_ascii().to_string());
        assert_eq!(error.offset, offset, "{}", text.escape_ascii());
    }
}

#[test]
fn an_error_shows_the_place() {
    let error = check(b"{\"a\":\x1b[31m}").unwrap_err();
    let shown = "byte 5 of a message is not a value: \"{\\\"a\\\":\\x1b[31m}\"";
    assert_eq!(error.to_string(), shown);
}

#[test]
fn messages_of_nodes_own_are_told_apart() {
    let own = [
        r#"{"cmd":"NODE_X"}"#,
        r#" { "a" : [{}] , "cmd" : "NODE_HANDLE_ACK" } "#,
        r#"{"\u0063m\u0064":"NODE_X"}"#,
        r#"{"cmd":"\u004eODE\u005fX"}"#,
        r#"{"cmd":"NODE_\n"}"#,
        r#"{"cmd":"NODE_é"}"#,
        r#"{"cmd":1,"cmd":"NODE_X"}"#,
    ];
    for text in own {
        assert!(internal(text), "{text}");
    }
    let ordinary = [
        r#"{"cmd":"NODE_"}"#,
        r#"{"cmd":"NODEX"}"#,
        r#"{"cmd":"NODE\nX"}"#,
        r#"{"cmd":"node_X"}"#,
        r#"{"cmd":["NODE_X"]}"#,
        r#"{"cmd":{"cmd":"NODE_X"}}"#,
        r#"{"a":{"cmd":"NODE_X"}}"#,
        r#"[{"cmd":"NODE_X"}]"#,
        r#"{"Cmd":"NODE_X"}"#,
        r#"{"cmd ":"NODE_X"}"#,
        r#"{"cmd":"NODE_X","cmd":1}"#,
        r#"{"cmd":"NODE_X","c\u006dd":"other"}"#,
        r#""NODE_X""#,
        "null",
    ];
    for text in ordinary {
        assert!(!internal(text), "{text}");
    }
}

#[test]
fn depth_is_counted_across_the_words_of_the_stack() {
    assert_eq!(depth("1"), 0);
    assert_eq!(depth(r#"{"a":[],"b":[{},[[]]],"c":1}"#), 4);
    for levels in (1..10).chain(60..70).chain(120..135).chain([2_000_000]) {
        let open = |level| if level % 3 == 0 { r#"{"a":"# } else { "[" };
        let close = |level| if level % 3 == 0 { '}' } else { ']' };
        let mut text: String = (0..levels).map(open).collect();
        text.push('1');
        text.extend((0..levels).rev().map(close));
        assert_eq!(depth(&text), levels);
        text.pop();
        text.push(if text.starts_with('{') { ']' } else { '}' });
        assert!(check(text.as_bytes()).is_err());
    }
}

#[test]
fn the_end_of_plain_bytes_is_found_at_every_place() {
    for length in 0..40 {
        for place in 0..length {
            for byte in 0..=u8::MAX {
                // Bytes above it that a borrow could mistake.
                let mut bytes = vec![b'"' + 1; length];
                bytes[..place].fill(0x80);
                bytes[place] = byte;
                let plain = !matches!(byte, b'"' | b'\\' | 0..0x20);
                let end = if plain { length } else { place };
                assert_eq!(plain_until(&bytes, 0), end, "{byte} at {place} of {length}");
            }
        }
    }
}

#[test]
fn what_rust_strings_cannot_hold_is_replaced() {
    let cases: [(&[u8], &str); 8] = [
        (b"\"\\ud83d\\ude00\"", "😀"),
        (b"\"a\\ud800b\"", "a\u{fffd}b"),
        (b"\"\\ud800\\ud83d\\ude00\"", "\u{fffd}😀"),
        (b"\"\\udc00\\ud800\"", "\u{fffd}\u{fffd}"),
        (b"\"\\\\ud800 \\ud800\\n\"", "\\ud800 \u{fffd}\n"),
        (b"\"\xed\xa0\x80\"", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\"cut \xe2\x82\"", "cut \u{fffd}"),
        (b"\"\xff\\ud800\"", "\u{fffd}\u{fffd}"),
    ];
    for (text, wanted) in cases {
        assert_eq!(decode::<String>(text, 0).as_deref(), Ok(wanted));
    }
    let names: Value = decode(b"{\"\\ud800\":1}", 1).unwrap();
    assert_eq!(names["\u{fffd}"], 1);
}

#[test]
fn a_mismatch_names_the_place_and_the_reason() {
    let error = decode::<Vec<u8>>(b"[1,\r\n300]", 1).unwrap_err();
    let DecodeError::Mismatch { offset, .. } = error else {
        panic!("{error}");
    };
    assert!((5..=8).contains(&offset), "{offset}");
    let text = error.to_string();
    assert!(
        text.contains("expected u8") && !text.contains("column"),
        "{text}"
    );
    let error = decode::<f64>(b"1e400", 0).unwrap_err();
    assert!(error.to_string().contains("number out of range"), "{error}");
    let error = decode::<u8>(b"{", 9).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
}

/// Recursive, and with more fields than a list has: a larger frame for each level.
#[derive(Debug, serde::Deserialize)]
struct Tree {
    #[expect(dead_code, reason = "only to be made")]
    name: Option<String>,
    #[expect(dead_code, reason = "only to be made")]
    size: Option<f64>,
    child: Option<Box<Self>>,
}

#[test]
fn the_default_depth_fits_a_small_stack() {
    let tree =
        |levels: usize| r#"{"size":1,"child":"#.repeat(levels) + "null" + &"}".repeat(levels);
    let list = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let done = thread.spawn(move || {
        let mut tree: Tree = decode(tree(MAX_DEPTH).as_bytes(), MAX_DEPTH).unwrap();
        let mut levels = 1;
        while let Some(child) = tree.child.take() {
            tree = *child;
            levels += 1;
        }
        assert_eq!(levels, MAX_DEPTH);
        decode::<Value>(list(MAX_DEPTH).as_bytes(), MAX_DEPTH).unwrap();
        let deep = [MAX_DEPTH + 1, 2_000_000];
        deep.map(|levels| decode::<Value>(list(levels).as_bytes(), MAX_DEPTH))
    });
    for (error, levels) in done
        .unwrap()
        .join()
        .unwrap()
        .into_iter()
        .zip([MAX_DEPTH + 1, 2_000_000])
    {
        let max_depth = MAX_DEPTH;
        assert_eq!(
            error,
            Err(DecodeError::TooDeep {
                depth: levels,
                max_depth
            })
        );
    }
}

#[test]
fn numbers_look_as_javascript_writes_them() {
    let cases = [
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1e-6, "0.000001"),
        (1.5e-5, "0.000015"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (-9_007_199_254_740_992.0, "-9007199254740992"),
        (1e16, "10000000000000000"),
        (123_456_789_012_345_680_000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::NAN, "null"),
        (f64::NEG_INFINITY, "null"),
    ];
    for (value, wanted) in cases {
        assert_eq!(encoded(&value), wanted);
    }
    assert_eq!(
        encoded(&(1.0_f32, 0.1_f32, f32::NAN, u64::MAX)),
        "[1,0.1,null,18446744073709551615]"
    );
}

#[test]
fn a_message_is_never_empty_and_has_no_newline() {
    assert_eq!(encoded(&()), "null");
    assert_eq!(encoded(&None::<u8>), "null");
    assert_eq!(encoded(""), r#""""#);
    assert_eq!(
        encoded("a\nb\u{2028}\u{7f}\u{1f}é"),
        "\"a\\nb\u{2028}\u{7f}\\u001fé\""
    );
    assert_eq!(encoded(&[ReadyMade("{\n\"a\":\n\n1}")]), r#"[{ "a":  1}]"#);
}

/// Shows its text as serde_json's `RawValue` does.
struct ReadyMade(&'static str);

impl serde::Serialize for ReadyMade {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAME: &str = "$serde_json::private::RawValue";
        let mut raw = serializer.serialize_struct(NAME, 1)?;
        raw.serialize_field(NAME, self.0)?;
        raw.end()
    }
}

#[test]
fn what_has_no_json_leaves_no_trace() {
    let keys_are_lists = std::collections::BTreeMap::from([(vec![1], 2)]);
    let mut out = b"before".to_vec();
    let error = encode(&("half", keys_are_lists), &mut out).unwrap_err();
    assert_eq!(out, b"before");
    assert_eq!(error.to_string(), "the value cannot be a JSON message");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_line_of_ten_megabytes_goes_both_ways() {
    let long = "é\"\\x".repeat(2_500_000);
    let text = encoded(&long);
    assert_eq!(depth(&text), 0);
    assert_eq!(decode::<String>(text.as_bytes(), 0), Ok(long));
}

/// Small and the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

const TOKENS: [&[u8]; 26] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"cmd\":",
    b"\"NODE_X\"",
    b"\"a\":",
    b"\"\\ud800\"",
    b"\"",
    b"\\",
    b"\\u00",
    b"1",
    b"-0",
    b".5",
    b"e9",
    b"1e400",
    b"true",
    b"null",
    b" ",
    b"\r",
    b"\x01",
    b"\xe2\x82",
    b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Server\",\"msg\":",
    b"[[{\"a\":[1,2.5,\"xyz\"]},",
];

/// A random value, then perhaps spoilt; or tokens in a row.
fn random_frame(dice: &mut Dice, out: &mut Vec<u8>) {
    out.clear();
    if dice.roll(4) == 0 {
        for _ in 0..dice.roll(8) {
            out.extend_from_slice(TOKENS[dice.roll(TOKENS.len())]);
        }
        return;
    }
    random_value(dice, 3, out);
    for _ in 0..dice.roll(3) {
        let at = dice.roll(out.len().max(1)).min(out.len().saturating_sub(1));
        match dice.roll(4) {
            0 => out.truncate(at),
            1 if !out.is_empty() => drop(out.remove(at)),
            2 => drop(out.splice(at..at, TOKENS[dice.roll(TOKENS.len())].iter().copied())),
            _ => out
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = dice.roll(256).to_le_bytes()[0]),
        }
    }
}

fn random_value(dice: &mut Dice, levels: usize, out: &mut Vec<u8>) {
    match dice.roll(if levels == 0 { 5 } else { 9 }) {
        0 => out.extend_from_slice(b"null"),
        1 => out.extend_from_slice(b"-12.5e-3"),
        2 => out.extend_from_slice(b"\"a long string \\n\\u00e9 \xc3\xa9\""),
        3 => out.extend_from_slice(b"7"),
        4 => out.extend_from_slice(b"\"NODE_SOCKET_COUNT\""),
        5 | 6 => {
            out.push(b'[');
            for place in 0..dice.roll(4) {
                out.extend_from_slice(if place > 0 { b"," } else { b"" });
                random_value(dice, levels - 1, out);
            }
            out.push(b']');
        }
        _ => {
            out.push(b'{');
            for place in 0..dice.roll(4) {
                out.extend_from_slice(if place > 0 { b"," } else { b"" });
                let names: [&[u8]; 5] = [
                    b"\"cmd\":",
                    b"\"c\\u006dd\" : ",
                    b"\"x\":",
                    b"\"key\":",
                    b"\"msg\":",
                ];
                out.extend_from_slice(names[dice.roll(5)]);
                random_value(dice, levels - 1, out);
            }
            out.push(b'}');
        }
    }
}

/// The `cmd` by another's parser, and whether it makes the message internal.
fn internal_by_serde(frame: &[u8]) -> bool {
    let text = String::from_utf8_lossy(frame);
    match serde_json::from_str::<Value>(&text) {
        Ok(value) => value["cmd"]
            .as_str()
            .is_some_and(|cmd| cmd.len() > 5 && cmd.starts_with("NODE_")),
        Err(_) => false,
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth_of).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// A million frames, a third of them sound: the same verdict as serde_json's,
/// no panic anywhere behind it, and the same message out as in.
#[test]
fn a_million_frames_get_the_verdict_of_another_parser() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut frame, mut again, mut sound, mut own) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..1_000_000 {
        random_frame(&mut dice, &mut frame);
        let verdict = check(&frame);
        let other = serde_json::from_slice::<IgnoredAny>(&frame);
        assert_eq!(verdict.is_ok(), other.is_ok(), "{}", frame.escape_ascii());
        let Ok(shape) = verdict else { continue };
        sound += 1;
        own += u32::from(shape.internal);
        if shape.internal {
            let frame = bytes::Bytes::copy_from_slice(&frame);
            drop(crate::ipc::internal::parse(
                crate::ipc::Serialization::Json,
                &frame,
            ));
        }
        // Dearer, so for some.
        if round % 10 != 0 {
            continue;
        }
        let Ok(value) = decode_checked::<Value>(&frame, shape, MAX_DEPTH) else {
            assert!(
                memchr::memmem::find(&frame, b"e").is_some(),
                "{}",
                frame.escape_ascii()
            );
            continue;
        };
        again.clear();
        encode(&value, &mut again).unwrap();
        let same = encoded(&decode::<Value>(&again, MAX_DEPTH).unwrap());
        assert_eq!(same.as_bytes(), again, "{}", frame.escape_ascii());
        if !frame.contains(&b'\\') {
            assert_eq!(
                shape.internal,
                internal_by_serde(&frame),
                "{}",
                frame.escape_ascii()
            );
        }
        assert!(
            shape.depth >= depth_of(&value),
            "a name that came twice hides a value"
        );
    }
    assert!(
        sound > 200_000 && own > 1_000,
        "{sound} sound, {own} internal"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert_eq!(check(&bytes).is_ok(), serde_json::from_slice::<IgnoredAny>(&bytes).is_ok());
    }

    #[test]
    fn strings_and_numbers_come_back(text in any::<String>(), number in any::<f64>()) {
        let message = encoded(&(&text, number));
        let (same, value): (String, Option<f64>) = decode(message.as_bytes(), 1).unwrap();
        prop_assert_eq!(same, text);
        // To the last bit: serde_json does that only with its feature `float_roundtrip`.
        prop_assert_eq!(value, number.is_finite().then_some(number));
    }
}

/// Every shape that serde has.
#[derive(serde::Serialize)]
struct Shapes<'a> {
    numbers: (i8, u16, i64, u128, f32),
    letter: char,
    none: Option<u8>,
    some: Option<&'a str>,
    unit: (),
    list: Vec<Kinds<'a>>,
    by_number: std::collections::BTreeMap<i32, bool>,
    by_truth: std::collections::BTreeMap<bool, ()>,
    #[serde(rename = "bytes \"quoted\"")]
    bytes: &'a [u8],
    empty: [u8; 0],
}

#[derive(serde::Serialize)]
enum Kinds<'a> {
    Unit,
    Newtype(&'a str),
    Tuple(u8, u8),
    Struct { name: &'a str },
}

#[test]
fn every_shape_is_written_as_serde_json_does() {
    let text = "a\u{0}\u{8}\t\n\u{c}\r\u{1f}\u{7f}\u{2028}\"\\/é😀".repeat(20);
    let shapes = Shapes {
        numbers: (-128, 65_535, i64::MIN, u128::MAX, 0.1),
        letter: '"',
        none: None,
        some: Some(&text),
        unit: (),
        list: vec![
            Kinds::Unit,
            Kinds::Newtype(&text),
            Kinds::Tuple(1, 2),
            Kinds::Struct { name: "n" },
        ],
        by_number: [(-1, true), (2, false)].into(),
        by_truth: [(true, ())].into(),
        bytes: &[0, 255],
        empty: [],
    };
    assert_eq!(encoded(&shapes), serde_json::to_string(&shapes).unwrap());
}

#[test]
fn a_name_that_is_no_name_is_refused() {
    let listed: std::collections::BTreeMap<Vec<u8>, u8> = [(vec![1], 2)].into();
    let unnamed: std::collections::BTreeMap<Option<u8>, u8> = [(None, 2)].into();
    let mut out = b"before".to_vec();
    assert!(encode(&listed, &mut out).is_err());
    assert!(encode(&unnamed, &mut out).is_err());
    assert_eq!(out, b"before");
}

proptest! {
    #[test]
    fn strings_are_written_as_serde_json_does(text in "[\\x00-\\x7f]{0,200}|.{0,200}") {
        prop_assert_eq!(encoded(&text), serde_json::to_string(&text).unwrap());
    }

    #[test]
    fn a_block_is_looked_at_byte_by_byte_in_effect(
        plain in prop::collection::vec(0x20..=0xff_u8, 0..300),
        at in 0..300_usize,
    ) {
        let slow = |from: usize| {
            plain[from..].iter().position(|b| matches!(b, b'"' | b'\\')).map_or(plain.len(), |n| from + n)
        };
        let at = at.min(plain.len());
        prop_assert_eq!(plain_until(&plain, at), slow(at));
    }
}
