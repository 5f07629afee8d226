//! What we send: messages in, bytes out.

use std::collections::VecDeque;

use super::handles::{Answer, HandOvers, Parcel, RESENDS, Ticket};
use super::internal::{self, HandleKind, Internal};
use super::{Serialization, frame};

/// Messages are appended to each other up to about this size, to be written at once.
const COALESCED: usize = 64 * 1024;

/// Answers that the peer does not read, in bytes, before nothing more is read from it.
const URGENT: usize = 64 * 1024;

/// Memory that an idle end keeps, in bytes.
const SPARE: usize = 1024;

/// Bun's mark before an internal message.
pub const BUN_MARK: u8 = 2;

/// What is to be written next.
#[derive(Debug)]
pub struct Write<'a, H> {
    /// Bytes; as many as fit.
    pub bytes: &'a [u8],
    /// A descriptor to go with the first of them.
    pub handle: Option<&'a H>,
}

/// The sending half of one end of a channel, without its socket.
///
/// `H` is a descriptor that closes itself when it is dropped.
#[derive(Debug)]
pub struct Outbound<H> {
    serialization: Serialization,
    hand_overs: HandOvers<H>,
    /// What is being written, and how much of it is.
    writing: Option<Item<H>>,
    written: usize,
    /// Answers; they overtake what waits, else two that hand over would wait for each other.
    urgent: Vec<u8>,
    queue: VecDeque<Item<H>>,
    queued: usize,
    /// The memory of what was written last, for what is sent next.
    spare: Vec<u8>,
    next_ticket: u64,
    unsolicited: u64,
    /// Something was given up that was not written.
    has_lost: bool,
    /// The peer is Bun, which marks its internal messages and wants ours so.
    marks_internal: bool,
}

/// Whole frames, written without a gap.
#[derive(Debug)]
enum Item<H> {
    Plain(Vec<u8>),
    Handle(Parcel<H>),
}

impl<H> Item<H> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Handle(parcel) => &parcel.frame,
        }
    }
}

impl<H> Outbound<H> {
    /// Makes one half.
    #[must_use]
    pub fn new(serialization: Serialization) -> Self {
        Self {
            serialization,
            hand_overs: HandOvers::default(),
            writing: None,
            written: 0,
            urgent: Vec::new(),
            queue: VecDeque::new(),
            queued: 0,
            spare: Vec::new(),
            next_ticket: 0,
            unsolicited: 0,
            has_lost: false,
            marks_internal: false,
        }
    }

    /// Queues whole frames, made by [`frame::begin`] and [`frame::Begun::end`], and empties `frames`.
    ///
    /// The bound of the queue is the caller's: see [`Outbound::queued`].
    pub fn send(&mut self, frames: &mut Vec<u8>) {
        self.queued += frames.len();
        match self.queue.back_mut() {
            Some(Item::Plain(last)) if last.len() + frames.len() <= COALESCED => {
                last.append(frames);
            }
            // A large one is not copied; a small one leaves the caller its memory.
            _ if frames.len() > COALESCED / 2 => {
                self.queue.push_back(Item::Plain(std::mem::take(frames)));
            }
            _ => {
                let mut own = std::mem::take(&mut self.spare);
                own.append(frames);
                self.queue.push_back(Item::Plain(own));
            }
        }
    }

    /// As [`Outbound::send`], of frames of which so many bytes are written already: what
    /// was sent before is, too.
    pub fn send_rest(&mut self, frames: &mut Vec<u8>, written: usize) {
        debug_assert!(
            self.is_written(),
            "the rest comes right after the beginning"
        );
        self.writing = Some(Item::Plain(std::mem::take(frames)));
        self.written = written;
    }

