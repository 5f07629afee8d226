//! From bytes to Rust values.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::{check, unescape};
use crate::ipc::{BadMessage, Shape};

/// How deep a message may nest to be decoded, unless the caller says otherwise.
///
/// Rust types are made by recursion: a level takes some 2 KiB of stack in a
/// debug build, which is more than a thread of 2 MiB has for all of them. So
/// deep ones get a stack that grows.
pub const MAX_DEPTH: usize = 1_024;

/// Up to here serde_json's own limit is left in place, and the stack as it is.
const SHALLOW: usize = 127;

/// A message that was not turned into a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is no JSON text.
    #[error("the message is no JSON")]
    Malformed(#[from] BadMessage),
    /// It nests deeper than is allowed.
    #[error("the message nests {depth} deep, over the limit of {max_depth}")]
    TooDeep {
        /// How deep it nests.
        depth: usize,
        /// How deep it may.
        max_depth: usize,
    },
    /// It is JSON, but not what the type wants (or a number beyond `f64`).
    #[error("byte {offset} of a message, near {excerpt}: {reason}")]
    Mismatch {
        /// Where in the message, from 0.
        offset: usize,
        /// The bytes around it, printable.
        excerpt: String,
        /// What the type says about it.
        reason: String,
    },
}

/// Makes a value of a message.
///
/// Invalid UTF-8 and lone surrogates, which Rust strings cannot hold, become
/// U+FFFD.
///
/// # Errors
///
/// [`DecodeError`]. A number beyond `f64`, such as `1e400`, which JavaScript
/// reads as infinity and never writes, is a [`DecodeError::Mismatch`].
///
/// # Node
///
/// `JSON.parse`, with a depth limit.
pub fn decode<T: DeserializeOwned>(frame: &[u8], max_depth: usize) -> Result<T, DecodeError> {
    decode_checked(frame, check(frame)?, max_depth)
}

/// [`decode`] for a message that [`check`] has seen: `shape` is what it said.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_checked<T: DeserializeOwned>(
    frame: &[u8],
    shape: Shape,
    max_depth: usize,
) -> Result<T, DecodeError> {
    if shape.depth > max_depth {
        return Err(DecodeError::TooDeep {
            depth: shape.depth,
            max_depth,
        });
    }
    // Tried first because it is several times faster than the lossy way.
    let text =
        std::str::from_utf8(frame).map_or_else(|_| String::from_utf8_lossy(frame), Cow::Borrowed);
    parse(&text, shape.depth).or_else(|error| match without_lone_surrogates(&text) {
        Cow::Owned(text) => parse(&text, shape.depth).map_err(|error| mismatch(&text, &error)),
        Cow::Borrowed(text) => Err(mismatch(text, &error)),
    })
}

fn parse<T: DeserializeOwned>(text: &str, depth: usize) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = if depth <= SHALLOW {
        T::deserialize(&mut deserializer)?
    } else {
        deserializer.disable_recursion_limit();
        T::deserialize(serde_stacker::Deserializer::new(&mut deserializer))?
    };
    deserializer.end()?;
    Ok(value)
}

/// Says what serde_json said, with an offset in the place of a line and a column.
fn mismatch(text: &str, error: &serde_json::Error) -> DecodeError {
    let (line, column) = (error.line(), error.column());
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let place = BadMessage::new(text.as_bytes(), before + column.saturating_sub(1), "");
    let said = error.to_string();
    let suffix = format!(" at line {line} column {column}");
    DecodeError::Mismatch {
        offset: place.offset,
        excerpt: place.excerpt,
        reason: said.strip_suffix(&suffix).unwrap_or(&said).to_owned(),
    }
}

/// The text with `\ufffd` in the place of every escape that is half of a pair without its other half.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut repaired = Cow::Borrowed(text);
    let mut at = 0;
    let next = |at| memchr::memchr(b'\\', text.as_bytes().get(at..)?);
    while let Some(found) = next(at) {
        at += found;
        match (surrogate(text, at), surrogate(text, at + ESCAPE)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 2 * ESCAPE,
            (Some(0xD800..=0xDFFF), _) => {
                repaired.to_mut().replace_range(at..at + ESCAPE, "\\ufffd");
                at += ESCAPE;
            }
            (_, _) => at += 2,
        }
    }
    repaired
}

/// The length of `\u` and its four digits.
const ESCAPE: usize = 6;

/// The unit of a `\u` escape at that place.
fn surrogate(text: &str, at: usize) -> Option<u16> {
    let digits = text.as_bytes().get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    unescape::hex(digits)
}
