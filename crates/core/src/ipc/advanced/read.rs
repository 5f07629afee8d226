//! A message as a document.

use super::cursor::{Container, Cursor, ErrorPart, Fault, Token, Window};
use super::walk::{RawKey, Sink, Walk};
use super::{
    Array, ArrayBuffer, Boxed, Dialect, Document, ErrorValue, Key, Object, ObjectId, Properties,
    RegExp, SparseArray, Value, View, ViewBytes,
};
use crate::ipc::BadMessage;

/// How much of a peer's message is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and objects may nest. 1,024 unless said otherwise.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 1_024 }
    }
}

/// Reads a message. What comes after its value is ignored, as in Node.
///
/// The document takes memory in proportion to the bytes that are there (at
/// most some 50 times as much, for a message of nothing but empty objects),
/// never to a length that is claimed.
///
/// # Errors
///
/// [`BadMessage`]: not V8's format in a version from 13 to 16, cut off, a
/// reference to what has not come before, or nested too deeply.
pub fn read(bytes: &[u8], dialect: Dialect, limits: &Limits) -> Result<Document, BadMessage> {
    build(bytes, dialect, limits).map_err(|fault| fault.of(bytes))
}

fn build(bytes: &[u8], dialect: Dialect, limits: &Limits) -> Result<Document, Fault> {
    let mut cursor = Cursor::new(bytes, dialect)?;
    let mut builder = Builder::default();
    Walk::new(&mut cursor, limits.depth, 0).run(&mut builder)?;
    Ok(builder.document)
}

#[derive(Default)]
struct Builder {
    document: Document,
    /// What is being filled, innermost last.
    open: Vec<Open>,
    /// The key of the value that comes next; only the innermost can have one.
    key: Option<Key>,
}

struct Open {
    /// Where it goes when it is complete.
    id: ObjectId,
    object: Object,
    /// A map has got a key whose value is yet to come.
    half: bool,
}

impl Builder {
    /// Puts a value where it belongs.
    #[inline]
    fn put(&mut self, value: Value) {
        let Some(Open { object, half, .. }) = self.open.last_mut() else {
            self.document.root = value;
            return;
        };
        match (object, self.key.take()) {
            (Object::Plain(properties), Some(key)) => properties.push(key, value),
            (Object::Sparse(array), Some(key)) => array.properties.push(key, value),
            (Object::Array(array), Some(key)) => array.extra.push(key, value),
            (Object::Array(array), None) => array.items.push(Some(value)),
            (Object::Map(entries), None) if !*half => {
                entries.push((value, Value::Undefined));
                *half = true;
            }
            (Object::Map(entries), None) => {
                if let Some((_, own)) = entries.last_mut() {
                    *own = value;
                }
                *half = false;
            }
            (Object::Set(values), None) => values.push(value),
            (Object::Error(error), None) => error.cause = Some(value),
            (Object::Native(own), None) => *own = value,
            // The walk gives a key to what has keys, and nothing is put into the others.
            (Object::Plain(_) | Object::Sparse(_), None)
            | (Object::Map(_) | Object::Set(_) | Object::Error(_) | Object::Native(_), Some(_))
            | (Object::Date(_) | Object::RegExp(_) | Object::Boxed(_), _)
            | (Object::ArrayBuffer(_) | Object::View(_), _) => {}
        }
    }

    fn add(&mut self, object: Object) -> Value {
        self.document.add(object).into()
    }

