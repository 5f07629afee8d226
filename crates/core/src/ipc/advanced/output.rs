//! V8's bytes, one value's head at a time.

use super::string::to_latin1;
use super::{BigInt, Dialect, JsString, Key, ViewKind, tag};

/// A length that the wire cannot say.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooLong;

/// A message as it grows.
#[derive(Debug)]
pub(super) struct Output<'o> {
    out: &'o mut Vec<u8>,
    /// Where the message begins: two-byte strings are aligned from there.
    start: usize,
    pub(super) dialect: Dialect,
}

impl<'o> Output<'o> {
    /// Writes the header.
    pub(super) fn new(out: &'o mut Vec<u8>, dialect: Dialect) -> Self {
        let start = out.len();
        out.extend_from_slice(&[tag::VERSION, tag::WRITTEN]);
        Self {
            out,
            start,
            dialect,
        }
    }

    /// Takes back everything, header and all.
    pub(super) fn undo(self) {
        self.out.truncate(self.start);
    }

    pub(super) fn tag(&mut self, tag: u8) {
        self.out.push(tag);
    }

    pub(super) fn varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.out.push(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.out.push(low_bits(value));
    }

    pub(super) fn int(&mut self, value: i32) {
        self.tag(tag::INT32);
        self.varint((value << 1 ^ value >> 31).cast_unsigned());
    }

    /// A number: as an integer if it is one of 32 bits, as V8 keeps its own.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "compared with the number it came from"
    )]
    pub(super) fn number(&mut self, value: f64) {
        let int = value as i32;
        if f64::from(int).to_bits() == value.to_bits() {
            self.int(int);
        } else {
            self.tagged_double(tag::DOUBLE, value);
        }
    }

    pub(super) fn tagged_double(&mut self, tag: u8, value: f64) {
        // V8 knows one NaN.
        let value = if value.is_nan() { f64::NAN } else { value };
        self.tag(tag);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bigint(&mut self, tag: u8, value: &BigInt) -> Result<(), TooLong> {
        let length = length(value.digits().len() * 8)?;
        let shifted = length.checked_mul(2).ok_or(TooLong)?;
        self.tag(tag);
        self.varint(shifted | u32::from(value.is_negative()));
        for digit in value.digits() {
            self.out.extend_from_slice(&digit.to_le_bytes());
        }
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), TooLong> {
        match to_latin1(text) {
            Some(bytes) => self.one_byte(&bytes),
            None => self.two_byte(text.encode_utf16().count(), text.encode_utf16()),
        }
    }

    pub(super) fn string(&mut self, string: &JsString) -> Result<(), TooLong> {
        match (string.latin1(), string.utf16()) {
            (Some(bytes), _) => self.one_byte(bytes),
            (None, units) => {
                let units = units.unwrap_or_default();
                self.two_byte(units.len(), units.iter().copied())
            }
        }
    }

    fn one_byte(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let length = length(bytes.len())?;
        self.tag(tag::ONE_BYTE_STRING);
        self.varint(length);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn two_byte(&mut self, count: usize, units: impl Iterator<Item = u16>) -> Result<(), TooLong> {
        let length = length(count.checked_mul(2).ok_or(TooLong)?)?;
        // V8 wants the units at an even place.
        let head = 1 + varint_size(length);
        if !(self.out.len() - self.start + head).is_multiple_of(2) {
            self.tag(tag::PADDING);
        }
        self.tag(tag::TWO_BYTE_STRING);
        self.varint(length);
        self.out.reserve(length as usize);
        self.out.extend(units.flat_map(u16::to_le_bytes));
        Ok(())
    }

    pub(super) fn key(&mut self, key: &Key) -> Result<(), TooLong> {
        match key {
            Key::Index(index) => self.index(*index),
            Key::Name(name) => return self.string(name),
        }
        Ok(())
    }

    pub(super) fn index(&mut self, index: u32) {
        match i32::try_from(index) {
            Ok(small) => self.int(small),
            Err(_) => self.tagged_double(tag::DOUBLE, f64::from(index)),
        }
    }

    /// A view with bytes of its own.
    pub(super) fn view(&mut self, kind: ViewKind, bytes: &[u8]) -> Result<(), TooLong> {
        let length = length(bytes.len())?;
        self.tag(tag::HOST_OBJECT);
        if self.dialect == Dialect::Ipc {
            self.varint(tag::IPC_VIEW);
        }
        self.varint(kind as u32);
        self.varint(length);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Room for a number that is known later: as long as the longest, so that nothing has to move.
    pub(super) fn reserve_varint(&mut self) -> usize {
        let place = self.out.len();
        self.out.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0]);
        place
    }

    pub(super) fn fill_varint(&mut self, place: usize, value: u32) {
        for (at, byte) in self.out[place..place + 5].iter_mut().enumerate() {
            let more = if at < 4 { 0x80 } else { 0 };
            *byte = low_bits(value >> (7 * at)) | more;
        }
    }
}

/// The lowest seven bits.
fn low_bits(value: u32) -> u8 {
    value.to_le_bytes()[0] & 0x7f
}

fn varint_size(value: u32) -> usize {
    (32 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

pub(super) fn length(length: usize) -> Result<u32, TooLong> {
    u32::try_from(length).map_err(|_| TooLong)
}