    /// Queues a whole frame that takes a descriptor along.
    pub fn send_handle(&mut self, kind: &HandleKind, frame: Vec<u8>, handle: H) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.queued += frame.len();
        // Node sends only those again that it would close otherwise.
        let resends = match kind {
            HandleKind::Socket | HandleKind::BoundSocket => RESENDS,
            HandleKind::Server
            | HandleKind::Native
            | HandleKind::DgramSocket
            | HandleKind::DgramNative
            | HandleKind::Unknown(_) => 0,
        };
        self.queue.push_back(Item::Handle(Parcel {
            frame,
            handle,
            ticket,
            resends,
        }));
        ticket
    }

    /// Queues an answer, before everything that waits.
    pub fn answer(&mut self, message: &Internal) {
        let mark = self.marks_internal.then_some(BUN_MARK);
        let start = self.urgent.len();
        self.urgent.extend(mark);
        let begun = frame::begin(self.serialization, &mut self.urgent);
        let written = internal::encode(self.serialization, message, &mut self.urgent);
        if written.is_err() || begun.end(&mut self.urgent).is_err() {
            // Only a message inside could be malformed or too long, and an answer has none.
            self.urgent.truncate(start);
        }
    }

    /// The peer marks its internal messages as Bun does: so do we from now on.
    pub fn mark_internal(&mut self) {
        self.marks_internal = true;
    }

    /// Whether the peer wants internal messages marked.
    #[must_use]
    pub fn is_marking(&self) -> bool {
        self.marks_internal
    }

    /// How both sides write values.
    #[must_use]
    pub fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// Whether answers wait to be written.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// Whether the peer may be read from: not while it leaves our answers unread.
    #[must_use]
    pub fn may_receive(&self) -> bool {
        self.urgent.len() < URGENT
    }

    /// The peer answers for the oldest descriptor that was sent.
    pub fn answered(&mut self, receipt: Receipt) -> Option<Settled<H>> {
        let answer = match receipt {
            Receipt::Acknowledged => self.hand_overs.acknowledged(),
            Receipt::Missed => self.hand_overs.missed(),
        };
        match answer {
            Answer::Taken(ticket, handle) => Some(Settled::Taken(ticket, handle)),
            Answer::Refused(ticket, handle) => Some(Settled::Refused(ticket, handle)),
            Answer::Again(parcel) => {
                self.queued += parcel.frame.len();
                self.queue.push_front(Item::Handle(parcel));
                None
            }
            Answer::Unsolicited => {
                self.unsolicited += 1;
                None
            }
        }
    }

    /// How many acknowledgements came of nothing.
    #[must_use]
    pub fn unsolicited(&self) -> u64 {
        self.unsolicited
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether everything is written and every descriptor answered for.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_written() && self.hand_overs.is_empty()
    }

    /// Whether everything is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.has_lost && self.writing.is_none() && self.queue.is_empty() && self.urgent.is_empty()
    }

    /// What is to be written now; none when nothing waits, or waits for an answer.
    pub fn next_write(&mut self) -> Option<Write<'_, H>> {
        if self.writing.is_none() {
            self.writing = self.next_item();
            self.written = 0;
        }
        let item = self.writing.as_ref()?;
        let handle = match item {
            Item::Handle(parcel) if self.written == 0 => Some(&parcel.handle),
            Item::Handle(_) | Item::Plain(_) => None,
        };
        Some(Write {
            bytes: &item.bytes()[self.written..],
            handle,
        })
    }

    fn next_item(&mut self) -> Option<Item<H>> {
        if !self.urgent.is_empty() {
            return Some(Item::Plain(std::mem::take(&mut self.urgent)));
        }
        let may_go = match self.queue.front()? {
            Item::Plain(_) => true,
            Item::Handle(parcel) => self.hand_overs.may_send(parcel.frame.len()),
        };
        let item = if may_go { self.queue.pop_front() } else { None }?;
        self.queued -= item.bytes().len();
        Some(item)
    }

    /// Notes that so many bytes of [`Outbound::next_write`] were written.
    pub fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        match self.writing.take() {
            Some(item) if self.written < item.bytes().len() => self.writing = Some(item),
            Some(Item::Handle(parcel)) => self.hand_overs.sent(parcel),
            Some(Item::Plain(mut bytes)) if bytes.capacity() <= SPARE => {
                bytes.clear();
                self.spare = bytes;
            }
            Some(Item::Plain(_)) | None => {}
        }
    }

    /// Gives back every descriptor that the peer did not confirm, in their order.
    pub fn give_back(&mut self) -> Vec<(Ticket, H)> {
        self.has_lost = !self.is_written();
        let mut back: Vec<_> = self.hand_overs.give_back().collect();
        let rest = self.writing.take().into_iter().chain(self.queue.drain(..));
        back.extend(rest.filter_map(|item| match item {
            Item::Handle(parcel) => Some((parcel.ticket, parcel.handle)),
            Item::Plain(_) => None,
        }));
        self.queued = 0;
        back
    }
}

/// What the peer says of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// `NODE_HANDLE_ACK`.
    Acknowledged,
    /// `NODE_HANDLE_NACK`.
    Missed,
}

/// What became of a descriptor in the end.
#[derive(Debug)]
pub enum Settled<H> {
    /// The peer has it, and ours can be closed.
    Taken(Ticket, H),
    /// It did not arrive, and here it is.
    Refused(Ticket, H),
}
