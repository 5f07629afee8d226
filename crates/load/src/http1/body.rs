//! The body of an answer: where it ends, and what of it is looked at.

use super::head::LONGEST;
use super::{Malformed, ReadOptions};

/// How far into a body a pid is looked for.
const PID_WITHIN: usize = 4096;

/// What was seen of a body so far.
#[derive(Debug)]
pub(super) struct Seen {
    /// How many bytes came, as far as that matters: saturating.
    bytes: usize,
    matches: bool,
    pid: Pid,
}

#[derive(Clone, Copy, Debug)]
enum Pid {
    /// No digit yet.
    Ahead,
    Digits(u32),
    Found(u32),
    None,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            matches: true,
            pid: Pid::Ahead,
        }
    }

    pub(super) fn take(&mut self, piece: &[u8], options: &ReadOptions) {
        if options.watch_pids {
            self.look_for_pid(piece);
        }
        if let Some(expected) = &options.expect_body {
            let same = expected
                .get(self.bytes..)
                .is_some_and(|rest| rest.starts_with(piece));
            self.matches &= same;
        }
        self.bytes = self.bytes.saturating_add(piece.len());
    }

    fn look_for_pid(&mut self, piece: &[u8]) {
        for (at, byte) in (self.bytes..).zip(piece) {
            let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
            self.pid = match (self.pid, digit) {
                (Pid::Found(_) | Pid::None, _) => return,
                // A number that goes on behind the limit is not known.
                (Pid::Ahead, _) | (Pid::Digits(_), Some(_)) if at >= PID_WITHIN => Pid::None,
                (Pid::Ahead, None) => Pid::Ahead,
                (Pid::Ahead, Some(digit)) => Pid::Digits(digit),
                (Pid::Digits(number), None) => Pid::Found(number),
                (Pid::Digits(number), Some(digit)) => {
                    let number = number.checked_mul(10).and_then(|n| n.checked_add(digit));
                    number.map_or(Pid::None, Pid::Digits)
                }
            };
        }
    }

    /// The first number in it.
    pub(super) fn pid(&self, options: &ReadOptions) -> Option<u32> {
        match self.pid {
            Pid::Digits(number) | Pid::Found(number) if options.watch_pids => Some(number),
            Pid::Digits(_) | Pid::Found(_) | Pid::Ahead | Pid::None => None,
        }
    }

    /// The whole of it is what was expected.
    pub(super) fn matches(&self, options: &ReadOptions) -> bool {
        let expected = options.expect_body.as_ref();
        expected.is_none_or(|expected| self.matches && self.bytes == expected.len())
    }
}

/// What of a body is still to come.
#[derive(Debug)]
pub(super) enum Rest {
    Exactly(u64),
    Chunks(Chunks),
    UntilClose,
}

impl Rest {
    /// Takes what belongs to the body, and says how much that is and whether it is whole now.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), Malformed> {
        match self {
            Self::Exactly(left) => {
                let piece = up_to(bytes, left);
                each(piece);
                Ok((piece.len(), *left == 0))
            }
            Self::Chunks(chunks) => chunks.take(bytes, each),
            Self::UntilClose => {
                each(bytes);
                Ok((bytes.len(), false))
            }
        }
    }
}

/// The first of `bytes`, at most `left`, which is less by them then.
fn up_to<'a>(bytes: &'a [u8], left: &mut u64) -> &'a [u8] {
    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= taken as u64;
    &bytes[..taken]
}

/// The chunked coding.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// How long the line about a chunk, or all trailers together, are.
    line: usize,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// No digit of a size yet.
    Start,
    Size(u64),
    /// Behind the digits; what stands there is of no interest.
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// The first byte of a trailer, or of the empty line that ends all.
    Trailer,
    WithinTrailer,
    LastLf,
    Done,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            at: At::Start,
            line: 0,
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), Malformed> {
        let mut taken = 0;
        while taken < bytes.len() {
            if let At::Data(left) = &mut self.at {
                let piece = up_to(&bytes[taken..], left);
                let whole = *left == 0;
                each(piece);
                taken += piece.len();
                if whole {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.at = self.at.on(bytes[taken])?;
            taken += 1;
            if matches!(self.at, At::Done) {
                return Ok((taken, true));
            }
            let is_about = !matches!(self.at, At::Data(_));
            self.line = if is_about { self.line + 1 } else { 0 };
            if self.line > LONGEST {
                return Err(Malformed::EndlessHeaders);
            }
        }
        Ok((taken, false))
    }
}

impl At {
    fn on(self, byte: u8) -> Result<Self, Malformed> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Ok(match (self, byte, digit) {
            (Self::Start, _, Some(digit)) => Self::Size(digit),
            (Self::Size(size), _, Some(digit)) => {
                let size = size.checked_mul(16).ok_or(Malformed::Chunk)?;
                Self::Size(size + digit)
            }
            (Self::Size(size) | Self::Extension(size), b'\r', _) => Self::SizeLf(size),
            (Self::Size(0) | Self::Extension(0) | Self::SizeLf(0), b'\n', _) => Self::Trailer,
            (Self::Size(size) | Self::Extension(size) | Self::SizeLf(size), b'\n', _) => {
                Self::Data(size)
            }
            (Self::Size(size), b';' | b' ' | b'\t', _) | (Self::Extension(size), _, _) => {
                Self::Extension(size)
            }
            (Self::DataCr, b'\r', _) => Self::DataLf,
            (Self::DataCr | Self::DataLf, b'\n', _) => Self::Start,
            (Self::Trailer, b'\r', _) => Self::LastLf,
            (Self::Trailer | Self::LastLf, b'\n', _) => Self::Done,
            (Self::WithinTrailer, b'\n', _) => Self::Trailer,
            (Self::Trailer | Self::WithinTrailer, _, _) => Self::WithinTrailer,
            (
                Self::Start
                | Self::Size(_)
                | Self::SizeLf(_)
                | Self::Data(_)
                | Self::DataCr
                | Self::DataLf
                | Self::LastLf
                | Self::Done,
                _,
                _,
            ) => return Err(Malformed::Chunk),
        })
    }
}
