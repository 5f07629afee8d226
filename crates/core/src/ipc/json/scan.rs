//! The grammar of JSON, in one pass, at any depth.

use std::ops::Range;

use crate::ipc::BadMessage;

/// What is wrong, before it is put in words.
#[derive(Clone, Copy, Debug)]
pub(in crate::ipc) struct Fault {
    at: usize,
    wanted: &'static str,
}

impl Fault {
    pub(in crate::ipc) fn of(self, message: &[u8]) -> BadMessage {
        BadMessage::new(message, self.at, self.wanted)
    }
}

/// Checks a whole JSON text and gives its depth.
///
/// `each` sees the members of an outermost object: the raw inside of the name,
/// and where the value is.
pub(in crate::ipc) fn walk<'a>(
    bytes: &'a [u8],
    each: impl FnMut(&'a [u8], Range<usize>),
) -> Result<usize, Fault> {
    let mut scanner = Scanner { bytes, at: 0 };
    let depth = if scanner.past_space() == b'{' {
        scanner.members(each)?
    } else {
        scanner.value()?
    };
    scanner.past_space();
    if scanner.at < bytes.len() {
        return Err(scanner.fault("the end"));
    }
    Ok(depth)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn fault(&self, wanted: &'static str) -> Fault {
        Fault {
            at: self.at,
            wanted,
        }
    }

    /// The next byte; at the end 0, which JSON has no place for.
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Goes past white space and peeks.
    #[inline]
    fn past_space(&mut self) -> u8 {
        loop {
            match self.peek() {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Goes past an object and gives its depth.
    fn members(&mut self, mut each: impl FnMut(&'a [u8], Range<usize>)) -> Result<usize, Fault> {
        let mut depth = 0;
        self.at += 1;
        if self.past_space() == b'}' {
            self.at += 1;
            return Ok(1);
        }
        loop {
            let name = self.name()?;
            let first = self.past_space();
            let start = self.at;
            match first {
                b'{' | b'[' => depth = depth.max(self.value()?),
                _ => self.scalar()?,
            }
            each(&self.bytes[name], start..self.at);
            match self.past_space() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.fault("`,` or `}`")),
            }
        }
        self.at += 1;
        Ok(depth + 1)
    }

    /// Goes past one value of any depth, which it gives, with a stack of bits.
    fn value(&mut self) -> Result<usize, Fault> {
        let mut open = Open::default();
        let mut deepest = 0;
        loop {
            match self.past_space() {
                b'{' => {
                    self.at += 1;
                    deepest = deepest.max(open.depth + 1);
                    if self.past_space() == b'}' {
                        self.at += 1;
                    } else {
                        open.push(true);
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    deepest = deepest.max(open.depth + 1);
                    if self.past_space() == b']' {
                        self.at += 1;
                    } else {
                        open.push(false);
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if self.close(&mut open)? {
                return Ok(deepest);
            }
        }
    }

    /// After a value: goes past what ends there, up to the next value. True at the end of all.
    #[inline]
    fn close(&mut self, open: &mut Open) -> Result<bool, Fault> {
        while open.depth > 0 {
            match (open.in_object(), self.past_space()) {
                (true, b',') => {
                    self.at += 1;
                    self.name()?;
                    return Ok(false);
                }
                (false, b',') => {
                    self.at += 1;
                    return Ok(false);
                }
                (true, b'}') | (false, b']') => {
                    self.at += 1;
                    open.pop();
                }
                (true, _) => return Err(self.fault("`,` or `}`")),
                (false, _) => return Err(self.fault("`,` or `]`")),
            }
        }
        Ok(true)
    }

    /// Goes past a name and its colon; gives the inside of the name.
    #[inline]
    fn name(&mut self) -> Result<Range<usize>, Fault> {
        if self.past_space() != b'"' {
            return Err(self.fault("a name in quotes"));
        }
        let name = self.string()?;
        if self.past_space() != b':' {
            return Err(self.fault("`:`"));
        }
        self.at += 1;
        Ok(name)
    }

    #[inline]
    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => Err(self.fault("a value")),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.fault("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Goes past a string; gives what is between the quotes.
    #[inline]
    fn string(&mut self) -> Result<Range<usize>, Fault> {
        let start = self.at + 1;
        // Most names are short.
        let end = start + plain_in_word(self.bytes.get(start..).unwrap_or_default());
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(start..end);
        }
        self.at = end;
        self.rest_of_string(start)
    }

    #[inline(never)]
    fn rest_of_string(&mut self, start: usize) -> Result<Range<usize>, Fault> {
        loop {
            self.at = plain_until(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(start..end);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("allowed in a string without an escape")),
                None => return Err(self.fault("the rest of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_ascii_hexdigit() {
                        return Err(self.fault("a hexadecimal digit"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.fault("an escape")),
        }
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.fault("a digit"));
        }
        Ok(())
    }
}

/// Which containers are open: a bit a level, 64 levels without allocating.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost levels, the last one lowest; set for an object.
    bits: u64,
    outer: Vec<u64>,
}

impl Open {
    #[inline]
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or(0);
        }
    }

    #[inline]
    fn in_object(&self) -> bool {
        self.bits & 1 == 1
    }
}

/// Where, from `at` on, a string's plain bytes end: at a quote, a backslash, a
/// control character, or the end.
#[inline]
pub(super) fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    // A long string is looked at in blocks that the compiler makes vectors of.
    while let Some(block) = bytes[at..].first_chunk::<64>() {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        if block.iter().fold(false, |any, byte| any | is_special(byte)) {
            break;
        }
        at += 64;
    }
    while let Some(word) = bytes[at..].first_chunk() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + first_byte(special);
        }
        at += WORD;
    }
    plain_until_end(bytes, at)
}

/// How many of the first bytes are plain, as far as a word goes; 0 if there is no whole word.
#[inline]
fn plain_in_word(bytes: &[u8]) -> usize {
    match bytes.first_chunk() {
        // None is special: the word is over at its 8th byte.
        Some(word) => first_byte(special_bytes(u64::from_le_bytes(*word))),
        None => 0,
    }
}

/// The same where less than a word is left.
fn plain_until_end(bytes: &[u8], at: usize) -> usize {
    let left = bytes.len() - at;
    match bytes.last_chunk::<WORD>() {
        // What was seen already is shifted out, and the zeros that come in are an end.
        Some(word) if left > 0 => {
            let word = u64::from_le_bytes(*word) >> (8 * (WORD - left));
            at + first_byte(special_bytes(word))
        }
        Some(_) => at,
        None => {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            at + bytes[at..].iter().position(is_special).unwrap_or(left)
        }
    }
}

const WORD: usize = size_of::<u64>();

/// Where in its word the first of the [special bytes](special_bytes) is; 8 if there is none.
fn first_byte(special: u64) -> usize {
    special.trailing_zeros() as usize / 8
}

/// The highest bit of each byte that ends a string's plain bytes. Only the
/// lowest of them is sure: a borrow may set those above it.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_in(word ^ (ONES * u64::from(b'"')));
    let backslash = zero_in(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & (ONES << 7)
}