    /// The value; with a window it is a view onto the buffer that it is.
    fn value(&mut self, token: Token<'_>, window: Option<Window>) -> Value {
        let value = match token {
            // The walk opens containers by `open`.
            Token::Undefined | Token::Open(..) => Value::Undefined,
            Token::Null => Value::Null,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Number(value) => Value::Number(value),
            Token::BigInt(digits) => Value::BigInt(digits.to_bigint()),
            Token::Text(text) => Value::String(text.to_js()),
            Token::Reference(id) => Value::Object(ObjectId(id)),
            Token::Date(value) => self.add(Object::Date(value)),
            Token::BoxedBool(value) => self.add(Object::Boxed(Boxed::Bool(value))),
            Token::BoxedNumber(value) => self.add(Object::Boxed(Boxed::Number(value))),
            Token::BoxedBigInt(digits) => {
                self.add(Object::Boxed(Boxed::BigInt(digits.to_bigint())))
            }
            Token::BoxedText(text) => self.add(Object::Boxed(Boxed::String(text.to_js()))),
            Token::RegExp { source, flags } => self.add(Object::RegExp(RegExp {
                source: source.to_js(),
                flags,
            })),
            Token::Buffer { bytes, max } => self.add(Object::ArrayBuffer(ArrayBuffer {
                bytes: bytes.to_vec(),
                max,
            })),
            Token::View { kind, bytes } => self.add(Object::View(View {
                kind,
                bytes: ViewBytes::Own(bytes.to_vec()),
            })),
        };
        match (window, &value) {
            (Some(window), Value::Object(buffer)) => self.add(Object::View(View {
                kind: window.kind,
                bytes: ViewBytes::Of {
                    buffer: *buffer,
                    offset: window.offset,
                    length: window.length,
                    tracks_length: window.tracks_length,
                    resizable: window.resizable,
                },
            })),
            (Some(_) | None, _) => value,
        }
    }
}

impl<'a> Sink<'a> for Builder {
    fn leaf(&mut self, token: Token<'a>, window: Option<Window>, _at: usize) {
        let value = self.value(token, window);
        self.put(value);
    }

    fn open(&mut self, container: Container, length: u32, _at: usize) {
        let object = match container {
            Container::Object => Object::Plain(Properties::new()),
            Container::Dense => Object::Array(Array::default()),
            Container::Sparse => Object::Sparse(SparseArray {
                length,
                properties: Properties::new(),
            }),
            Container::Map => Object::Map(Vec::new()),
            Container::Set => Object::Set(Vec::new()),
            Container::Error => Object::Error(Box::<ErrorValue>::default()),
            Container::Native => Object::Native(Value::Undefined),
        };
        // Keeps its place until it is complete: numbers go by the beginnings.
        let id = self.document.add(Object::Native(Value::Undefined));
        self.put(Value::Object(id));
        self.open.push(Open {
            id,
            object,
            half: false,
        });
    }

    fn key(&mut self, key: RawKey<'a>) {
        self.key = Some(match key {
            RawKey::Text(text) => text.to_js().into(),
            RawKey::Int(index) => match u32::try_from(index) {
                Ok(index) => index.into(),
                Err(_) => Key::Name(index.to_string().into()),
            },
        });
    }

    fn hole(&mut self) {
        if let Some(Open {
            object: Object::Array(array),
            ..
        }) = self.open.last_mut()
        {
            array.items.push(None);
        }
    }

    fn error_part(&mut self, part: ErrorPart<'a>) {
        let Some(Open {
            object: Object::Error(error),
            ..
        }) = self.open.last_mut()
        else {
            return;
        };
        match part {
            ErrorPart::Name(name) => error.name = name,
            ErrorPart::Message(text) => error.message = Some(text.to_js()),
            ErrorPart::Stack(text) => error.stack = Some(text.to_js()),
            ErrorPart::Cause | ErrorPart::End => {}
        }
    }

    fn close(&mut self) {
        if let Some(Open { id, object, .. }) = self.open.pop() {
            self.document.objects[id.index()] = object;
        }
    }

    fn buffer(&self, id: u32) -> Option<(usize, bool)> {
        match self.document.object(ObjectId(id))? {
            Object::ArrayBuffer(buffer) => Some((buffer.bytes.len(), buffer.max.is_some())),
            Object::Plain(_) | Object::Array(_) | Object::Sparse(_) | Object::Map(_) => None,
            Object::Set(_) | Object::Date(_) | Object::RegExp(_) | Object::Boxed(_) => None,
            Object::Error(_) | Object::View(_) | Object::Native(_) => None,
        }
    }
}
