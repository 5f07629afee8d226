//! Node's `advanced` messages: what `v8.serialize` writes, in Rust.
//!
//! A message is read into a [`Document`] (anything that JavaScript can send,
//! cycles too), or straight into a Rust type with [`from_slice`]; [`write()`]
//! and [`to_vec`] are the ways back. [`check`] only looks: it is what every
//! frame goes through when it arrives.
//!
//! Bytes here are the body of a frame, from `ff 0f` on; the length before it
//! belongs to [`frame`](super::frame). Versions 13 to 16 are read (Deno writes
//! 16), 15 is written, as by every Node from 18 to 26.
//!
//! # Examples
//!
//! ```
//! use procession_core::ipc::advanced::{self, Dialect, Document, Limits};
//!
//! let mut document = Document::default();
//! let buffer = document.add_buffer(*b"xyz");
//! let root = document.add_object([("name", "é".into()), ("body", buffer)]);
//! document.set_root(root);
//!
//! let mut bytes = Vec::new();
//! advanced::write(&document, Dialect::Ipc, &Default::default(), &mut bytes)?;
//! let again = advanced::read(&bytes, Dialect::Ipc, &Limits::default())?;
//! assert_eq!(again.get("name").and_then(|name| name.as_str()).as_deref(), Some("é"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Node
//!
//! Where V8 refuses and we do not: a key that an object has twice (the last
//! one counts here). Where we refuse and V8 does not: a fraction as a key, a
//! typed array with a part of an element at its end, a number of more than
//! five bytes where one to five do, and the value kinds that only mean
//! something inside one process (transferred buffers, shared memory, wasm).

mod bigint;
mod check;
mod cursor;
mod de;
mod document;
mod equal;
mod key;
mod object;
mod output;
mod read;
mod ser;
mod string;
mod tag;
mod value;
mod walk;
mod write;

#[cfg(test)]
mod tests;

pub use bigint::{BigInt, BigIntTooBig};
pub use check::check;
pub use de::{DecodeError, DecodeProblem, from_slice, from_slice_with};
pub use document::{Document, ValueRef};
pub use key::{Key, Properties};
pub use object::{
    Array, ArrayBuffer, Boxed, ErrorName, ErrorValue, Object, ObjectId, RegExp, SparseArray, View,
    ViewBytes, ViewKind,
};
pub use read::{Limits, read};
pub use ser::{EncodeError, to_vec, to_writer};
pub use string::JsString;
pub use value::Value;
pub use write::{ErrorOrder, WriteError, WriteOptions, write};

/// Whose bytes: they differ in how views and native objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The channel of `child_process`: `5c 00` and a type for a view, `5c 01` for a native object.
    #[default]
    Ipc,
    /// `v8.serialize` and `v8.deserialize`: `5c` and a type for a view.
    ///
    /// `56` (a view onto a buffer that was written before it) is read in both
    /// dialects, as V8 does, and written in this one.
    V8,
}
