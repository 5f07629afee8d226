//! Which message owns which descriptor, and who waits for whom.
//!
//! A descriptor rides on the first bytes of its message, but a reader gets both
//! in pieces and in no promised order. [`Arrivals`] finds the message for each
//! that came; [`HandOvers`] keeps each that was sent until the peer has it.

use std::collections::VecDeque;

/// Handle messages up to this size follow each other without waiting.
///
/// The kernel cuts a write into buffers of some 36 kB and the descriptor rides
/// on the first: the tail of a bigger message can be read together with the
/// next one's descriptor, and a Node peer then mixes them up.
pub const PIPELINED: usize = 16 * 1024;

/// Descriptors that were sent and not yet acknowledged.
const IN_FLIGHT: usize = 64;

/// How often Node sends a connection again that its peer did not receive.
pub const RESENDS: u8 = 3;

/// Descriptors that have arrived and wait for their message.
#[derive(Debug)]
pub struct Arrivals<H> {
    waiting: VecDeque<Arrived<H>>,
    limit: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Arrived<H> {
    /// `None`: lost on the way, or of a kind that nobody takes.
    handle: Option<H>,
    /// Where in the stream the bytes end that it came with.
    until: u64,
}

impl<H> Arrivals<H> {
    /// Keeps up to `limit` of them.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit,
            dropped: 0,
        }
    }

    /// Notes a descriptor that came with bytes up to the offset `until` of the stream.
    ///
    /// Above the limit the oldest goes: an honest sender's belongs to what comes next.
    pub fn push(&mut self, handle: Option<H>, until: u64) {
        if self.waiting.len() >= self.limit {
            self.forget_oldest();
        }
        if self.limit > 0 {
            self.waiting.push_back(Arrived { handle, until });
        } else {
            self.dropped += 1;
        }
    }

    /// Takes the descriptor of a handle message that begins at this offset.
    pub fn claim(&mut self, start: u64) -> Option<H> {
        let with_it = self.waiting.iter().position(|a| a.until > start);
        // One that came early is better than none.
        let index = with_it.or_else(|| self.waiting.len().checked_sub(1))?;
        for _ in 0..index {
            self.forget_oldest();
        }
        self.waiting.pop_front()?.handle
    }

    /// An ordinary message begins at this offset: whatever came before it belongs to nobody.
    pub fn pass(&mut self, start: u64) {
        while self.waiting.front().is_some_and(|a| a.until <= start) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if self.waiting.pop_front().is_some() {
            self.dropped += 1;
        }
    }

    /// How many were dropped because no message wanted them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Names one descriptor that was given to a channel to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// A message with a descriptor, as it goes onto the wire.
#[derive(Debug)]
pub struct Parcel<H> {
    /// The whole frame.
    pub frame: Vec<u8>,
    /// What rides on its first byte.
    pub handle: H,
    /// Who asks.
    pub ticket: Ticket,
    /// How often it may still be sent again.
    pub resends: u8,
}

/// What became of a descriptor.
#[derive(Debug)]
pub enum Answer<H> {
    /// The peer has it: ours can be closed.
    Taken(Ticket, H),
    /// It goes out again.
    Again(Parcel<H>),
    /// The peer never got it, and here it is.
    Refused(Ticket, H),
    /// Nobody had asked.
    Unsolicited,
}

/// Descriptors on their way to the peer, in the order of their messages.
#[derive(Debug)]
pub struct HandOvers<H> {
    sent: VecDeque<Parcel<H>>,
}

impl<H> Default for HandOvers<H> {
    fn default() -> Self {
        Self {
            sent: VecDeque::new(),
        }
    }
}

impl<H> HandOvers<H> {
    /// Whether a handle message of that size may go out now.
    #[must_use]
    pub fn may_send(&self, frame: usize) -> bool {
        let all_small = || self.sent.iter().all(|sent| sent.frame.len() <= PIPELINED);
        self.sent.is_empty() || (frame <= PIPELINED && self.sent.len() < IN_FLIGHT && all_small())
    }

    /// The whole frame is written.
    pub fn sent(&mut self, parcel: Parcel<H>) {
        self.sent.push_back(parcel);
    }

    /// The peer says that it has the oldest.
    pub fn acknowledged(&mut self) -> Answer<H> {
        match self.sent.pop_front() {
            Some(parcel) => Answer::Taken(parcel.ticket, parcel.handle),
            None => Answer::Unsolicited,
        }
    }

