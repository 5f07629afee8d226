//! Keys of objects and their order.

use std::fmt;

use super::{JsString, Value};

/// What a property is called.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// An array index: 0 to 2^32 - 2. Written as a number and first, as in JavaScript.
    Index(u32),
    /// Any other name. Made with [`From`], which tells `"7"` to be an index.
    Name(JsString),
}

impl Key {
    /// Whether it is this one: `"7"` is the index 7.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Index(index) => index_of(name.as_bytes()) == Some(*index),
            Self::Name(own) => *own == *name,
        }
    }
}

/// The array index that the bytes spell, in the one way that JavaScript takes for an index.
pub(super) fn index_of(name: &[u8]) -> Option<u32> {
    let canonical = match name {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 10 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    let value = name
        .iter()
        .fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    u32::try_from(value).ok().filter(|index| *index != u32::MAX)
}

impl From<JsString> for Key {
    fn from(name: JsString) -> Self {
        match name.latin1().and_then(index_of) {
            Some(index) => Self::Index(index),
            None => Self::Name(name),
        }
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        match index_of(name.as_bytes()) {
            Some(index) => Self::Index(index),
            None => Self::Name(name.into()),
        }
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        match index_of(name.as_bytes()) {
            Some(index) => Self::Index(index),
            None => Self::Name(name.into()),
        }
    }
}

impl From<u32> for Key {
    /// An index, but for 2^32 - 1, which is a name in JavaScript.
    fn from(index: u32) -> Self {
        if index == u32::MAX {
            Self::Name(index.to_string().into())
        } else {
            Self::Index(index)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// An object's own properties, in order.
///
/// [`insert`](Self::insert) keeps JavaScript's order: indices first and
/// ascending, then names as they were added. What was read keeps the order in
/// which it came.
#[derive(Clone, Default)]
pub struct Properties(Vec<(Key, Value)>);

impl Properties {
    /// No properties.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the property. The last one, should a peer have sent two.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key.is(name))
            .map(|(_, value)| value)
    }

    /// Sets the property and gives back what it was. Takes time in proportion to their number.
    pub fn insert(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some((_, old)) = self.0.iter_mut().rev().find(|(own, _)| *own == key) {
            return Some(std::mem::replace(old, value));
        }
        let place = match key {
            Key::Index(index) => self
                .0
                .iter()
                .position(|(own, _)| !matches!(own, Key::Index(other) if *other < index))
                .unwrap_or(self.0.len()),
            Key::Name(_) => self.0.len(),
        };
        self.0.insert(place, (key, value));
        None
    }

    /// Takes the property out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().rposition(|(key, _)| key.is(name))?;
        Some(self.0.remove(place).1)
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Key, Value)> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, (Key, Value)> {
        self.0.iter_mut()
    }

    /// Adds what was read, where it was read.
    pub(super) fn push(&mut self, key: Key, value: Value) {
        self.0.push((key, value));
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = &'a (Key, Value);
    type IntoIter = std::slice::Iter<'a, (Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Into<Key>, V: Into<Value>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(properties: I) -> Self {
        let mut all = Self::new();
        for (key, value) in properties {
            all.insert(key, value);
        }
        all
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(key, value)| (key, value)))
            .finish()
    }
}
