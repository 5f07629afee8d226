//! Where messages end.
//!
//! `json` ends a message with a newline; `advanced` begins it with its length.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};

use super::Serialization;

/// The bytes of a length in `advanced`: a big-endian `u32` that does not count itself.
const LENGTH: usize = 4;

/// From so many bytes on the rest of a message is read to where it is to stay.
const LARGE: usize = 16 * 1024;

/// A message longer than the limit of its reader, or than its framing can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than {limit} bytes")]
pub struct FrameTooLong {
    /// The limit.
    pub limit: usize,
}

/// Cuts what was read into messages.
///
/// Holds no socket: feed it whatever was read, then take frames until there is
/// none. The memory it asks for follows what arrived (twice as much, or sixteen times where
/// the message before was as long), never what a peer claims, and is given back whenever no
/// half message is held.
///
/// Frames that were fed together share one allocation: a frame that is kept
/// keeps it whole.
#[derive(Debug)]
pub struct Framer {
    serialization: Serialization,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no newline, so that a message
    /// that arrives in many pieces is scanned once.
    scanned: usize,
    limit: usize,
    /// A message that came alone and whole, as most do: it never was in `buffer`, but comes
    /// before what is.
    whole: Option<Bytes>,
    /// Whether a whole message has come.
    begun: bool,
    /// How long the last message was: the next may be as long.
    last: usize,
}

impl Framer {
    /// Makes one for messages of up to `max_frame` bytes.
    #[must_use]
    pub fn new(serialization: Serialization, max_frame: usize) -> Self {
        Self {
            serialization,
            buffer: BytesMut::new(),
            scanned: 0,
            limit: max_frame,
            whole: None,
            begun: false,
            last: 0,
        }
    }

    /// Adds bytes as they were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.buffer.is_empty()
            && self.whole.is_none()
            && let Some(message) = self.as_whole(bytes)
        {
            // Cut from the buffer it would take two pieces of memory.
            self.whole = Some(Bytes::copy_from_slice(message));
        } else {
            if self.buffer.is_empty() && self.is_beginning(bytes) {
                self.buffer.reserve(self.worth(bytes));
            }
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The message that these bytes are, if they are one that may come, and nothing else.
    fn as_whole<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let message = match self.serialization {
            Serialization::Json => {
                let message = bytes.strip_suffix(b"\n")?;
                Some(message).filter(|message| memchr::memchr(b'\n', message).is_none())
            }
            Serialization::Advanced => {
                let (length, message) = bytes.split_first_chunk::<LENGTH>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                Some(message).filter(|message| message.len() == length)
            }
        };
        message.filter(|message| message.len() <= self.limit)
    }

    /// What is held. What is added there counts as fed.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Where the rest of a large message is best read to, if one is under way and no whole
    /// one is left: there is room behind what is held, and what is added counts as fed.
    ///
    /// Room that had to be made is shown to `made` first.
    pub fn rest(&mut self, made: impl FnOnce(&mut [MaybeUninit<u8>])) -> Option<&mut BytesMut> {
        let held = self.buffer.len();
        if held < LARGE {
            return None;
        }
        if held == self.buffer.capacity() {
            self.buffer.reserve(self.worth(&self.buffer) - held);
            made(self.buffer.spare_capacity_mut());
        }
        Some(&mut self.buffer)
    }

    /// Whether these bytes are the beginning of one large message.
    fn is_beginning(&self, bytes: &[u8]) -> bool {
        bytes.len() >= LARGE
            && match self.serialization {
                Serialization::Json => memchr::memchr(b'\n', bytes).is_none(),
                Serialization::Advanced => said(bytes) > bytes.len(),
            }
    }

    /// The memory that the beginning of a message is worth, in bytes.
    ///
    /// It grows with what came, and faster where a message as long as that came before.
    fn worth(&self, held: &[u8]) -> usize {
        let (factor, all) = match self.serialization {
            Serialization::Json if self.last < held.len() => (2, usize::MAX),
            // The numbers in it may have more digits than last time.
            Serialization::Json => (16, self.last + self.last / 32 + 1),
            Serialization::Advanced => match said(held) {
                all if all <= self.last + LENGTH => (16, all),
                all => (2, all),
            },
        };
        // One more: a read that fills its room cannot know that it was the last.
        held.len().saturating_mul(factor).min(all.saturating_add(1))
    }

