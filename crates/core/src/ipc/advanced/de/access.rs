//! What is in arrays, objects, maps, sets and errors, one after another.

use serde::de::value::{StrDeserializer, UnitDeserializer};
use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::super::cursor::{Container, ErrorPart, Fault, Text};
use super::super::walk::RawKey;
use super::super::{ErrorName, tag};
use super::decoder::{Decoder, visit_text};
use super::key::{KeyDeserializer, step};
use super::{DecodeError, DecodeProblem};

type Result<T> = std::result::Result<T, DecodeError>;

/// A type that stopped before the end: it has room for fewer.
fn more_than_wanted(what: &str) -> DecodeError {
    DecodeProblem::Mismatch(format!("more {what} than the type has room for")).into()
}

/// The properties of an object.
pub(super) struct Properties<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    end: u8,
    count: u32,
    key: Option<RawKey<'de>>,
    ended: bool,
}

impl<'d, 'de> Properties<'d, 'de> {
    pub(super) fn new(decoder: &'d mut Decoder<'de>, end: u8) -> Self {
        Self {
            decoder,
            end,
            count: 0,
            key: None,
            ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<RawKey<'de>>> {
        let found = self.take();
        self.key = found.map_err(|fault| self.decoder.fault(fault))?;
        Ok(self.key)
    }

    fn take(&mut self) -> std::result::Result<Option<RawKey<'de>>, Fault> {
        let cursor = &mut self.decoder.cursor;
        if !self.ended && !cursor.take_tag(self.end, "a property")? {
            self.count = self.count.wrapping_add(1);
            return cursor.key().map(Some);
        }
        if !self.ended {
            cursor.expect(self.count, "the number of its properties")?;
        }
        self.ended = true;
        Ok(None)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        match self.next()? {
            None => Ok(()),
            Some(_) => Err(more_than_wanted("properties")),
        }
    }

    fn step(&self) -> String {
        self.key.map(step).unwrap_or_default()
    }
}

impl<'de> MapAccess<'de> for &mut Properties<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        match self.next()? {
            Some(key) => seed.deserialize(KeyDeserializer(key)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let value = self.decoder.seed(seed);
        value.map_err(|error| error.under(&self.step()))
    }
}

impl<'de> EnumAccess<'de> for &mut Properties<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        match self.next()? {
            Some(key) => Ok((seed.deserialize(KeyDeserializer(key))?, self)),
            None => Err(de::Error::custom("an object without the name of a variant")),
        }
    }
}

impl<'de> VariantAccess<'de> for &mut Properties<'_, 'de> {
    type Error = DecodeError;

    fn unit_variant(mut self) -> Result<()> {
        self.next_value()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<T::Value> {
        self.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value> {
        let value = de::Deserializer::deserialize_tuple(&mut *self.decoder, length, visitor);
        value.map_err(|error| error.under(&self.step()))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let value = de::Deserializer::deserialize_struct(&mut *self.decoder, "", fields, visitor);
        value.map_err(|error| error.under(&self.step()))
    }
}

/// The entries of a `Map`.
pub(super) struct Members<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    count: u32,
    ended: bool,
}

impl<'d, 'de> Members<'d, 'de> {
    pub(super) fn new(decoder: &'d mut Decoder<'de>) -> Self {
        Self {
            decoder,
            count: 0,
            ended: false,
        }
    }

    fn has_next(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let (cursor, count) = (&mut self.decoder.cursor, self.count);
        let ended = cursor.take_tag(tag::MAP_END, "a member").and_then(|ended| {
            if ended {
                cursor.expect(count, "the number of its members")?;
            }
            Ok(ended)
        });
        self.ended = ended.map_err(|fault| self.decoder.fault(fault))?;
        self.count = self.count.wrapping_add(2);
        Ok(!self.ended)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if self.has_next()? {
            Err(more_than_wanted("entries"))
        } else {
            Ok(())
        }
    }

    fn step(&self) -> String {
        format!("<entry {}>", (self.count / 2).saturating_sub(1))
    }
}

impl<'de> MapAccess<'de> for &mut Members<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if !self.has_next()? {
            return Ok(None);
        }
        let key = self.decoder.seed(seed);
        key.map(Some).map_err(|error| error.under(&self.step()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let value = self.decoder.seed(seed);
        value.map_err(|error| error.under(&self.step()))
    }
}

/// The elements of an array or members of a `Set`.
pub(super) struct Elements<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    container: Container,
    /// Of an array.
    length: u32,
    /// How many have been given out.
    index: u32,
    /// Properties that have been read: elements of a sparse array, and what an array has beside.
    properties: u32,
    /// Where the value goes that comes next in a sparse array.
    ahead: Option<u32>,
    ended: bool,
}

/// What comes next.
enum Next {
    Value,
    Hole,
    End,
}

impl<'d, 'de> Elements<'d, 'de> {
    pub(super) fn new(decoder: &'d mut Decoder<'de>, container: Container, length: u32) -> Self {
        Self {
            decoder,
            container,
            length,
            index: 0,
            properties: 0,
            ahead: None,
            ended: false,
        }
    }

    fn next(&mut self) -> Result<Next> {
        let next = match self.container {
            Container::Sparse => return self.next_sparse(),
            Container::Set => self.next_member(),
            Container::Dense
            | Container::Object
            | Container::Map
            | Container::Error
            | Container::Native => {
                if self.index == self.length {
                    while self.property(tag::DENSE_ARRAY_END)?.is_some() {
                        self.decoder.skip()?;
                    }
                    return Ok(Next::End);
                }
                let hole = self.decoder.cursor.take_tag(tag::HOLE, "an element");
                hole.map(|hole| if hole { Next::Hole } else { Next::Value })
            }
        };
        next.map_err(|fault| self.decoder.fault(fault))
    }

