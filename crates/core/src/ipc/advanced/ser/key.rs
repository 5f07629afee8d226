//! Keys of maps: what JavaScript can call a property.

use std::fmt;

use serde::ser::{self, Serialize};

use super::super::output::Output;
use super::{EncodeError, key};

/// Writes the key of a map.
pub(super) struct KeyEncoder<'s, 'o>(&'s mut Output<'o>);

impl<'s, 'o> KeyEncoder<'s, 'o> {
    pub(super) fn new(out: &'s mut Output<'o>) -> Self {
        Self(out)
    }

    /// JavaScript's name for it.
    fn named(self, name: impl fmt::Display) -> Result<(), EncodeError> {
        key(self.0, &name.to_string())
    }
}

type Never = ser::Impossible<(), EncodeError>;

impl ser::Serializer for KeyEncoder<'_, '_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        key(self.0, value)
    }

    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.named(value)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        key(self.0, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_f32(self, _value: f32) -> Result<(), EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_f64(self, _value: f64) -> Result<(), EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Never, EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_tuple(self, _length: usize) -> Result<Never, EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Never, EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Never, EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Never, EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Never, EncodeError> {
        Err(EncodeError::Key)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Never, EncodeError> {
        Err(EncodeError::Key)
    }
}
