//! One JavaScript value; what has an identity stands in the document.

use std::borrow::Cow;
use std::fmt;

use super::{BigInt, JsString, ObjectId};

/// A JavaScript value.
///
/// Objects, arrays and all else that has an identity is an [`Object`](super::Object)
/// of the [`Document`](super::Document), and here its number; so a value can
/// be in two places, also inside itself.
///
/// Two numbers are equal if JavaScript's `Object.is` says so: `1` is `1.0`,
/// NaN is NaN, 0 is not -0. Two objects are equal if they have the same
/// number; compare documents for what is in them.
#[derive(Clone, Default)]
pub enum Value {
    /// `undefined`.
    #[default]
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that V8 wrote as a 32-bit integer.
    Int(i32),
    /// A number that V8 wrote as a double; it may be whole.
    Number(f64),
    /// A `bigint`.
    BigInt(BigInt),
    /// A string.
    String(JsString),
    /// What has an identity.
    Object(ObjectId),
}

/// The whole numbers that a double can tell apart: up to 2^53.
pub(super) const MAX_SAFE: u64 = 1 << 53;

impl Value {
    /// Whether it is `undefined`.
    #[must_use]
    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined)
    }

    /// Whether it is `undefined` or `null`.
    #[must_use]
    pub fn is_nullish(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    /// The Boolean that it is.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// The number that it is.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(f64::from(*value)),
            Self::Number(value) => Some(*value),
            Self::Undefined | Self::Null | Self::Bool(_) => None,
            Self::BigInt(_) | Self::String(_) | Self::Object(_) => None,
        }
    }

    /// The whole number that it is: a number up to 2^53 either way, or a `bigint`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(i64::from(*value)),
            Self::Number(value) => whole(*value),
            Self::BigInt(value) => i64::try_from(value).ok(),
            Self::Undefined | Self::Null | Self::Bool(_) => None,
            Self::String(_) | Self::Object(_) => None,
        }
    }

    /// The text that it is, with U+FFFD for lone surrogates. Borrowed if it is ASCII.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        self.as_js_string().map(JsString::to_str)
    }

    /// The string that it is.
    #[must_use]
    pub fn as_js_string(&self) -> Option<&JsString> {
        if let Self::String(value) = self {
            Some(value)
        } else {
            None
        }
    }

    /// The number of the object that it is.
    #[must_use]
    pub fn as_object(&self) -> Option<ObjectId> {
        if let Self::Object(id) = self {
            Some(*id)
        } else {
            None
        }
    }
}

/// The double as an integer, if nothing is lost.
#[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
pub(super) fn whole(value: f64) -> Option<i64> {
    let fits = value.trunc() == value && value.abs() <= 9_007_199_254_740_992.0;
    fits.then_some(value as i64)
}

/// `Object.is` for numbers.
pub(super) fn same_number(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan())
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        if let (Some(one), Some(other)) = (self.as_f64(), other.as_f64()) {
            return same_number(one, other);
        }
        match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::BigInt(one), Self::BigInt(other)) => one == other,
            (Self::String(one), Self::String(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one == other,
            (Self::Undefined | Self::Null | Self::Bool(_) | Self::Int(_), _)
            | (Self::Number(_) | Self::BigInt(_) | Self::String(_) | Self::Object(_), _) => false,
        }
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_js_string().is_some_and(|own| own == other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::BigInt(value) => write!(f, "{value}n"),
            Self::String(value) => value.fmt(f),
            Self::Object(id) => id.fmt(f),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        i64::from(value).into()
    }
}

impl From<i64> for Value {
    /// A number up to 2^53 either way, a `bigint` beyond.
    #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
    fn from(value: i64) -> Self {
        match i32::try_from(value) {
            Ok(small) => Self::Int(small),
            Err(_) if value.unsigned_abs() <= MAX_SAFE => Self::Number(value as f64),
            Err(_) => Self::BigInt(value.into()),
        }
    }
}

impl From<u64> for Value {
    /// A number up to 2^53, a `bigint` beyond.
    fn from(value: u64) -> Self {
        match i64::try_from(value) {
            Ok(value) => value.into(),
            Err(_) => Self::BigInt(value.into()),
        }
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<BigInt> for Value {
    fn from(value: BigInt) -> Self {
        Self::BigInt(value)
    }
}

impl From<JsString> for Value {
    fn from(value: JsString) -> Self {
        Self::String(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}

impl From<ObjectId> for Value {
    fn from(id: ObjectId) -> Self {
        Self::Object(id)
    }
}
