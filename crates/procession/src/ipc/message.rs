//! A message that came, and values on their way into one.

use std::fmt;
use std::os::fd::AsFd;

use bytes::Bytes;
use procession_core::ipc::advanced::{self, Dialect, Document};
use procession_core::ipc::internal::{self, HandOver, HandleKind, Internal};
use procession_core::ipc::{BadMessage, Serialization, Shape, check, frame, json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{DecodeError, EncodeError};
use super::request::Responder;
use super::{Handle, SendError};

/// A message from the other side.
///
/// It stays bytes until it is [decoded](Message::decode): one that is only
/// passed on ([`Sender::forward`](super::Sender::forward)) is never parsed into values.
pub struct Message {
    pub(super) body: Bytes,
    pub(super) serialization: Serialization,
    /// As it was seen when it arrived.
    pub(super) shape: Option<Shape>,
    pub(super) max_depth: usize,
    pub(super) handle: Option<Handle>,
    pub(super) responder: Option<Responder>,
    /// Programs never see it: it is for the cluster.
    pub(super) is_cluster: bool,
}

impl Message {
    /// Makes a value of it.
    ///
    /// Numbers, strings, arrays and objects become what serde makes of them. In
    /// `advanced`, `Map`s are maps, `undefined` is `None`, `Buffer`s are bytes
    /// and a `Date` is its milliseconds; for everything that V8 can say see
    /// [`Message::document`].
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: another shape, or deeper than
    /// [`Limits::max_depth`](super::Limits::max_depth).
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        Ok(match self.serialization {
            Serialization::Json => match self.shape {
                Some(shape) => json::decode_checked(&self.body, shape, self.max_depth)?,
                None => json::decode(&self.body, self.max_depth)?,
            },
            Serialization::Advanced => {
                advanced::from_slice_with(&self.body, Dialect::Ipc, &self.depth())?
            }
        })
    }

    /// Everything that an `advanced` message says: cycles, `Map`, `RegExp`, views.
    ///
    /// # Errors
    ///
    /// [`BadMessage`] for a message in `json`, or deeper than
    /// [`Limits::max_depth`](super::Limits::max_depth).
    pub fn document(&self) -> Result<Document, BadMessage> {
        advanced::read(&self.body, Dialect::Ipc, &self.depth())
    }

    fn depth(&self) -> advanced::Limits {
        advanced::Limits {
            depth: self.max_depth,
        }
    }

    /// As it came, without newline or length.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The memory that it takes while it waits, in bytes: short ones are mostly overhead.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.body.len()
    }

    /// How it is written.
    #[must_use]
    pub fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// What travelled with it.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    /// Takes what travelled with it; it is closed with the message otherwise.
    pub fn take_handle(&mut self) -> Option<Handle> {
        self.handle.take()
    }

    /// Whether the other side waits for [`Message::reply`].
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.responder.is_some()
    }

    /// Answers a [`request`](super::Sender::request); dropping it unanswered refuses it.
    ///
    /// # Errors
    ///
    /// [`SendError`]; an ordinary message has nobody who waits: [`SendError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, the answer may or may not have been sent.
    pub async fn reply<T: Serialize + ?Sized>(&mut self, answer: &T) -> Result<(), SendError> {
        match self.responder.take() {
            Some(responder) => responder.reply(answer).await,
            None => Err(SendError::Closed {
                peer: "nobody, for the message is no request".into(),
                handle: None,
            }),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 120;
        let shown = &self.body[..self.body.len().min(SHOWN)];
        f.debug_struct("Message")
            .field("serialization", &self.serialization.name())
            .field("bytes", &self.body.len())
            .field("body", &format_args!("{}", shown.escape_ascii()))
            .field("handle", &self.handle)
            .field("is_request", &self.is_request())
            .finish()
    }
}

/// Appends a value as a whole frame.
pub(super) fn encode_frame<T: Serialize + ?Sized>(
    serialization: Serialization,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let begun = frame::begin(serialization, out);
    let start = out.len();
    if let Err(error) = encode(serialization, value, out)
        .and_then(|()| refuse_as_node(serialization, &out[start..]))
    {
        begun.cancel(out);
        return Err(error);
    }
    begun.end(out).map(drop).map_err(|_| EncodeError::TooLong)
}

