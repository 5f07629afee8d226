//! The deserializer: where it is in the message, and what it has seen.

use serde::de::{self, DeserializeSeed, Deserializer, Visitor, value::StrDeserializer};
use serde::forward_to_deserialize_any;

use super::super::cursor::{Container, Cursor, Digits, Fault, Text, Token, Window};
use super::super::object::{RegExp, ViewKind};
use super::super::value::whole;
use super::super::walk::{Sink, Walk};
use super::super::{Dialect, tag};
use super::access::{Elements, ErrorParts, Members, Properties};
use super::views::ViewElements;
use super::{DecodeError, DecodeProblem, MORE_STACK, RED_ZONE};

type Result<T> = std::result::Result<T, DecodeError>;

/// What holes and copies may cost beside the message's own bytes.
const ALLOWANCE: usize = 1 << 16;
/// How many times its own length a message may be read again by references.
const REREADS: usize = 64;

pub(super) struct Decoder<'de> {
    pub(super) cursor: Cursor<'de>,
    /// Where each object begins that has been seen.
    starts: Vec<usize>,
    /// The number of the next object. Behind the end of `starts`, but for what is read again.
    next: usize,
    /// The containers around this place.
    open: Vec<usize>,
    max_depth: usize,
    /// Bytes that may still be read again.
    rereads: usize,
    /// Holes that may still be filled in.
    holes: usize,
}

/// A value that is whole in itself, or what begins.
struct Head<'de> {
    token: Token<'de>,
    /// Its number, if it is an object.
    id: usize,
    window: Option<Window>,
}

impl<'de> Decoder<'de> {
    pub(super) fn new(bytes: &'de [u8], dialect: Dialect, max_depth: usize) -> Result<Self> {
        let cursor = Cursor::new(bytes, dialect).map_err(|fault| bad(fault, bytes))?;
        Ok(Self {
            cursor,
            starts: Vec::new(),
            next: 0,
            open: Vec::new(),
            max_depth,
            rereads: ALLOWANCE.saturating_add(bytes.len().saturating_mul(REREADS)),
            holes: ALLOWANCE.saturating_add(bytes.len()),
        })
    }

    pub(super) fn fault(&self, fault: Fault) -> DecodeError {
        bad(fault, self.cursor.message())
    }

    /// The next byte that says what follows, not taken.
    pub(super) fn peek(&mut self) -> Result<u8> {
        self.cursor
            .peek("a value")
            .map_err(|fault| bad(fault, self.cursor.message()))
    }

    fn number(&mut self, at: usize) -> usize {
        let id = self.next;
        if id == self.starts.len() {
            self.starts.push(at);
        }
        self.next += 1;
        id
    }