    /// Takes the next whole message, without its newline or length.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] once a message passes the limit, or claims to. The
    /// stream cannot be followed after that, and every later call says the same.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let frame = match (self.whole.take(), self.serialization) {
            (None, _) if self.buffer.is_empty() => None,
            (None, Serialization::Json) => self.next_line()?,
            (None, Serialization::Advanced) => self.next_counted()?,
            (whole, _) => whole,
        };
        if let Some(frame) = &frame {
            self.begun = true;
            self.last = frame.len();
        }
        Ok(frame)
    }

    /// Whether a part of a message is held, when no whole one is left: at the end of the
    /// stream it is lost.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// How many bytes of messages that are not whole are held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the stream began as Bun's own `advanced` format does, which is not Node's.
    ///
    /// To be asked while the first message is partial: read as a length, Bun's
    /// greeting (`01` and a little-endian `u32`) promises 16 MiB that never come.
    #[must_use]
    pub fn is_bun(&self) -> bool {
        self.serialization == Serialization::Advanced
            && !self.begun
            && self.buffer.first() == Some(&1)
            && self.buffer.get(LENGTH) == Some(&0)
    }

    fn next_line(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let known = self.scanned.min(self.buffer.len());
        let found = memchr::memchr(b'\n', &self.buffer[known..]);
        let Some(offset) = found else {
            self.scanned = self.buffer.len();
            self.allow(self.scanned)?;
            return Ok(None);
        };
        let length = known + offset;
        self.allow(length)?;
        let mut line = self.take(length + 1);
        line.truncate(length);
        self.scanned = 0;
        Ok(Some(line.freeze()))
    }

    fn next_counted(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(length) = self.buffer.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        self.allow(length)?;
        if self.buffer.len() - LENGTH < length {
            return Ok(None);
        }
        let mut frame = self.take(LENGTH + length);
        frame.advance(LENGTH);
        Ok(Some(frame.freeze()))
    }

    fn allow(&self, length: usize) -> Result<(), FrameTooLong> {
        if length > self.limit {
            return Err(FrameTooLong { limit: self.limit });
        }
        Ok(())
    }

    /// Takes that much from the front; with the last byte the memory goes too.
    fn take(&mut self, length: usize) -> BytesMut {
        if length == self.buffer.len() && length < self.buffer.capacity() / 4 {
            // Longer ones were expected; it is not to keep their memory.
            let buffer = std::mem::take(&mut self.buffer);
            BytesMut::from(&*buffer)
        } else if length == self.buffer.len() {
            std::mem::take(&mut self.buffer)
        } else {
            self.buffer.split_to(length)
        }
    }
}

/// How long a frame of `advanced` says it is, its length included.
fn said(bytes: &[u8]) -> usize {
    let length = bytes
        .first_chunk()
        .map(|length| u32::from_be_bytes(*length));
    let length = length.and_then(|length| usize::try_from(length).ok());
    length.unwrap_or(usize::MAX).saturating_add(LENGTH)
}

/// A frame that was begun and is to be ended.
#[derive(Debug)]
#[must_use = "a frame that is not ended cannot be read"]
pub struct Begun {
    serialization: Serialization,
    /// Where the message begins.
    body: usize,
}

/// Begins a frame at the end of `out`; the message is to be appended next.
pub fn begin(serialization: Serialization, out: &mut Vec<u8>) -> Begun {
    match serialization {
        Serialization::Json => {}
        Serialization::Advanced => out.extend_from_slice(&[0; LENGTH]),
    }
    Begun {
        serialization,
        body: out.len(),
    }
}

