//! The gate: no message is slept through.
//!
//! What it guards is a counter here: as in the real queue, it changes by
//! sequentially consistent operations.

use std::future::poll_fn;
use std::task::{Context, Poll};

use shuttle::future::block_on;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use super::gate::Gate;
use crate::many_orders;

struct Port {
    messages: AtomicUsize,
    gate: Gate,
}

impl Port {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            messages: AtomicUsize::new(0),
            gate: Gate::new(),
        })
    }

    fn post(&self) {
        self.messages.fetch_add(1, Ordering::SeqCst);
        self.gate.open();
    }

    fn take(&self) -> bool {
        let less = |n: usize| n.checked_sub(1);
        let taken = self
            .messages
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        taken.is_ok()
    }

    /// As the port does it: look, say so, look again.
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        self.gate.wait(cx.waker());
        if self.take() {
            self.gate.leave();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn recv(&self) {
        block_on(poll_fn(|cx| self.poll(cx)));
    }
}

#[test]
fn no_message_is_slept_through() {
    many_orders(|| {
        let port = Port::new();
        let poster = Arc::clone(&port);
        let posts = thread::spawn(move || {
            poster.post();
            poster.post();
        });
        port.recv();
        port.recv();
        posts.join().unwrap();
    });
}

#[test]
fn nor_of_two_posters() {
    many_orders(|| {
        let port = Port::new();
        let posters = [Arc::clone(&port), Arc::clone(&port)];
        let posters = posters.map(|poster| thread::spawn(move || poster.post()));
        port.recv();
        port.recv();
        for poster in posters {
            poster.join().unwrap();
        }
    });
}
