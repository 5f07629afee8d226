//! Two ports: what is cut is not received, and what nobody receives is dropped.

use std::sync::Arc;

use shuttle::thread;

use super::port::{MessageChannel, Queue};
use crate::many_orders;

fn ports<T>() -> MessageChannel<T, ()> {
    MessageChannel::with_queue(Queue::Bounded(4))
}

#[test]
fn nothing_is_received_of_a_port_that_was_cut() {
    many_orders(|| {
        let MessageChannel {
            mut port1,
            mut port2,
        } = ports();
        port1.try_post(1).unwrap();
        let cutter = thread::spawn(move || port1.cut());
        if port2.is_closed() {
            assert_eq!(port2.recv_blocking(), None);
        } else if port2.recv_blocking().is_some() {
            // It was received before the cut, or while that went on.
            assert_eq!(port2.recv_blocking(), None);
        }
        cutter.join().unwrap();
        assert!(port2.try_recv().is_err());
    });
}

#[test]
fn after_the_end_nothing_is_received_and_nothing_posted() {
    many_orders(|| {
        let MessageChannel {
            mut port1,
            mut port2,
        } = ports();
        let cutter = thread::spawn(move || {
            for number in 0..3 {
                // Closed by the other side, once that has seen the cut.
                let _ = port1.try_post(number);
            }
            port1.cut();
        });
        while port2.recv_blocking().is_some() {}
        assert!(port2.try_recv().is_err());
        assert!(port2.try_post(()).is_err());
        cutter.join().unwrap();
        assert!(port2.try_recv().is_err());
    });
}

#[test]
fn what_nobody_receives_any_more_is_dropped() {
    many_orders(|| {
        let MessageChannel { port1, port2 } = ports();
        let (message, sender) = (Arc::new(()), port1.sender());
        let posted = Arc::clone(&message);
        let poster = thread::spawn(move || {
            for _ in 0..3 {
                // Either way it is gone.
                let _ = sender.try_post(Arc::clone(&posted));
            }
            sender
        });
        drop(port2);
        let _sender = poster.join().unwrap();
        assert_eq!(Arc::strong_count(&message), 1, "some of it waits for ever");
    });
}
