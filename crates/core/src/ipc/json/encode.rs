//! From Rust values to bytes.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use super::ser::Serializer;

/// A value that has no JSON text, such as a map whose keys are lists.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be a JSON message")]
pub struct EncodeError {
    #[source]
    reason: serde_json::Error,
}

/// Appends a value as one JSON text, without the newline that ends a frame.
///
/// Numbers look as JavaScript writes them (`1`, not `1.0`), what is no number
/// is `null`, and so are `None` and `()`. No byte of it is a newline.
///
/// # Errors
///
/// [`EncodeError`], and `out` is as it was before.
///
/// # Node
///
/// `JSON.stringify`, but for `undefined`: leave a member out with
/// `#[serde(skip_serializing_if)]`.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    if let Err(reason) = value.serialize(Serializer { out }) {
        out.truncate(start);
        return Err(EncodeError { reason });
    }
    Ok(())
}

/// JavaScript's numbers.
pub(super) struct JavaScript;

impl Formatter for JavaScript {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let size = value.abs();
        if size < EXACT && value.trunc() == value {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
            return CompactFormatter.write_i64(writer, value as i64);
        }
        match size {
            // Where both write it alike, serde_json is the faster.
            1e-4..EXACT => CompactFormatter.write_f64(writer, value),
            1e-6..1e21 => write!(writer, "{value}"),
            1e21.. => write!(writer, "{}", format!("{value:e}").replace('e', "e+")),
            _ => write!(writer, "{value:e}"),
        }
    }

    fn write_f32<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        if value.trunc() == value {
            return self.write_f64(writer, f64::from(value));
        }
        CompactFormatter.write_f32(writer, value)
    }
}
