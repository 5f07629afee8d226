//! Node's order of a child's events.
//!
//! `spawn` comes first, data before the exit, `close` last, and each of them
//! once: that much is the same in every Node. How `exit` stands to the `end` of
//! the streams is not: Node 20 tells the ends first, 24 and 26 mostly the exit.
//! Ours is always `exit`, then the ends. The kernel shows the end of a pipe a
//! moment before the end of the process that held it, so an end waits shortly
//! for the exit that may be on its way; a stream that ends while the child lives
//! on is told then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the end of a stream waits for the exit that usually comes with it.
///
/// Microseconds as a rule, but the process may lose the processor between
/// closing its descriptors and becoming a zombie.
pub const SETTLE: Duration = Duration::from_millis(250);

/// What the driver saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The stream of this index has ended.
    Eof(u32),
    /// The process has ended.
    Exited,
    /// [`EventOrder::deadline`] has come.
    Deadline,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The process has ended.
    Exit,
    /// The stream of this index has ended.
    End(u32),
    /// All is over.
    Close,
}

/// Puts what was seen in Node's order.
#[derive(Clone, Debug)]
pub struct EventOrder {
    open: Vec<u32>,
    /// Ended streams that wait for the exit, in the order in which they ended.
    held: Vec<u32>,
    settle_at: Option<Instant>,
    exited: bool,
    closed: bool,
    queue: VecDeque<Told>,
}

impl EventOrder {
    /// Begins with these streams open.
    #[must_use]
    pub fn new(streams: impl IntoIterator<Item = u32>) -> Self {
        Self {
            open: streams.into_iter().collect(),
            held: Vec::new(),
            settle_at: None,
            exited: false,
            closed: false,
            queue: VecDeque::new(),
        }
    }

    /// Takes what was seen.
    pub fn on(&mut self, seen: Seen, now: Instant) {
        match seen {
            Seen::Eof(index) => {
                let before = self.open.len();
                self.open.retain(|open| *open != index);
                if self.open.len() == before {
                    return;
                }
                self.held.push(index);
                if !self.exited {
                    self.settle_at = self.settle_at.or(Some(now + SETTLE));
                }
            }
            Seen::Exited if !self.exited => {
                self.exited = true;
                self.queue.push_back(Told::Exit);
            }
            Seen::Deadline if self.settle_at.is_some_and(|at| now >= at) => self.release(),
            Seen::Exited | Seen::Deadline => {}
        }
        if self.exited {
            self.release();
            if self.open.is_empty() && !self.closed {
                self.closed = true;
                self.queue.push_back(Told::Close);
            }
        }
    }

    fn release(&mut self) {
        self.settle_at = None;
        self.queue.extend(self.held.drain(..).map(Told::End));
    }

    /// Takes the next event to tell.
    pub fn next_event(&mut self) -> Option<Told> {
        self.queue.pop_front()
    }

    /// When [`Seen::Deadline`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.settle_at
    }

    /// Whether `close` has been queued.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(order: &mut EventOrder) -> Vec<Told> {
        std::iter::from_fn(|| order.next_event()).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "a base for virtual time")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn exit_comes_before_the_ends_however_they_were_seen() {
        let now = start();
        let expected = [Told::Exit, Told::End(1), Told::End(2), Told::Close];
        for exit_at in 0..3 {
            let mut order = EventOrder::new([1, 2]);
            let mut seen = vec![Seen::Eof(1), Seen::Eof(2)];
            seen.insert(exit_at, Seen::Exited);
            for event in seen {
                order.on(event, now);
            }
            assert_eq!(told(&mut order), expected);
        }
    }

    #[test]
    fn a_stream_that_ends_while_the_child_lives_is_told_after_a_moment() {
        let now = start();
        let mut order = EventOrder::new([1, 2]);
        order.on(Seen::Eof(1), now);
        assert_eq!(order.deadline(), Some(now + SETTLE));
        order.on(Seen::Deadline, now + SETTLE);
        assert_eq!(told(&mut order), [Told::End(1)]);
        order.on(Seen::Exited, now + SETTLE);
        assert_eq!(told(&mut order), [Told::Exit]);
        order.on(Seen::Eof(2), now + SETTLE);
        assert_eq!(told(&mut order), [Told::End(2), Told::Close]);
    }

    proptest! {
        /// Every order in which things can be seen: one exit, one end a stream,
        /// one close, and the close last.
        #[test]
        fn everything_is_told_once_and_close_is_last(
            shuffled in Just(vec![Seen::Eof(1), Seen::Eof(2), Seen::Eof(5), Seen::Exited]).prop_shuffle(),
            settle in prop::collection::vec(any::<bool>(), 4),
        ) {
            let mut now = start();
            let mut order = EventOrder::new([1, 2, 5]);
            for (event, settle) in shuffled.into_iter().zip(settle) {
                order.on(event, now);
                order.on(event, now);
                if settle {
                    now += SETTLE;
                    order.on(Seen::Deadline, now);
                }
            }
            let told = told(&mut order);
            prop_assert_eq!(told.len(), 5);
            prop_assert_eq!(told[4], Told::Close);
            for event in [Told::Exit, Told::End(1), Told::End(2), Told::End(5)] {
                prop_assert_eq!(told.iter().filter(|told| **told == event).count(), 1);
            }
        }
    }
}
