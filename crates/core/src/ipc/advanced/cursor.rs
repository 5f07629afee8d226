//! The bytes of a message, one value's head at a time.
//!
//! Everything that reads ([`check`](super::check), [`read`](super::read),
//! [`from_slice`](super::from_slice)) takes the same tokens from here, so they
//! agree on what is well-formed. Strings and buffers are only cut out.

use super::object::{RegExp, ViewKind};
use super::string::latin1_to_str;
use super::{BigInt, Dialect, JsString, tag};
use crate::ipc::BadMessage;
use std::borrow::Cow;

/// What is wrong and where; becomes a [`BadMessage`] once nobody goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    offset: usize,
    wanted: &'static str,
}

impl Fault {
    pub(super) fn of(self, message: &[u8]) -> BadMessage {
        BadMessage::new(message, self.offset, self.wanted)
    }
}

/// A string as it stands in the message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text<'a> {
    Latin1(&'a [u8]),
    /// UTF-16, least significant byte first.
    Utf16(&'a [u8]),
    /// Hopefully UTF-8. Only old or foreign writers use it.
    Utf8(&'a [u8]),
}

impl<'a> Text<'a> {
    pub(super) fn to_js(self) -> JsString {
        match self {
            Self::Latin1(bytes) => JsString::from_latin1(bytes),
            Self::Utf16(bytes) => JsString::from_utf16(units(bytes).collect::<Vec<u16>>()),
            Self::Utf8(bytes) => JsString::from(&*String::from_utf8_lossy(bytes)),
        }
    }

    /// As Rust's text: U+FFFD for what it cannot hold.
    pub(super) fn to_str(self) -> Cow<'a, str> {
        match self {
            Self::Latin1(bytes) => latin1_to_str(bytes),
            Self::Utf8(bytes) => String::from_utf8_lossy(bytes),
            Self::Utf16(bytes) => char::decode_utf16(units(bytes))
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect::<String>()
                .into(),
        }
    }

    /// Whether it begins with these ASCII letters and goes on after them.
    #[inline]
    pub(super) fn goes_beyond(self, prefix: &str) -> bool {
        match self {
            Self::Latin1(bytes) | Self::Utf8(bytes) => {
                bytes.len() > prefix.len() && bytes.starts_with(prefix.as_bytes())
            }
            Self::Utf16(bytes) => {
                bytes.len() / 2 > prefix.len()
                    && units(bytes)
                        .zip(prefix.encode_utf16())
                        .all(|(unit, wanted)| unit == wanted)
            }
        }
    }

    #[inline]
    pub(super) fn is(self, ascii: &str) -> bool {
        match self {
            Self::Latin1(bytes) | Self::Utf8(bytes) => bytes == ascii.as_bytes(),
            Self::Utf16(bytes) => units(bytes).eq(ascii.encode_utf16()),
        }
    }
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_le_bytes(*pair))
}

/// A `bigint` as it stands in the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digits<'a> {
    negative: bool,
    bytes: &'a [u8],
}

impl Digits<'_> {
    pub(super) fn to_bigint(self) -> BigInt {
        BigInt::from_le_bytes(self.negative, self.bytes)
    }
}

/// What holds others; [`Walk`](super::walk) knows where each ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Dense,
    Sparse,
    Map,
    Set,
    Error,
    Native,
}

