//! Two ends of a channel and the socket between them, without a socket.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::handles::Ticket;
use super::inbound::{Inbound, ProtocolError, Step};
use super::internal::{self, HandOver, HandleKind, Internal};
use super::outbound::{Outbound, Settled};
use super::{Limits, Serialization, frame};

/// A kernel's queue in one direction: pieces of a write, a descriptor on the first.
#[derive(Default)]
struct Pipe {
    pieces: VecDeque<(VecDeque<u8>, Option<Option<u32>>)>,
    held: usize,
}

/// What a kernel makes of a read at a descriptor.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    /// Ends it after the piece that brings one.
    Linux,
    /// Ends it before the piece that brings one.
    Bsd,
}

impl Pipe {
    const PIECE: usize = 36 * 1024;
    const ROOM: usize = 128 * 1024;

    fn write(&mut self, bytes: &[u8], mut handle: Option<Option<u32>>) -> usize {
        let bytes = &bytes[..bytes.len().min(Self::ROOM - self.held)];
        for piece in bytes.chunks(Self::PIECE) {
            self.pieces
                .push_back((piece.iter().copied().collect(), handle.take()));
        }
        self.held += bytes.len();
        bytes.len()
    }

    fn read(&mut self, most: usize, kernel: Kernel) -> (Vec<u8>, Vec<Option<u32>>) {
        let (mut bytes, mut handles) = (Vec::new(), Vec::new());
        while let Some((piece, handle)) = self.pieces.front_mut() {
            if bytes.len() == most
                || (matches!(kernel, Kernel::Bsd) && !bytes.is_empty() && handle.is_some())
            {
                break;
            }
            let ends = matches!(kernel, Kernel::Linux) && handle.is_some();
            handles.extend(handle.take());
            let count = piece.len().min(most - bytes.len());
            bytes.extend(piece.drain(..count));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            if ends {
                break;
            }
        }
        self.held -= bytes.len();
        (bytes, handles)
    }
}

struct End {
    inbound: Inbound<u32>,
    outbound: Outbound<u32>,
    got: Vec<(Vec<u8>, Option<u32>)>,
    taken: Vec<Ticket>,
    refused: Vec<(Ticket, u32)>,
}