    /// The peer says that the oldest came without its descriptor.
    pub fn missed(&mut self) -> Answer<H> {
        match self.sent.pop_front() {
            Some(mut parcel) if parcel.resends > 0 => {
                parcel.resends -= 1;
                Answer::Again(parcel)
            }
            Some(parcel) => Answer::Refused(parcel.ticket, parcel.handle),
            None => Answer::Unsolicited,
        }
    }

    /// Whether any answer is still to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Gives back all that were never answered, oldest first.
    pub fn give_back(&mut self) -> impl Iterator<Item = (Ticket, H)> {
        self.sent.drain(..).map(|sent| (sent.ticket, sent.handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(ticket: u64, bytes: usize, resends: u8) -> Parcel<u64> {
        Parcel {
            frame: vec![b'x'; bytes],
            handle: ticket,
            ticket: Ticket(ticket),
            resends,
        }
    }

    #[test]
    fn a_message_claims_what_came_with_it() {
        let mut arrivals = Arrivals::new(16);
        arrivals.push(Some("junk"), 10);
        arrivals.push(Some("own"), 30);
        arrivals.push(Some("next"), 50);
        assert_eq!(arrivals.claim(10), Some("own"));
        assert_eq!(arrivals.claim(30), Some("next"));
        assert_eq!(arrivals.claim(50), None);
        assert_eq!(arrivals.dropped(), 1);
    }

    #[test]
    fn a_descriptor_that_came_early_is_claimed_all_the_same() {
        let mut arrivals = Arrivals::new(16);
        arrivals.push(Some("early"), 10);
        assert_eq!(arrivals.claim(10), Some("early"));
    }

    #[test]
    fn what_nobody_wanted_is_dropped_with_the_next_message() {
        let mut arrivals = Arrivals::new(16);
        arrivals.push(Some("junk"), 10);
        arrivals.pass(5);
        assert_eq!(arrivals.dropped(), 0);
        arrivals.pass(10);
        assert_eq!(arrivals.dropped(), 1);
        assert_eq!(arrivals.claim(20), None);
    }

    #[test]
    fn a_flood_leaves_the_newest() {
        let mut arrivals = Arrivals::new(2);
        for n in 0..2_000 {
            arrivals.push(Some(n), n);
        }
        assert_eq!(arrivals.dropped(), 1_998);
        assert_eq!(arrivals.claim(1_998), Some(1_999));
    }

    #[test]
    fn a_lost_descriptor_does_not_give_its_place_to_another() {
        let mut arrivals = Arrivals::new(16);
        arrivals.push(None, 10);
        arrivals.push(Some("second"), 20);
        assert_eq!(arrivals.claim(0), None);
        assert_eq!(arrivals.claim(10), Some("second"));
    }

    #[test]
    fn small_ones_follow_each_other_and_a_big_one_waits_and_is_waited_for() {
        let mut sent = HandOvers::default();
        assert!(sent.may_send(PIPELINED + 1));
        sent.sent(parcel(0, 100, 0));
        assert!(sent.may_send(PIPELINED));
        assert!(!sent.may_send(PIPELINED + 1));
        assert!(matches!(sent.acknowledged(), Answer::Taken(Ticket(0), 0)));
        sent.sent(parcel(1, PIPELINED + 1, 0));
        assert!(!sent.may_send(100));
        assert!(matches!(sent.acknowledged(), Answer::Taken(Ticket(1), 1)));
        assert!(sent.may_send(100));
    }

    #[test]
    fn no_more_are_in_flight_than_the_bound() {
        let mut sent = HandOvers::default();
        for n in 0..IN_FLIGHT as u64 {
            assert!(sent.may_send(100));
            sent.sent(parcel(n, 100, 0));
        }
        assert!(!sent.may_send(100));
    }

    #[test]
    fn a_missed_one_goes_again_and_comes_back_in_the_end() {
        let mut sent = HandOvers::default();
        sent.sent(parcel(7, 100, 1));
        let Answer::Again(again) = sent.missed() else {
            panic!("it has a try left");
        };
        sent.sent(again);
        assert!(matches!(sent.missed(), Answer::Refused(Ticket(7), 7)));
        assert!(matches!(sent.missed(), Answer::Unsolicited));
        assert!(matches!(sent.acknowledged(), Answer::Unsolicited));
    }
}
