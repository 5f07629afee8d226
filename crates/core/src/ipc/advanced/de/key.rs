//! Keys of objects: strings, from which a type may want integers.

use std::borrow::Cow;

use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::super::walk::RawKey;
use super::DecodeError;
use super::decoder::visit_text;

type Result<T> = std::result::Result<T, DecodeError>;

/// How JavaScript gets at the property.
pub(super) fn step(key: RawKey<'_>) -> String {
    match key {
        RawKey::Int(index) => format!("[{index}]"),
        RawKey::Text(text) => format!(".{}", text.to_str()),
    }
}

pub(super) struct KeyDeserializer<'de>(pub(super) RawKey<'de>);

impl<'de> KeyDeserializer<'de> {
    fn text(&self) -> Cow<'de, str> {
        match self.0 {
            RawKey::Int(index) => index.to_string().into(),
            RawKey::Text(text) => text.to_str(),
        }
    }
}

/// Maps may have integers as keys, which are strings in JavaScript.
macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self.text().parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for KeyDeserializer<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            RawKey::Int(index) => visitor.visit_string(index.to_string()),
            RawKey::Text(text) => visit_text(text, visitor),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_bool visit_bool bool
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(StrDeserializer::new(&self.text()))
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
