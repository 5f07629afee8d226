//! The life of one child: when it is asked to end, when it is killed, when it is gone.
//!
//! Time-out, cancellation, too much output and a plain request are four reasons
//! for one escalation: the polite signal to everybody in the tree, a grace
//! period, then `SIGKILL`. A child is gone when it has ended *and* nobody of
//! its tree is left, so "stopped" is never said too early.

use std::time::{Duration, Instant};

use crate::signal::Signal;

/// Why a child was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It ran longer than it may.
    TimedOut,
    /// Its cancellation token was cancelled.
    Canceled,
    /// It wrote more than is kept.
    TooMuchOutput,
    /// `stop` was called.
    Stopped,
}

/// How to end a child: the polite way, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The polite request. `SIGKILL` makes the grace period moot.
    pub signal: Signal,
    /// How long to wait before `SIGKILL`.
    pub grace: Duration,
}

impl Default for Stop {
    /// `SIGTERM`, and `SIGKILL` after 5 s.
    fn default() -> Self {
        Self {
            signal: Signal::TERM,
            grace: Duration::from_secs(5),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The child itself has ended.
    Exited,
    /// Nobody of its tree is left (asked for while [`Lifecycle::awaits_tree`]).
    TreeGone,
    /// Somebody wants it to end.
    Stop(Stop, Reason),
    /// [`Lifecycle::deadline`] has come.
    Deadline,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send this signal to everybody in the tree.
    Terminate(Signal),
    /// Send `SIGKILL` to everybody in the tree.
    Kill,
}

/// Whose end counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The child's own; its descendants are not looked at.
    Process,
    /// On a stop the whole tree's; a child that ends by itself leaves the rest running.
    TreeOnStop,
    /// Always the whole tree's: what a child leaves behind is killed when it ends.
    Tree,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running {
        timeout_at: Option<Instant>,
    },
    /// Asked politely. `exited`: the child has ended, others of its tree have not.
    Stopping {
        kill_at: Option<Instant>,
        exited: bool,
    },
    /// Killed, or about to be; only the kernel can keep it now.
    Killed {
        exited: bool,
    },
    Gone,
}

/// One child's way from its start to its end.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    state: State,
    scope: Scope,
    stop: Stop,
    reason: Option<Reason>,
    forced: bool,
}

impl Lifecycle {
    /// A child that has just been started; `stop` is what its time-out leads to.
    #[must_use]
    pub fn new(scope: Scope, timeout_at: Option<Instant>, stop: Stop) -> Self {
        let state = State::Running { timeout_at };
        Self {
            state,
            scope,
            stop,
            reason: None,
            forced: false,
        }
    }

    /// Takes an event and says what is to be done.
    pub fn on(&mut self, event: Event, now: Instant) -> Action {
        match (self.state, event) {
            (State::Running { .. }, Event::Exited) => match self.scope {
                Scope::Process | Scope::TreeOnStop => self.go(State::Gone, Action::None),
                Scope::Tree => self.go(State::Killed { exited: true }, Action::Kill),
            },
            (State::Running { .. }, Event::Stop(stop, reason)) => self.begin(stop, reason, now),
            (State::Running { timeout_at }, Event::Deadline) if due(timeout_at, now) => {
                self.begin(self.stop, Reason::TimedOut, now)
            }
            (State::Stopping { kill_at, .. }, Event::Exited) => match self.scope {
                Scope::Process => self.go(State::Gone, Action::None),
                Scope::TreeOnStop | Scope::Tree => self.go(
                    State::Stopping {
                        kill_at,
                        exited: true,
                    },
                    Action::None,
                ),
            },
            (State::Stopping { kill_at, exited }, Event::Deadline) if due(kill_at, now) => {
                self.kill(exited)
            }
            // A second request with an earlier end means that patience has run out.
            (State::Stopping { kill_at, exited }, Event::Stop(stop, _)) => {
                let sooner = earliest(kill_at, now.checked_add(stop.grace));
                if stop.signal == Signal::KILL || due(sooner, now) {
                    self.kill(exited)
                } else {
                    self.go(
                        State::Stopping {
                            kill_at: sooner,
                            exited,
                        },
                        Action::None,
                    )
                }
            }
            (State::Killed { .. }, Event::Exited) => match self.scope {
                Scope::Process => self.go(State::Gone, Action::None),
                Scope::TreeOnStop | Scope::Tree => {
                    self.go(State::Killed { exited: true }, Action::None)
                }
            },
            (
                State::Stopping { exited: true, .. } | State::Killed { exited: true },
                Event::TreeGone,
            ) => self.go(State::Gone, Action::None),
            (State::Running { .. }, Event::TreeGone | Event::Deadline)
            | (State::Stopping { .. }, Event::TreeGone | Event::Deadline)
            | (State::Killed { .. }, Event::TreeGone | Event::Deadline | Event::Stop(..))
            | (State::Gone, Event::Exited | Event::TreeGone | Event::Deadline | Event::Stop(..)) => {
                Action::None
            }
        }
    }

    fn begin(&mut self, stop: Stop, reason: Reason, now: Instant) -> Action {
        self.reason = Some(reason);
        if stop.signal == Signal::KILL {
            // Asked for by name: not a failure of the polite way.
            return self.go(State::Killed { exited: false }, Action::Kill);
        }
        let kill_at = now.checked_add(stop.grace);
        self.go(
            State::Stopping {
                kill_at,
                exited: false,
            },
            Action::Terminate(stop.signal),
        )
    }

    fn kill(&mut self, exited: bool) -> Action {
        self.forced = true;
        self.go(State::Killed { exited }, Action::Kill)
    }

    fn go(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }

