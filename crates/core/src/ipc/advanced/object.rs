//! What has an identity: objects, arrays, maps, dates, buffers and the rest.

use std::fmt;

use super::{BigInt, JsString, Key, Properties, Value};

/// Which object of a [`Document`](super::Document).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub(super) u32);

impl ObjectId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What V8 can send that has an identity.
#[derive(Debug, Clone)]
pub enum Object {
    /// `{}`.
    Plain(Properties),
    /// An array that V8 wrote element by element.
    Array(Array),
    /// An array that V8 wrote as its length and the elements it has: `new Array(9)`.
    Sparse(SparseArray),
    /// A `Map`, in order.
    Map(Vec<(Value, Value)>),
    /// A `Set`, in order.
    Set(Vec<Value>),
    /// A `Date`: milliseconds since 1970, NaN for an invalid one.
    Date(f64),
    /// A `RegExp`.
    RegExp(RegExp),
    /// `new Number(1)` and its like.
    Boxed(Boxed),
    /// An `Error`.
    Error(Box<ErrorValue>),
    /// An `ArrayBuffer`.
    ArrayBuffer(ArrayBuffer),
    /// A typed array, a `DataView` or Node's `Buffer`.
    View(View),
    /// A native object (`MessagePort`, `KeyObject`): what Node sends of it, mostly `{}`.
    Native(Value),
}

/// A dense array.
#[derive(Debug, Clone, Default)]
pub struct Array {
    /// Its elements; `None` is a hole.
    pub items: Vec<Option<Value>>,
    /// What it has beside them: `Object.assign([1], { x: 2 })`.
    pub extra: Properties,
}

/// A sparse array.
#[derive(Debug, Clone, Default)]
pub struct SparseArray {
    /// Its `length`. It may claim anything; reserve nothing for it.
    pub length: u32,
    /// The elements it has, and other properties.
    pub properties: Properties,
}

/// A regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegExp {
    /// What stands between the slashes.
    pub source: JsString,
    pub(super) flags: u16,
}

impl RegExp {
    /// The letters, by bit.
    const FLAGS: &'static [u8] = b"gimyusldv";
    /// Beyond the highest bit that means something.
    pub(super) const FLAGS_END: u32 = 1 << Self::FLAGS.len();

    /// `/source/flags`, or nothing if there is no such flag.
    #[must_use]
    pub fn new(source: impl Into<JsString>, flags: &str) -> Option<Self> {
        let mut bits = 0;
        for flag in flags.bytes() {
            bits |= 1 << Self::FLAGS.iter().position(|known| *known == flag)?;
        }
        Some(Self {
            source: source.into(),
            flags: bits,
        })
    }

    /// Its flags in JavaScript's order: `dgimsuvy`.
    #[must_use]
    pub fn flags(&self) -> String {
        let mut letters: Vec<u8> = Self::FLAGS
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.flags >> bit & 1 == 1)
            .map(|(_, letter)| *letter)
            .collect();
        letters.sort_unstable();
        letters.into_iter().map(char::from).collect()
    }
}

/// A primitive in an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Boxed {
    /// `new Boolean(true)`.
    Bool(bool),
    /// `new Number(1)`.
    Number(f64),
    /// `Object(1n)`.
    BigInt(BigInt),
    /// `new String("a")`.
    String(JsString),
}

/// An error. Only these parts of it travel.
#[derive(Debug, Clone, Default)]
pub struct ErrorValue {
    /// Its class.
    pub name: ErrorName,
    /// Its message, if it has one.
    pub message: Option<JsString>,
    /// Its cause, if it has one.
    pub cause: Option<Value>,
    /// Its stack, if it has one.
    pub stack: Option<JsString>,
}

/// Which class of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorName {
    /// `Error`, or a class that V8 does not know.
    #[default]
    Error,
    /// `EvalError`.
    Eval,
    /// `RangeError`.
    Range,
    /// `ReferenceError`.
    Reference,
    /// `SyntaxError`.
    Syntax,
    /// `TypeError`.
    Type,
    /// `URIError`.
    Uri,
}

impl ErrorName {
    const ALL: [(Self, u8, &'static str); 7] = [
        (Self::Error, 0, "Error"),
        (Self::Eval, b'E', "EvalError"),
        (Self::Range, b'R', "RangeError"),
        (Self::Reference, b'F', "ReferenceError"),
        (Self::Syntax, b'S', "SyntaxError"),
        (Self::Type, b'T', "TypeError"),
        (Self::Uri, b'U', "URIError"),
    ];

    /// As JavaScript's `name`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// Its letter on the wire; `Error` has none.
    pub(super) fn letter(self) -> Option<u8> {
        Some(Self::ALL[self as usize].1).filter(|letter| *letter != 0)
    }

    pub(super) fn of_letter(letter: u8) -> Option<Self> {
        let mut lettered = Self::ALL[1..].iter();
        lettered
            .find(|(_, own, _)| *own == letter)
            .map(|(name, ..)| *name)
    }
}

/// An `ArrayBuffer`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArrayBuffer {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How far it may grow, in bytes, if it is resizable. Not below its length.
    pub max: Option<u32>,
}

/// A typed array, a `DataView` or a `Buffer`.
#[derive(Debug, Clone)]
pub struct View {
    /// Which.
    pub kind: ViewKind,
    /// What it shows.
    pub bytes: ViewBytes,
}

