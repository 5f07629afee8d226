//! Orders in which the threads around a port's gate can run.
//!
//! The gate is the module itself, over shuttle's atomics. What it guards is a
//! counter: as in the real queue, it changes by sequentially consistent
//! operations. shuttle takes all operations for such; the gate has one that is
//! less, and says why that is enough.
#![cfg(feature = "worker-threads")]

#[path = "../src/worker_threads/gate.rs"]
mod gate;

mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
}

use std::future::poll_fn;
use std::task::{Context, Poll};

use gate::Gate;
use shuttle::future::block_on;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

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

/// Far more orders than there are places to be interrupted at.
fn many_orders(test: impl Fn() + Clone + Send + Sync + 'static) {
    shuttle::check_random(test.clone(), 5_000);
    shuttle::check_pct(test, 5_000, 3);
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
