//! A serializer for JSON texts.
//!
//! serde_json looks at a string byte by byte, which is most of the cost of a
//! large message. This one copies what needs no escape in long runs, and writes
//! numbers as JavaScript does.

use serde::Serialize;
use serde::ser::{self, Error as _};
use serde_json::Error;
use serde_json::ser::{CompactFormatter, Formatter};

use super::encode::JavaScript;
use super::scan::plain_until;

type Result<T = ()> = std::result::Result<T, Error>;

/// Under this name serde_json's `RawValue` shows its text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Appends values to a buffer.
pub(super) struct Serializer<'a> {
    pub(super) out: &'a mut Vec<u8>,
}

impl Serializer<'_> {
    fn again(&mut self) -> Serializer<'_> {
        Serializer { out: self.out }
    }

    fn number(self, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result {
        write(self.out).map_err(Error::io)
    }

    /// Begins `{"variant":`, which [`Compound::end`] of a variant closes.
    fn begin_variant(&mut self, variant: &str) {
        self.out.push(b'{');
        write_string(self.out, variant);
        self.out.push(b':');
    }
}

/// A string with its quotes, escaped as `JSON.stringify` does.
fn write_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut at = 0;
    loop {
        let stop = plain_until(bytes, at);
        out.extend_from_slice(&bytes[at..stop]);
        let Some(byte) = bytes.get(stop) else { break };
        write_escape(out, *byte);
        at = stop + 1;
    }
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

macro_rules! numbers {
    ($($method:ident: $type:ty, $formatter:ident, $write:ident;)*) => {$(
        fn $method(self, value: $type) -> Result {
            self.number(|out| $formatter.$write(out, value))
        }
    )*};
}

impl<'a> ser::Serializer for Serializer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    numbers! {
        serialize_i8: i8, CompactFormatter, write_i8;
        serialize_i16: i16, CompactFormatter, write_i16;
        serialize_i32: i32, CompactFormatter, write_i32;
        serialize_i64: i64, CompactFormatter, write_i64;
        serialize_i128: i128, CompactFormatter, write_i128;
        serialize_u8: u8, CompactFormatter, write_u8;
        serialize_u16: u16, CompactFormatter, write_u16;
        serialize_u32: u32, CompactFormatter, write_u32;
        serialize_u64: u64, CompactFormatter, write_u64;
        serialize_u128: u128, CompactFormatter, write_u128;
    }

    fn serialize_bool(self, value: bool) -> Result {
        self.number(|out| CompactFormatter.write_bool(out, value))
    }

    fn serialize_f32(self, value: f32) -> Result {
        if value.is_finite() {
            return self.number(|out| JavaScript.write_f32(out, value));
        }
        self.serialize_unit()
    }

    fn serialize_f64(self, value: f64) -> Result {
        if value.is_finite() {
            return self.number(|out| JavaScript.write_f64(out, value));
        }
        self.serialize_unit()
    }

    fn serialize_char(self, value: char) -> Result {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result {
        write_string(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        self.begin_variant(variant);
        value.serialize(self.again())?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>> {
        Ok(Compound::begin(self, b'[', b"]"))
    }

    fn serialize_tuple(self, length: usize) -> Result<Compound<'a>> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Compound<'a>> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>> {
        self.begin_variant(variant);
        Ok(Compound::begin(self, b'[', b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>> {
        Ok(Compound::begin(self, b'{', b"}"))
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Compound<'a>> {
        if name == RAW_VALUE {
            return Ok(Compound {
                serializer: self,
                place: Place::Raw,
                end: b"",
            });
        }
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>> {
        self.begin_variant(variant);
        Ok(Compound::begin(self, b'{', b"}}"))
    }
}

/// An array or object that has been begun.
pub(super) struct Compound<'a> {
    serializer: Serializer<'a>,
    place: Place,
    end: &'static [u8],
}

/// What comes before the next member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Later,
    /// The only member is a JSON text already.
    Raw,
}

impl<'a> Compound<'a> {
    fn begin(serializer: Serializer<'a>, open: u8, end: &'static [u8]) -> Self {
        serializer.out.push(open);
        Self {
            serializer,
            place: Place::First,
            end,
        }
    }

    fn next(&mut self) -> Serializer<'_> {
        if self.place == Place::Later {
            self.serializer.out.push(b',');
        }
        self.place = Place::Later;
        self.serializer.again()
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result {
        if self.place == Place::Raw {
            return value.serialize(Raw(self.serializer.out));
        }
        write_string(self.next().out, name);
        self.serializer.out.push(b':');
        value.serialize(self.serializer.again())
    }

    fn finish(self) -> Result {
        self.serializer.out.extend_from_slice(self.end);
        Ok(())
    }
}

macro_rules! arrays {
    ($($part:ident::$method:ident;)*) => {$(
        impl ser::$part for Compound<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                value.serialize(self.next())
            }

            fn end(self) -> Result {
                self.finish()
            }
        }
    )*};
}

arrays! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! structs {
    ($($part:ident;)*) => {$(
        impl ser::$part for Compound<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result {
                self.member(name, value)
            }

            fn end(self) -> Result {
                self.finish()
            }
        }
    )*};
}

structs! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        let serializer = self.next();
        let start = serializer.out.len();
        key.serialize(Serializer {
            out: &mut *serializer.out,
        })?;
        name_from(serializer.out, start)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.serializer.out.push(b':');
        value.serialize(self.serializer.again())
    }

    fn end(self) -> Result {
        self.finish()
    }
}

/// Makes a name of the value that was just written: what is no string gets quotes.
fn name_from(out: &mut Vec<u8>, start: usize) -> Result {
    match out.get(start) {
        Some(b'"') => {}
        Some(b'-' | b'0'..=b'9' | b't' | b'f') => {
            out.insert(start, b'"');
            out.push(b'"');
        }
        // Arrays, objects and nothing at all.
        _ => return Err(Error::custom("key must be a string")),
    }
    Ok(())
}

/// Takes a text that is JSON already.
struct Raw<'a>(&'a mut Vec<u8>);

macro_rules! refused {
    ($($method:ident($($argument:ty),*);)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result {
            Err(Error::custom("a raw value is a string"))
        }
    )*};
}

macro_rules! refused_compounds {
    ($($method:ident($($argument:ty),*) -> $part:ident;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<Self::$part> {
            Err(Error::custom("a raw value is a string"))
        }
    )*};
}

impl ser::Serializer for Raw<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = ser::Impossible<(), Error>;
    type SerializeTuple = ser::Impossible<(), Error>;
    type SerializeTupleStruct = ser::Impossible<(), Error>;
    type SerializeTupleVariant = ser::Impossible<(), Error>;
    type SerializeMap = ser::Impossible<(), Error>;
    type SerializeStruct = ser::Impossible<(), Error>;
    type SerializeStructVariant = ser::Impossible<(), Error>;

    /// A ready-made text may have newlines between its tokens, where a space is as good.
    fn serialize_str(self, text: &str) -> Result {
        let spaced = |byte| if byte == b'\n' { b' ' } else { byte };
        self.0.extend(text.bytes().map(spaced));
        Ok(())
    }

    refused! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    refused_compounds! {
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(&'static str, usize) -> SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result {
        Err(Error::custom("a raw value is a string"))
    }
}
