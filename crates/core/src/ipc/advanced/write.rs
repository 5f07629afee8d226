//! A document as a message.

use std::slice;

use super::output::{Output, TooLong, length};
use super::{
    Array, Boxed, Dialect, Document, ErrorValue, JsString, Key, Object, ObjectId, Properties,
    RegExp, Value, View, ViewBytes, ViewKind, tag,
};

/// How a message is written where Nodes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// In which order an error's parts stand.
    pub errors: ErrorOrder,
}

/// In which order an error's cause and stack stand. Every reader takes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorOrder {
    /// As Node 22 and later write.
    #[default]
    StackFirst,
    /// As Node 18 and 20 write.
    CauseFirst,
}

/// A document that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A string, array or buffer is longer than the format can say: 4 GiB.
    #[error("a value of the message is longer than 4 GiB")]
    TooLong,
    /// A value refers to an object that the document does not have.
    #[error("the message refers to object {0:?}, which it does not have")]
    NoSuchObject(ObjectId),
    /// A view reaches beyond its buffer, or its buffer is none.
    #[error("a view of the message reaches beyond its buffer")]
    BadView,
    /// `v8.serialize` knows no native objects; only the channel does.
    #[error("a native object travels only over a channel")]
    NativeOutsideChannel,
}

impl From<TooLong> for WriteError {
    fn from(TooLong: TooLong) -> Self {
        Self::TooLong
    }
}

/// Appends the message to `out`, byte for byte as Node would write it.
///
/// Numbers and strings keep the kind in which they were read; always version 15.
///
/// # Errors
///
/// [`WriteError`]; `out` is then as it was.
///
/// # Node
///
/// V8 keeps an array as dense or sparse by its history, which a message does
/// not tell: what is written is what the document says ([`Object::Array`] or
/// [`Object::Sparse`]). The caller gives no message that Node's `send` refuses
/// at the top: `undefined` and `bigint`.
pub fn write(
    document: &Document,
    dialect: Dialect,
    options: &WriteOptions,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let mut writer = Writer {
        document,
        options: *options,
        out: Output::new(out, dialect),
        numbers: vec![None; document.objects.len()],
        next: 0,
        open: Vec::new(),
    };
    let done = writer.run();
    if done.is_err() {
        writer.out.undo();
    }
    done
}

struct Writer<'d, 'o> {
    document: &'d Document,
    options: WriteOptions,
    out: Output<'o>,
    /// What each object is called on the wire, once it has been written.
    numbers: Vec<Option<u32>>,
    next: u32,
    open: Vec<Open<'d>>,
}

/// What has begun and not ended: what is left of it.
enum Open<'d> {
    Properties {
        left: slice::Iter<'d, (Key, Value)>,
        end: u8,
        count: u32,
        /// Of an array.
        length: Option<u32>,
    },
    Items {
        left: slice::Iter<'d, Option<Value>>,
        array: &'d Array,
    },
    Entries {
        left: slice::Iter<'d, (Value, Value)>,
        /// The value of the key that has been written.
        value: Option<&'d Value>,
        count: u32,
    },
    Members {
        left: slice::Iter<'d, Value>,
        count: u32,
    },
    /// An error's cause, and its stack if that comes after it.
    Error {
        cause: Option<&'d Value>,
        stack: Option<&'d JsString>,
    },
    /// What Node sends of a native object.
    Native(Option<&'d Value>),
}

