//! Messages as Rust values, through serde.

mod access;
mod decoder;
mod key;
mod views;

use std::fmt;

use serde::de::{self, Deserialize};

use super::{Dialect, Limits};
use crate::ipc::BadMessage;
use decoder::Decoder;

/// A level is a few calls on the stack: before less than this is left of it, it grows.
const RED_ZONE: usize = 64 * 1024;
/// By so much.
const MORE_STACK: usize = 1024 * 1024;

/// A message that is not what the Rust type wants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message{path}: {problem}")]
pub struct DecodeError {
    /// Where, as JavaScript would say it: `.jobs[3].id`; empty for the message itself.
    pub path: String,
    /// What is wrong there.
    pub problem: DecodeProblem,
}

/// What is wrong with a value of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeProblem {
    /// The bytes are no message.
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// It is another kind of value than the type has: serde's words.
    #[error("{0}")]
    Mismatch(String),
    /// The value contains itself, which Rust's values cannot.
    #[error("the value contains itself")]
    Cycle,
    /// Arrays and objects nest deeper than the limit.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// The same objects are referred to so often that copies of them would not be bounded.
    #[error("refers to the same objects too often")]
    TooManyReferences,
    /// An array has a great length and hardly an element.
    #[error("an array with {0} more holes than are filled in")]
    TooManyHoles(u32),
}

impl DecodeError {
    fn under(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

impl From<DecodeProblem> for DecodeError {
    fn from(problem: DecodeProblem) -> Self {
        Self {
            path: String::new(),
            problem,
        }
    }
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        DecodeProblem::Mismatch(message.to_string()).into()
    }
}

/// Reads a message into a Rust value, without a [`Document`](super::Document) between.
///
/// | JavaScript | Rust |
/// |---|---|
/// | `undefined`, `null` | `None`, `()` |
/// | a number that is whole | any integer or float that can hold it |
/// | a `bigint` | an integer, up to 128 bits |
/// | a string | text, U+FFFD for lone surrogates; borrowed if it is ASCII |
/// | `Date` | a float: milliseconds since 1970 |
/// | an object, `Map` | a struct or map |
/// | an array, `Set` | a sequence; a hole is `undefined` |
/// | a typed array | a sequence of numbers, or its bytes |
/// | `Buffer`, `ArrayBuffer`, `DataView` | bytes (borrowed), or a sequence of them |
/// | `RegExp` | text: `/source/flags` |
/// | an `Error` | a struct or map: `name`, `message`, `stack`, `cause` |
/// | boxed primitives, native objects | what is in them |
///
/// What an object refers to twice is there twice. Enums are as `serde_json`
/// has them.
///
/// # Errors
///
/// [`DecodeError`] with the path to what did not fit. A value that contains
/// itself is one; so is a message whose references would grow without bound.
pub fn from_slice<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    dialect: Dialect,
) -> Result<T, DecodeError> {
    from_slice_with(bytes, dialect, &Limits::default())
}

/// As [`from_slice`], to another depth.
///
/// # Errors
///
/// As [`from_slice`].
pub fn from_slice_with<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    dialect: Dialect,
    limits: &Limits,
) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(bytes, dialect, limits.depth)?;
    T::deserialize(&mut decoder)
}
