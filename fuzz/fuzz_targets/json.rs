//! The same verdict as another parser's, and the same message out as in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procession_core::ipc::json::{DecodeError, MAX_DEPTH, check, decode, decode_checked, encode};
use serde::de::IgnoredAny;
use serde_json::Value;

fuzz_target!(|frame: &[u8]| {
    let mut other = serde_json::Deserializer::from_slice(frame);
    other.disable_recursion_limit();
    let other = serde::de::Deserialize::deserialize(&mut other).and_then(|IgnoredAny| other.end());
    let verdict = check(frame);
    assert_eq!(verdict.is_ok(), other.is_ok());
    let shape = match verdict {
        Ok(shape) => shape,
        Err(error) => return assert!(error.offset <= frame.len()),
    };
    assert!(!shape.internal || shape.depth > 0);
    let value: Value = match decode_checked(frame, shape, MAX_DEPTH) {
        Ok(value) => value,
        Err(DecodeError::TooDeep { depth, .. }) => return assert!(depth > MAX_DEPTH),
        Err(DecodeError::Mismatch { reason, .. }) => {
            return assert_eq!(reason, "number out of range");
        }
        Err(error) => panic!("{error}"),
    };
    let mut text = Vec::new();
    encode(&value, &mut text).expect("a value has a JSON text");
    assert!(!text.is_empty() && !text.contains(&b'\n'));
    // A value under a name that comes twice is not in it.
    assert!(check(&text).expect("our own text").depth <= shape.depth);
    let same: Value = decode(&text, MAX_DEPTH).expect("our own text");
    let mut again = Vec::new();
    encode(&same, &mut again).expect("a value has a JSON text");
    assert_eq!(again, text);
});
