//! Goes through a message from its first value to its last, without recursion.
//!
//! What is found is told to a [`Sink`]: one that builds a document, one that
//! only looks, one that skips. So none of them can disagree about the bytes.

use super::cursor::{Container, Cursor, ErrorPart, Fault, Text, Token, Window};
use super::tag;

/// A key as it stands in the message.
#[derive(Debug, Clone, Copy)]
pub(super) enum RawKey<'a> {
    Int(i64),
    Text(Text<'a>),
}

/// Who is told what a message holds.
pub(super) trait Sink<'a> {
    /// A value that holds no others; with a window it is a view onto the buffer that the token is.
    /// `at` is where its bytes begin.
    fn leaf(&mut self, token: Token<'a>, window: Option<Window>, at: usize);
    /// A value that holds others begins. Length: of an array.
    fn open(&mut self, container: Container, length: u32, at: usize);
    /// The key of the value that comes next.
    fn key(&mut self, _key: RawKey<'a>) {}
    /// An element that is not there.
    fn hole(&mut self) {}
    /// A name, message or stack, or that the cause comes next.
    fn error_part(&mut self, _part: ErrorPart<'a>) {}
    /// The value that was opened last is complete.
    fn close(&mut self);
    /// How long the buffer with that number is, and whether it is resizable.
    fn buffer(&self, id: u32) -> Option<(usize, bool)>;
}

/// What has been opened and not closed.
#[derive(Debug, Clone, Copy)]
struct Frame {
    container: Container,
    /// Of an array.
    length: u32,
    /// Elements of a dense array that are yet to come.
    left: u32,
    /// Properties, entries or members so far.
    count: u32,
}

pub(super) struct Walk<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    stack: Vec<Frame>,
    max_depth: usize,
    depth: usize,
    /// How many objects have begun: the next one's number.
    objects: u32,
}

impl<'c, 'a> Walk<'c, 'a> {
    pub(super) fn new(cursor: &'c mut Cursor<'a>, max_depth: usize, objects: u32) -> Self {
        Self {
            cursor,
            stack: Vec::new(),
            max_depth,
            depth: 0,
            objects,
        }
    }

    /// Goes through one value. Returns how deep it nests and how many objects there are now.
    pub(super) fn run<S: Sink<'a>>(mut self, sink: &mut S) -> Result<(usize, u32), Fault> {
        self.value(sink)?;
        while let Some(frame) = self.stack.last().copied() {
            self.proceed(frame, sink)?;
        }
        Ok((self.depth, self.objects))
    }

    /// Takes what comes next in the frame, up to the first value that opens another.
    fn proceed<S: Sink<'a>>(&mut self, mut frame: Frame, sink: &mut S) -> Result<(), Fault> {
        let level = self.stack.len();
        loop {
            let more = match frame.container {
                Container::Object => self.property(tag::OBJECT_END, &mut frame, sink)?,
                Container::Sparse => self.property(tag::SPARSE_ARRAY_END, &mut frame, sink)?,
                Container::Dense if frame.left == 0 => {
                    self.property(tag::DENSE_ARRAY_END, &mut frame, sink)?
                }
                Container::Dense => {
                    frame.left -= 1;
                    self.element(sink)?
                }
                Container::Map => self.member(tag::MAP_END, &mut frame, sink)?,
                Container::Set => self.member(tag::SET_END, &mut frame, sink)?,
                Container::Error => self.error_part(sink)?,
                Container::Native => {
                    frame.count += 1;
                    frame.count == 1 && self.value(sink)?
                }
            };
            if !more {
                self.stack.truncate(level - 1);
                sink.close();
                return Ok(());
            }
            if self.stack.len() > level {
                self.stack[level - 1] = frame;
                return Ok(());
            }
        }
    }

    /// A value. Always true: there may be more.
    #[inline(always)]
    fn value<S: Sink<'a>>(&mut self, sink: &mut S) -> Result<bool, Fault> {
        let at = self.cursor.at();
        if let Some(token) = self.cursor.plain_token()? {
            sink.leaf(token, None, at);
            return Ok(true);
        }
        self.other_value(at, sink)
    }

    #[inline(never)]
    fn other_value<S: Sink<'a>>(&mut self, at: usize, sink: &mut S) -> Result<bool, Fault> {
        match self.cursor.other_token()? {
            Token::Open(container, length) => self.open(container, length, at, sink)?,
            token @ Token::Reference(id) => {
                if id >= self.objects {
                    return Err(self
                        .cursor
                        .fault_at(at, "the number of an object that came before"));
                }
                let window = self.window_of(id, sink)?;
                sink.leaf(token, window, at);
            }
            token @ Token::Buffer { bytes, max } => {
                self.number_one(at)?;
                let window = self.window(bytes.len(), max.is_some())?;
                sink.leaf(token, window, at);
            }
            token @ (Token::Undefined | Token::Null | Token::Bool(_) | Token::Int(_)) => {
                sink.leaf(token, None, at);
            }
            token @ (Token::Number(_) | Token::BigInt(_) | Token::Text(_)) => {
                sink.leaf(token, None, at);
            }
            token @ (Token::Date(_) | Token::BoxedBool(_) | Token::BoxedNumber(_))
            | token @ (Token::BoxedBigInt(_) | Token::BoxedText(_) | Token::RegExp { .. })
            | token @ Token::View { .. } => {
                self.number_one(at)?;
                sink.leaf(token, None, at);
            }
        }
        Ok(true)
    }

    fn open<S: Sink<'a>>(
        &mut self,
        container: Container,
        length: u32,
        at: usize,
        sink: &mut S,
    ) -> Result<(), Fault> {
        self.number_one(at)?;
        if self.stack.len() == self.max_depth {
            return Err(self.cursor.fault_at(at, "nested within the limit"));
        }
        let left = if container == Container::Dense {
            length
        } else {
            0
        };
        self.stack.push(Frame {
            container,
            length,
            left,
            count: 0,
        });
        self.depth = self.depth.max(self.stack.len());
        sink.open(container, length, at);
        Ok(())
    }

    fn number_one(&mut self, at: usize) -> Result<(), Fault> {
        let next = self.objects.checked_add(1);
        self.objects =
            next.ok_or_else(|| self.cursor.fault_at(at, "one of 2^32 objects at most"))?;
        Ok(())
    }

    fn window_of<S: Sink<'a>>(&mut self, id: u32, sink: &S) -> Result<Option<Window>, Fault> {
        if !self.cursor.at_window() {
            return Ok(None);
        }
        // V8 takes the view tag for a value of its own, which it never is.
        match sink.buffer(id) {
            Some((length, resizable)) => self.window(length, resizable),
            None => Err(self.cursor.fault("a value")),
        }
    }

    fn window(&mut self, length: usize, resizable: bool) -> Result<Option<Window>, Fault> {
        if !self.cursor.at_window() {
            return Ok(None);
        }
        let window = self.cursor.window(length, resizable)?;
        self.number_one(self.cursor.at())?;
        Ok(Some(window))
    }

    /// A key and its value, or the end of a container and what it says of it.
    #[inline(always)]
    fn property<S: Sink<'a>>(
        &mut self,
        end: u8,
        frame: &mut Frame,
        sink: &mut S,
    ) -> Result<bool, Fault> {
        if self.cursor.take_tag(end, "a property")? {
            self.cursor
                .expect(frame.count, "the number of its properties")?;
            if frame.container != Container::Object {
                self.cursor
                    .expect(frame.length, "the array's length once more")?;
            }
            return Ok(false);
        }
        frame.count = frame.count.wrapping_add(1);
        let key = self.cursor.key()?;
        sink.key(key);
        self.value(sink)
    }

    fn element<S: Sink<'a>>(&mut self, sink: &mut S) -> Result<bool, Fault> {
        if self.cursor.take_tag(tag::HOLE, "an element")? {
            sink.hole();
            return Ok(true);
        }
        self.value(sink)
    }

    /// A member of a set; a key or value of a map.
    fn member<S: Sink<'a>>(
        &mut self,
        end: u8,
        frame: &mut Frame,
        sink: &mut S,
    ) -> Result<bool, Fault> {
        let whole = frame.container == Container::Set || frame.count.is_multiple_of(2);
        if whole && self.cursor.take_tag(end, "a member")? {
            self.cursor
                .expect(frame.count, "the number of its members")?;
            return Ok(false);
        }
        frame.count = frame.count.wrapping_add(1);
        self.value(sink)
    }

    fn error_part<S: Sink<'a>>(&mut self, sink: &mut S) -> Result<bool, Fault> {
        let part = self.cursor.error_part()?;
        match part {
            ErrorPart::End => return Ok(false),
            ErrorPart::Cause => {
                sink.error_part(part);
                return self.value(sink);
            }
            ErrorPart::Name(_) | ErrorPart::Message(_) | ErrorPart::Stack(_) => {
                sink.error_part(part);
            }
        }
        Ok(true)
    }
}

