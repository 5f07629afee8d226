//! How many connections come, and so who distributes them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Mode, Options, When};

/// Connections are counted in pieces of time of this length, or a little more.
pub(super) const WINDOW: Duration = Duration::from_millis(100);

/// One connection in so many goes to the primary, as a sample, while the rate
/// is high. 1,500 a second leave 23 samples: an error of a fifth.
const FEW_SAMPLES: u32 = 64;
/// While it is low more are needed: 900 a second leave 110 in one. At that rate
/// handing them over costs little.
const MANY_SAMPLES: u32 = 8;
/// Between these rates the number of samples stays as it is.
const SAMPLE_MORE_BELOW: f64 = 1500.0;
const SAMPLE_LESS_ABOVE: f64 = 3000.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    HandOver,
    Spread,
    /// The policy is to spread, but nothing has come for long: the next connection
    /// comes to the primary and wakes it.
    Asleep,
}

/// Measures the rate of connections.
#[derive(Debug)]
pub(super) struct Pace {
    when: When,
    options: Options,
    state: State,
    windows: VecDeque<(Duration, f64)>,
    window_began: Instant,
    /// Connections in the window that is open: counted ones, or samples times their worth.
    count: f64,
    /// How many connections one at the primary stood for at the last tick.
    worth: f64,
    last_sign: Instant,
    sample: u32,
}

impl Pace {
    pub(super) fn new(when: When, options: Options, now: Instant) -> Self {
        Self {
            when,
            options,
            state: match when {
                When::Busy => State::HandOver,
                When::Always => State::Spread,
            },
            windows: VecDeque::new(),
            window_began: now,
            count: 0.0,
            worth: 1.0,
            last_sign: now,
            sample: MANY_SAMPLES,
        }
    }

    /// Connections came to the primary, which gets this share of all; `waiting`
    /// says whether any are seen elsewhere.
    pub(super) fn arrived(&mut self, now: Instant, count: u64, share: f64, waiting: bool) {
        if count > 0 || waiting {
            self.last_sign = now;
        }
        if count > 0 && self.state == State::Asleep {
            self.restart(State::Spread, now);
        }
        // What waited at the primary when the selector changed came under the old one.
        let worth = 1.0 / share;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.count += f64::from(count) * worth.min(self.worth);
        self.worth = worth;

        let open_for = now.saturating_duration_since(self.window_began);
        if open_for >= WINDOW {
            self.close_window(now, open_for);
        }
    }

    fn close_window(&mut self, now: Instant, open_for: Duration) {
        self.windows.push_front((open_for, self.count));
        self.window_began = now;
        self.count = 0.0;
        let enough = self.within(self.options.calm_for.max(self.options.busy_for));
        self.windows.truncate(enough);

        let rate = self.rate();
        if rate < SAMPLE_MORE_BELOW {
            self.sample = MANY_SAMPLES;
        } else if rate > SAMPLE_LESS_ABOVE {
            self.sample = FEW_SAMPLES;
        }
        match (self.state, self.when) {
            (State::HandOver, When::Busy) if self.is_busy() => self.restart(State::Spread, now),
            (State::Spread, When::Busy) if self.is_calm() => self.restart(State::HandOver, now),
            (State::Spread, When::Always) if self.is_idle(now) => self.restart(State::Asleep, now),
            (State::HandOver | State::Asleep, When::Busy | When::Always)
            | (State::Spread, When::Busy | When::Always) => {}
        }
    }

    fn restart(&mut self, state: State, now: Instant) {
        self.state = state;
        // What was measured until now was measured otherwise, but it is the best
        // guess; a switch back needs new windows for its whole time.
        let rate = self.rate();
        self.windows.clear();
        if state == State::Spread && rate > 0.0 {
            self.windows
                .push_front((WINDOW, rate * WINDOW.as_secs_f64()));
        }
        self.window_began = now;
        self.count = 0.0;
    }

    /// How many of the last windows make up this time.
    fn within(&self, time: Duration) -> usize {
        let mut sum = Duration::ZERO;
        let full = self.windows.iter().position(|(length, _)| {
            sum += *length;
            sum >= time
        });
        full.map_or(self.windows.len() + 1, |at| at + 1)
    }

    fn mean(&self, windows: usize) -> f64 {
        let mut seconds = 0.0;
        let mut count = 0.0;
        for (length, part) in self.windows.iter().take(windows) {
            seconds += length.as_secs_f64();
            count += part;
        }
        if seconds > 0.0 { count / seconds } else { 0.0 }
    }

    /// Every single window was busy: a burst fills one or two.
    fn is_busy(&self) -> bool {
        let needed = self.within(self.options.busy_for);
        needed <= self.windows.len()
            && self
                .windows
                .iter()
                .take(needed)
                .all(|(length, count)| *count >= self.options.busy * length.as_secs_f64())
    }

    /// All windows together were calm: single ones hold too few samples to tell.
    fn is_calm(&self) -> bool {
        let needed = self.within(self.options.calm_for);
        needed <= self.windows.len() && self.mean(needed) < self.options.calm
    }

    fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_sign) >= self.options.sleep_after
    }

    pub(super) fn mode(&self) -> Mode {
        match self.state {
            State::HandOver => Mode::HandOver,
            State::Spread | State::Asleep => Mode::Spread,
        }
    }

    /// Whether the kernel is to spread right now.
    pub(super) fn spreads(&self) -> bool {
        self.state == State::Spread
    }

    /// Whether the rate may be about to rise, so that windows have to be closed in time.
    pub(super) fn counts(&self) -> bool {
        match self.state {
            State::HandOver => {
                self.count > 0.0 || self.windows.front().is_some_and(|(_, count)| *count > 0.0)
            }
            State::Spread | State::Asleep => false,
        }
    }

    /// Connections a second over about the last second.
    pub(super) fn rate(&self) -> f64 {
        self.mean(self.within(Duration::from_secs(1)))
    }

    /// One in so many is a sample; at least 2.
    pub(super) fn sample(&self) -> u32 {
        self.sample
    }
}
