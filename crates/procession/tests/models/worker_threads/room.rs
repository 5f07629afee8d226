//! The line: room is neither lost nor given twice, and a close is heard by all who wait.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use shuttle::future::block_on;
use shuttle::thread;

use super::error::PostError;
use super::line::Line;
use super::port::Queue;
use crate::many_orders;

/// So large that the queue does not know how much room it has: the line counts.
#[derive(Clone, Copy)]
struct Large {
    number: u8,
    _rest: [u8; 32 * 1024],
}

trait Message: Copy + Send + 'static {
    fn new(number: u8) -> Self;
    fn number(self) -> u8;
}

impl Message for u8 {
    fn new(number: u8) -> Self {
        number
    }

    fn number(self) -> u8 {
        self
    }
}

impl Message for Large {
    fn new(number: u8) -> Self {
        Self {
            number,
            _rest: [0; 32 * 1024],
        }
    }

    fn number(self) -> u8 {
        self.number
    }
}

/// Room for one message.
fn narrow<M: Message>() -> Arc<Line<M>> {
    Arc::new(Line::new(Queue::Bounded(1)))
}

fn no_poster_sleeps_while_there_is_room<M: Message>() {
    many_orders(|| {
        let line = narrow::<M>();
        let posters = [1, 2].map(|number| {
            let line = Arc::clone(&line);
            thread::spawn(move || {
                line.post_blocking(M::new(number)).unwrap();
                line.post_blocking(M::new(number + 2)).unwrap();
            })
        });
        let mut seen: Vec<u8> = (0..4)
            .map(|_| block_on(line.recv()).unwrap().number())
            .collect();
        for poster in posters {
            poster.join().unwrap();
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4], "each once");
    });
}

#[test]
fn no_poster_sleeps_while_the_queue_has_room() {
    no_poster_sleeps_while_there_is_room::<u8>();
}

#[test]
fn nor_while_the_counter_has() {
    no_poster_sleeps_while_there_is_room::<Large>();
}

/// As much is taken as there is, and no more.
fn room_is_given_once<M: Message>() {
    many_orders(|| {
        let line = narrow::<M>();
        let posters = [1, 2].map(|number| {
            let line = Arc::clone(&line);
            thread::spawn(move || line.try_post(M::new(number)).is_ok())
        });
        let posted = posters.map(|poster| poster.join().unwrap());
        assert!(posted[0] != posted[1], "room for one: {posted:?}");
        assert!(line.try_recv().is_ok());
        line.try_post(M::new(3)).unwrap();
    });
}

#[test]
fn room_in_the_queue_is_given_once() {
    room_is_given_once::<u8>();
}

#[test]
fn room_that_is_counted_is_given_once() {
    room_is_given_once::<Large>();
}

#[test]
fn room_that_a_dropped_post_had_goes_to_the_next() {
    many_orders(|| {
        let line = narrow::<u8>();
        line.try_post(0).unwrap();
        let [dropped, waiting] = [Arc::clone(&line), Arc::clone(&line)];
        let dropped = thread::spawn(move || {
            let post = pin!(dropped.post(1));
            let mut nobody = Context::from_waker(Waker::noop());
            let _ = post.poll(&mut nobody);
        });
        let waiting = thread::spawn(move || waiting.post_blocking(2).unwrap());
        while block_on(line.recv()) != Some(2) {}
        dropped.join().unwrap();
        waiting.join().unwrap();
    });
}

fn all_who_wait_hear_the_close<M: Message>() {
    many_orders(|| {
        let (full, empty) = (narrow::<M>(), narrow::<M>());
        full.try_post(M::new(0)).unwrap();
        let posters = [1, 2].map(|number| {
            let full = Arc::clone(&full);
            thread::spawn(move || full.post_blocking(M::new(number)))
        });
        let receiver = {
            let empty = Arc::clone(&empty);
            thread::spawn(move || empty.recv_blocking().is_none())
        };
        full.close();
        empty.close();
        for poster in posters {
            let posted = poster.join().unwrap();
            assert!(matches!(posted, Err(PostError::Closed(_))), "{posted:?}");
        }
        assert!(receiver.join().unwrap());
    });
}

#[test]
fn all_who_wait_for_the_queue_hear_the_close() {
    all_who_wait_hear_the_close::<u8>();
}

#[test]
fn all_who_wait_for_the_counter_hear_the_close() {
    all_who_wait_hear_the_close::<Large>();
}

#[test]
fn what_was_posted_before_the_close_is_received() {
    many_orders(|| {
        let line = narrow::<u8>();
        let [poster, closer] = [Arc::clone(&line), Arc::clone(&line)];
        let poster = thread::spawn(move || {
            let posted = [1, 2].map(|number| poster.post_blocking(number));
            posted.iter().filter(|posted| posted.is_ok()).count()
        });
        let closer = thread::spawn(move || closer.close());
        let mut received = 0;
        while line.recv_blocking().is_some() {
            received += 1;
        }
        closer.join().unwrap();
        assert_eq!(poster.join().unwrap(), received);
    });
}
