//! The inbox: nobody sleeps while there is mail.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use procession_core::pool::TaskId;
use shuttle::future::block_on;
use shuttle::thread;

use super::inbox::{Assignment, Bell, Inbox, Mail, Post};
use super::ticket::Ticket;
use crate::many_orders;

fn run(number: u64) -> Mail<(), (), ()> {
    Mail::Run(Assignment {
        id: TaskId(number),
        task: (),
        ticket: Arc::new(Ticket::new(None)),
    })
}

fn send(inbox: &Inbox<(), (), ()>, mail: Mail<(), (), ()>) {
    if inbox.put(mail) {
        inbox.ring();
    }
}

fn two_senders(inbox: &Post<(), (), ()>) -> [thread::JoinHandle<()>; 2] {
    [1, 2].map(|number| {
        let inbox = Arc::clone(inbox);
        thread::spawn(move || {
            send(&inbox, run(number));
            send(&inbox, run(number + 2));
        })
    })
}

#[test]
fn no_thread_sleeps_while_there_is_mail() {
    many_orders(|| {
        let inbox = Arc::new(Inbox::new(Bell::thread()));
        let senders = two_senders(&inbox);
        let mut tasks: Vec<_> = (0..4)
            .map(|_| inbox.next_task_blocking().unwrap().id.0)
            .collect();
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        tasks.sort_unstable();
        assert_eq!(tasks, [1, 2, 3, 4]);
        send(&inbox, Mail::Stop);
        assert!(inbox.next_task_blocking().is_none());
    });
}

#[test]
fn nor_does_a_task() {
    many_orders(|| {
        let inbox = Arc::new(Inbox::new(Bell::task()));
        let senders = two_senders(&inbox);
        for _ in 0..4 {
            assert!(matches!(block_on(inbox.next()), Mail::Run(_)));
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    });
}

/// As in a select: another branch was quicker.
#[test]
fn nor_when_an_earlier_wait_was_dropped() {
    many_orders(|| {
        let inbox = Arc::new(Inbox::new(Bell::task()));
        let senders = two_senders(&inbox);
        let mut left = 4;
        while left > 0 {
            let is_here = {
                let next = pin!(inbox.next());
                let mut nobody = Context::from_waker(Waker::noop());
                next.poll(&mut nobody).is_ready()
            };
            left -= u32::from(is_here);
            if left > 0 {
                block_on(inbox.next());
                left -= 1;
            }
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    });
}
