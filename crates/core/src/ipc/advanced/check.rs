//! One look at a frame that arrived.

use super::Dialect;
use super::cursor::{Container, Cursor, Fault, Text, Token, Window};
use super::walk::{RawKey, Sink, Walk};
use crate::ipc::{BadMessage, Shape};

/// Says whether the bytes are a message that [`read`](super::read) takes, how
/// deep it nests, and whether it is one of Node's own.
///
/// One pass that copies nothing: strings and buffers are jumped over. The
/// only memory is 16 bytes for each level that is open and for each
/// `ArrayBuffer` (views and `Buffer`s are none). There is no depth limit:
/// compare [`Shape::depth`] with yours.
///
/// # Errors
///
/// [`BadMessage`]: the bytes are no message.
pub fn check(bytes: &[u8], dialect: Dialect) -> Result<Shape, BadMessage> {
    look(bytes, dialect).map_err(|fault| fault.of(bytes))
}

fn look(bytes: &[u8], dialect: Dialect) -> Result<Shape, Fault> {
    let mut cursor = Cursor::new(bytes, dialect)?;
    let mut look = Look::default();
    let (depth, _) = Walk::new(&mut cursor, usize::MAX, 0).run(&mut look)?;
    Ok(Shape {
        depth,
        internal: look.internal,
    })
}

#[derive(Default)]
struct Look {
    depth: usize,
    /// Native objects around the message: Node sees what is in them.
    wrappers: usize,
    /// The next value is the message's `cmd`.
    at_cmd: bool,
    internal: bool,
    objects: u32,
    buffers: Vec<Seen>,
}

/// An `ArrayBuffer`, onto which a view may come later.
struct Seen {
    id: u32,
    length: usize,
    resizable: bool,
}

/// Whether that is the `cmd` of a message that programs never see.
fn is_internal(cmd: Text<'_>) -> bool {
    cmd.goes_beyond("NODE_")
}

impl<'a> Sink<'a> for Look {
    #[inline]
    fn leaf(&mut self, token: Token<'a>, window: Option<Window>, _at: usize) {
        if self.at_cmd {
            self.internal = matches!(token, Token::Text(text) if is_internal(text));
            self.at_cmd = false;
        }
        match token {
            Token::Undefined | Token::Null | Token::Bool(_) | Token::Int(_) => {}
            Token::Number(_) | Token::BigInt(_) | Token::Text(_) => {}
            Token::Buffer { bytes, max } => {
                self.buffers.push(Seen {
                    id: self.objects,
                    length: bytes.len(),
                    resizable: max.is_some(),
                });
                self.objects += 1 + u32::from(window.is_some());
            }
            Token::Reference(_) => self.objects += u32::from(window.is_some()),
            Token::Date(_)
            | Token::BoxedBool(_)
            | Token::BoxedNumber(_)
            | Token::BoxedBigInt(_)
            | Token::BoxedText(_)
            | Token::RegExp { .. }
            | Token::View { .. }
            | Token::Open(..) => self.objects += 1,
        }
    }

    #[inline]
    fn open(&mut self, container: Container, _length: u32, _at: usize) {
        if self.at_cmd {
            (self.at_cmd, self.internal) = (false, false);
        }
        if container == Container::Native && self.wrappers == self.depth {
            self.wrappers += 1;
        }
        self.depth += 1;
        self.objects += 1;
    }

    #[inline]
    fn key(&mut self, key: RawKey<'a>) {
        let outermost = self.depth == self.wrappers + 1;
        self.at_cmd = outermost && matches!(key, RawKey::Text(text) if text.is("cmd"));
    }

    #[inline]
    fn close(&mut self) {
        self.depth -= 1;
    }

    fn buffer(&self, id: u32) -> Option<(usize, bool)> {
        let place = self
            .buffers
            .binary_search_by_key(&id, |seen| seen.id)
            .ok()?;
        let seen = &self.buffers[place];
        Some((seen.length, seen.resizable))
    }
}