    fn next_member(&mut self) -> std::result::Result<Next, Fault> {
        if self.ended {
            return Ok(Next::End);
        }
        let cursor = &mut self.decoder.cursor;
        if !cursor.take_tag(tag::SET_END, "a member")? {
            return Ok(Next::Value);
        }
        cursor.expect(self.index, "the number of its members")?;
        self.ended = true;
        Ok(Next::End)
    }

    fn next_sparse(&mut self) -> Result<Next> {
        while self.ahead.is_none() && !self.ended {
            match self.property(tag::SPARSE_ARRAY_END)? {
                None => self.holes_before(self.length)?,
                Some(RawKey::Int(key)) => {
                    let index = u32::try_from(key).ok();
                    let Some(index) = index.filter(|at| (self.index..self.length).contains(at))
                    else {
                        return Err(de::Error::custom("elements of an array out of order"));
                    };
                    self.holes_before(index)?;
                    self.ahead = Some(index);
                }
                Some(RawKey::Text(_)) => self.decoder.skip()?,
            }
        }
        Ok(match self.ahead {
            Some(index) if index == self.index => {
                self.ahead = None;
                Next::Value
            }
            None if self.index == self.length => Next::End,
            Some(_) | None => Next::Hole,
        })
    }

    fn holes_before(&mut self, index: u32) -> Result<()> {
        self.decoder.holes(index - self.index)
    }

    /// The key of the next property, or nothing once the array has ended.
    fn property(&mut self, end: u8) -> Result<Option<RawKey<'de>>> {
        let key = self.take_property(end);
        key.map_err(|fault| self.decoder.fault(fault))
    }

    fn take_property(&mut self, end: u8) -> std::result::Result<Option<RawKey<'de>>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let cursor = &mut self.decoder.cursor;
        if !cursor.take_tag(end, "a property")? {
            self.properties = self.properties.wrapping_add(1);
            return cursor.key().map(Some);
        }
        cursor.expect(self.properties, "the number of its properties")?;
        cursor.expect(self.length, "the array's length once more")?;
        self.ended = true;
        Ok(None)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        match self.next()? {
            Next::End => Ok(()),
            Next::Value | Next::Hole => Err(more_than_wanted("elements")),
        }
    }
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let value = match self.next()? {
            Next::End => return Ok(None),
            Next::Hole => seed.deserialize(UnitDeserializer::new()),
            Next::Value => self.decoder.seed(seed),
        };
        let value =
            value.map_err(|error: DecodeError| error.under(&format!("[{}]", self.index)))?;
        self.index = self.index.wrapping_add(1);
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        // A sparse array may claim anything; a dense one is there.
        (self.container == Container::Dense).then_some((self.length - self.index) as usize)
    }
}

/// The parts of an error, as properties.
pub(super) struct ErrorParts<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    /// The part whose name has been given out; the one after it, if the name had to be made up.
    part: Option<ErrorPart<'de>>,
    after: Option<ErrorPart<'de>>,
    begun: bool,
}

impl<'d, 'de> ErrorParts<'d, 'de> {
    pub(super) fn new(decoder: &'d mut Decoder<'de>) -> Self {
        Self {
            decoder,
            part: None,
            after: None,
            begun: false,
        }
    }

    fn next(&mut self) -> Result<ErrorPart<'de>> {
        if let Some(ErrorPart::End) = self.part {
            return Ok(ErrorPart::End);
        }
        let part = match self.after.take() {
            Some(part) => part,
            None => {
                let part = self.decoder.cursor.error_part();
                part.map_err(|fault| self.decoder.fault(fault))?
            }
        };
        let named = self.begun || matches!(part, ErrorPart::Name(_));
        self.begun = true;
        // A plain `Error` has no name on the wire.
        let part = if named {
            part
        } else {
            self.after = Some(part);
            ErrorPart::Name(ErrorName::Error)
        };
        self.part = Some(part);
        Ok(part)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        match self.next()? {
            ErrorPart::End => Ok(()),
            ErrorPart::Name(_) | ErrorPart::Message(_) | ErrorPart::Stack(_) | ErrorPart::Cause => {
                Err(more_than_wanted("parts of an error"))
            }
        }
    }
}

impl<'de> MapAccess<'de> for &mut ErrorParts<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let name = match self.next()? {
            ErrorPart::Name(_) => "name",
            ErrorPart::Message(_) => "message",
            ErrorPart::Stack(_) => "stack",
            ErrorPart::Cause => "cause",
            ErrorPart::End => return Ok(None),
        };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        match self.part {
            Some(ErrorPart::Name(name)) => {
                seed.deserialize(TextDeserializer(Text::Latin1(name.as_str().as_bytes())))
            }
            Some(ErrorPart::Message(text) | ErrorPart::Stack(text)) => {
                seed.deserialize(TextDeserializer(text))
            }
            Some(ErrorPart::Cause) => self
                .decoder
                .seed(seed)
                .map_err(|error| error.under(".cause")),
            Some(ErrorPart::End) | None => Err(de::Error::custom("a value without a key")),
        }
    }
}

/// A string that has been cut out.
struct TextDeserializer<'de>(Text<'de>);

impl<'de> de::Deserializer<'de> for TextDeserializer<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visit_text(self.0, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