    fn head(&mut self) -> Result<Head<'de>> {
        let at = self.cursor.at();
        let token = self.cursor.token().map_err(|fault| self.fault(fault))?;
        let mut id = self.next;
        let window = match token {
            Token::Undefined | Token::Null | Token::Bool(_) | Token::Int(_) => None,
            Token::Number(_) | Token::BigInt(_) | Token::Text(_) => None,
            Token::Reference(target) => {
                id = target as usize;
                if id >= self.next {
                    let wanted = "the number of an object that came before";
                    return Err(self.fault(self.cursor.fault_at(at, wanted)));
                }
                self.window_onto(target, at)?
            }
            Token::Buffer { bytes, max } => {
                id = self.number(at);
                self.window(bytes.len(), max.is_some(), at)?
            }
            Token::Date(_)
            | Token::BoxedBool(_)
            | Token::BoxedNumber(_)
            | Token::BoxedBigInt(_)
            | Token::BoxedText(_)
            | Token::RegExp { .. }
            | Token::View { .. }
            | Token::Open(..) => {
                id = self.number(at);
                None
            }
        };
        Ok(Head { token, id, window })
    }

    fn window_onto(&mut self, buffer: u32, at: usize) -> Result<Option<Window>> {
        if !self.cursor.at_window() {
            return Ok(None);
        }
        match self.buffer_bytes(buffer as usize) {
            Some((bytes, resizable)) => self.window(bytes.len(), resizable, at),
            None => Err(self.fault(self.cursor.fault("a value"))),
        }
    }

    fn window(&mut self, length: usize, resizable: bool, at: usize) -> Result<Option<Window>> {
        if !self.cursor.at_window() {
            return Ok(None);
        }
        let window = self
            .cursor
            .window(length, resizable)
            .map_err(|fault| self.fault(fault))?;
        self.number(at);
        Ok(Some(window))
    }

    /// The bytes of the `ArrayBuffer` with that number, and whether it is resizable.
    fn buffer_bytes(&self, id: usize) -> Option<(&'de [u8], bool)> {
        let start = *self.starts.get(id)?;
        if self.is_window(id) {
            return None;
        }
        let mut there = self.cursor.clone();
        there.go_to(start);
        match there.token().ok()? {
            Token::Buffer { bytes, max } => Some((bytes, max.is_some())),
            Token::Undefined
            | Token::Null
            | Token::Bool(_)
            | Token::Int(_)
            | Token::Number(_)
            | Token::BigInt(_)
            | Token::Text(_)
            | Token::Reference(_)
            | Token::Date(_)
            | Token::BoxedBool(_)
            | Token::BoxedNumber(_)
            | Token::BoxedBigInt(_)
            | Token::BoxedText(_)
            | Token::RegExp { .. }
            | Token::View { .. }
            | Token::Open(..) => None,
        }
    }

    /// A view that came with its buffer begins where the buffer does.
    fn is_window(&self, id: usize) -> bool {
        id > 0 && self.starts[id - 1] == self.starts[id]
    }

    /// Reads what has been read before, at another place: a copy.
    fn again<T>(&mut self, id: usize, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.open.contains(&id) {
            return Err(DecodeProblem::Cycle.into());
        }
        let (here, next) = (self.cursor.at(), self.next);
        let start = self.starts[id];
        self.cursor.go_to(start);
        self.next = id - usize::from(self.is_window(id));
        let value = read(self)?;
        self.spend(self.cursor.at().saturating_sub(start))?;
        self.cursor.go_to(here);
        self.next = next;
        Ok(value)
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let left = self.rereads.checked_sub(bytes);
        self.rereads = left.ok_or(DecodeProblem::TooManyReferences)?;
        Ok(())
    }

    /// Counts holes that are to be filled in.
    pub(super) fn holes(&mut self, count: u32) -> Result<()> {
        let left = self.holes.checked_sub(count as usize);
        self.holes = left.ok_or(DecodeProblem::TooManyHoles(count))?;
        Ok(())
    }

    /// Goes past the next value, however deep.
    pub(super) fn skip(&mut self) -> Result<()> {
        let next = u32::try_from(self.next).unwrap_or(u32::MAX);
        let mut cursor = self.cursor.clone();
        let done = Walk::new(&mut cursor, usize::MAX, next).run(&mut Skip(self));
        done.map_err(|fault| self.fault(fault))?;
        self.cursor = cursor;
        Ok(())
    }

    fn visit_head<V: Visitor<'de>>(&mut self, head: &Head<'de>, visitor: V) -> Result<V::Value> {
        match head.token {
            Token::Undefined | Token::Null => visitor.visit_unit(),
            Token::Bool(value) | Token::BoxedBool(value) => visitor.visit_bool(value),
            Token::Int(value) => visitor.visit_i64(i64::from(value)),
            Token::Number(value) | Token::BoxedNumber(value) => visit_number(value, visitor),
            Token::BigInt(digits) | Token::BoxedBigInt(digits) => visit_bigint(digits, visitor),
            Token::Text(text) | Token::BoxedText(text) => visit_text(text, visitor),
            Token::Date(value) => visitor.visit_f64(value),
            Token::RegExp { source, flags } => {
                let flags = RegExp {
                    source: source.to_js(),
                    flags,
                }
                .flags();
                visitor.visit_string(format!("/{}/{flags}", source.to_str()))
            }
            Token::View { kind, bytes } => visit_view(kind, bytes, visitor),
            Token::Buffer { bytes, .. } => visit_view(ViewKind::Buffer, bytes, visitor),
            Token::Reference(_) => self.again(head.id, |decoder| decoder.visit(visitor)),
            Token::Open(container, length) => self.within(head.id, |decoder| {
                decoder.visit_container(container, length, visitor)
            }),
        }
    }

    fn visit<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let head = self.head()?;
        match self.shown(&head)? {
            Some((kind, bytes)) => visit_view(kind, bytes, visitor),
            None => self.visit_head(&head, visitor),
        }
    }

    /// The memory that a buffer, or V8's own view onto one, shows; also one from before.
    fn shown(&mut self, head: &Head<'de>) -> Result<Option<(ViewKind, &'de [u8])>> {
        let (Token::Buffer { .. } | Token::Reference(_)) = head.token else {
            return Ok(None);
        };
        let Some((bytes, _)) = self.buffer_bytes(head.id) else {
            return Ok(None);
        };
        let shown = match head.window {
            None => (ViewKind::Buffer, bytes),
            Some(window) => (window.kind, window.of(bytes)),
        };
        if let Token::Reference(_) = head.token {
            self.spend(shown.1.len())?;
        }
        Ok(Some(shown))
    }

    /// Reads what is in a container.
    pub(super) fn within<T>(
        &mut self,
        id: usize,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if self.open.len() >= self.max_depth {
            return Err(DecodeProblem::TooDeep(self.max_depth).into());
        }
        self.open.push(id);
        let value = stacker::maybe_grow(RED_ZONE, MORE_STACK, || read(self))?;
        self.open.pop();
        Ok(value)
    }

    fn visit_container<V: Visitor<'de>>(
        &mut self,
        container: Container,
        length: u32,
        visitor: V,
    ) -> Result<V::Value> {
        match container {
            Container::Object => {
                let mut properties = Properties::new(self, tag::OBJECT_END);
                let value = visitor.visit_map(&mut properties)?;
                properties.finish()?;
                Ok(value)
            }
            Container::Map => {
                let mut members = Members::new(self);
                let value = visitor.visit_map(&mut members)?;
                members.finish()?;
                Ok(value)
            }
            Container::Error => {
                let mut parts = ErrorParts::new(self);
                let value = visitor.visit_map(&mut parts)?;
                parts.finish()?;
                Ok(value)
            }
            Container::Dense | Container::Sparse | Container::Set => {
                let mut elements = Elements::new(self, container, length);
                let value = visitor.visit_seq(&mut elements)?;
                elements.finish()?;
                Ok(value)
            }
            Container::Native => self.visit(visitor),
        }
    }

    /// An enum: its unit variant's name, or an object with the variant's name as its only key.
    fn visit_enum<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let head = self.head()?;
        match head.token {
            Token::Text(text) | Token::BoxedText(text) => {
                let name = text.to_str();
                visitor.visit_enum(StrDeserializer::new(&name))
            }
            Token::Reference(_) => self.again(head.id, |decoder| decoder.visit_enum(visitor)),
            Token::Open(Container::Object, _) => self.within(head.id, |decoder| {
                let mut properties = Properties::new(decoder, tag::OBJECT_END);
                let value = visitor.visit_enum(&mut properties)?;
                properties.finish()?;
                Ok(value)
            }),
            Token::Open(Container::Native, _) => {
                self.within(head.id, |decoder| decoder.visit_enum(visitor))
            }
            // serde's own words for what else it is.
            Token::Undefined
            | Token::Null
            | Token::Bool(_)
            | Token::Int(_)
            | Token::Number(_)
            | Token::BigInt(_)
            | Token::Date(_)
            | Token::BoxedBool(_)
            | Token::BoxedNumber(_)
            | Token::BoxedBigInt(_)
            | Token::RegExp { .. }
            | Token::Buffer { .. }
            | Token::View { .. }
            | Token::Open(
                Container::Dense
                | Container::Sparse
                | Container::Map
                | Container::Set
                | Container::Error,
                _,
            ) => self.visit_head(&head, visitor),
        }
    }

    /// Bytes: of anything that is a piece of memory, whatever its elements are.
    fn visit_bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let head = self.head()?;
        if let Some((_, bytes)) = self.shown(&head)? {
            return visitor.visit_borrowed_bytes(bytes);
        }
        if let Token::View { bytes, .. } = head.token {
            return visitor.visit_borrowed_bytes(bytes);
        }
        if let Token::Reference(_) = head.token {
            return self.again(head.id, |decoder| decoder.visit_bytes(visitor));
        }
        self.visit_head(&head, visitor)
    }

    fn visit_float<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let head = self.head()?;
        match head.token {
            Token::Int(value) => visitor.visit_f64(f64::from(value)),
            Token::Number(value) | Token::BoxedNumber(value) => visitor.visit_f64(value),
            Token::Reference(_) if head.window.is_none() => {
                self.again(head.id, |decoder| decoder.visit_float(visitor))
            }
            Token::Undefined
            | Token::Null
            | Token::Bool(_)
            | Token::BigInt(_)
            | Token::Text(_)
            | Token::Reference(_)
            | Token::Date(_)
            | Token::BoxedBool(_)
            | Token::BoxedBigInt(_)
            | Token::BoxedText(_)
            | Token::RegExp { .. }
            | Token::Buffer { .. }
            | Token::View { .. }
            | Token::Open(..) => self.visit_head(&head, visitor),
        }
    }

    pub(super) fn seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(self)
    }
}

