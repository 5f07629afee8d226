//! Bytes that no Node writes.

use super::golden::rows;
use super::*;
use crate::ipc::BadMessage;

fn refusal(digits: &str, dialect: Dialect) -> BadMessage {
    let bytes = hex(digits);
    let bad = read(&bytes, dialect, &Limits::default()).unwrap_err();
    assert_eq!(check(&bytes, dialect).unwrap_err(), bad);
    bad
}

/// In both dialects: the bytes, where it is wrong, what is wanted there.
const FAULTS: &[(&str, usize, &str)] = &[
    ("", 0, "`ff 0f`, with which Node's advanced messages begin"),
    (
        "7b7d",
        0,
        "`ff 0f`, with which Node's advanced messages begin",
    ),
    ("ff11 30", 1, "V8's version 13 to 16"),
    ("ff0f", 2, "a value"),
    ("ff0f 00 00", 4, "a value"),
    ("ff0f 21", 2, "a value"),
    ("ff0f 75 00", 2, "a value"),
    ("ff0f 49 80", 4, "a number"),
    ("ff0f 49 ffffffff1f", 7, "a number"),
    ("ff0f 49 808080808000", 7, "a number"),
    ("ff0f 4e 00", 4, "the 8 bytes of a number"),
    ("ff0f 22 02 61", 5, "the rest of a string"),
    ("ff0f 22 ffffffff0f", 8, "the rest of a string"),
    ("ff0f 63 03 616263", 3, "an even number of bytes"),
    ("ff0f 5a feffffff0f", 8, "the rest of a bigint"),
    (
        "ff0f 41 05 30",
        3,
        "the length of an array that is all there",
    ),
    (
        "ff0f 41 ffffffff0f",
        3,
        "the length of an array that is all there",
    ),
    ("ff0f 41 01 30 24 00 02", 7, "the array's length once more"),
    ("ff0f 41 01 30 24 01 01", 6, "the number of its properties"),
    (
        "ff0f 6f 22 01 61 30 7b 02",
        8,
        "the number of its properties",
    ),
    ("ff0f 6f 30 30 7b 01", 3, "a key"),
    ("ff0f 6f 4e 000000000000f83f 30 7b 01", 3, "a key"),
    ("ff0f 6f 22 01 61", 6, "a value"),
    ("ff0f 2d", 2, "a value"),
    ("ff0f 61 01 40 00 02", 6, "the array's length once more"),
    ("ff0f 3b 30 3a 01", 4, "a value"),
    ("ff0f 3b 30 30 3a 01", 6, "the number of its members"),
    ("ff0f 27 30 2c 02", 5, "the number of its members"),
    ("ff0f 52 30", 3, "a string"),
    (
        "ff0f 52 22 01 61 8004",
        6,
        "the flags of a regular expression",
    ),
    ("ff0f 72 51 2e", 3, "a part of an error"),
    ("ff0f 72 6d 30 2e", 4, "a string"),
    ("ff0f 7e 02 01 6161", 4, "the greatest length of a buffer"),
    ("ff0f 5e 00", 2, "the number of an object that came before"),
    (
        "ff0f 41 01 5e 01 24 00 01",
        4,
        "the number of an object that came before",
    ),
    (
        "ff0f 42 04 01020304 56 42 02 03 00",
        8,
        "a view onto its buffer",
    ),
    (
        "ff0f 42 04 01020304 56 57 01 02 00",
        8,
        "a view onto its buffer",
    ),
    (
        "ff0f 42 04 01020304 56 42 00 04 01",
        8,
        "a view onto its buffer",
    ),
    (
        "ff0f 42 04 01020304 56 42 00 04 04",
        8,
        "a view onto its buffer",
    ),
    (
        "ff0f 42 04 01020304 56 7a 00 04 00",
        9,
        "the letter of a view",
    ),
    (
        "ff0f 41 02 6f 7b 00 5e 01 56 42 00 00 00 24 00 02",
        9,
        "a value",
    ),
];

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for &(digits, offset, wanted) in FAULTS {
        for dialect in [Dialect::Ipc, Dialect::V8] {
            let bad = refusal(digits, dialect);
            assert_eq!((bad.offset, bad.wanted), (offset, wanted), "{digits}");
        }
    }
    let of_channel = [
        ("ff0f 5c 02", 3, "0 for a view or 1 for a native object"),
        ("ff0f 5c 00 0e 00", 4, "the type of a view"),
        ("ff0f 5c 00 03 03 616263", 5, "a length of whole elements"),
        ("ff0f 5c 00 0a 04 616263", 9, "the rest of a view"),
        ("ff0f 5c 01", 4, "a value"),
    ];
    for (digits, offset, wanted) in of_channel {
        let bad = refusal(digits, Dialect::Ipc);
        assert_eq!((bad.offset, bad.wanted), (offset, wanted), "{digits}");
    }
}

