//! Where lines end.

use bytes::{Bytes, BytesMut};

/// A line longer than the limit of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {limit} bytes")]
pub struct LineTooLong {
    /// The limit.
    pub limit: usize,
}

/// Cuts a byte stream into lines, without their `\n` or `\r\n`.
///
/// A last line without a newline is a line; an empty stream has none.
#[derive(Debug)]
pub struct LineSplitter {
    buf: BytesMut,
    /// How much of `buf` is known to hold no newline.
    scanned: usize,
    limit: usize,
}

impl LineSplitter {
    /// Makes one for lines of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buf: BytesMut::new(),
            scanned: 0,
            limit,
        }
    }

    /// Adds bytes as they were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Where bytes can be read into; what is added there counts as fed.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    /// Takes the next whole line.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`] once an unfinished line passes the limit.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let newline = self.buf[self.scanned..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(offset) = newline else {
            self.scanned = self.buf.len();
            let too_long = self.scanned > self.limit;
            return if too_long {
                Err(LineTooLong { limit: self.limit })
            } else {
                Ok(None)
            };
        };
        let line = self.buf.split_to(self.scanned + offset + 1);
        self.scanned = 0;
        Ok(Some(without_ending(line)))
    }

    /// Takes what is left at the end of the stream.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.scanned = 0;
        let rest = self.buf.split();
        (!rest.is_empty()).then(|| without_ending(rest))
    }
}

fn without_ending(mut line: BytesMut) -> Bytes {
    let kept = strip_final_newline(&line).len();
    line.truncate(kept);
    line.freeze()
}

/// The bytes without one `\n` or `\r\n` at their end.
#[must_use]
pub fn strip_final_newline(bytes: &[u8]) -> &[u8] {
    bytes
        .strip_suffix(b"\n")
        .map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = LineSplitter::new(1 << 20);
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.feed(piece);
            while let Some(line) = splitter.next_line().unwrap() {
                lines.push(line.to_vec());
            }
        }
        lines.extend(splitter.finish().map(|line| line.to_vec()));
        lines
    }

    proptest! {
        #[test]
        fn any_way_of_cutting_gives_the_same_lines(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..60),
            cut in 0_usize..60,
        ) {
            let cut = cut.min(bytes.len());
            let whole = lines_of(&[&bytes]);
            prop_assert_eq!(&lines_of(&[&bytes[..cut], &bytes[cut..]]), &whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&lines_of(&single), &whole);
        }
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        assert_eq!(lines_of(&[b"a\r\nb\n\nc"]), [&b"a"[..], b"b", b"", b"c"]);
        assert!(lines_of(&[b""]).is_empty());
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut splitter = LineSplitter::new(3);
        splitter.feed(b"abc");
        assert_eq!(splitter.next_line(), Ok(None));
        splitter.feed(b"d");
        assert_eq!(splitter.next_line(), Err(LineTooLong { limit: 3 }));
    }
}
