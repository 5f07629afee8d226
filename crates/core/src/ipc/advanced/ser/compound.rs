//! Arrays and objects that are being written.

use serde::ser::{self, Serialize};

use super::super::output::Output;
use super::super::tag;
use super::key::KeyEncoder;
use super::{EncodeError, Encoder, end_variant, key};

/// An array that has begun.
pub(in super::super) struct Elements<'s, 'o> {
    out: &'s mut Output<'o>,
    said: u32,
    /// Where its length is to stand, if it was not known.
    place: Option<usize>,
    had: u32,
    in_variant: bool,
}

impl<'s, 'o> Elements<'s, 'o> {
    pub(super) fn new(out: &'s mut Output<'o>, said: u32, place: Option<usize>) -> Self {
        Self {
            out,
            said,
            place,
            had: 0,
            in_variant: false,
        }
    }

    /// `{ Variant: [` has begun, not only `[`.
    pub(super) fn in_variant(self) -> Self {
        Self {
            in_variant: true,
            ..self
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.had = self.had.checked_add(1).ok_or(EncodeError::TooLong)?;
        value.serialize(Encoder(self.out))
    }

    fn finish(self) -> Result<(), EncodeError> {
        match self.place {
            Some(place) => self.out.fill_varint(place, self.had),
            None if self.said != self.had => {
                let (said, had) = (self.said, self.had);
                return Err(EncodeError::Length { said, had });
            }
            None => {}
        }
        self.out.tag(tag::DENSE_ARRAY_END);
        self.out.varint(0);
        self.out.varint(self.had);
        if self.in_variant {
            end_variant(self.out);
        }
        Ok(())
    }
}

/// An object that has begun.
pub(in super::super) struct Members<'s, 'o> {
    out: &'s mut Output<'o>,
    count: u32,
    in_variant: bool,
}

impl<'s, 'o> Members<'s, 'o> {
    pub(super) fn new(out: &'s mut Output<'o>) -> Self {
        Self {
            out,
            count: 0,
            in_variant: false,
        }
    }

    /// `{ Variant: {` has begun, not only `{`.
    pub(super) fn in_variant(self) -> Self {
        Self {
            in_variant: true,
            ..self
        }
    }

    fn begin(&mut self) -> Result<(), EncodeError> {
        self.count = self.count.checked_add(1).ok_or(EncodeError::TooLong)?;
        Ok(())
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        self.begin()?;
        key(self.out, name)?;
        value.serialize(Encoder(self.out))
    }

    fn finish(self) {
        self.out.tag(tag::OBJECT_END);
        self.out.varint(self.count);
        if self.in_variant {
            end_variant(self.out);
        }
    }
}

impl ser::SerializeSeq for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTuple for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Elements<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.begin()?;
        key.serialize(KeyEncoder::new(self.out))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Encoder(self.out))
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeStruct for Members<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeStructVariant for Members<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish();
        Ok(())
    }
}
