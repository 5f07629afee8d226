//! Whether to poll for an answer for a moment, before sleeping until it comes.
//!
//! To sleep and be woken costs a side some microseconds of its processor, and the
//! one that waits for it several times as much. A peer that is awake answers a
//! short message in less. So two ends that answer each other at once are better off
//! awake; but both, for who must be woken first answers too late to be polled for.
//!
//! Each end finds that out for itself, by the time from what it sends to what it
//! hears next. Within the limit: polling pays, and goes on. Within `BRISK` times
//! that: it may be that only the waking takes so long, so now and then it is tried a few
//! times, for as long as waking takes. Both ends count the same answers, and a power of two
//! of them is the time to try, so they try together. Who tries in vain rests twice as long.
//!
//! An end that only sends, or only hears, never polls.

use std::time::{Duration, Instant};

/// An answer within so many times the limit is brisk, and is waited for in a try.
const BRISK: u32 = 8;

/// It is tried each so many answers: at first, and at least. Powers of two, so that the
/// times of an end that rests longer are also times of the other.
const FIRST_REST: u32 = 8;
const LONGEST_REST: u32 = 1024;

/// A try is so many answers.
const TRIES: u32 = 4;

/// So many late answers in a row, and polling does not pay any more.
const LATE: u32 = 4;

/// Decides for one end of a channel.
#[derive(Debug)]
pub struct BusyPoll {
    limit: Duration,
    state: State,
    /// Answers so far.
    answers: u32,
    /// It is tried each so many answers.
    rest: u32,
    /// When something was sent, if nothing was heard since, nor polled for in vain.
    sent: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Sleeps.
    Rests,
    /// Polls for so many more answers, whether it pays or not.
    Tries { left: u32 },
    /// Polls; so many answers in a row were late.
    Pays { late: u32 },
}

