//! Node's `json` serialization: one JSON text for a message.
//!
//! [`check`] is for every message that arrives: it says whether `JSON.parse`
//! would take it, and what [`Shape`] it has, without building anything. The
//! bytes stay bytes until [`decode`]. [`encode`] writes as `JSON.stringify` does.
//!
//! ```
//! use procession_core::ipc::json;
//!
//! let mut message = Vec::new();
//! json::encode(&("ready", 1.0), &mut message).unwrap();
//! assert_eq!(message, br#"["ready",1]"#);
//! assert_eq!(json::check(&message).unwrap().depth, 1);
//! let (state, count): (String, u32) = json::decode(&message, json::MAX_DEPTH).unwrap();
//! # assert_eq!((&*state, count), ("ready", 1));
//! ```

mod decode;
mod encode;
mod scan;
mod ser;
mod unescape;

#[cfg(test)]
mod tests;

pub use decode::{DecodeError, MAX_DEPTH, decode, decode_checked};
pub use encode::{EncodeError, encode};
pub(super) use scan::walk;
pub(super) use unescape::{raw_is, raw_text};

use super::{BadMessage, Shape};

/// Says whether the bytes are a message that `JSON.parse` takes, how deep it
/// nests, and whether it is one of Node's own.
///
/// One pass over any depth; only past 64 levels it allocates, one bit a level.
/// As Node's reader has it, invalid UTF-8 and lone surrogates in strings are
/// no error. There is no depth limit: compare [`Shape::depth`] with yours.
///
/// # Errors
///
/// [`BadMessage`]: not a JSON text, with the place. An empty line is none.
pub fn check(frame: &[u8]) -> Result<Shape, BadMessage> {
    let mut internal = false;
    let depth = walk(frame, |name, value| {
        // The last of several `cmd` wins, as in an object that JSON.parse makes.
        if raw_is(name, "cmd") {
            internal = is_internal(&frame[value]);
        }
    })
    .map_err(|fault| fault.of(frame))?;
    Ok(Shape { depth, internal })
}

/// Whether a value is a string longer than 5 that starts with `NODE_`.
fn is_internal(value: &[u8]) -> bool {
    let Some(raw) = unescape::inside_quotes(value) else {
        return false;
    };
    let mut units = unescape::units(raw);
    "NODE_"
        .encode_utf16()
        .all(|wanted| units.next() == Some(wanted))
        && units.next().is_some()
}