impl Begun {
    /// Ends the frame after what was appended to `out`; gives the length of the message.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] in `advanced` from 4 GiB on, and from 2 GiB on, which
    /// Node before 26 cannot read. `out` is then as it was before.
    pub fn end(self, out: &mut Vec<u8>) -> Result<usize, FrameTooLong> {
        const LIMIT: i32 = i32::MAX;
        let length = out.len().saturating_sub(self.body);
        match self.serialization {
            Serialization::Json => out.push(b'\n'),
            Serialization::Advanced => {
                let Ok(said) = i32::try_from(length) else {
                    self.cancel(out);
                    return Err(FrameTooLong {
                        limit: LIMIT.unsigned_abs() as usize,
                    });
                };
                out[self.body - LENGTH..self.body].copy_from_slice(&said.to_be_bytes());
            }
        }
        Ok(length)
    }

    /// Takes back the frame and what was appended to `out`.
    pub fn cancel(self, out: &mut Vec<u8>) {
        let start = match self.serialization {
            Serialization::Json => self.body,
            Serialization::Advanced => self.body.saturating_sub(LENGTH),
        };
        out.truncate(start);
    }
}

/// Appends a message that is at hand as a frame.
///
/// # Errors
///
/// As [`Begun::end`].
pub fn write(
    serialization: Serialization,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), FrameTooLong> {
    let frame = begin(serialization, out);
    out.extend_from_slice(message);
    frame.end(out).map(drop)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Serialization; 2] = [Serialization::Json, Serialization::Advanced];

    type Outcome = (Vec<Vec<u8>>, Option<FrameTooLong>);

    /// What comes out when the wire is read in these pieces.
    fn frames_of(
        mut framer: Framer,
        pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> (Outcome, Framer) {
        let mut frames = Vec::new();
        let mut fault = None;
        for piece in pieces {
            framer.feed(piece.as_ref());
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => frames.push(frame.to_vec()),
                    Ok(None) => break,
                    Err(error) => {
                        fault = Some(error);
                        break;
                    }
                }
            }
        }
        ((frames, fault), framer)
    }

    fn wire_of(serialization: Serialization, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut wire = Vec::new();
        for message in messages {
            write(serialization, message, &mut wire).unwrap();
        }
        wire
    }

    fn any_messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = any::<u8>().prop_map(|byte| if byte == b'\n' { 0 } else { byte });
        prop::collection::vec(prop::collection::vec(byte, 0..40), 0..8)
    }

    proptest! {
        /// Some of the messages are over the limit: what comes before them
        /// still comes, and the error does not depend on the pieces either.
        #[test]
        fn any_way_of_cutting_gives_the_same_frames(
            messages in any_messages(),
            tail in prop::collection::vec(any::<u8>(), 0..10),
            cuts in prop::collection::vec(0_usize..400, 0..6),
            limit in 20_usize..50,
            serialization in prop::sample::select(&BOTH),
        ) {
            let mut wire = wire_of(serialization, &messages);
            wire.extend(&tail);
            let new = || Framer::new(serialization, limit);
            let (whole, framer) = frames_of(new(), [&*wire]);
            let short = messages.iter().take_while(|message| message.len() <= limit);
            let short: Vec<_> = short.cloned().collect();
            prop_assert_eq!(&whole.0[..short.len()], &short);
            prop_assert_eq!(short.len() < messages.len(), whole.1.is_some() && whole.0.len() < messages.len());
            let (single, other) = frames_of(new(), wire.chunks(1));
            prop_assert_eq!(&single, &whole);
            prop_assert_eq!(framer.is_partial(), other.is_partial());
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]);
            prop_assert_eq!(&frames_of(new(), pieces).0, &whole);
        }
    }

    #[test]
    fn frames_look_as_node_writes_them() {
        let mut wire = Vec::new();
        write(Serialization::Json, br#"{"a":1}"#, &mut wire).unwrap();
        assert_eq!(wire, b"{\"a\":1}\n");
        wire.clear();
        write(Serialization::Advanced, b"\xff\x0f\"\x05after", &mut wire).unwrap();
        assert_eq!(wire, b"\x00\x00\x00\x09\xff\x0f\"\x05after");
    }

    #[test]
    fn a_cancelled_frame_leaves_no_trace() {
        for serialization in BOTH {
            let mut out = b"before".to_vec();
            let frame = begin(serialization, &mut out);
            out.extend_from_slice(b"half a mess");
            frame.cancel(&mut out);
            assert_eq!(out, b"before");
        }
    }

    #[test]
    fn half_a_message_is_partial() {
        for serialization in BOTH {
            let wire = wire_of(serialization, &[b"0123456789".to_vec()]);
            for cut in 1..wire.len() {
                let mut framer = Framer::new(serialization, 10);
                framer.feed(&wire[..cut]);
                assert_eq!(framer.next_frame(), Ok(None));
                assert!(framer.is_partial());
                assert_eq!(framer.buffered(), cut);
                framer.feed(&wire[cut..]);
                assert_eq!(framer.next_frame().unwrap().unwrap(), "0123456789");
                assert!(!framer.is_partial());
            }
        }
    }

    #[test]
    fn what_came_before_is_first_however_whole_it_came() {
        for serialization in BOTH {
            let wire = |message: &[u8]| wire_of(serialization, &[message.to_vec()]);
            let mut framer = Framer::new(serialization, 10);
            framer.feed(&wire(b"first"));
            assert!(!framer.is_partial());
            framer.feed(&wire(b"second"));
            framer.feed(&wire(b"third")[..3]);
            framer.feed(&wire(b"third")[3..]);
            for message in ["first", "second", "third"] {
                assert_eq!(framer.next_frame().unwrap().unwrap(), message);
            }
            assert_eq!(framer.next_frame(), Ok(None));
        }
    }

    #[test]
    fn what_was_scanned_is_not_scanned_again() {
        let mut framer = Framer::new(Serialization::Json, 1 << 20);
        for _ in 0..100 {
            framer.feed(&[b'x'; 1000]);
            assert_eq!(framer.next_frame(), Ok(None));
            assert_eq!(framer.scanned, framer.buffered());
        }
        framer.feed(b"\nrest");
        assert_eq!(framer.next_frame().unwrap().unwrap().len(), 100_000);
        assert_eq!(framer.scanned, 0);
    }

    #[test]
    fn a_claim_costs_nothing_and_is_refused_over_the_limit() {
        let limit = 64 << 20;
        let mut framer = Framer::new(Serialization::Advanced, limit);
        framer.feed(&(64_u32 << 20).to_be_bytes());
        framer.feed(b"\xff\x0f");
        assert_eq!(framer.next_frame(), Ok(None));
        assert!(framer.buffer.capacity() < 100);
        let mut framer = Framer::new(Serialization::Advanced, limit);
        framer.feed(&((64_u32 << 20) + 1).to_be_bytes());
        assert_eq!(framer.next_frame(), Err(FrameTooLong { limit }));
        framer.feed(b"more");
        assert_eq!(framer.next_frame(), Err(FrameTooLong { limit }), "for ever");
    }

    #[test]
    fn an_idle_framer_holds_no_memory() {
        for serialization in BOTH {
            let mut framer = Framer::new(serialization, 1 << 20);
            let wire = wire_of(serialization, &[vec![b'x'; 100_000], b"y".to_vec()]);
            // In pieces, so that the buffer has grown ahead of what it holds.
            wire.chunks(1000).for_each(|piece| framer.feed(piece));
            assert!(framer.buffer.capacity() > wire.len());
            while framer.next_frame().unwrap().is_some() {}
            assert_eq!(framer.buffer.capacity(), 0);
        }
    }

    #[test]
    fn frames_of_one_read_share_its_memory() {
        let mut framer = Framer::new(Serialization::Json, 100);
        framer.feed(b"first\nsecond\nthird\n");
        let frames = [(); 3].map(|()| framer.next_frame().unwrap().unwrap());
        let start = frames[0].as_ptr().addr();
        assert_eq!(frames[1].as_ptr().addr() - start, b"first\n".len());
        assert_eq!(frames[2].as_ptr().addr() - start, b"first\nsecond\n".len());
    }

    #[test]
    fn what_is_read_in_place_counts_as_fed() {
        let mut framer = Framer::new(Serialization::Json, 100);
        framer.feed(b"\"ab");
        assert_eq!(framer.next_frame(), Ok(None));
        framer.buffer().extend_from_slice(b"c\"\n");
        assert_eq!(framer.next_frame().unwrap().unwrap(), "\"abc\"");
    }

    /// What comes out when the rest of a large message is read to where it is to stay.
    fn frames_in_place(framer: &mut Framer, mut wire: &[u8], most: usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while !wire.is_empty() {
            let count = if let Some(rest) = framer.rest(|_| {}) {
                let room = rest.capacity() - rest.len();
                assert!(room > 0, "a read would be taken for the end");
                let count = wire.len().min(room).min(most);
                rest.extend_from_slice(&wire[..count]);
                assert_eq!(rest.capacity() - rest.len(), room - count, "it has grown");
                count
            } else {
                let count = wire.len().min(most);
                framer.feed(&wire[..count]);
                count
            };
            wire = &wire[count..];
            while let Some(frame) = framer.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    proptest! {
        #[test]
        fn large_messages_are_the_same_in_place(
            lengths in prop::collection::vec(prop_oneof![0..100_usize, LARGE..12 * LARGE], 1..6),
            most in 1_000_usize..200_000,
            serialization in prop::sample::select(&BOTH),
        ) {
            let letter = |n| vec![b'a' + u8::try_from(n).unwrap(); lengths[n]];
            let messages: Vec<_> = (0..lengths.len()).map(letter).collect();
            let mut framer = Framer::new(serialization, 1 << 20);
            let frames = frames_in_place(&mut framer, &wire_of(serialization, &messages), most);
            prop_assert!(frames == messages);
            prop_assert!(!framer.is_partial());
            prop_assert_eq!(framer.buffer.capacity(), 0);
        }
    }

    #[test]
    fn room_is_made_in_step_with_what_came() {
        const MIB: usize = 1 << 20;
        let message = vec![b'x'; MIB];
        for serialization in BOTH {
            let wire = wire_of(serialization, std::slice::from_ref(&message));
            let mut framer = Framer::new(serialization, 2 * MIB);
            let begin = |framer: &mut Framer| {
                framer.feed(&wire[..2 * LARGE]);
                assert_eq!(framer.next_frame(), Ok(None));
                framer.rest(|_| {}).unwrap().capacity()
            };
            assert_eq!(begin(&mut framer), 4 * LARGE, "nothing but a claim");
            let frames = frames_in_place(&mut framer, &wire[2 * LARGE..], LARGE);
            assert!(frames == [&*message]);
            // As long as the last one: more at once, but not all.
            assert_eq!(begin(&mut framer), 32 * LARGE);
            let mut made = Vec::new();
            let mut rest = &wire[2 * LARGE..];
            while framer.next_frame().unwrap().is_none() {
                let room = framer.rest(|room| made.push(room.len())).unwrap();
                let count = rest.len().min(room.capacity() - room.len());
                room.extend_from_slice(&rest[..count]);
                rest = &rest[count..];
            }
            assert_eq!(made.len(), 1, "{made:?}");
            assert_eq!(framer.buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_short_message_does_not_keep_the_memory_of_a_long_one() {
        for serialization in BOTH {
            let [long, short] =
                [16 * LARGE, LARGE + 1].map(|length| wire_of(serialization, &[vec![b'x'; length]]));
            let mut framer = Framer::new(serialization, 1 << 20);
            frames_in_place(&mut framer, &long, LARGE);
            let kept = frames_in_place(&mut framer, &short, LARGE).remove(0);
            let Ok(kept) = kept.try_into_mut() else {
                panic!("it is shared");
            };
            assert!(kept.capacity() <= 4 * short.len(), "{}", kept.capacity());
        }
    }

    /// Bun greets with `01` and its version; Node sends a length and `ff 0f`.
    #[test]
    fn buns_greeting_is_told_from_a_length() {
        let mut framer = Framer::new(Serialization::Advanced, 64 << 20);
        framer.feed(&[1, 1, 0, 0, 0]);
        assert_eq!(framer.next_frame(), Ok(None));
        assert!(framer.is_bun());
        let mut framer = Framer::new(Serialization::Advanced, 64 << 20);
        framer.feed(&[1, 1, 0, 0, 0xff, 0x0f]);
        assert!(!framer.is_bun(), "a long message of Node's");
        let mut framer = Framer::new(Serialization::Json, 64 << 20);
        framer.feed(&[1, 1, 0, 0, 0]);
        assert!(!framer.is_bun());
    }
}
