//! What is understood can be written, and is then understood alike.
//!
//! The first byte chooses the serialization.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use procession_core::ipc::advanced::{self, Dialect};
use procession_core::ipc::internal::{Internal, encode, parse};
use procession_core::ipc::{Serialization, json};

fuzz_target!(|input: &[u8]| {
    let Some((choice, frame)) = input.split_first() else {
        return;
    };
    let (serialization, shape) = match choice & 1 {
        0 => (Serialization::Json, json::check(frame)),
        _ => (
            Serialization::Advanced,
            advanced::check(frame, Dialect::Ipc),
        ),
    };
    let frame = Bytes::copy_from_slice(frame);
    let parsed = parse(serialization, &frame);
    let Ok(message) = parsed else {
        return;
    };
    let shape = shape.expect("what is understood is a message");
    let Internal::Cluster(whole) = &message else {
        return again(serialization, &message, shape.internal);
    };
    assert_eq!(*whole, frame);
});

fn again(serialization: Serialization, message: &Internal, internal: bool) {
    let mut out = Vec::new();
    if let Err(error) = encode(serialization, message, &mut out) {
        // White space inside may be a newline when no framer has cut there.
        assert_eq!(serialization, Serialization::Json, "{error}");
        return;
    }
    let out = Bytes::from(out);
    assert_eq!(parse(serialization, &out).as_ref(), Ok(message));
    let same = match serialization {
        Serialization::Json => json::check(&out),
        Serialization::Advanced => advanced::check(&out, Dialect::Ipc),
    };
    assert_eq!(same.expect("our own message").internal, internal);
}
