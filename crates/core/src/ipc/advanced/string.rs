//! JavaScript's strings: any sequence of 16-bit units.

use std::borrow::Cow;
use std::fmt;

/// A JavaScript string, with lone surrogates if it has them.
///
/// Kept as V8 writes it: a byte for a unit where every unit is below U+0100
/// (Latin-1, not UTF-8), two bytes otherwise.
///
/// Equal strings are equal whichever way they are kept.
#[derive(Clone)]
pub struct JsString(Repr);

#[derive(Clone)]
enum Repr {
    OneByte(Box<[u8]>),
    TwoByte(Box<[u16]>),
}

impl JsString {
    /// The string whose units are these bytes: Latin-1.
    #[must_use]
    pub fn from_latin1(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(Repr::OneByte(bytes.into()))
    }

    /// The string of these UTF-16 units; lone surrogates are kept.
    #[must_use]
    pub fn from_utf16(units: impl Into<Box<[u16]>>) -> Self {
        Self(Repr::TwoByte(units.into()))
    }

    /// Its bytes, if every unit is kept in one.
    #[must_use]
    pub fn latin1(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::OneByte(bytes) => Some(bytes),
            Repr::TwoByte(_) => None,
        }
    }

    /// Its UTF-16 units, if they are kept in two bytes each.
    #[must_use]
    pub fn utf16(&self) -> Option<&[u16]> {
        match &self.0 {
            Repr::OneByte(_) => None,
            Repr::TwoByte(units) => Some(units),
        }
    }

    /// Its length in 16-bit units, as JavaScript's `length`.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::OneByte(bytes) => bytes.len(),
            Repr::TwoByte(units) => units.len(),
        }
    }

    /// Whether it has no unit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its 16-bit units.
    pub fn units(&self) -> impl Iterator<Item = u16> + '_ {
        let (one, two) = match &self.0 {
            Repr::OneByte(bytes) => (&bytes[..], &[][..]),
            Repr::TwoByte(units) => (&[][..], &units[..]),
        };
        one.iter()
            .map(|byte| u16::from(*byte))
            .chain(two.iter().copied())
    }

    /// As Rust's text: lone surrogates become U+FFFD. Borrowed if it is ASCII.
    #[must_use]
    pub fn to_str(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::OneByte(bytes) => latin1_to_str(bytes),
            Repr::TwoByte(units) => Cow::Owned(String::from_utf16_lossy(units)),
        }
    }
}

/// Latin-1 as Rust's text; borrowed if it is ASCII.
pub(super) fn latin1_to_str(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => Cow::Borrowed(text),
        Ok(_) | Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// The text in Latin-1, if it is: the bytes that V8 would write.
pub(super) fn to_latin1(text: &str) -> Option<Cow<'_, [u8]>> {
    if text.is_ascii() {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Cow::Owned)
}

impl From<&str> for JsString {
    fn from(text: &str) -> Self {
        match to_latin1(text) {
            Some(bytes) => Self::from_latin1(bytes.into_owned()),
            None => Self::from_utf16(text.encode_utf16().collect::<Vec<u16>>()),
        }
    }
}

impl From<String> for JsString {
    fn from(text: String) -> Self {
        if text.is_ascii() {
            Self::from_latin1(text.into_bytes())
        } else {
            Self::from(text.as_str())
        }
    }
}

impl Default for JsString {
    fn default() -> Self {
        Self::from_latin1([])
    }
}

impl PartialEq for JsString {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::OneByte(one), Repr::OneByte(two)) => one == two,
            (Repr::TwoByte(one), Repr::TwoByte(two)) => one == two,
            (Repr::OneByte(_), Repr::TwoByte(_)) | (Repr::TwoByte(_), Repr::OneByte(_)) => {
                self.len() == other.len() && self.units().eq(other.units())
            }
        }
    }
}

impl Eq for JsString {}

impl PartialEq<str> for JsString {
    fn eq(&self, other: &str) -> bool {
        match &self.0 {
            Repr::OneByte(bytes) if other.is_ascii() => **bytes == *other.as_bytes(),
            Repr::OneByte(_) | Repr::TwoByte(_) => self.units().eq(other.encode_utf16()),
        }
    }
}

impl PartialEq<&str> for JsString {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for JsString {
    /// Its text; lone surrogates become U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_str())
    }
}

impl fmt::Debug for JsString {
    /// As Rust's text literal; lone surrogates as `\u{d800}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for unit in char::decode_utf16(self.units()) {
            match unit {
                Ok(char) => write!(f, "{}", char.escape_debug())?,
                Err(lone) => write!(f, "\\u{{{:x}}}", lone.unpaired_surrogate())?,
            }
        }
        f.write_str("\"")
    }
}
