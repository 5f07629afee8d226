//! Answers, taken from a stream of bytes that comes in any pieces.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::Malformed;
use super::body::{Chunks, Rest, Seen};
use super::head::{Head, LONGEST, Length, begins_well};

/// How much of a cut head is looked at in one go: it is copied, the body behind it should not be.
const STEP: usize = 512;

/// How long a head may be to be remembered.
const REMEMBERED: usize = 1024;

/// What is looked at in a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadOptions {
    /// The only body that is right.
    pub(crate) expect_body: Option<Bytes>,
    /// The first number in the first 4 KiB of a body is a pid.
    pub(crate) watch_pids: bool,
}

/// What the request that is answered was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expect {
    /// `HEAD`: the answer has no body.
    pub(crate) head: bool,
}

/// A whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The connection can be used for another request.
    pub(crate) keep_alive: bool,
    pub(crate) pid: Option<u32>,
    /// The body is the expected one, if one is; an answer to `HEAD` has none to compare.
    pub(crate) matches: bool,
    /// How long it was, with its head and what came between it and the one before.
    pub(crate) bytes: u64,
}

/// Reads the answers on one connection.
///
/// Keeps bytes only of a head that comes in pieces, and of the last one: a server sends the same
/// head again until its clock shows the next second, and comparing is ten times as fast as reading.
#[derive(Debug)]
pub(crate) struct Reader {
    options: Arc<ReadOptions>,
    /// What came of a head that is not whole.
    head: Vec<u8>,
    /// The last head that came whole, and what it said.
    last: Vec<u8>,
    said: Option<Head>,
    body: Option<Body>,
    /// How much of the answer was read.
    bytes: u64,
}

/// An answer whose head is whole.
#[derive(Debug)]
struct Body {
    head: Head,
    /// There is something to compare.
    compared: bool,
    rest: Rest,
    seen: Seen,
}

impl Reader {
    pub(crate) fn new(options: Arc<ReadOptions>) -> Self {
        Self {
            options,
            head: Vec::new(),
            last: Vec::new(),
            said: None,
            body: None,
            bytes: 0,
        }
    }

    /// Reads on until one answer is whole or the bytes are used up, and says how many it took.
    /// 1xx answers are skipped. After an error the connection is of no use.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        expect: Expect,
    ) -> Result<(usize, Option<Answer>), Malformed> {
        let (taken, whole) = self.take(bytes, expect)?;
        self.bytes += taken as u64;
        Ok((taken, whole.map(|body| self.answer(&body))))
    }

    fn take(&mut self, bytes: &[u8], expect: Expect) -> Result<(usize, Option<Body>), Malformed> {
        let mut taken = 0;
        let mut body = match self.body.take() {
            Some(body) => body,
            None => loop {
                let (length, head) = self.read_head(&bytes[taken..])?;
                taken += length;
                match head {
                    None => return Ok((taken, None)),
                    Some(head) if head.is_interim() => {}
                    Some(head) => break Body::new(head, expect),
                }
            },
        };
        let Body { rest, seen, .. } = &mut body;
        let options = &self.options;
        let (length, whole) = rest.take(&bytes[taken..], |piece| seen.take(piece, options))?;
        taken += length;
        if whole {
            return Ok((taken, Some(body)));
        }
        self.body = Some(body);
        Ok((taken, None))
    }

    /// The connection ended: an answer that ends with it is whole now.
    pub(crate) fn end(&mut self) -> Option<Answer> {
        self.head = Vec::new();
        let body = self.body.take();
        let whole = body.filter(|body| matches!(body.rest, Rest::UntilClose));
        let answer = whole.map(|body| self.answer(&body));
        self.bytes = 0;
        answer
    }

    /// A part of an answer has come.
    pub(crate) fn is_within(&self) -> bool {
        self.body.is_some() || !self.head.is_empty()
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.head.capacity()
    }

    fn answer(&mut self, body: &Body) -> Answer {
        let Body { head, seen, .. } = body;
        let ends_with_it = matches!(body.rest, Rest::UntilClose) || head.status == 101;
        Answer {
            status: head.status,
            keep_alive: head.keep_alive && !ends_with_it,
            pid: seen.pid(&self.options),
            matches: !body.compared || seen.matches(&self.options),
            bytes: mem::take(&mut self.bytes),
        }
    }

    fn read_head(&mut self, bytes: &[u8]) -> Result<(usize, Option<Head>), Malformed> {
        if !self.head.is_empty() {
            return self.gather_head(bytes);
        }
        if self.said.is_some() && bytes.starts_with(&self.last) {
            return Ok((self.last.len(), self.said));
        }
        // Some servers end a body with a newline too many.
        let is_blank = |b: &&u8| matches!(b, b'\r' | b'\n');
        let blank = bytes.iter().take_while(is_blank).count();
        let bytes = &bytes[blank..];
        if bytes.is_empty() {
            return Ok((blank, None));
        }
        begins_well(bytes)?;
        // What is wrong is found again below, at the same byte however the bytes are cut.
        let (length, head) = match Head::parse(bytes) {
            Ok(Some((length, head))) => {
                self.remember(&bytes[..length], head);
                (length, Some(head))
            }
            Err(error @ Malformed::ContentLength) => return Err(error),
            Ok(None) | Err(_) => self.gather_head(bytes)?,
        };
        Ok((blank + length, head))
    }

    fn remember(&mut self, bytes: &[u8], head: Head) {
        if bytes.len() <= REMEMBERED {
            self.last.clear();
            self.last.extend_from_slice(bytes);
            self.said = Some(head);
        }
    }

    /// Adds to a head that comes in pieces. It is looked at again with each new line only, so that
    /// one that comes byte by byte costs no more than its lines.
    fn gather_head(&mut self, bytes: &[u8]) -> Result<(usize, Option<Head>), Malformed> {
        let mut taken = 0;
        while taken < bytes.len() {
            let known = self.head.len();
            let rest = &bytes[taken..];
            let piece = &rest[..rest.len().min(STEP).min(LONGEST - known)];
            self.head.extend_from_slice(piece);
            taken += piece.len();
            begins_well(&self.head)?;
            if memchr(b'\n', piece).is_some() {
                let lines = memrchr(b'\n', &self.head).map_or(0, |at| at + 1);
                if let Some((length, head)) = Head::parse(&self.head[..lines])? {
                    self.forget_head();
                    return Ok((taken - (known + piece.len() - length), Some(head)));
                }
            }
            if self.head.len() == LONGEST {
                return Err(Malformed::EndlessHeaders);
            }
        }
        Ok((taken, None))
    }

    /// Ten thousand connections do not keep what one long head needed.
    fn forget_head(&mut self) {
        self.head.clear();
        self.head.shrink_to(STEP);
    }
}

impl Body {
    fn new(head: Head, expect: Expect) -> Self {
        let rest = match head.length {
            _ if expect.head || matches!(head.status, 101 | 204 | 304) => Rest::Exactly(0),
            Length::Exactly(length) => Rest::Exactly(length),
            Length::Chunked => Rest::Chunks(Chunks::new()),
            Length::UntilClose => Rest::UntilClose,
        };
        Self {
            head,
            compared: !expect.head,
            rest,
            seen: Seen::new(),
        }
    }
}