impl<'a> Cursor<'a> {
    /// Takes a key: a string or a whole number.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<RawKey<'a>, Fault> {
        self.peek("a key")?;
        let at = self.at();
        match self.plain_token()? {
            Some(Token::Text(text)) => Ok(RawKey::Text(text)),
            Some(Token::Int(index)) => Ok(RawKey::Int(i64::from(index))),
            Some(_) => Err(self.fault_at(at, "a key")),
            None => self.other_key(at),
        }
    }

    #[inline(never)]
    fn other_key(&mut self, at: usize) -> Result<RawKey<'a>, Fault> {
        match self.other_token()? {
            Token::Text(text) => Ok(RawKey::Text(text)),
            Token::Int(index) => Ok(RawKey::Int(i64::from(index))),
            Token::Number(number) => match super::value::whole(number) {
                Some(index) => Ok(RawKey::Int(index)),
                None => Err(self.fault_at(at, "a key")),
            },
            Token::Undefined
            | Token::Null
            | Token::Bool(_)
            | Token::BigInt(_)
            | Token::Reference(_)
            | Token::Date(_)
            | Token::BoxedBool(_)
            | Token::BoxedNumber(_)
            | Token::BoxedBigInt(_)
            | Token::BoxedText(_)
            | Token::RegExp { .. }
            | Token::Buffer { .. }
            | Token::View { .. }
            | Token::Open(..) => Err(self.fault_at(at, "a key")),
        }
    }
}
