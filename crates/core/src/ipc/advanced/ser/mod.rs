//! Rust values as messages, through serde.

mod compound;
mod key;

use std::fmt;

use serde::ser::{self, Serialize};

use super::key::index_of;
use super::output::{Output, TooLong, length};
use super::value::MAX_SAFE;
use super::{BigInt, Dialect, ViewKind, tag};
use compound::{Elements, Members};

/// A Rust value that cannot be a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string, sequence or byte slice is longer than the format can say: 4 GiB.
    #[error("a value of the message is longer than 4 GiB")]
    TooLong,
    /// A key of a map is neither a string nor an integer (nor a `bool`, `char` or unit variant).
    #[error("a key of the message's map is no string and no integer")]
    Key,
    /// A sequence had another length than it said.
    #[error("a sequence of the message said that it has {said} elements and had {had}")]
    Length {
        /// What `serialize_seq` was told.
        said: u32,
        /// What came.
        had: u32,
    },
    /// What the value's `Serialize` said.
    #[error("{0}")]
    Custom(String),
}

impl From<TooLong> for EncodeError {
    fn from(TooLong: TooLong) -> Self {
        Self::TooLong
    }
}

impl ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

/// The value as a message. See [`to_writer`].
///
/// # Errors
///
/// [`EncodeError`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T, dialect: Dialect) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    to_writer(&mut out, value, dialect)?;
    Ok(out)
}

/// Appends the value as a message, without a [`Document`](super::Document) between.
///
/// | Rust | JavaScript |
/// |---|---|
/// | `None` | `undefined`, also as a field: `message.field === undefined` |
/// | `()`, unit structs, `serde_json::Value::Null` | `null` |
/// | integers up to 2^53 either way, floats | a number |
/// | integers beyond | a `bigint` |
/// | structs, maps | an object; its keys are strings or integers |
/// | sequences, tuples | an array |
/// | `serialize_bytes` | a `Buffer` |
/// | enums | as `serde_json` has them: `"Unit"`, `{ Variant: … }` |
///
/// # Errors
///
/// [`EncodeError`]; `out` is then as it was.
pub fn to_writer<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
    dialect: Dialect,
) -> Result<(), EncodeError> {
    let mut output = Output::new(out, dialect);
    let done = value.serialize(Encoder(&mut output));
    if done.is_err() {
        output.undo();
    }
    done
}

/// Writes one value.
struct Encoder<'s, 'o>(&'s mut Output<'o>);

impl<'s, 'o> Encoder<'s, 'o> {
    #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
    fn integer(self, value: i128) -> Result<(), EncodeError> {
        if let Ok(small) = i32::try_from(value) {
            self.0.int(small);
        } else if value.unsigned_abs() <= u128::from(MAX_SAFE) {
            self.0.number(value as f64);
        } else {
            self.0.bigint(tag::BIGINT, &BigInt::from(value))?;
        }
        Ok(())
    }

    fn array(self, said: Option<usize>) -> Result<Elements<'s, 'o>, EncodeError> {
        self.0.tag(tag::DENSE_ARRAY);
        let said = said.map(length).transpose()?;
        let place = match said {
            Some(said) => {
                self.0.varint(said);
                None
            }
            None => Some(self.0.reserve_varint()),
        };
        Ok(Elements::new(self.0, said.unwrap_or_default(), place))
    }

    fn object(self) -> Members<'s, 'o> {
        self.0.tag(tag::OBJECT);
        Members::new(self.0)
    }

    /// `{ variant:`
    fn variant(self, name: &str) -> Result<Self, EncodeError> {
        self.0.tag(tag::OBJECT);
        key(self.0, name)?;
        Ok(self)
    }
}

/// Ends what [`Encoder::variant`] began.
fn end_variant(out: &mut Output<'_>) {
    out.tag(tag::OBJECT_END);
    out.varint(1);
}

/// A key as V8 writes it: as a number if it is an index.
fn key(out: &mut Output<'_>, name: &str) -> Result<(), EncodeError> {
    match index_of(name.as_bytes()) {
        Some(index) => out.index(index),
        None => out.text(name)?,
    }
    Ok(())
}

impl<'s, 'o> ser::Serializer for Encoder<'s, 'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'s, 'o>;
    type SerializeTuple = Elements<'s, 'o>;
    type SerializeTupleStruct = Elements<'s, 'o>;
    type SerializeTupleVariant = Elements<'s, 'o>;
    type SerializeMap = Members<'s, 'o>;
    type SerializeStruct = Members<'s, 'o>;
    type SerializeStructVariant = Members<'s, 'o>;

    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.0.tag(if value { tag::TRUE } else { tag::FALSE });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.serialize_i32(i32::from(value))
    }

    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.serialize_i32(i32::from(value))
    }

    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.0.int(value);
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.integer(i128::from(value))
    }

    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        self.integer(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.serialize_i32(i32::from(value))
    }

    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_i32(i32::from(value))
    }

    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.integer(i128::from(value))
    }

    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.integer(i128::from(value))
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        match i128::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => Ok(self.0.bigint(tag::BIGINT, &BigInt::from(value))?),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        self.0.number(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        Ok(self.0.text(value)?)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        Ok(self.0.view(ViewKind::Buffer, value)?)
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.0.tag(tag::UNDEFINED);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.0.tag(tag::NULL);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let out = self.variant(variant)?.0;
        value.serialize(Encoder(out))?;
        end_variant(out);
        Ok(())
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Elements<'s, 'o>, EncodeError> {
        self.array(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Elements<'s, 'o>, EncodeError> {
        self.array(Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<Elements<'s, 'o>, EncodeError> {
        self.array(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Elements<'s, 'o>, EncodeError> {
        Ok(self.variant(variant)?.array(Some(length))?.in_variant())
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Members<'s, 'o>, EncodeError> {
        Ok(self.object())
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Members<'s, 'o>, EncodeError> {
        Ok(self.object())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Members<'s, 'o>, EncodeError> {
        Ok(self.variant(variant)?.object().in_variant())
    }
}