#[test]
fn a_refusal_reads_well() {
    insta(
        "ff0f 6f 22 03 636d64 21",
        "byte 8 of a message is not a value: \"\\xff\\x0fo\\\"\\x03cmd!\"",
    );
    insta(
        "01 10000000 02 04000000",
        "byte 0 of a message is not `ff 0f`, with which Node's advanced messages begin (this is \
         Bun's own format; use json with Bun): \"\\x01\\x10\\x00\\x00\\x00\\x02\\x04\\x00\\x00\\x00\"",
    );
}

fn insta(digits: &str, text: &str) {
    assert_eq!(refusal(digits, Dialect::Ipc).to_string(), text);
}

#[test]
fn what_follows_the_value_is_ignored() {
    let bytes = hex("ff0f 49 02 ff ff ff");
    assert_eq!(read_all(&bytes, Dialect::Ipc).root(), &Value::Int(1));
    assert_eq!(check(&bytes, Dialect::Ipc).unwrap().depth, 0);
    assert_eq!(from_slice::<i32>(&bytes, Dialect::Ipc), Ok(1));
}

#[test]
fn padding_is_taken_before_any_value_key_or_end() {
    let bytes = hex("ff0f 00 6f 0000 22 01 61 00 41 01 00 2d 00 24 00 01 0000 7b 01");
    let document = read_all(&bytes, Dialect::Ipc);
    assert_eq!(golden::describe(&document), "O{0061:A1[]}");
    assert!(check(&bytes, Dialect::Ipc).is_ok());
}

/// Two million levels for what takes a peer's bytes, on the 2 MiB stack of a
/// test's thread; fewer for the rest, but a call for each would still be too many.
#[test]
fn no_depth_overflows_the_stack() {
    let kinds: [(&[u8], &[u8]); 5] = [
        (b"A\x01", b"$\x00\x01"),
        (b"o\"\x01a", b"{\x01"),
        (b"\\\x01", b""),
        (b"rc", b"."),
        (b"'", b",\x01"),
    ];
    for (open, close) in kinds {
        let nested = |levels| {
            [
                b"\xff\x0f",
                &*open.repeat(levels),
                b"_",
                &*close.repeat(levels),
            ]
            .concat()
        };
        let bytes = nested(2_000_000);
        assert_eq!(check(&bytes, Dialect::Ipc).unwrap().depth, 2_000_000);
        let bad = read(&bytes, Dialect::Ipc, &Limits::default()).unwrap_err();
        let beyond = 2 + 1_024 * open.len();
        assert_eq!(
            (bad.offset, bad.wanted),
            (beyond, "nested within the limit")
        );
        let typed: Result<serde_json::Value, _> = from_slice(&bytes, Dialect::Ipc);
        assert_eq!(typed.unwrap_err().problem, DecodeProblem::TooDeep(1_024));
        let typed: Result<serde_json::Value, _> = from_slice(&nested(1_024), Dialect::Ipc);
        typed.unwrap();
        assert!(from_slice::<serde::de::IgnoredAny>(&bytes, Dialect::Ipc).is_ok());

        let bytes = nested(100_000);
        let document = read_all(&bytes, Dialect::Ipc);
        assert_eq!(written(&document, Dialect::Ipc), bytes);
        assert!(document == document.clone());
    }
}

#[test]
fn the_depth_limit_is_the_last_depth_that_is_taken() {
    let nested = |levels: usize| {
        let mut bytes = b"\xff\x0f".to_vec();
        bytes.extend(b"'".repeat(levels));
        bytes.extend(b",\x01".repeat(levels - 1));
        // The innermost is empty.
        bytes.insert(2 + levels, b',');
        bytes.insert(3 + levels, 0);
        bytes
    };
    let limits = Limits::default();
    assert!(read(&nested(1_024), Dialect::Ipc, &limits).is_ok());
    assert!(read(&nested(1_025), Dialect::Ipc, &limits).is_err());
    assert!(from_slice::<serde_json::Value>(&nested(1_024), Dialect::Ipc).is_ok());
    assert!(from_slice::<serde_json::Value>(&nested(1_025), Dialect::Ipc).is_err());
}

