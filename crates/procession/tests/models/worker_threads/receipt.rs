//! A message to a thread: it was received, or it comes back; never both, never neither.

use std::time::Duration;

use shuttle::thread;

use super::environment::ThreadId;
use super::error::PostToThreadError;
use super::messaging::{ThreadMessages, post_message_to_thread_blocking};
use crate::many_orders;

fn post(to: ThreadId, limit: Duration) -> thread::JoinHandle<Result<(), PostToThreadError<u8>>> {
    thread::spawn(move || post_message_to_thread_blocking(to, 7, limit))
}

/// The receiver looks while the time is over.
#[test]
fn a_message_whose_time_is_over_was_received_or_comes_back() {
    many_orders(|| {
        let mut inbox = ThreadMessages::<u8>::listen().unwrap();
        let posters = [ThreadId::current(); 2].map(|me| post(me, Duration::ZERO));
        let mut received = 0;
        for _ in 0..4 {
            received += usize::from(inbox.try_recv().is_some());
            thread::yield_now();
        }
        let posted = posters.map(|poster| poster.join().unwrap());
        assert!(inbox.try_recv().is_none(), "all are accounted for");
        assert_eq!(posted.iter().filter(|it| it.is_ok()).count(), received);
    });
}

#[test]
fn nor_does_a_poster_wait_for_who_has_left() {
    many_orders(|| {
        let mut inbox = ThreadMessages::<u8>::listen().unwrap();
        let posters = [ThreadId::current(); 2].map(|me| post(me, Duration::MAX));
        let first = inbox.recv_blocking().message;
        assert_eq!(first, 7);
        drop(inbox);
        let posted = posters.map(|poster| poster.join().unwrap());
        let came_back = |it: &&Result<(), _>| matches!(it, Err(error) if is_unheard(error));
        assert_eq!(posted.iter().filter(came_back).count(), 1);
        assert_eq!(posted.iter().filter(|it| it.is_ok()).count(), 1);
    });
}

fn is_unheard(error: &PostToThreadError<u8>) -> bool {
    matches!(error, PostToThreadError::NotListening { message: 7, .. })
}
