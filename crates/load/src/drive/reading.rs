//! Answers of either protocol.

use bytes::Bytes;

use super::core::Core;
use crate::Protocol;
use crate::http1::{Answer, Expect, Malformed, Reader};

/// What reads the answers on one connection.
#[derive(Debug)]
pub(super) enum Reading {
    Http(Reader),
    Echo(Echo),
}

/// The bytes of a body, as they come back.
#[derive(Debug, Default)]
pub(super) struct Echo {
    came: usize,
    differs: bool,
}

impl Reading {
    pub(super) fn new(core: &Core) -> Self {
        let plan = &core.shared.plan;
        match plan.spec.protocol {
            Protocol::Http1 => Self::Http(Reader::new(plan.reading.clone())),
            Protocol::Echo => Self::Echo(Echo::default()),
        }
    }

    /// Reads on until one answer is whole or the bytes are used up.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        asked: &Asked<'_>,
    ) -> Result<(usize, Option<Answer>), Malformed> {
        match (self, asked) {
            (Self::Http(reader), Asked::Http(expect)) => reader.read(bytes, *expect),
            (Self::Echo(echo), Asked::Echo(body)) => Ok(echo.read(bytes, body)),
            (Self::Http(_), Asked::Echo(_)) | (Self::Echo(_), Asked::Http(_)) => {
                unreachable!("a load speaks one protocol")
            }
        }
    }

    /// The connection ended: an answer that ends with it is whole now.
    pub(super) fn end(&mut self) -> Option<Answer> {
        match self {
            Self::Http(reader) => reader.end(),
            Self::Echo(_) => None,
        }
    }

    /// A part of an answer has come.
    pub(super) fn is_within(&self) -> bool {
        match self {
            Self::Http(reader) => reader.is_within(),
            Self::Echo(echo) => echo.came > 0,
        }
    }
}

/// What is being answered.
#[derive(Debug)]
pub(super) enum Asked<'a> {
    Http(Expect),
    Echo(&'a Bytes),
}

impl Echo {
    fn read(&mut self, bytes: &[u8], body: &[u8]) -> (usize, Option<Answer>) {
        let wanted = &body[self.came..];
        let length = bytes.len().min(wanted.len());
        self.differs |= bytes[..length] != wanted[..length];
        self.came += length;
        if length < wanted.len() {
            return (length, None);
        }
        let answer = Answer {
            status: 200,
            keep_alive: true,
            pid: None,
            matches: !self.differs,
            bytes: body.len() as u64,
        };
        *self = Self::default();
        (length, Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_as_long_as_the_body_and_equal() {
        let mut echo = Echo::default();
        assert_eq!(echo.read(b"ab", b"abc"), (2, None));
        let (taken, answer) = echo.read(b"cabd", b"abc");
        assert!(taken == 1 && answer.is_some_and(|answer| answer.matches));
        let (taken, answer) = echo.read(b"abd", b"abc");
        assert!(taken == 3 && answer.is_some_and(|answer| !answer.matches));
        assert_eq!(echo.came, 0);
    }
}
