//! JavaScript's `bigint`: a sign and a magnitude of any size.

use std::fmt;

/// A JavaScript `bigint`.
///
/// Made from and turned into Rust's integers; bigger ones keep their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BigInt {
    negative: bool,
    /// Least significant first, the last one not 0; empty for 0.
    digits: Box<[u64]>,
}

impl BigInt {
    /// From its magnitude in 64-bit digits, the least significant first.
    #[must_use]
    pub fn from_digits(negative: bool, digits: &[u64]) -> Self {
        let used = digits
            .iter()
            .rposition(|digit| *digit != 0)
            .map_or(0, |last| last + 1);
        Self {
            negative: negative && used > 0,
            digits: digits[..used].into(),
        }
    }

    /// From its magnitude in bytes, the least significant first.
    #[must_use]
    pub fn from_le_bytes(negative: bool, bytes: &[u8]) -> Self {
        let digits: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| {
                chunk
                    .iter()
                    .rev()
                    .fold(0, |digit, byte| digit << 8 | u64::from(*byte))
            })
            .collect();
        Self::from_digits(negative, &digits)
    }

    /// Whether it is below 0.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Its magnitude in 64-bit digits, the least significant first; none for 0.
    #[must_use]
    pub fn digits(&self) -> &[u64] {
        &self.digits
    }

    fn magnitude(&self) -> Option<u128> {
        match *self.digits {
            [] => Some(0),
            [low] => Some(u128::from(low)),
            [low, high] => Some(u128::from(high) << 64 | u128::from(low)),
            _ => None,
        }
    }
}

impl From<u128> for BigInt {
    fn from(value: u128) -> Self {
        Self::from_le_bytes(false, &value.to_le_bytes())
    }
}

impl From<i128> for BigInt {
    fn from(value: i128) -> Self {
        Self::from_le_bytes(value < 0, &value.unsigned_abs().to_le_bytes())
    }
}

impl From<u64> for BigInt {
    fn from(value: u64) -> Self {
        Self::from_digits(false, &[value])
    }
}

impl From<i64> for BigInt {
    fn from(value: i64) -> Self {
        Self::from_digits(value < 0, &[value.unsigned_abs()])
    }
}

/// A `bigint` that the Rust integer cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bigint is out of the integer's range")]
pub struct BigIntTooBig;

impl TryFrom<&BigInt> for i128 {
    type Error = BigIntTooBig;

    fn try_from(value: &BigInt) -> Result<Self, BigIntTooBig> {
        let magnitude = value.magnitude().ok_or(BigIntTooBig)?;
        if !value.negative {
            return Self::try_from(magnitude).map_err(|_| BigIntTooBig);
        }
        // The lowest one has no positive counterpart.
        if magnitude == Self::MIN.unsigned_abs() {
            return Ok(Self::MIN);
        }
        Self::try_from(magnitude)
            .map(|positive| -positive)
            .map_err(|_| BigIntTooBig)
    }
}

impl TryFrom<&BigInt> for u128 {
    type Error = BigIntTooBig;

    fn try_from(value: &BigInt) -> Result<Self, BigIntTooBig> {
        if value.negative {
            return Err(BigIntTooBig);
        }
        value.magnitude().ok_or(BigIntTooBig)
    }
}

impl TryFrom<&BigInt> for i64 {
    type Error = BigIntTooBig;

    fn try_from(value: &BigInt) -> Result<Self, BigIntTooBig> {
        Self::try_from(i128::try_from(value)?).map_err(|_| BigIntTooBig)
    }
}

impl TryFrom<&BigInt> for u64 {
    type Error = BigIntTooBig;

    fn try_from(value: &BigInt) -> Result<Self, BigIntTooBig> {
        Self::try_from(u128::try_from(value)?).map_err(|_| BigIntTooBig)
    }
}

impl fmt::Display for BigInt {
    /// In decimal up to 128 bits, in hexadecimal (`0x…`) above: the decimal
    /// digits of a long one cost the square of its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        if let Some(magnitude) = self.magnitude() {
            return write!(f, "{sign}{magnitude}");
        }
        let mut digits = self.digits.iter().rev();
        write!(f, "{sign}0x{:x}", digits.next().copied().unwrap_or(0))?;
        digits.try_for_each(|digit| write!(f, "{digit:016x}"))
    }
}