impl<'d> Writer<'d, '_> {
    fn run(&mut self) -> Result<(), WriteError> {
        if let Some(object) = self.value_or_object(&self.document.root)? {
            self.object(object)?;
        }
        while let Some(open) = self.open.pop() {
            self.proceed(open)?;
        }
        Ok(())
    }

    /// Writes on until the next value that holds others, or the end.
    fn proceed(&mut self, mut open: Open<'d>) -> Result<(), WriteError> {
        loop {
            let next = match &mut open {
                Open::Properties { left, .. } => match left.next() {
                    Some((key, value)) => {
                        self.out.key(key)?;
                        Some(value)
                    }
                    None => None,
                },
                Open::Items { left, .. } => match left.next() {
                    Some(Some(value)) => Some(value),
                    Some(None) => {
                        self.out.tag(tag::HOLE);
                        continue;
                    }
                    None => None,
                },
                Open::Entries { left, value, .. } => value.take().or_else(|| {
                    let (key, own) = left.next()?;
                    *value = Some(own);
                    Some(key)
                }),
                Open::Members { left, .. } => left.next(),
                Open::Error { cause, .. } => {
                    if cause.is_some() {
                        self.out.tag(tag::ERROR_CAUSE);
                    }
                    cause.take()
                }
                Open::Native(value) => value.take(),
            };
            let Some(value) = next else {
                return self.end(&open);
            };
            if let Some(object) = self.value_or_object(value)? {
                self.open.push(open);
                return self.object(object);
            }
        }
    }

    fn end(&mut self, open: &Open<'d>) -> Result<(), WriteError> {
        match open {
            Open::Properties {
                end, count, length, ..
            } => {
                self.out.tag(*end);
                self.out.varint(*count);
                if let Some(length) = length {
                    self.out.varint(*length);
                }
            }
            Open::Items { array, .. } => {
                let length = Some(length(array.items.len())?);
                self.properties(&array.extra, tag::DENSE_ARRAY_END, length)?;
            }
            Open::Entries { count, .. } => {
                self.out.tag(tag::MAP_END);
                self.out.varint(*count);
            }
            Open::Members { count, .. } => {
                self.out.tag(tag::SET_END);
                self.out.varint(*count);
            }
            Open::Error { stack, .. } => {
                self.error_text(tag::ERROR_STACK, *stack)?;
                self.out.tag(tag::ERROR_END);
            }
            Open::Native(_) => {}
        }
        Ok(())
    }

    /// Writes a primitive or a reference; gives back an object that has not been written before.
    fn value_or_object(&mut self, value: &'d Value) -> Result<Option<&'d Object>, WriteError> {
        match value {
            Value::Undefined => self.out.tag(tag::UNDEFINED),
            Value::Null => self.out.tag(tag::NULL),
            Value::Bool(true) => self.out.tag(tag::TRUE),
            Value::Bool(false) => self.out.tag(tag::FALSE),
            Value::Int(value) => self.out.int(*value),
            Value::Number(value) => self.out.tagged_double(tag::DOUBLE, *value),
            Value::BigInt(value) => self.out.bigint(tag::BIGINT, value)?,
            Value::String(value) => self.out.string(value)?,
            Value::Object(id) => return self.reference(*id),
        }
        Ok(None)
    }

    /// Writes a reference to an object, or numbers it and gives it back to be written.
    fn reference(&mut self, id: ObjectId) -> Result<Option<&'d Object>, WriteError> {
        let object = self
            .document
            .object(id)
            .ok_or(WriteError::NoSuchObject(id))?;
        if let Some(number) = self.numbers[id.index()] {
            self.out.tag(tag::REFERENCE);
            self.out.varint(number);
            return Ok(None);
        }
        // V8 writes the buffer before the view, and so numbers it first.
        if let Object::View(view) = object
            && let Some(buffer) = self.shared_buffer(view)
        {
            if self.document.view_bytes(view).is_none() {
                return Err(WriteError::BadView);
            }
            if let Some(Object::ArrayBuffer(buffer)) = self.reference(buffer)? {
                self.buffer(buffer)?;
            }
        }
        self.numbers[id.index()] = Some(self.next);
        self.next += 1;
        Ok(Some(object))
    }

    /// The buffer of which V8's own tag tells. Over a channel every view has bytes of its own.
    fn shared_buffer(&self, view: &View) -> Option<ObjectId> {
        match (&view.bytes, self.out.dialect) {
            (ViewBytes::Of { buffer, .. }, Dialect::V8) => Some(*buffer),
            (ViewBytes::Of { .. } | ViewBytes::Own(_), _) => None,
        }
    }

    /// Writes an object, or its beginning.
    fn object(&mut self, object: &'d Object) -> Result<(), WriteError> {
        match object {
            Object::Plain(properties) => {
                self.out.tag(tag::OBJECT);
                self.properties(properties, tag::OBJECT_END, None)?;
            }
            Object::Array(array) => {
                self.out.tag(tag::DENSE_ARRAY);
                self.out.varint(length(array.items.len())?);
                let left = array.items.iter();
                self.open.push(Open::Items { left, array });
            }
            Object::Sparse(array) => {
                self.out.tag(tag::SPARSE_ARRAY);
                self.out.varint(array.length);
                self.properties(&array.properties, tag::SPARSE_ARRAY_END, Some(array.length))?;
            }
            Object::Map(entries) => {
                self.out.tag(tag::MAP);
                self.open.push(Open::Entries {
                    left: entries.iter(),
                    value: None,
                    count: length(entries.len().saturating_mul(2))?,
                });
            }
            Object::Set(values) => {
                self.out.tag(tag::SET);
                self.open.push(Open::Members {
                    left: values.iter(),
                    count: length(values.len())?,
                });
            }
            Object::Date(value) => self.out.tagged_double(tag::DATE, *value),
            Object::RegExp(RegExp { source, flags }) => {
                self.out.tag(tag::REGEXP);
                self.out.string(source)?;
                self.out.varint(u32::from(*flags));
            }
            Object::Boxed(boxed) => self.boxed(boxed)?,
            Object::Error(error) => self.error(error)?,
            Object::ArrayBuffer(buffer) => self.buffer(buffer)?,
            Object::View(view) => self.view(view)?,
            Object::Native(value) => return self.native(value),
        }
        Ok(())
    }

    fn properties(
        &mut self,
        properties: &'d Properties,
        end: u8,
        of_array: Option<u32>,
    ) -> Result<(), WriteError> {
        self.open.push(Open::Properties {
            left: properties.iter(),
            end,
            count: length(properties.len())?,
            length: of_array,
        });
        Ok(())
    }

    fn native(&mut self, value: &'d Value) -> Result<(), WriteError> {
        if self.out.dialect == Dialect::V8 {
            return Err(WriteError::NativeOutsideChannel);
        }
        self.out.tag(tag::HOST_OBJECT);
        self.out.varint(tag::IPC_NATIVE);
        self.open.push(Open::Native(Some(value)));
        Ok(())
    }

    fn boxed(&mut self, boxed: &Boxed) -> Result<(), WriteError> {
        match boxed {
            Boxed::Bool(true) => self.out.tag(tag::TRUE_OBJECT),
            Boxed::Bool(false) => self.out.tag(tag::FALSE_OBJECT),
            Boxed::Number(value) => self.out.tagged_double(tag::NUMBER_OBJECT, *value),
            Boxed::BigInt(value) => self.out.bigint(tag::BIGINT_OBJECT, value)?,
            Boxed::String(value) => {
                self.out.tag(tag::STRING_OBJECT);
                self.out.string(value)?;
            }
        }
        Ok(())
    }

    fn error(&mut self, error: &'d ErrorValue) -> Result<(), WriteError> {
        self.out.tag(tag::ERROR);
        if let Some(letter) = error.name.letter() {
            self.out.tag(letter);
        }
        self.error_text(tag::ERROR_MESSAGE, error.message.as_ref())?;
        let stack = error.stack.as_ref();
        let stack = match self.options.errors {
            ErrorOrder::StackFirst => {
                self.error_text(tag::ERROR_STACK, stack)?;
                None
            }
            ErrorOrder::CauseFirst => stack,
        };
        let cause = error.cause.as_ref();
        self.open.push(Open::Error { cause, stack });
        Ok(())
    }

    fn error_text(&mut self, letter: u8, text: Option<&JsString>) -> Result<(), WriteError> {
        if let Some(text) = text {
            self.out.tag(letter);
            self.out.string(text)?;
        }
        Ok(())
    }

    fn buffer(&mut self, buffer: &super::ArrayBuffer) -> Result<(), WriteError> {
        let own = length(buffer.bytes.len())?;
        match buffer.max {
            Some(max) => {
                self.out.tag(tag::RESIZABLE_ARRAY_BUFFER);
                self.out.varint(own);
                self.out.varint(max.max(own));
            }
            None => {
                self.out.tag(tag::ARRAY_BUFFER);
                self.out.varint(own);
            }
        }
        self.out.bytes(&buffer.bytes);
        Ok(())
    }

    fn view(&mut self, view: &View) -> Result<(), WriteError> {
        if let ViewBytes::Of {
            offset,
            length,
            tracks_length,
            resizable,
            ..
        } = &view.bytes
            && self.out.dialect == Dialect::V8
        {
            self.out.tag(tag::VIEW);
            self.out.varint(u32::from(view.kind.letter()));
            self.out.varint(*offset);
            self.out.varint(*length);
            self.out
                .varint(u32::from(*tracks_length) | u32::from(*resizable) << 1);
            return Ok(());
        }
        let bytes = self.document.view_bytes(view).ok_or(WriteError::BadView)?;
        if !bytes
            .len()
            .is_multiple_of(ViewKind::element_size(view.kind))
        {
            return Err(WriteError::BadView);
        }
        Ok(self.out.view(view.kind, bytes)?)
    }
}
