mod decode;
mod encode;
mod golden;
mod hostile;
mod properties;
mod values;

use super::*;

/// Bytes from hexadecimal digits and spaces.
pub(super) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

pub(super) fn written(document: &Document, dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::new();
    write(document, dialect, &WriteOptions::default(), &mut out).unwrap();
    out
}

pub(super) fn read_all(bytes: &[u8], dialect: Dialect) -> Document {
    read(bytes, dialect, &Limits { depth: usize::MAX }).unwrap()
}
