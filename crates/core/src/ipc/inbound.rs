//! What the peer sends: bytes and descriptors in, messages out.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};

use super::frame::{FrameTooLong, Framer};
use super::handles::Arrivals;
use super::internal::{self, HandOver, HandleKind, Internal, PlainAnswer};
use super::outbound::{BUN_MARK, Receipt};
use super::{BadMessage, Limits, Serialization, Shape, check};

/// What a peer did that no channel can go on after.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A message is longer than the limit.
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    /// Bytes that are no message.
    #[error(transparent)]
    Malformed(#[from] BadMessage),
    /// The peer is Bun in its private `advanced` format.
    #[error("the peer speaks Bun's own `advanced` format, which is not Node's: use `json`")]
    Bun,
}

/// An acknowledgement as Node writes it.
const ACK: &[u8] = br#"{"cmd":"NODE_HANDLE_ACK"}"#;

/// What travelled with a message.
pub type Attached<H> = Option<(HandleKind, H)>;

/// Something that the peer did, and what is to be done about it.
#[derive(Debug)]
pub enum Step<H> {
    /// Give it to the program: what it says, without newline or length.
    Message(Bytes, Shape, Attached<H>),
    /// Programs never see it; nor is it one that the channel itself answers.
    Internal(Internal, Attached<H>),
    /// Send this [answer](super::outbound::Outbound::answer).
    Answer(Internal),
    /// Tell the [sending half](super::outbound::Outbound::answered).
    Receipt(Receipt),
    /// [Mark](super::outbound::Outbound::mark_internal) what is internal: the peer is Bun.
    Mark,
}

/// The receiving half of one end of a channel, without its socket.
///
/// `H` is a descriptor that closes itself when it is dropped.
#[derive(Debug)]
pub struct Inbound<H> {
    serialization: Serialization,
    framer: Framer,
    /// Bytes that came, and those of them that became messages.
    arrived: u64,
    consumed: u64,
    arrivals: Arrivals<H>,
    /// What follows from the message that was told last.
    next: VecDeque<Step<H>>,
    peer_marks: bool,
}

impl<H> Inbound<H> {
    /// Makes one half.
    #[must_use]
    pub fn new(serialization: Serialization, limits: &Limits) -> Self {
        Self {
            serialization,
            framer: Framer::new(serialization, limits.max_frame),
            arrived: 0,
            consumed: 0,
            arrivals: Arrivals::new(limits.max_pending_handles),
            next: VecDeque::new(),
            peer_marks: false,
        }
    }

    /// Takes what one read gave: bytes, and the descriptors that came with them.
    /// One that was lost on the way, or is of a kind that no message can have, is `None`.
    pub fn received(&mut self, bytes: &[u8], handles: impl IntoIterator<Item = Option<H>>) {
        self.framer.feed(bytes);
        self.arrived(bytes.len(), handles);
    }

    /// Where the rest of a large message is best read to, when nothing more can be told of
    /// what was received: see [`Framer::rest`]. What was appended there is to be
    /// [told](Inbound::arrived).
    pub fn rest(&mut self, made: impl FnOnce(&mut [MaybeUninit<u8>])) -> Option<&mut BytesMut> {
        self.framer.rest(made)
    }

    /// As [`Inbound::received`], of bytes that were read to [where they stay](Inbound::rest).
    pub fn arrived(&mut self, bytes: usize, handles: impl IntoIterator<Item = Option<H>>) {
        self.arrived += bytes as u64;
        for handle in handles {
            self.arrivals.push(handle, self.arrived);
        }
    }