impl BusyPoll {
    /// Polls for an answer for so long at most; never, if that is zero.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            state: State::Rests,
            answers: 0,
            rest: FIRST_REST,
            sent: None,
        }
    }

    /// Something was sent. Says whether to [poll](Self::polls) for the answer.
    ///
    /// The clock is read only where the time matters.
    pub fn sent(&mut self, clock: impl FnOnce() -> Instant) -> bool {
        // What is sent before an answer to something earlier has come is part of that.
        if self.sent.is_none() && !self.limit.is_zero() {
            self.sent = Some(clock());
            return self.state != State::Rests;
        }
        false
    }

    /// Something came.
    pub fn heard(&mut self, clock: impl FnOnce() -> Instant) {
        let Some(sent) = self.sent else {
            return;
        };
        self.answered();
        let after = clock().saturating_duration_since(sent);
        match self.state {
            State::Rests
                if after <= self.limit * BRISK && self.answers.is_multiple_of(self.rest) =>
            {
                self.state = State::Tries { left: TRIES };
            }
            State::Rests => {}
            State::Tries { .. } | State::Pays { .. } if after <= self.limit => {
                self.state = State::Pays { late: 0 };
                self.rest = FIRST_REST;
            }
            State::Tries { .. } | State::Pays { .. } => self.was_late(),
        }
    }

    /// Whether to look once more for the answer, instead of sleeping until it comes.
    pub fn polls(&mut self, clock: impl FnOnce() -> Instant) -> bool {
        let times = match self.state {
            State::Rests => return false,
            State::Tries { .. } => BRISK,
            State::Pays { .. } => 1,
        };
        let Some(sent) = self.sent else {
            return false;
        };
        if clock().saturating_duration_since(sent) <= self.limit * times {
            return true;
        }
        self.answered();
        self.was_late();
        false
    }

    /// The answer is there, or will be counted no more.
    fn answered(&mut self) {
        self.sent = None;
        self.answers = self.answers.wrapping_add(1);
    }

    fn was_late(&mut self) {
        self.state = match self.state {
            State::Tries { left } if left > 1 => State::Tries { left: left - 1 },
            State::Tries { .. } => {
                self.rest = (self.rest * 2).min(LONGEST_REST);
                State::Rests
            }
            State::Pays { late } if late + 1 < LATE => State::Pays { late: late + 1 },
            State::Pays { .. } | State::Rests => State::Rests,
        };
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a base for virtual time")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = micros(10);
    /// What it takes to wake who sleeps.
    const WAKING: Duration = micros(25);

    const fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// One end, and whether it sleeps.
    struct End {
        busy: BusyPoll,
        /// How long it works on an answer.
        works: Duration,
        polled: Duration,
    }

    impl End {
        fn new(works: Duration) -> Self {
            Self {
                busy: BusyPoll::new(LIMIT),
                works,
                polled: Duration::ZERO,
            }
        }

        /// Waits for what comes then; gives when it hears it.
        fn wait(&mut self, from: Instant, comes: Instant) -> Instant {
            let mut now = from;
            while self.busy.polls(|| now) {
                if now >= comes {
                    self.busy.heard(|| now);
                    return now;
                }
                now += micros(1);
                self.polled += micros(1);
            }
            let hears = comes.max(now) + WAKING;
            self.busy.heard(|| hears);
            hears
        }
    }

    /// How long `count` questions and answers take.
    fn exchange(asks: &mut End, answers: &mut End, count: u32) -> Duration {
        let begin = Instant::now();
        // When either last had nothing more to do.
        let (mut now, mut idle) = (begin, begin);
        for _ in 0..count {
            asks.busy.sent(|| now);
            let heard = answers.wait(idle, now);
            idle = heard + answers.works;
            answers.busy.sent(|| idle);
            now = asks.wait(now, idle) + asks.works;
        }
        now - begin
    }

    #[test]
    fn two_that_answer_at_once_stay_awake() {
        let (mut one, mut other) = (End::new(micros(3)), End::new(micros(3)));
        exchange(&mut one, &mut other, 20);
        assert_eq!(exchange(&mut one, &mut other, 100), micros(600));
    }

    #[test]
    fn whoever_takes_longer_is_not_polled_for() {
        let (mut one, mut other) = (End::new(micros(1)), End::new(micros(20)));
        exchange(&mut one, &mut other, 10_000);
        // Tries, more and more seldom, but each of them as long as waking takes.
        let share = one.polled.as_secs_f64() / 10_000e-6;
        assert!(share < 0.5, "{share} us for each answer");
        assert!(one.polled > Duration::ZERO);
    }

    #[test]
    fn it_ceases_when_the_other_becomes_slow_and_begins_again() {
        let (mut one, mut other) = (End::new(micros(2)), End::new(micros(2)));
        exchange(&mut one, &mut other, 20);
        other.works = Duration::from_millis(5);
        let polled = one.polled;
        exchange(&mut one, &mut other, 1_000);
        assert!(one.polled - polled <= (LIMIT + micros(2)) * LATE);
        other.works = micros(2);
        exchange(&mut one, &mut other, 2 * FIRST_REST);
        assert_eq!(exchange(&mut one, &mut other, 100), micros(400));
    }

    #[test]
    fn ends_whose_rests_are_apart_find_each_other() {
        for slow in 0..200_u32 {
            let (mut one, mut other) = (End::new(micros(3)), End::new(micros(3)));
            // Brisk for one of them, and not for the other.
            other.works = micros(slow.into());
            exchange(&mut one, &mut other, 300 + slow * 7);
            other.works = micros(3);
            exchange(&mut one, &mut other, 2 * LONGEST_REST);
            assert_eq!(exchange(&mut one, &mut other, 10), micros(60), "{slow}");
        }
    }

    #[test]
    fn who_only_sends_or_only_hears_never_polls() {
        let mut busy = BusyPoll::new(LIMIT);
        let mut now = Instant::now();
        for _ in 0..100_000 {
            now += micros(1);
            assert!(!busy.sent(|| now));
            assert!(!busy.polls(|| now));
        }
        let mut busy = BusyPoll::new(LIMIT);
        for _ in 0..100_000 {
            now += micros(1);
            busy.heard(|| now);
            assert!(!busy.polls(|| now));
        }
    }

    #[test]
    fn a_limit_of_zero_never_polls() {
        let (mut one, mut other) = (End::new(micros(0)), End::new(micros(0)));
        one.busy = BusyPoll::new(Duration::ZERO);
        other.busy = BusyPoll::new(Duration::ZERO);
        exchange(&mut one, &mut other, 1_000);
        assert_eq!(one.polled + other.polled, Duration::ZERO);
        // However fast the answers are.
        let now = Instant::now();
        for _ in 0..1_000 {
            assert!(!one.busy.sent(|| now));
            assert!(!one.busy.polls(|| now));
            one.busy.heard(|| now);
        }
    }

    proptest! {
        /// Whatever happens when: it is polled for a bounded time after what was sent, and not at
        /// all before anything was.
        #[test]
        fn polling_ends(events in proptest::collection::vec((0..3_u8, 0..200_u64), 0..400)) {
            let mut busy = BusyPoll::new(LIMIT);
            let mut now = Instant::now();
            let mut last_sent = None;
            for (event, after) in events {
                now += micros(after);
                match event {
                    0 => {
                        busy.sent(|| now);
                        last_sent = Some(now);
                    }
                    1 => {
                        busy.heard(|| now);
                        last_sent = None;
                    }
                    _ => {
                        let polls = busy.polls(|| now);
                        let recent = last_sent.is_some_and(|at| now - at <= LIMIT * BRISK);
                        prop_assert!(!polls || recent);
                    }
                }
            }
        }
    }
}