fn bad(fault: Fault, message: &[u8]) -> DecodeError {
    DecodeProblem::Bad(fault.of(message)).into()
}

fn visit_number<'de, V: Visitor<'de>>(value: f64, visitor: V) -> Result<V::Value> {
    match whole(value) {
        Some(0) if value.is_sign_negative() => visitor.visit_f64(value),
        Some(value) => visitor.visit_i64(value),
        None => visitor.visit_f64(value),
    }
}

fn visit_bigint<'de, V: Visitor<'de>>(digits: Digits<'de>, visitor: V) -> Result<V::Value> {
    let value = digits.to_bigint();
    if let Ok(value) = i64::try_from(&value) {
        visitor.visit_i64(value)
    } else if let Ok(value) = u64::try_from(&value) {
        visitor.visit_u64(value)
    } else if let Ok(value) = i128::try_from(&value) {
        visitor.visit_i128(value)
    } else if let Ok(value) = u128::try_from(&value) {
        visitor.visit_u128(value)
    } else {
        Err(de::Error::invalid_value(
            de::Unexpected::Other("a bigint of more than 128 bits"),
            &visitor,
        ))
    }
}

pub(super) fn visit_text<'de, V: Visitor<'de>>(text: Text<'de>, visitor: V) -> Result<V::Value> {
    match text.to_str() {
        std::borrow::Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        std::borrow::Cow::Owned(text) => visitor.visit_string(text),
    }
}

