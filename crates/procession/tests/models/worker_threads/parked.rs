//! Who waits for a cell: no notification is slept through, and none is lost.

use std::pin::pin;
use std::task::{Context, Waker};

use shuttle::sync::atomic::Ordering::SeqCst;
use shuttle::thread;

use super::shared::SharedArrayBuffer;
use crate::many_orders;

fn wait_for_change(memory: &SharedArrayBuffer) {
    while memory.cells()[0].load(SeqCst) == 0 {
        memory.wait_blocking(0, 0, None);
    }
}

fn change_and_notify(memory: &SharedArrayBuffer, count: usize) {
    memory.cells()[0].store(1, SeqCst);
    memory.notify(0, count);
}

#[test]
fn no_change_is_slept_through() {
    many_orders(|| {
        let memory = SharedArrayBuffer::new(1);
        let waiting = [memory.clone(), memory.clone()];
        let waiting = waiting.map(|memory| thread::spawn(move || wait_for_change(&memory)));
        change_and_notify(&memory, usize::MAX);
        for waiter in waiting {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_notification_that_a_dropped_wait_had_goes_to_the_next() {
    many_orders(|| {
        let memory = SharedArrayBuffer::new(1);
        let [dropped, waiting, notifier] = [memory.clone(), memory.clone(), memory];
        let dropped = thread::spawn(move || {
            let wait = pin!(dropped.wait(0, 0));
            let mut nobody = Context::from_waker(Waker::noop());
            if wait.poll(&mut nobody).is_ready() {
                // It was in time.
                dropped.notify(0, 1);
            }
        });
        let waiting = thread::spawn(move || wait_for_change(&waiting));
        let notifier = thread::spawn(move || change_and_notify(&notifier, 1));
        dropped.join().unwrap();
        waiting.join().unwrap();
        notifier.join().unwrap();
    });
}
