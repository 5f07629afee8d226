//! One end of a channel, whose peer and user do what the input says.
//!
//! The first byte chooses the serialization. Then each operation is a byte, and
//! the bytes that belong to it: what the peer sends with how many descriptors,
//! what the user sends, how much the kernel takes.
#![no_main]

use std::collections::HashSet;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use procession_core::ipc::inbound::{Inbound, Step};
use procession_core::ipc::internal::HandleKind;
use procession_core::ipc::outbound::{Outbound, Settled};
use procession_core::ipc::{Limits, Serialization, frame};

/// What is held of descriptors that the peer sent: those that wait, and one that was just claimed.
const HELD: usize = 17;

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else {
        return;
    };
    let serialization = if first & 1 == 0 {
        Serialization::Json
    } else {
        Serialization::Advanced
    };
    let mut limits = Limits::default();
    limits.max_frame = 4_096;
    let (theirs, ours) = (Rc::new(()), Rc::new(()));
    let mut inbound = Inbound::new(serialization, &limits);
    let mut outbound = Outbound::new(serialization);
    let (mut sent, mut settled) = (HashSet::new(), HashSet::new());
    while let Some((operation, after)) = rest.split_first() {
        rest = after;
        let argument = usize::from(operation >> 2);
        match operation & 3 {
            // The peer sends bytes with some descriptors.
            0 | 1 => {
                let (bytes, after) = rest.split_at(argument.min(rest.len()));
                rest = after;
                let handles = if operation & 1 == 0 { 0 } else { argument % 5 };
                inbound.received(bytes, (0..handles).map(|n| (n != 3).then(|| theirs.clone())));
                loop {
                    match inbound.next_step() {
                        Ok(Some(step)) => carry_out(step, &mut outbound, &mut settled),
                        Ok(None) => break,
                        // The driver closes; the rest of the end must still be sound.
                        Err(_) => return,
                    }
                }
                assert!(Rc::strong_count(&theirs) - 1 <= HELD, "descriptors are kept");
            }
            // The user sends a message, big or small, with a descriptor or none.
            2 => {
                let mut out = Vec::new();
                let message = vec![b'1'; if argument & 1 == 0 { 10 } else { 20_000 }];
                frame::write(serialization, &message, &mut out).unwrap();
                if argument & 2 == 0 {
                    outbound.send(&mut out);
                } else {
                    let ticket = outbound.send_handle(&HandleKind::Socket, out, ours.clone());
                    assert!(sent.insert(ticket), "a ticket was given twice");
                }
            }
            // The kernel takes some.
            _ => {
                if let Some(write) = outbound.next_write() {
                    let bytes = write.bytes.len().min(argument * 400 + 1);
                    outbound.wrote(bytes);
                }
            }
        }
    }
    let back = outbound.give_back();
    settled.extend(back.into_iter().map(|(ticket, _)| ticket));
    assert_eq!(sent, settled, "a descriptor of ours is lost");
    assert_eq!(Rc::strong_count(&ours), 1, "a descriptor of ours is kept");
});

fn carry_out(
    step: Step<Rc<()>>,
    outbound: &mut Outbound<Rc<()>>,
    settled: &mut HashSet<procession_core::ipc::handles::Ticket>,
) {
    match step {
        Step::Message(..) | Step::Internal(..) => {}
        Step::Answer(answer) => outbound.answer(&answer),
        Step::Mark => outbound.mark_internal(),
        Step::Receipt(receipt) => match outbound.answered(receipt) {
            Some(Settled::Taken(ticket, _) | Settled::Refused(ticket, _)) => {
                assert!(settled.insert(ticket), "a descriptor was answered for twice");
            }
            None => {}
        },
    }
}
