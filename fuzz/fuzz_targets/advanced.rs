//! All that read agree on what is a message, and what was read is written and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procession_core::ipc::advanced::{
    self, DecodeProblem, Dialect, Document, Limits, Object, ViewBytes, WriteOptions,
};
use serde::de::IgnoredAny;

fn written(document: &Document, dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::new();
    let options = WriteOptions::default();
    advanced::write(document, dialect, &options, &mut out).expect("what was read can be written");
    out
}

/// Over a channel, a view onto a shared buffer gets bytes of its own.
fn has_windows(document: &Document) -> bool {
    let is_window = |object: &Object| matches!(object, Object::View(view) if matches!(view.bytes, ViewBytes::Of { .. }));
    document.objects().iter().any(is_window)
}

// The first byte chooses the dialect, the others are a message without its header.
fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let of_channel = choice % 2 == 0;
    let dialect = if of_channel {
        Dialect::Ipc
    } else {
        Dialect::V8
    };
    // Two bytes less to find.
    let frame = [b"\xff\x0f", body].concat();
    let limits = Limits::default();
    let seen = advanced::read(&frame, dialect, &limits);
    let skipped = advanced::from_slice::<IgnoredAny>(&frame, dialect);
    let typed = advanced::from_slice::<serde_json::Value>(&frame, dialect);
    let shape = match advanced::check(&frame, dialect) {
        Ok(shape) => shape,
        Err(bad) => {
            assert!(bad.offset <= frame.len());
            assert!(seen.is_err() && typed.is_err());
            let problem = skipped.expect_err("no message").problem;
            return assert_eq!(problem, DecodeProblem::Bad(bad));
        }
    };
    assert!(skipped.is_ok());
    assert_eq!(seen.is_ok(), shape.depth <= limits.depth);
    let Ok(document) = seen else { return };
    let out = written(&document, dialect);
    let again = advanced::read(&out, dialect, &limits).expect("our own bytes");
    assert_eq!(written(&again, dialect), out);
    assert!(again == document || (of_channel && has_windows(&document)));
    assert_eq!(
        advanced::check(&out, dialect).map(|own| own.internal),
        Ok(shape.internal)
    );
    if let Ok(value) = typed {
        let bytes = advanced::to_vec(&value, dialect).expect("a JSON value is a message");
        let same: serde_json::Value = advanced::from_slice(&bytes, dialect).expect("our own bytes");
        // A whole float comes back as an integer, so compare what they are on the wire.
        assert_eq!(advanced::to_vec(&same, dialect), Ok(bytes));
    }
});
