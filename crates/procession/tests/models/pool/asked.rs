//! The ticket: whoever looks sees that the task was asked to end, and who waits hears how it ended.

use std::future::poll_fn;
use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::thread;
use tokio_util::sync::CancellationToken;

use super::error::TaskError;
use super::ticket::{Link, Slip, Ticket};
use crate::many_orders;

type Numbers = Slip<u32, u32, u32>;

fn ticket() -> Numbers {
    Arc::new(Ticket::new(None))
}

/// As the pool does it.
fn ask(ticket: &Numbers) {
    if let Some(token) = ticket.ask() {
        token.cancel();
    }
}

fn ask_elsewhere(ticket: &Numbers) -> thread::JoinHandle<()> {
    let ticket = Arc::clone(ticket);
    thread::spawn(move || ask(&ticket))
}

#[test]
fn no_cancellation_is_lost_on_who_takes_a_token() {
    many_orders(|| {
        let ticket = ticket();
        let asking = ask_elsewhere(&ticket);
        let early = Link::token(&*ticket);
        block_on(early.cancelled());
        assert!(ticket.is_canceled());
        asking.join().unwrap();
        assert!(Link::token(&*ticket).is_cancelled());
    });
}

#[test]
fn nor_on_who_looks() {
    many_orders(|| {
        let ticket = ticket();
        let asking = [ask_elsewhere(&ticket), ask_elsewhere(&ticket)];
        if ticket.is_canceled() {
            assert!(Link::token(&*ticket).is_cancelled(), "it saw that before");
        }
        asking.into_iter().for_each(|asking| asking.join().unwrap());
        assert!(ticket.is_canceled());
    });
}

#[test]
fn nor_that_of_the_caller() {
    many_orders(|| {
        let callers = CancellationToken::new();
        let ticket: Numbers = Arc::new(Ticket::new(Some(callers.child_token())));
        let asking = ask_elsewhere(&ticket);
        let calling = thread::spawn(move || callers.cancel());
        block_on(Link::token(&*ticket).cancelled());
        assert!(ticket.is_canceled());
        asking.join().unwrap();
        calling.join().unwrap();
    });
}

#[test]
fn who_waits_hears_one_end() {
    many_orders(|| {
        let ticket = ticket();
        let ends = [1, 2].map(|number| {
            let ticket = Arc::clone(&ticket);
            thread::spawn(move || ticket.end(Ok(number)))
        });
        let result = block_on(poll_fn(|cx| ticket.poll_result(cx)));
        assert!(matches!(result, Ok(1 | 2)));
        ends.into_iter().for_each(|end| end.join().unwrap());
        ticket.end(Err(TaskError::Destroyed));
        let again = poll_fn(|cx| std::task::Poll::Ready(ticket.poll_result(cx).is_ready()));
        assert!(!block_on(again), "it ends once");
    });
}

#[test]
fn all_news_are_heard_before_the_end() {
    many_orders(|| {
        let ticket = ticket();
        let task = Arc::clone(&ticket);
        let task = thread::spawn(move || {
            task.tell(1);
            task.tell(2);
            task.end(Ok(3));
        });
        for news in [Some(1), Some(2), None] {
            let heard = block_on(poll_fn(|cx| ticket.poll_progress(cx)));
            assert_eq!(heard, news);
        }
        let result = block_on(poll_fn(|cx| ticket.poll_result(cx)));
        assert!(matches!(result, Ok(3)));
        task.join().unwrap();
    });
}
