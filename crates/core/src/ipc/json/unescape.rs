//! What the raw inside of a checked string stands for.

use std::cmp::Ordering;

use super::decode;

/// The inside of a JSON string, if the value is one.
pub(super) fn inside_quotes(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// The UTF-16 units of a checked string as far as they are ASCII; a byte of
/// anything else stands for itself, which no ASCII unit equals.
pub(super) fn units(raw: &[u8]) -> impl Iterator<Item = u16> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        let (unit, length) = match *rest {
            [] => return None,
            [b'\\', b'u', a, b, c, d, ..] => (hex(&[a, b, c, d])?, 6),
            [b'\\', escaped, ..] => (u16::from(control(escaped)), 2),
            [byte, ..] => (u16::from(byte), 1),
        };
        rest = &rest[length..];
        Some(unit)
    })
}

/// The unit of four hexadecimal digits.
pub(super) fn hex(digits: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(text, 16).ok()
}

fn control(escaped: u8) -> u8 {
    match escaped {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

/// Whether the raw inside of a checked string says that ASCII text.
pub(in crate::ipc) fn raw_is(raw: &[u8], text: &str) -> bool {
    // An escape is longer than what it stands for, and mostly the first byte tells.
    match raw.len().cmp(&text.len()) {
        Ordering::Less => false,
        Ordering::Equal => raw == text.as_bytes(),
        Ordering::Greater => {
            let may_be = [Some(&b'\\'), text.as_bytes().first()].contains(&raw.first());
            may_be && units(raw).eq(text.encode_utf16())
        }
    }
}

/// What a checked value says, if it is a string.
pub(in crate::ipc) fn raw_text(value: &[u8]) -> Option<String> {
    inside_quotes(value)?;
    decode(value, 0).ok()
}