/// An array of two references to the array before it, thirty times: 2^30 values to who copies.
#[test]
fn references_cannot_make_a_message_grow_without_bound() {
    let mut bytes = hex("ff0f 41 1e 41 00 24 00 00");
    for before in 1..30 {
        bytes.extend([b'A', 2, b'^', before, b'^', before, b'$', 0, 2]);
    }
    bytes.extend([b'$', 0, 30]);
    let typed: Result<serde_json::Value, _> = from_slice(&bytes, Dialect::Ipc);
    assert_eq!(typed.unwrap_err().problem, DecodeProblem::TooManyReferences);
    // One buffer of 4 KiB, a thousand times.
    let mut buffers = hex("ff0f 41 e907 42 8020");
    buffers.extend([0; 4_096]);
    buffers.extend(b"^\x01".repeat(1_000));
    buffers.extend(hex("24 00 e907"));
    let typed: Result<Vec<Vec<u8>>, _> = from_slice(&buffers, Dialect::Ipc);
    assert_eq!(typed.unwrap_err().problem, DecodeProblem::TooManyReferences);
    let document = read_all(&bytes, Dialect::Ipc);
    assert_eq!(document.objects().len(), 31);
    assert!(document == document.clone());
}

/// Ordinary messages with a piece changed, lengths most of all.
///
/// A million of them: some 10 s without optimization.
#[test]
fn no_bytes_make_anything_panic_or_disagree() {
    let count = 1_000_000;
    let seeds: Vec<(Vec<u8>, Dialect)> = rows()
        .iter()
        .map(|row| (row.bytes(), row.dialect()))
        .filter(|(bytes, _)| bytes.len() < 400)
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0_u32;
    for _ in 0..count {
        let (mut bytes, dialect) = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(3) {
            mutate(&mut bytes, &seeds, &mut random);
        }
        accepted += u32::from(agree(&bytes, dialect));
    }
    // The test looks at both sides of the border.
    assert!(
        (count / 50..count * 49 / 50).contains(&accepted),
        "{accepted} of {count}"
    );
}

/// xorshift: the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[4]
    }
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[(Vec<u8>, Dialect)], random: &mut Random) {
    const TAGS: &[u8] = b"\x00-_0TFIUNZS\"c^o{a@A$DyxnzsR;:',B~V\\r.m\xff\x80";
    let at = random.below(bytes.len().max(3) - 2) + 2;
    let at = at.min(bytes.len());
    match random.below(6) {
        0 if at < bytes.len() => bytes[at] = random.byte(),
        1 if at < bytes.len() => bytes[at] = TAGS[random.below(TAGS.len())],
        2 if at < bytes.len() => {
            bytes[at] = bytes[at].wrapping_add(random.byte() % 3).wrapping_sub(1)
        }
        3 => bytes.truncate(at),
        4 => bytes.insert(at, TAGS[random.below(TAGS.len())]),
        _ => {
            let (other, _) = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() - 2) + 2;
            bytes.splice(at.., other[from..].iter().copied());
        }
    }
}

/// Whether the message is well-formed; everything that reads has to agree.
pub(super) fn agree(bytes: &[u8], dialect: Dialect) -> bool {
    let looked = check(bytes, dialect);
    let seen = read(bytes, dialect, &Limits { depth: usize::MAX });
    let skipped = from_slice::<serde::de::IgnoredAny>(bytes, dialect).map(|_| ());
    match (&looked, &seen, &skipped) {
        (Ok(_), Ok(_), Ok(())) => {}
        (Err(looked), Err(seen), Err(skipped)) => {
            assert_eq!(
                (looked, &DecodeProblem::Bad(looked.clone())),
                (seen, &skipped.problem)
            );
        }
        (looked, seen, skipped) => panic!("{bytes:02x?}: {looked:?}, {seen:?}, {skipped:?}"),
    }
    let typed: Result<serde_json::Value, _> = from_slice(bytes, dialect);
    assert!(typed.is_err() || looked.is_ok(), "{bytes:02x?}");
    let Ok(document) = seen else {
        return false;
    };
    let out = written(&document, dialect);
    let again = read_all(&out, dialect);
    // Over a channel every view gets bytes of its own.
    let shows_another = |object: &Object| matches!(object, Object::View(view) if matches!(view.bytes, ViewBytes::Of { .. }));
    let changes = dialect == Dialect::Ipc && document.objects().iter().any(shows_another);
    assert!(
        changes || again == document,
        "{bytes:02x?}\n{document:?}\n{again:?}"
    );
    assert_eq!(written(&again, dialect), out, "{bytes:02x?}");
    let internal = match (document.view(), document.view().object()) {
        (root, Some(object)) if !matches!(object, Object::Native(_) | Object::Map(_)) => {
            let cmd = root.get("cmd").and_then(ValueRef::as_str);
            Some(cmd.is_some_and(|cmd| cmd.len() > 5 && cmd.starts_with("NODE_")))
        }
        (_, None) => Some(false),
        (_, Some(_)) => None,
    };
    if let (Some(internal), Ok(shape)) = (internal, looked) {
        assert_eq!(shape.internal, internal, "{bytes:02x?}");
    }
    true
}