    /// Whose end counts.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// When [`Event::Deadline`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running { timeout_at } => timeout_at,
            State::Stopping { kill_at, .. } => kill_at,
            State::Killed { .. } | State::Gone => None,
        }
    }

    /// Whether the driver is to look if the tree is empty, and say so.
    #[must_use]
    pub fn awaits_tree(&self) -> bool {
        match self.state {
            State::Stopping { exited, .. } | State::Killed { exited } => exited,
            State::Running { .. } | State::Gone => false,
        }
    }

    /// Whether a stop has begun and not been completed.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. } | State::Killed { .. })
    }

    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Why it was asked to end, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Whether the polite way was not enough.
    #[must_use]
    pub fn was_forced(&self) -> bool {
        self.forced
    }
}

fn due(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now >= at)
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Any instant will do: the machine only compares and adds.
    #[expect(clippy::disallowed_methods, reason = "a base for virtual time")]
    fn start() -> Instant {
        Instant::now()
    }

    fn polite() -> Stop {
        Stop {
            signal: Signal::TERM,
            grace: SECOND,
        }
    }

    #[test]
    fn a_child_that_ends_by_itself_needs_nothing() {
        let now = start();
        let mut life = Lifecycle::new(Scope::TreeOnStop, None, polite());
        assert_eq!(life.on(Event::Exited, now), Action::None);
        assert!(life.is_gone());
        assert_eq!(life.reason(), None);
    }

    #[test]
    fn a_time_out_escalates_and_says_so() {
        let now = start();
        let mut life = Lifecycle::new(Scope::Process, Some(now + SECOND), polite());
        assert_eq!(life.on(Event::Deadline, now), Action::None, "too early");
        let then = now + SECOND;
        assert_eq!(
            life.on(Event::Deadline, then),
            Action::Terminate(Signal::TERM)
        );
        assert_eq!(life.deadline(), Some(then + SECOND));
        assert_eq!(life.on(Event::Deadline, then + SECOND), Action::Kill);
        assert_eq!(
            (life.reason(), life.was_forced()),
            (Some(Reason::TimedOut), true)
        );
        life.on(Event::Exited, then + SECOND);
        assert!(life.is_gone());
    }

    #[test]
    fn a_tree_is_gone_only_when_nobody_is_left() {
        let now = start();
        let mut life = Lifecycle::new(Scope::TreeOnStop, None, polite());
        life.on(Event::Stop(polite(), Reason::Stopped), now);
        assert_eq!(
            life.on(Event::TreeGone, now),
            Action::None,
            "the child is still there"
        );
        life.on(Event::Exited, now);
        assert!(life.awaits_tree() && !life.is_gone());
        assert_eq!(life.on(Event::Deadline, now + SECOND), Action::Kill);
        assert!(!life.is_gone());
        life.on(Event::TreeGone, now + SECOND);
        assert!(life.is_gone());
    }

    #[test]
    fn what_a_contained_child_leaves_behind_is_killed() {
        let now = start();
        let mut life = Lifecycle::new(Scope::Tree, None, polite());
        assert_eq!(life.on(Event::Exited, now), Action::Kill);
        assert!(life.awaits_tree());
        assert_eq!(life.reason(), None, "nobody asked it to end");
    }

    #[test]
    fn a_second_request_can_only_shorten_the_grace() {
        let now = start();
        let mut life = Lifecycle::new(Scope::Process, None, polite());
        life.on(Event::Stop(polite(), Reason::Canceled), now);
        let longer = Stop {
            grace: SECOND * 9,
            ..polite()
        };
        assert_eq!(
            life.on(Event::Stop(longer, Reason::Stopped), now),
            Action::None
        );
        assert_eq!(life.deadline(), Some(now + SECOND));
        let at_once = Stop {
            grace: Duration::ZERO,
            ..polite()
        };
        assert_eq!(
            life.on(Event::Stop(at_once, Reason::Stopped), now),
            Action::Kill
        );
        assert_eq!(
            life.reason(),
            Some(Reason::Canceled),
            "the first reason stays"
        );
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Exited),
            Just(Event::TreeGone),
            Just(Event::Deadline),
            (
                0_u32..3,
                prop_oneof![Just(Signal::TERM), Just(Signal::KILL)]
            )
                .prop_map(|(s, signal)| {
                    Event::Stop(
                        Stop {
                            signal,
                            grace: SECOND * s,
                        },
                        Reason::Stopped,
                    )
                }),
        ]
    }

    proptest! {
        /// Whatever happens: at most one polite signal, at most one kill, the
        /// kill never before the grace is over unless asked for, no way back
        /// from gone, and gone only after the exit.
        #[test]
        fn the_escalation_never_runs_backwards(
            events in prop::collection::vec((any_event(), 0_u32..2), 0..30),
            scope in prop_oneof![Just(Scope::Process), Just(Scope::TreeOnStop), Just(Scope::Tree)],
        ) {
            let mut now = start();
            let mut life = Lifecycle::new(scope, Some(now + SECOND * 3), polite());
            let (mut polite_ones, mut kills, mut exited) = (0, 0, false);
            for (event, seconds) in events {
                now += SECOND * seconds;
                let was_gone = life.is_gone();
                exited |= event == Event::Exited;
                let due = life.deadline().is_some_and(|at| now >= at);
                match life.on(event, now) {
                    Action::Terminate(_) => polite_ones += 1,
                    Action::Kill => {
                        kills += 1;
                        let asked = matches!(event, Event::Stop(..) | Event::Exited);
                        prop_assert!(due || asked);
                    }
                    Action::None => {}
                }
                prop_assert!(polite_ones <= 1 && kills <= 1);
                prop_assert!(!was_gone || life.is_gone());
                prop_assert!(!life.is_gone() || exited);
                prop_assert!(!life.is_gone() || life.deadline().is_none());
            }
        }
    }
}