impl End {
    fn new(serialization: Serialization) -> Self {
        Self {
            inbound: Inbound::new(serialization, &Limits::default()),
            outbound: Outbound::new(serialization),
            got: Vec::new(),
            taken: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Writes as much as fits; `loses` says which descriptors do not survive the way.
    fn write(&mut self, pipe: &mut Pipe, loses: &mut impl FnMut() -> bool) -> bool {
        let mut went = false;
        while pipe.held < Pipe::ROOM
            && let Some(write) = self.outbound.next_write()
        {
            let handle = write.handle.map(|handle| (!loses()).then_some(*handle));
            let count = pipe.write(write.bytes, handle);
            self.outbound.wrote(count);
            went = true;
        }
        went
    }

    fn read(
        &mut self,
        pipe: &mut Pipe,
        most: usize,
        kernel: Kernel,
    ) -> Result<bool, ProtocolError> {
        let count = if let Some(rest) = self.inbound.rest(|_| {}) {
            let room = rest.capacity() - rest.len();
            let (bytes, handles) = pipe.read(most.min(room), kernel);
            rest.extend_from_slice(&bytes);
            self.inbound.arrived(bytes.len(), handles);
            bytes.len()
        } else {
            let (bytes, handles) = pipe.read(most, kernel);
            self.inbound.received(&bytes, handles);
            bytes.len()
        };
        while let Some(step) = self.inbound.next_step()? {
            match step {
                Step::Message(body, _, attached) => {
                    self.got
                        .push((body.to_vec(), attached.map(|(_, handle)| handle)));
                }
                Step::Internal(..) => {}
                Step::Answer(answer) => self.outbound.answer(&answer),
                Step::Receipt(receipt) => match self.outbound.answered(receipt) {
                    Some(Settled::Taken(ticket, _)) => self.taken.push(ticket),
                    Some(Settled::Refused(ticket, handle)) => self.refused.push((ticket, handle)),
                    None => {}
                },
                Step::Mark => self.outbound.mark_internal(),
            }
        }
        Ok(count > 0)
    }
}

fn body_of(serialization: Serialization, number: usize, length: usize) -> Vec<u8> {
    let text = format!("{number}:{}", "x".repeat(length));
    match serialization {
        Serialization::Json => format!("\"{text}\"").into_bytes(),
        Serialization::Advanced => {
            super::advanced::to_vec(&text, super::advanced::Dialect::Ipc).unwrap()
        }
    }
}

fn send(end: &mut Outbound<u32>, number: usize, length: usize, handle: Option<u32>) -> Vec<u8> {
    let serialization = end.serialization();
    let body = body_of(serialization, number, length);
    let mut out = Vec::new();
    let Some(handle) = handle else {
        frame::write(serialization, &body, &mut out).unwrap();
        end.send(&mut out);
        return body;
    };
    let begun = frame::begin(serialization, &mut out);
    let hand_over = HandOver {
        kind: HandleKind::Socket,
        message: Some(body.clone().into()),
        key: None,
        dgram_type: None,
    };
    internal::encode(serialization, &Internal::Handle(hand_over), &mut out).unwrap();
    begun.end(&mut out).unwrap();
    end.send_handle(&HandleKind::Socket, out, handle);
    body
}

/// A message of some length, perhaps with a descriptor.
fn messages() -> impl Strategy<Value = Vec<(usize, bool)>> {
    let length =
        prop_oneof![4 => 0..300_usize, 2 => 10_000..20_000_usize, 1 => 30_000..120_000_usize];
    prop::collection::vec((length, any::<bool>()), 1..40)
}

fn any_serialization() -> impl Strategy<Value = Serialization> {
    prop_oneof![Just(Serialization::Json), Just(Serialization::Advanced)]
}

fn any_kernel() -> impl Strategy<Value = Kernel> {
    prop_oneof![Just(Kernel::Linux), Just(Kernel::Bsd)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Both ends send at once, read in any pieces, and every message comes in
    /// its order with its own descriptor.
    #[test]
    fn every_descriptor_comes_with_its_message(
        serialization in any_serialization(),
        kernel in any_kernel(),
        from_both in [messages(), messages()],
        reads in prop::collection::vec(1..70_000_usize, 1..20),
    ) {
        let mut ends = [End::new(serialization), End::new(serialization)];
        let mut pipes = [Pipe::default(), Pipe::default()];
        let mut wanted = [Vec::new(), Vec::new()];
        let mut next_handle = 0;
        for (index, sent) in from_both.iter().enumerate() {
            for (number, (length, with)) in sent.iter().enumerate() {
                next_handle += 1;
                let handle = with.then_some(next_handle);
                let body = send(&mut ends[index].outbound, number, *length, handle);
                wanted[1 - index].push((body, handle));
            }
        }
        let mut reads = reads.into_iter().cycle();
        loop {
            let mut went = false;
            for index in 0..2 {
                went |= ends[index].write(&mut pipes[index], &mut || false);
                let most = reads.next().unwrap();
                went |= ends[1 - index].read(&mut pipes[index], most, kernel).unwrap();
            }
            if !went {
                break;
            }
        }
        for (end, wanted) in ends.iter().zip(wanted) {
            prop_assert!(end.outbound.is_drained());
            prop_assert_eq!(end.inbound.dropped_handles(), 0);
            prop_assert_eq!(end.outbound.unsolicited(), 0);
            prop_assert_eq!(&end.got, &wanted);
        }
    }

    /// Descriptors get lost on the way: each arrives once in the end, or comes back.
    #[test]
    fn a_lost_descriptor_goes_again_or_comes_back(
        serialization in any_serialization(),
        sent in messages(),
        lost in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let (mut one, mut other) = (End::new(serialization), End::new(serialization));
        let (mut there, mut back) = (Pipe::default(), Pipe::default());
        for (number, (length, with)) in sent.iter().enumerate() {
            send(&mut one.outbound, number, *length, with.then_some(u32::try_from(number).unwrap()));
        }
        let mut lost = lost.into_iter().cycle();
        let mut loses = || lost.next().unwrap();
        loop {
            let mut went = one.write(&mut there, &mut loses);
            went |= other.read(&mut there, 64 * 1024, Kernel::Linux).unwrap();
            went |= other.write(&mut back, &mut || false);
            went |= one.read(&mut back, 64 * 1024, Kernel::Linux).unwrap();
            if !went {
                break;
            }
        }
        prop_assert!(one.outbound.is_drained());
        let mut seen: Vec<u32> = other.got.iter().filter_map(|(_, handle)| *handle).collect();
        seen.extend(one.refused.iter().map(|(_, handle)| handle));
        seen.sort_unstable();
        let with = sent.iter().enumerate().filter(|(_, (_, with))| *with);
        let all: Vec<u32> = with.map(|(number, _)| u32::try_from(number).unwrap()).collect();
        prop_assert_eq!(seen, all);
        // Each arrived with the message that it was sent with.
        for (body, handle) in &other.got {
            let Some(handle) = handle else { continue };
            let number = usize::try_from(*handle).unwrap();
            prop_assert_eq!(body, &body_of(serialization, number, sent[number].0));
        }
    }

    /// Whatever bytes come, with whatever descriptors: no panic, and nothing is kept of them.
    #[test]
    fn rubbish_is_an_error_or_nothing(
        serialization in any_serialization(),
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 0..5_usize), 1..30),
    ) {
        let mut inbound = Inbound::new(serialization, &Limits { max_frame: 1_000, ..Limits::default() });
        for (bytes, handles) in chunks {
            inbound.received(&bytes, std::iter::repeat_n(Some(7), handles));
            while let Ok(Some(_)) = inbound.next_step() {}
        }
    }
}

#[test]
fn answers_overtake_what_waits_for_one() {
    let mut end = End::new(Serialization::Json);
    send(&mut end.outbound, 0, 20_000, Some(1));
    send(&mut end.outbound, 1, 20_000, Some(2));
    let mut pipe = Pipe::default();
    end.write(&mut pipe, &mut || false);
    assert!(
        end.outbound.next_write().is_none(),
        "the second waits for the first"
    );
    end.outbound.answer(&Internal::Ack);
    let write = end.outbound.next_write().unwrap();
    assert_eq!(write.bytes, b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n");
    assert!(write.handle.is_none());
}

#[test]
fn the_rest_of_what_was_written_half_goes_before_all_else() {
    let mut outbound = Outbound::<u32>::new(Serialization::Json);
    let mut frames = b"\"half\"\n".to_vec();
    outbound.send_rest(&mut frames, 3);
    assert!(frames.is_empty());
    outbound.send(&mut b"1\n".to_vec());
    outbound.answer(&Internal::Ack);
    assert!(!outbound.is_written());
    let mut wire = Vec::new();
    while let Some(write) = outbound.next_write() {
        wire.push(write.bytes[0]);
        outbound.wrote(1);
    }
    assert_eq!(wire, b"lf\"\n{\"cmd\":\"NODE_HANDLE_ACK\"}\n1\n");
    assert!(outbound.is_written());
}

#[test]
fn buns_mark_is_taken_off_and_put_on() {
    let mut end = End::new(Serialization::Json);
    let mut pipe = Pipe::default();
    pipe.write(
        b"\x02{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\"}\n",
        Some(Some(9)),
    );
    end.read(&mut pipe, 1_000, Kernel::Linux).unwrap();
    assert_eq!(end.got, [(b"null".to_vec(), Some(9))]);
    let write = end.outbound.next_write().unwrap();
    assert_eq!(write.bytes, b"\x02{\"cmd\":\"NODE_HANDLE_ACK\"}\n");
}

#[test]
fn buns_own_format_is_named() {
    let mut end = End::new(Serialization::Advanced);
    let mut pipe = Pipe::default();
    pipe.write(b"\x01\x01\x00\x00\x00\x02", None);
    let error = end.read(&mut pipe, 1_000, Kernel::Linux).unwrap_err();
    assert_eq!(error, ProtocolError::Bun);
}

#[test]
fn the_counts_of_shared_sockets_are_answered() {
    let mut end = End::new(Serialization::Json);
    let mut pipe = Pipe::default();
    pipe.write(
        b"{\"cmd\":\"NODE_SOCKET_GET_COUNT\",\"key\":\"4:::0\"}\n",
        None,
    );
    pipe.write(
        b"{\"cmd\":\"NODE_SOCKET_NOTIFY_CLOSE\",\"key\":\"4:::0\"}\n",
        None,
    );
    end.read(&mut pipe, 1_000, Kernel::Linux).unwrap();
    let write = end.outbound.next_write().unwrap();
    let said = String::from_utf8(write.bytes.to_vec()).unwrap();
    assert_eq!(
        said,
        "{\"cmd\":\"NODE_SOCKET_COUNT\",\"key\":\"4:::0\",\"count\":0}\n\
         {\"cmd\":\"NODE_SOCKET_ALL_CLOSED\",\"key\":\"4:::0\"}\n"
    );
}

#[test]
fn a_peer_that_leaves_our_answers_unread_is_read_no_further() {
    let mut end = End::new(Serialization::Json);
    let mut asked = 0;
    while end.outbound.may_receive() {
        end.outbound.answer(&Internal::Nack);
        asked += 1;
    }
    assert!(asked < 10_000);
}

/// What is told by its bytes alone is exactly that, and all else is looked at.
#[test]
fn a_clusters_answer_is_told_whole_and_what_looks_like_one_is_checked() {
    let answer = r#"{"cmd":"NODE_CLUSTER","ack":7,"accepted":true,"seq":3}"#;
    let mut inbound: Inbound<u32> = Inbound::new(Serialization::Json, &Limits::default());
    inbound.received(format!("{answer}\n").as_bytes(), []);
    let step = inbound.next_step();
    assert!(
        matches!(&step, Ok(Some(Step::Internal(Internal::Cluster(body), None))) if *body == answer),
        "{step:?}"
    );
    for broken in [
        format!("{answer}}}"),
        answer.replace("true", "truer"),
        answer.replace(":7", ":07"),
    ] {
        let mut inbound: Inbound<u32> = Inbound::new(Serialization::Json, &Limits::default());
        inbound.received(format!("{broken}\n").as_bytes(), []);
        let step = inbound.next_step();
        assert!(matches!(step, Err(ProtocolError::Malformed(_))), "{step:?}");
    }
}