/// Appends a value as a body.
pub(super) fn encode<T: Serialize + ?Sized>(
    serialization: Serialization,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match serialization {
        Serialization::Json => json::encode(value, out)?,
        Serialization::Advanced => advanced::to_writer(out, value, Dialect::Ipc)?,
    }
    Ok(())
}

/// A value that takes a handle along, as a whole frame.
///
/// Makes the handle non-blocking: a Node never does that itself, and would hang
/// in `accept` or `read`.
pub(super) fn hand_over_frame<T: Serialize + ?Sized>(
    serialization: Serialization,
    value: &T,
    handle: &Handle,
) -> Result<(HandleKind, Vec<u8>), EncodeError> {
    let mut body = Vec::new();
    encode(serialization, value, &mut body)?;
    refuse_as_node(serialization, &body)?;
    body_with_handle(serialization, body.into(), handle)
}

/// As [`hand_over_frame`], of a message that came from elsewhere.
pub(super) fn passed_on_frame(
    serialization: Serialization,
    message: &Message,
    handle: &Handle,
) -> Result<(HandleKind, Vec<u8>), EncodeError> {
    if message.serialization != serialization {
        check_body(serialization, &message.body)?;
    }
    body_with_handle(serialization, message.body.clone(), handle)
}

fn body_with_handle(
    serialization: Serialization,
    body: Bytes,
    handle: &Handle,
) -> Result<(HandleKind, Vec<u8>), EncodeError> {
    // It cannot fail for an open descriptor.
    let _ = procession_sys::set_nonblocking(handle.as_fd(), true);
    let kind = handle.wire_kind();
    let hand_over = HandOver {
        kind: kind.clone(),
        message: Some(body),
        key: None,
        dgram_type: handle.dgram_type(),
    };
    let frame = internal_frame(serialization, &Internal::Handle(hand_over))?;
    Ok((kind, frame))
}

/// An internal message as a whole frame.
pub(super) fn internal_frame(
    serialization: Serialization,
    message: &Internal,
) -> Result<Vec<u8>, EncodeError> {
    // As long as one with a connection is.
    let mut out = Vec::with_capacity(256);
    let begun = frame::begin(serialization, &mut out);
    internal::encode(serialization, message, &mut out)?;
    begun.end(&mut out).map_err(|_| EncodeError::TooLong)?;
    Ok(out)
}

/// What `send` refuses as a message by itself.
fn refuse_as_node(serialization: Serialization, body: &[u8]) -> Result<(), EncodeError> {
    const HEADER: usize = 2;
    match (serialization, body.get(HEADER)) {
        (Serialization::Advanced, Some(b'_')) => Err(EncodeError::Undefined),
        (Serialization::Advanced, Some(b'Z')) => Err(EncodeError::BigInt),
        (Serialization::Json | Serialization::Advanced, _) => Ok(()),
    }
}

/// Appends a body as a whole frame.
pub(super) fn frame_of(
    serialization: Serialization,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    check_body(serialization, body)?;
    frame::write(serialization, body, out).map_err(|_| EncodeError::TooLong)
}

/// Whether a body can be a frame by itself.
fn check_body(serialization: Serialization, body: &[u8]) -> Result<(), EncodeError> {
    check(serialization, body).map_err(EncodeError::Malformed)?;
    if let Some(newline) = memchr_newline(serialization, body) {
        let wanted = "allowed inside a message";
        return Err(EncodeError::Malformed(BadMessage::new(
            body, newline, wanted,
        )));
    }
    Ok(())
}

/// A newline between the tokens of a JSON text would end the frame.
fn memchr_newline(serialization: Serialization, body: &[u8]) -> Option<usize> {
    match serialization {
        Serialization::Json => body.iter().position(|byte| *byte == b'\n'),
        Serialization::Advanced => None,
    }
}