fn visit_view<'de, V: Visitor<'de>>(
    kind: ViewKind,
    bytes: &'de [u8],
    visitor: V,
) -> Result<V::Value> {
    let mut elements = ViewElements::new(kind, bytes);
    let value = visitor.visit_seq(&mut elements)?;
    elements.finish()?;
    Ok(value)
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if matches!(self.peek()?, tag::UNDEFINED | tag::NULL) {
            self.cursor.skip();
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.visit_enum(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit_bytes(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit_bytes(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit_float(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit_float(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string unit unit_struct
        seq tuple tuple_struct map struct identifier
    }
}

/// Goes past values and only notes where objects begin.
struct Skip<'s, 'de>(&'s mut Decoder<'de>);

impl<'de> Sink<'de> for Skip<'_, 'de> {
    fn leaf(&mut self, token: Token<'de>, window: Option<Window>, at: usize) {
        match token {
            Token::Undefined | Token::Null | Token::Bool(_) | Token::Int(_) => {}
            Token::Number(_) | Token::BigInt(_) | Token::Text(_) | Token::Reference(_) => {}
            Token::Date(_)
            | Token::BoxedBool(_)
            | Token::BoxedNumber(_)
            | Token::BoxedBigInt(_)
            | Token::BoxedText(_)
            | Token::RegExp { .. }
            | Token::Buffer { .. }
            | Token::View { .. }
            | Token::Open(..) => {
                self.0.number(at);
            }
        }
        if window.is_some() {
            self.0.number(at);
        }
    }

    fn open(&mut self, _container: Container, _length: u32, at: usize) {
        self.0.number(at);
    }

    fn close(&mut self) {}

    fn buffer(&self, id: u32) -> Option<(usize, bool)> {
        let (bytes, resizable) = self.0.buffer_bytes(id as usize)?;
        Some((bytes.len(), resizable))
    }
}