/// What a view shows.
#[derive(Debug, Clone)]
pub enum ViewBytes {
    /// Bytes of its own: how Node writes views.
    Own(Vec<u8>),
    /// A part of an [`ArrayBuffer`]: how V8 itself writes views.
    Of {
        /// The buffer.
        buffer: ObjectId,
        /// Where the view begins, in bytes.
        offset: u32,
        /// How long it is, in bytes.
        length: u32,
        /// Whether it grows with a resizable buffer.
        tracks_length: bool,
        /// Whether V8 said that the buffer is resizable.
        resizable: bool,
    },
}

/// The kind of a view, in the order of Node's type numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViewKind {
    /// `Int8Array`.
    Int8,
    /// `Uint8Array`.
    Uint8,
    /// `Uint8ClampedArray`.
    Uint8Clamped,
    /// `Int16Array`.
    Int16,
    /// `Uint16Array`.
    Uint16,
    /// `Int32Array`.
    Int32,
    /// `Uint32Array`.
    Uint32,
    /// `Float32Array`.
    Float32,
    /// `Float64Array`.
    Float64,
    /// `DataView`.
    DataView,
    /// Node's `Buffer`.
    Buffer,
    /// `BigInt64Array`.
    BigInt64,
    /// `BigUint64Array`.
    BigUint64,
    /// `Float16Array`, from Node 24 on.
    Float16,
}

impl ViewKind {
    /// All of them; the place of each is its number.
    pub const ALL: [Self; 14] = [
        Self::Int8,
        Self::Uint8,
        Self::Uint8Clamped,
        Self::Int16,
        Self::Uint16,
        Self::Int32,
        Self::Uint32,
        Self::Float32,
        Self::Float64,
        Self::DataView,
        Self::Buffer,
        Self::BigInt64,
        Self::BigUint64,
        Self::Float16,
    ];

    /// Its letter in V8's own view tag. A `Buffer` has none there: it is a `Uint8Array`.
    const LETTERS: [u8; 14] = *b"bBCwWdDfF?BqQh";

    /// The class in JavaScript: `Int8Array`, `Buffer`.
    #[must_use]
    pub fn class(self) -> &'static str {
        const NAMES: [&str; 14] = [
            "Int8Array",
            "Uint8Array",
            "Uint8ClampedArray",
            "Int16Array",
            "Uint16Array",
            "Int32Array",
            "Uint32Array",
            "Float32Array",
            "Float64Array",
            "DataView",
            "Buffer",
            "BigInt64Array",
            "BigUint64Array",
            "Float16Array",
        ];
        NAMES[self as usize]
    }

    /// The bytes of an element; 1 for a `DataView`.
    #[must_use]
    pub fn element_size(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 | Self::Uint8Clamped | Self::DataView | Self::Buffer => 1,
            Self::Int16 | Self::Uint16 | Self::Float16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float32 => 4,
            Self::Float64 | Self::BigInt64 | Self::BigUint64 => 8,
        }
    }

    pub(super) fn letter(self) -> u8 {
        Self::LETTERS[self as usize]
    }

    pub(super) fn of_letter(letter: u8) -> Option<Self> {
        // Finds `Uint8Array` before `Buffer`.
        let place = Self::LETTERS.iter().position(|own| *own == letter)?;
        Some(Self::ALL[place])
    }
}

impl Object {
    /// The elements and properties under their keys; none for what has no keys.
    #[must_use]
    pub fn properties(&self) -> Option<&Properties> {
        match self {
            Self::Plain(properties) => Some(properties),
            Self::Array(array) => Some(&array.extra),
            Self::Sparse(array) => Some(&array.properties),
            Self::Map(_) | Self::Set(_) | Self::Date(_) | Self::RegExp(_) | Self::Boxed(_) => None,
            Self::Error(_) | Self::ArrayBuffer(_) | Self::View(_) | Self::Native(_) => None,
        }
    }

    /// The value of a property, an element (`"0"`), or of a `Map`'s entry whose key is that string.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Array(array) => match super::key::index_of(key.as_bytes()) {
                Some(index) => array.items.get(index as usize)?.as_ref(),
                None => array.extra.get(key),
            },
            Self::Map(entries) => entries
                .iter()
                .find(|(own, _)| *own == *key)
                .map(|(_, value)| value),
            Self::Plain(_) | Self::Sparse(_) => self.properties()?.get(key),
            Self::Set(_) | Self::Date(_) | Self::RegExp(_) | Self::Boxed(_) => None,
            Self::Error(_) | Self::ArrayBuffer(_) | Self::View(_) | Self::Native(_) => None,
        }
    }

    /// Calls `change` with the number of every object that this one holds.
    pub(super) fn for_each_id(&mut self, mut change: impl FnMut(&mut ObjectId)) {
        let mut value = |value: &mut Value| {
            if let Value::Object(id) = value {
                change(id);
            }
        };
        match self {
            Self::Plain(properties) => properties.iter_mut().for_each(|(_, own)| value(own)),
            Self::Array(array) => {
                array.items.iter_mut().flatten().for_each(&mut value);
                array.extra.iter_mut().for_each(|(_, own)| value(own));
            }
            Self::Sparse(array) => array.properties.iter_mut().for_each(|(_, own)| value(own)),
            Self::Map(entries) => entries.iter_mut().for_each(|(key, own)| {
                value(key);
                value(own);
            }),
            Self::Set(values) => values.iter_mut().for_each(value),
            Self::Error(error) => error.cause.iter_mut().for_each(value),
            Self::Native(own) => value(own),
            Self::View(View {
                bytes: ViewBytes::Of { buffer, .. },
                ..
            }) => change(buffer),
            Self::View(_) | Self::Date(_) | Self::RegExp(_) => {}
            Self::Boxed(_) | Self::ArrayBuffer(_) => {}
        }
    }
}

impl<K: Into<Key>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(properties: I) -> Self {
        Self::Plain(properties.into_iter().collect())
    }
}
