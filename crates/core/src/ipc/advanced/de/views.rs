//! The numbers in typed arrays.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::super::object::ViewKind;
use super::{DecodeError, DecodeProblem};

type Result<T> = std::result::Result<T, DecodeError>;

/// What a view shows, element by element; a `Buffer` byte by byte.
pub(super) struct ViewElements<'de> {
    kind: ViewKind,
    left: &'de [u8],
}

enum Element {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

impl<'de> Deserializer<'de> for Element {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Signed(value) => visitor.visit_i64(value),
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Float(value) => visitor.visit_f64(value),
        }
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

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> ViewElements<'de> {
    pub(super) fn new(kind: ViewKind, bytes: &'de [u8]) -> Self {
        Self { kind, left: bytes }
    }

    pub(super) fn finish(&self) -> Result<()> {
        if self.left.is_empty() {
            return Ok(());
        }
        let words = "more elements than the type has room for".to_owned();
        Err(DecodeProblem::Mismatch(words).into())
    }

    fn next(&mut self) -> Option<Element> {
        Some(match self.kind {
            ViewKind::Int8 => Element::Signed(i8::from_le_bytes(self.take()?).into()),
            ViewKind::Uint8 | ViewKind::Uint8Clamped | ViewKind::DataView | ViewKind::Buffer => {
                Element::Unsigned(u8::from_le_bytes(self.take()?).into())
            }
            ViewKind::Int16 => Element::Signed(i16::from_le_bytes(self.take()?).into()),
            ViewKind::Uint16 => Element::Unsigned(u16::from_le_bytes(self.take()?).into()),
            ViewKind::Int32 => Element::Signed(i32::from_le_bytes(self.take()?).into()),
            ViewKind::Uint32 => Element::Unsigned(u32::from_le_bytes(self.take()?).into()),
            ViewKind::BigInt64 => Element::Signed(i64::from_le_bytes(self.take()?)),
            ViewKind::BigUint64 => Element::Unsigned(u64::from_le_bytes(self.take()?)),
            ViewKind::Float16 => Element::Float(half(u16::from_le_bytes(self.take()?))),
            ViewKind::Float32 => Element::Float(f32::from_le_bytes(self.take()?).into()),
            ViewKind::Float64 => Element::Float(f64::from_le_bytes(self.take()?)),
        })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, left) = self.left.split_first_chunk::<N>()?;
        self.left = left;
        Some(*first)
    }
}

/// The half-precision number with these bits.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1_024.0;
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2.0_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2.0_f64.powi(i32::from(exponent) - 15),
    };
    sign * magnitude
}

impl<'de> SeqAccess<'de> for &mut ViewElements<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(element) = self.next() else {
            return Ok(None);
        };
        seed.deserialize(element).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len() / self.kind.element_size())
    }
}