/// A value, or how it begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token<'a> {
    Undefined,
    Null,
    Bool(bool),
    Int(i32),
    Number(f64),
    BigInt(Digits<'a>),
    Text(Text<'a>),
    Reference(u32),
    Date(f64),
    BoxedBool(bool),
    BoxedNumber(f64),
    BoxedBigInt(Digits<'a>),
    BoxedText(Text<'a>),
    RegExp {
        source: Text<'a>,
        flags: u16,
    },
    Buffer {
        bytes: &'a [u8],
        max: Option<u32>,
    },
    View {
        kind: ViewKind,
        bytes: &'a [u8],
    },
    /// The length is that of an array, else 0.
    Open(Container, u32),
}

/// V8's own view tag, behind a buffer or a reference to one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) kind: ViewKind,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) tracks_length: bool,
    pub(super) resizable: bool,
}

impl Window {
    /// What it shows of its buffer.
    pub(super) fn of(self, buffer: &[u8]) -> &[u8] {
        let rest = buffer.get(self.offset as usize..).unwrap_or_default();
        let size = self.kind.element_size();
        let length = if self.tracks_length {
            rest.len() / size * size
        } else {
            self.length as usize
        };
        rest.get(..length).unwrap_or_default()
    }

    /// Whether a buffer of that length has this part.
    fn fits(self, length: usize, resizable: bool) -> bool {
        let size = self.kind.element_size();
        let (from, own) = (self.offset as usize, self.length as usize);
        from.is_multiple_of(size)
            && own.is_multiple_of(size)
            && from <= length
            && own <= length - from
            && (resizable || !(self.tracks_length || self.resizable))
    }
}

/// Where an error's parts are.
#[derive(Debug, Clone, Copy)]
pub(super) enum ErrorPart<'a> {
    Name(super::ErrorName),
    Message(Text<'a>),
    Stack(Text<'a>),
    /// The cause follows as a value.
    Cause,
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    version: u32,
}

impl<'a> Cursor<'a> {
    /// Reads the header.
    pub(super) fn new(bytes: &'a [u8], dialect: Dialect) -> Result<Self, Fault> {
        let mut cursor = Self {
            bytes,
            at: 0,
            dialect,
            version: 0,
        };
        match bytes.first() {
            Some(&tag::VERSION) => cursor.at = 1,
            Some(1 | 2) => {
                return Err(cursor.fault(
                    "`ff 0f`, with which Node's advanced messages begin \
                     (this is Bun's own format; use json with Bun)",
                ));
            }
            Some(_) | None => {
                return Err(cursor.fault("`ff 0f`, with which Node's advanced messages begin"));
            }
        }
        cursor.version = cursor.varint("V8's version 13 to 16")?;
        if !tag::READ.contains(&cursor.version) {
            return Err(cursor.fault_at(1, "V8's version 13 to 16"));
        }
        Ok(cursor)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn message(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn fault(&self, wanted: &'static str) -> Fault {
        self.fault_at(self.at, wanted)
    }

    pub(super) fn fault_at(&self, offset: usize, wanted: &'static str) -> Fault {
        Fault { offset, wanted }
    }

    /// The next byte that is no padding, not taken.
    #[inline(always)]
    pub(super) fn peek(&mut self, wanted: &'static str) -> Result<u8, Fault> {
        loop {
            match self.bytes.get(self.at) {
                Some(&tag::PADDING) => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.fault(wanted)),
            }
        }
    }

    /// Takes the byte that [`peek`](Self::peek) saw.
    #[inline]
    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// Takes that tag if it is next.
    #[inline(always)]
    pub(super) fn take_tag(&mut self, tag: u8, wanted: &'static str) -> Result<bool, Fault> {
        let found = self.peek(wanted)? == tag;
        self.at += usize::from(found);
        Ok(found)
    }

    #[inline(always)]
    pub(super) fn varint(&mut self, wanted: &'static str) -> Result<u32, Fault> {
        match self.bytes.get(self.at) {
            Some(byte) if byte & 0x80 == 0 => {
                self.at += 1;
                Ok(u32::from(*byte))
            }
            Some(_) | None => self.long_varint(wanted),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self, wanted: &'static str) -> Result<u32, Fault> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(self.fault(wanted));
            };
            value |= u64::from(byte & 0x7f) << shift;
            self.at += 1;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| self.fault_at(self.at - 1, wanted));
            }
        }
        Err(self.fault_at(self.at - 1, wanted))
    }

    /// Takes the number, which is to be this one.
    pub(super) fn expect(&mut self, count: u32, wanted: &'static str) -> Result<(), Fault> {
        let at = self.at;
        if self.varint(wanted)? == count {
            Ok(())
        } else {
            Err(self.fault_at(at, wanted))
        }
    }

    fn double(&mut self) -> Result<f64, Fault> {
        let Some(bytes) = self.bytes[self.at..].first_chunk::<8>() else {
            return Err(self.fault_at(self.bytes.len(), "the 8 bytes of a number"));
        };
        self.at += bytes.len();
        Ok(f64::from_le_bytes(*bytes))
    }

    #[inline(always)]
    fn cut(&mut self, length: u32, wanted: &'static str) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let Some(bytes) = rest.get(..length as usize) else {
            return Err(self.fault_at(self.bytes.len(), wanted));
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    /// A string that has to be one.
    pub(super) fn text(&mut self) -> Result<Text<'a>, Fault> {
        let tag = self.peek("a string")?;
        let at = self.at;
        self.skip();
        match self.text_of(tag)? {
            Some(text) => Ok(text),
            None => Err(self.fault_at(at, "a string")),
        }
    }

    #[inline]
    fn text_of(&mut self, tag: u8) -> Result<Option<Text<'a>>, Fault> {
        let kind = match tag {
            tag::ONE_BYTE_STRING => Text::Latin1,
            tag::TWO_BYTE_STRING => Text::Utf16,
            tag::UTF8_STRING => Text::Utf8,
            _ => return Ok(None),
        };
        let at = self.at;
        let length = self.varint("the length of a string")?;
        if tag == tag::TWO_BYTE_STRING && length % 2 == 1 {
            return Err(self.fault_at(at, "an even number of bytes"));
        }
        Ok(Some(kind(self.cut(length, "the rest of a string")?)))
    }

    fn digits(&mut self) -> Result<Digits<'a>, Fault> {
        let bits = self.varint("the length of a bigint")?;
        Ok(Digits {
            negative: bits & 1 == 1,
            bytes: self.cut(bits >> 1, "the rest of a bigint")?,
        })
    }

    /// Takes a value that is whole in itself, or the beginning of one that holds others.
    #[inline]
    pub(super) fn token(&mut self) -> Result<Token<'a>, Fault> {
        match self.plain_token()? {
            Some(token) => Ok(token),
            None => self.other_token(),
        }
    }

    /// Takes a value if it is one of the commonest, which have no number.
    ///
    /// Told where they are wanted, so that they travel in registers: a message
    /// is mostly these.
    #[inline(always)]
    pub(super) fn plain_token(&mut self) -> Result<Option<Token<'a>>, Fault> {
        let Some(tag) = self.bytes.get(self.at) else {
            return Err(self.fault("a value"));
        };
        let token = match *tag {
            tag::ONE_BYTE_STRING => {
                self.at += 1;
                let length = self.varint("the length of a string")?;
                Token::Text(Text::Latin1(self.cut(length, "the rest of a string")?))
            }
            tag::INT32 => {
                self.at += 1;
                Token::Int(zigzag(self.varint("a number")?))
            }
            tag::UNDEFINED => self.taken(Token::Undefined),
            tag::NULL => self.taken(Token::Null),
            tag::TRUE => self.taken(Token::Bool(true)),
            tag::FALSE => self.taken(Token::Bool(false)),
            _ => return Ok(None),
        };
        Ok(Some(token))
    }

    #[inline(always)]
    fn taken(&mut self, token: Token<'a>) -> Token<'a> {
        self.at += 1;
        token
    }

    #[inline(never)]
    pub(super) fn other_token(&mut self) -> Result<Token<'a>, Fault> {
        let tag = self.peek("a value")?;
        let at = self.at;
        self.skip();
        if let Some(text) = self.text_of(tag)? {
            return Ok(Token::Text(text));
        }
        Ok(match tag {
            tag::INT32 => Token::Int(zigzag(self.varint("a number")?)),
            tag::UINT32 => match self.varint("a number")? {
                small @ 0..=0x7fff_ffff => Token::Int(small.cast_signed()),
                big => Token::Number(f64::from(big)),
            },
            tag::DOUBLE => Token::Number(self.double()?),
            tag::OBJECT => Token::Open(Container::Object, 0),
            tag::UNDEFINED => Token::Undefined,
            tag::NULL => Token::Null,
            tag::TRUE => Token::Bool(true),
            tag::FALSE => Token::Bool(false),
            tag::REFERENCE => Token::Reference(self.varint("the number of an object")?),
            tag::DENSE_ARRAY => Token::Open(Container::Dense, self.dense_length()?),
            tag::SPARSE_ARRAY => {
                Token::Open(Container::Sparse, self.varint("the length of an array")?)
            }
            tag::MAP => Token::Open(Container::Map, 0),
            tag::SET => Token::Open(Container::Set, 0),
            tag::ERROR => Token::Open(Container::Error, 0),
            tag::HOST_OBJECT => self.host_object()?,
            _ => self.leaf_object(tag, at)?,
        })
    }

    /// An element takes a byte at least, so that a length cannot claim what is not there.
    fn dense_length(&mut self) -> Result<u32, Fault> {
        let at = self.at;
        let length = self.varint("the length of an array")?;
        if length as usize > self.bytes.len() - self.at {
            return Err(self.fault_at(at, "the length of an array that is all there"));
        }
        Ok(length)
    }

    fn leaf_object(&mut self, tag: u8, at: usize) -> Result<Token<'a>, Fault> {
        Ok(match tag {
            tag::BIGINT => Token::BigInt(self.digits()?),
            tag::DATE => Token::Date(self.double()?),
            tag::TRUE_OBJECT => Token::BoxedBool(true),
            tag::FALSE_OBJECT => Token::BoxedBool(false),
            tag::NUMBER_OBJECT => Token::BoxedNumber(self.double()?),
            tag::BIGINT_OBJECT => Token::BoxedBigInt(self.digits()?),
            tag::STRING_OBJECT => Token::BoxedText(self.text()?),
            tag::REGEXP => {
                let source = self.text()?;
                let at = self.at;
                let flags = self.varint("the flags of a regular expression")?;
                match u16::try_from(flags) {
                    Ok(flags) if u32::from(flags) < RegExp::FLAGS_END => {
                        Token::RegExp { source, flags }
                    }
                    Ok(_) | Err(_) => {
                        return Err(self.fault_at(at, "the flags of a regular expression"));
                    }
                }
            }
            tag::ARRAY_BUFFER => {
                let length = self.varint("the length of a buffer")?;
                Token::Buffer {
                    bytes: self.cut(length, "the rest of a buffer")?,
                    max: None,
                }
            }
            tag::RESIZABLE_ARRAY_BUFFER => {
                let length = self.varint("the length of a buffer")?;
                let at = self.at;
                let max = self.varint("the greatest length of a buffer")?;
                if max < length {
                    return Err(self.fault_at(at, "the greatest length of a buffer"));
                }
                Token::Buffer {
                    bytes: self.cut(length, "the rest of a buffer")?,
                    max: Some(max),
                }
            }
            _ => return Err(self.fault_at(at, "a value")),
        })
    }

    fn host_object(&mut self) -> Result<Token<'a>, Fault> {
        if self.dialect == Dialect::Ipc {
            let at = self.at;
            match self.varint("0 for a view or 1 for a native object")? {
                tag::IPC_VIEW => {}
                tag::IPC_NATIVE => return Ok(Token::Open(Container::Native, 0)),
                _ => return Err(self.fault_at(at, "0 for a view or 1 for a native object")),
            }
        }
        let at = self.at;
        let number = self.varint("the type of a view")?;
        let Some(kind) = ViewKind::ALL.get(number as usize) else {
            return Err(self.fault_at(at, "the type of a view"));
        };
        let at = self.at;
        let length = self.varint("the length of a view")?;
        if !(length as usize).is_multiple_of(kind.element_size()) {
            return Err(self.fault_at(at, "a length of whole elements"));
        }
        Ok(Token::View {
            kind: *kind,
            bytes: self.cut(length, "the rest of a view")?,
        })
    }

    /// Whether V8's view tag comes next. The end of the message is no fault here.
    #[inline]
    pub(super) fn at_window(&mut self) -> bool {
        let mut at = self.at;
        while self.bytes.get(at) == Some(&tag::PADDING) {
            at += 1;
        }
        let found = self.bytes.get(at) == Some(&tag::VIEW);
        if found {
            self.at = at;
        }
        found
    }

    /// Takes V8's view onto a buffer of that length.
    pub(super) fn window(&mut self, length: usize, resizable: bool) -> Result<Window, Fault> {
        let at = self.at;
        self.skip();
        let letter = self.varint("the letter of a view")?;
        let kind = u8::try_from(letter).ok().and_then(ViewKind::of_letter);
        let Some(kind) = kind else {
            return Err(self.fault_at(at + 1, "the letter of a view"));
        };
        let offset = self.varint("the offset of a view")?;
        let own = self.varint("the length of a view")?;
        let flags = if self.version >= 14 {
            self.varint("the flags of a view")?
        } else {
            0
        };
        let window = Window {
            kind,
            offset,
            length: own,
            tracks_length: flags & 1 == 1,
            resizable: flags & 2 == 2,
        };
        if flags < 4 && window.fits(length, resizable) {
            Ok(window)
        } else {
            Err(self.fault_at(at, "a view onto its buffer"))
        }
    }

    /// Takes the next part of an error. Its letters have no padding before them.
    pub(super) fn error_part(&mut self) -> Result<ErrorPart<'a>, Fault> {
        const WANTED: &str = "a part of an error";
        let Some(letter) = self.bytes.get(self.at).copied() else {
            return Err(self.fault(WANTED));
        };
        let at = self.at;
        self.skip();
        match letter {
            tag::ERROR_MESSAGE => self.text().map(ErrorPart::Message),
            tag::ERROR_STACK => self.text().map(ErrorPart::Stack),
            tag::ERROR_CAUSE => Ok(ErrorPart::Cause),
            tag::ERROR_END => Ok(ErrorPart::End),
            _ => match super::ErrorName::of_letter(letter) {
                Some(name) => Ok(ErrorPart::Name(name)),
                None => Err(self.fault_at(at, WANTED)),
            },
        }
    }
}

fn zigzag(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