    /// Tells the next thing that the peer did, in its order; none until more was received.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: nothing that follows makes sense any more.
    pub fn next_step(&mut self) -> Result<Option<Step<H>>, ProtocolError> {
        if let Some(next) = self.next.pop_front() {
            return Ok(Some(next));
        }
        let Some(body) = self
            .framer
            .next_frame()
            .map_err(|long| self.too_long(long))?
        else {
            return if self.framer.is_bun() {
                Err(ProtocolError::Bun)
            } else {
                Ok(None)
            };
        };
        let start = self.consumed;
        self.consumed += (body.len() + self.overhead()) as u64;
        if self.serialization == Serialization::Json && body.first() == Some(&BUN_MARK) {
            return self.marked(body.slice(1..), start).map(Some);
        }
        self.look_at(body, start).map(Some)
    }

    /// Bun's greeting, read as a length, is above most limits.
    fn too_long(&self, long: FrameTooLong) -> ProtocolError {
        if self.framer.is_bun() {
            ProtocolError::Bun
        } else {
            long.into()
        }
    }

    fn overhead(&self) -> usize {
        match self.serialization {
            Serialization::Json => 1,
            Serialization::Advanced => 4,
        }
    }

    fn look_at(&mut self, body: Bytes, start: u64) -> Result<Step<H>, ProtocolError> {
        if self.serialization == Serialization::Json {
            // One comes for each descriptor, and all are alike.
            if *body == *ACK {
                return self.internal(Internal::Ack, start);
            }
            // One comes for each connection of a cluster, and nothing is left to check in it.
            if PlainAnswer::read(&body).is_some() {
                return self.internal(Internal::Cluster(body), start);
            }
        }
        let shape = check(self.serialization, &body)?;
        if shape.internal {
            return self.internal(internal::parse(self.serialization, &body)?, start);
        }
        self.arrivals.pass(start);
        Ok(Step::Message(body, shape, None))
    }

    fn marked(&mut self, body: Bytes, start: u64) -> Result<Step<H>, ProtocolError> {
        let step = self.look_at(body, start)?;
        if std::mem::replace(&mut self.peer_marks, true) {
            return Ok(step);
        }
        self.next.push_front(step);
        Ok(Step::Mark)
    }

    /// Answers what the channel itself is asked, and tells the rest.
    fn internal(&mut self, message: Internal, start: u64) -> Result<Step<H>, ProtocolError> {
        if !matches!(message, Internal::Handle(_)) {
            self.arrivals.pass(start);
        }
        Ok(match message {
            Internal::Ack => Step::Receipt(Receipt::Acknowledged),
            Internal::Nack => Step::Receipt(Receipt::Missed),
            // A socket that was taken out of its message is its owner's, and not counted.
            Internal::SocketGetCount { key } => {
                Step::Answer(Internal::SocketCount { key, count: 0 })
            }
            Internal::SocketNotifyClose { key } => Step::Answer(Internal::SocketAllClosed { key }),
            Internal::Handle(hand_over) => return self.claim(hand_over, start),
            other @ (Internal::Cluster(_)
            | Internal::SocketAllClosed { .. }
            | Internal::SocketCount { .. }
            | Internal::Procession(_)
            | Internal::Unknown { .. }) => Step::Internal(other, None),
        })
    }

    fn claim(&mut self, from: HandOver, start: u64) -> Result<Step<H>, ProtocolError> {
        let Some(handle) = self.arrivals.claim(start) else {
            return Ok(Step::Answer(Internal::Nack));
        };
        let body = from
            .message
            .unwrap_or_else(|| self.serialization.undefined());
        let attached = Some((from.kind, handle));
        let shape = check(self.serialization, &body)?;
        let step = if shape.internal {
            Step::Internal(internal::parse(self.serialization, &body)?, attached)
        } else {
            Step::Message(body, shape, attached)
        };
        self.next.push_back(step);
        Ok(Step::Answer(Internal::Ack))
    }

    /// Whether a part of a message was read: at the end of the stream it is lost, as in Node.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.framer.is_partial()
    }

    /// How many descriptors were closed because no message wanted them.
    #[must_use]
    pub fn dropped_handles(&self) -> u64 {
        self.arrivals.dropped()
    }
}
