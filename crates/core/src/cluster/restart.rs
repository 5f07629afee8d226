//! How soon a worker that died is started again, and when that is given up.
//!
//! A restart must be quick when one worker was killed, slow when the program is
//! broken, and must end when that will not change. What tells these apart is
//! how long the worker had served:
//!
//! | it died | next start | counts as |
//! |---|---|---|
//! | *quickly*: before it was ready, or of itself within [`settled`](Restart::settled) (1 s) after it | after the back-off | a restart |
//! | later, or killed by somebody (`SIGKILL`, `SIGTERM`, `SIGINT`, `SIGHUP`) once ready | at once | a restart |
//! | [`reset_after`](Restart::reset_after) (30 s) or more after it was ready | at once | nothing |
//! | on purpose, after [`settled`](Restart::settled) (`exitedAfterDisconnect`) | at once | nothing |
//!
//! **The back-off belongs to the app.** All its workers run one program, so when
//! it cannot start, N workers trying are N times the same news. After a quick
//! death one worker at a time is started: the next when that one is ready, the
//! rest together when it has settled. So a crash loop of 16 workers makes as
//! many restarts as one of a single worker. The delay grows once for each
//! attempt: the deaths of workers that were started before it last grew are no
//! news. A worker that settles halves the count of quick deaths; one that stays
//! for `reset_after` clears it.
//!
//! **The budget counts restarts in a window from which our own waiting is left
//! out.** Otherwise a back-off of 30 s would keep each crash loop within it, and
//! it would go on forever. While no worker of the app was ever ready, fewer are
//! allowed ([`unproven`](Budget::unproven)): a program with a syntax error is
//! given up after about 3 s, one that was well before after about 80 s. What
//! died after a long life is replaced outside of the budget, so that 16 workers
//! that are killed together do not look like a loop. So is everybody who waits
//! after quick deaths when an attempt has settled, and nothing is given up while
//! one may: an outage that takes 16 workers down costs no more than one that
//! takes a single worker.
//!
//! # Node
//!
//! Node restarts nothing. cfork's `limit` (60) in `duration` (60 s) is
//! [`Budget`]; PM2's `min_uptime` (1 s) is `settled`, its `exp_backoff_restart_delay` `first`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::WorkerId;

/// When, how soon and how often a dead worker is replaced. Plain data.
///
/// Without any bound: `first` zero and no `budget`.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// Which ends are followed by a restart. Default: [`When::Always`].
    pub when: When,
    /// The delay after the first quick death. Zero: no back-off, and no
    /// starting one at a time. Default: 100 ms.
    pub first: Duration,
    /// By how much the delay grows with each further one; less than 1 counts as 1. Default: 2.
    pub factor: f64,
    /// The longest delay; more than a year counts as a year. Default: 30 s.
    pub most: Duration,
    /// The share of a delay, 0 to 1, that is left to chance: up to so much is
    /// taken off it. Default: 0.2.
    pub jitter: f64,
    /// A worker that dies sooner than this after it was ready died *quickly*. Default: 1 s.
    pub settled: Duration,
    /// After this long a ready worker owes nothing to what went before it. Default: 30 s.
    pub reset_after: Duration,
    /// How many restarts there may be. `None`: any number. Default: [`Budget::default`].
    pub budget: Option<Budget>,
}

/// Which ends of a worker are followed by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Each that was not ordered, also exit code 0 and a worker's own
    /// `disconnect`: there are to be so many workers.
    Always,
    /// All but exit code 0 and a worker's own `disconnect`.
    OnCrash,
    /// None.
    Never,
}

/// How many restarts a whole app may have, however many workers it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// This many restarts. Default: 10.
    pub starts: u32,
    /// In a window of this length; our own waiting does not count. Default: 60 s.
    pub within: Duration,
    /// This many while no worker of the app was ever ready. Default: 4.
    pub unproven: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            starts: 10,
            within: Duration::from_secs(60),
            unproven: 4,
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            when: When::Always,
            first: Duration::from_millis(100),
            factor: 2.0,
            most: Duration::from_secs(30),
            jitter: 0.2,
            settled: Duration::from_secs(1),
            reset_after: Duration::from_secs(30),
            budget: Some(Budget::default()),
        }
    }
}

impl Restart {
    /// The delay after so many quick deaths in a row; `chance` is from 0 to 1.
    fn delay(&self, streak: u32, chance: f64) -> Duration {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let most = self.most.min(YEAR);
        let steps = i32::try_from(streak.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.first.as_secs_f64() * self.factor.max(1.0).powi(steps);
        let left = 1.0 - self.jitter.clamp(0.0, 1.0) * chance;
        let seconds = grown.min(most.as_secs_f64()) * left;
        Duration::try_from_secs_f64(seconds).unwrap_or(most)
    }
}

/// How long a worker had served when it died: what its replacement costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It failed to start, or soon after.
    Quick,
    /// It served for a while.
    Short,
    /// It served long enough to be replaced outside of the budget.
    Long,
}

/// Whether a restart may be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Start,
    /// Not before that; `None`: not before something happens to a worker.
    Wait(Option<Instant>),
    /// The budget is used up.
    TooMany(Budget),
    /// Nobody was ever ready, and that was tried often enough.
    Unproven,
}

/// Whether restarts are made at once.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Open,
    /// One at a time, the next not before `until`; `since` then we have been waiting for it.
    Closed {
        since: Instant,
        until: Instant,
        probe: Option<WorkerId>,
    },
}

/// The pace of one app's restarts.
#[derive(Debug)]
pub(super) struct Pace {
    restart: Restart,
    chance: Chance,
    gate: Gate,
    /// Quick deaths in a row.
    streak: u32,
    /// Workers from this one on were started after the streak last grew.
    news_from: WorkerId,
    /// Whether any worker was ever ready.
    proven: bool,
    /// Restarts made before that.
    tries: u32,
    ledger: Ledger,
}

impl Pace {
    pub(super) fn new(restart: Restart, seed: u64, now: Instant) -> Self {
        Self {
            restart,
            chance: Chance(seed),
            gate: Gate::Open,
            streak: 0,
            news_from: WorkerId(0),
            proven: false,
            tries: 0,
            ledger: Ledger {
                epoch: now,
                waited: Duration::ZERO,
                starts: VecDeque::new(),
            },
        }
    }

    /// What kind of life ended, for a worker that was ready for `up`, if ever.
    pub(super) fn life(&self, up: Option<Duration>, was_sent_away: bool) -> Life {
        match up {
            Some(up) if up >= self.restart.reset_after => Life::Long,
            Some(up) if was_sent_away || up >= self.restart.settled => Life::Short,
            Some(_) | None => Life::Quick,
        }
    }

    /// A worker died quickly. `next` is the number of the worker after the last
    /// that was started.
    pub(super) fn died_quickly(&mut self, worker: WorkerId, next: WorkerId, now: Instant) {
        if worker < self.news_from || self.restart.first.is_zero() {
            return;
        }
        self.account(now);
        self.streak = self.streak.saturating_add(1);
        self.news_from = next;
        let delay = self.restart.delay(self.streak, self.chance.next());
        self.gate = Gate::Closed {
            since: now,
            until: now + delay,
            probe: self.probe(),
        };
    }

    /// A worker is ready: starting works, whatever comes of it.
    pub(super) fn ready(&mut self, worker: WorkerId, now: Instant) {
        self.proven = true;
        self.gone(worker, now);
    }

    /// A worker is not being started any more. Tell its quick death first.
    pub(super) fn gone(&mut self, worker: WorkerId, now: Instant) {
        if let Gate::Closed {
            since,
            until,
            probe,
        } = &mut self.gate
            && *probe == Some(worker)
        {
            *probe = None;
            *until = (*until).max(now);
            // Its start was its own time, not ours.
            *since = now;
        }
    }

    /// A worker has been ready for [`Restart::settled`]. Whether it was started
    /// after the last bad news, so that these are over.
    pub(super) fn settled(&mut self, worker: WorkerId, now: Instant) -> bool {
        let well = worker >= self.news_from;
        if well {
            self.streak /= 2;
            self.open(now);
        }
        well
    }

    /// A worker has been ready for [`Restart::reset_after`].
    pub(super) fn proved_itself(&mut self, worker: WorkerId, now: Instant) {
        if worker >= self.news_from {
            self.streak = 0;
            self.open(now);
        }
    }

    /// A worker was not ready in time. When none ever was, none will be.
    pub(super) fn timed_out(&mut self) {
        if !self.proven {
            self.tries = u32::MAX;
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether a worker may be started in the place of one that had this life.
    /// `hope`: others may yet become ready, or settle.
    pub(super) fn verdict(&mut self, life: Life, hope: bool, now: Instant) -> Verdict {
        if life != Life::Long
            && let Some(budget) = self.restart.budget
        {
            let end = if !self.proven && self.tries >= budget.unproven {
                Some(Verdict::Unproven)
            } else if self.ledger.count(budget.within, now) >= budget.starts {
                Some(Verdict::TooMany(budget))
            } else {
                None
            };
            if let Some(end) = end {
                return if hope { Verdict::Wait(None) } else { end };
            }
        }
        match self.gate {
            Gate::Closed { probe: Some(_), .. } => Verdict::Wait(None),
            Gate::Closed { until, .. } if now < until => Verdict::Wait(Some(until)),
            Gate::Closed { .. } | Gate::Open => Verdict::Start,
        }
    }

    /// The worker was started, as [`Verdict::Start`] allowed.
    pub(super) fn restarted(&mut self, worker: WorkerId, life: Life, now: Instant) {
        self.account(now);
        if let Gate::Closed { probe, .. } = &mut self.gate {
            *probe = Some(worker);
        }
        if life == Life::Long {
            return;
        }
        if !self.proven {
            self.tries = self.tries.saturating_add(1);
        }
        // Without a budget nobody counts, and nothing is to be kept.
        if self.restart.budget.is_some() {
            self.ledger.enter(now);
        }
    }

    /// How long a restart has to wait at least.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        match self.gate {
            Gate::Closed { until, .. } => until.saturating_duration_since(now),
            Gate::Open => Duration::ZERO,
        }
    }

    fn probe(&self) -> Option<WorkerId> {
        match self.gate {
            Gate::Closed { probe, .. } => probe,
            Gate::Open => None,
        }
    }

    fn open(&mut self, now: Instant) {
        self.account(now);
        self.gate = Gate::Open;
    }

    /// Notes how much of the time that passed was our own waiting.
    fn account(&mut self, now: Instant) {
        if let Gate::Closed { since, until, .. } = &mut self.gate {
            self.ledger.waited += (*until).min(now).saturating_duration_since(*since);
            *since = now;
        }
    }
}

/// The restarts in the window, by a clock that stands still while we wait.
#[derive(Debug)]
struct Ledger {
    epoch: Instant,
    waited: Duration,
    /// At most as many as the budget has, since no more are made.
    starts: VecDeque<Duration>,
}

impl Ledger {
    fn clock(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
            .saturating_sub(self.waited)
    }

    fn enter(&mut self, now: Instant) {
        self.starts.push_back(self.clock(now));
    }

    fn count(&mut self, within: Duration, now: Instant) -> u32 {
        let clock = self.clock(now);
        while self
            .starts
            .front()
            .is_some_and(|at| clock.saturating_sub(*at) >= within)
        {
            self.starts.pop_front();
        }
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }
}

/// SplitMix64: enough to keep apps from restarting in step.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// The next number from 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(top) / f64::from(u32::MAX)
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

    #[test]
    fn strange_numbers_give_a_delay_all_the_same() {
        let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300];
        for (factor, jitter) in numbers.into_iter().zip(numbers.into_iter().rev()) {
            for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                let restart = Restart {
                    first: time,
                    most: Duration::MAX,
                    factor,
                    jitter,
                    ..Restart::default()
                };
                for streak in [0, 1, 2, 100, u32::MAX] {
                    let delay = restart.delay(streak, 1.0);
                    assert!(delay <= SECOND * 60 * 60 * 24 * 365);
                }
            }
        }
    }

    #[test]
    fn chance_is_spread_over_its_range() {
        let mut chance = Chance(3);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let number = chance.next();
            assert!((0.0..=1.0).contains(&number));
            let tenth = (0..10).rfind(|tenth| number * 10.0 >= f64::from(*tenth));
            tenths[usize::try_from(tenth.unwrap()).unwrap()] += 1;
        }
        assert!(
            tenths.iter().all(|count| (800..1_200).contains(count)),
            "{tenths:?}"
        );
    }

    #[test]
    fn a_worker_that_settles_halves_the_delay_s_exponent() {
        let restart = Restart {
            jitter: 0.0,
            ..Restart::default()
        };
        let mut now = start();
        let mut pace = Pace::new(restart, 1, now);
        let mut delays = Vec::new();
        for worker in 1..8 {
            pace.died_quickly(WorkerId(worker), WorkerId(worker + 1), now);
            delays.push(pace.wait(now).as_millis());
            now += pace.wait(now);
            if worker == 5 {
                assert!(pace.settled(WorkerId(6), now));
            }
        }
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 400, 800]);
    }

    #[test]
    fn what_an_attempt_takes_is_not_our_waiting() {
        let begin = start();
        let mut pace = Pace::new(Restart::default(), 1, begin);
        pace.died_quickly(WorkerId(1), WorkerId(2), begin);
        let delay = pace.wait(begin);
        assert_eq!(
            pace.verdict(Life::Quick, false, begin),
            Verdict::Wait(Some(begin + delay))
        );
        let now = begin + delay;
        pace.restarted(WorkerId(2), Life::Quick, now);
        let now = now + SECOND * 10;
        pace.ready(WorkerId(2), now);
        pace.restarted(WorkerId(3), Life::Quick, now);
        assert_eq!(pace.ledger.clock(now), SECOND * 10);
    }

    #[derive(Clone, Copy, Debug)]
    enum What {
        DiesQuickly,
        Ready,
        Settles,
        ProvesItself,
        Asks(Life),
    }

    fn any_event() -> impl Strategy<Value = (u64, u32, What)> {
        let life = prop_oneof![Just(Life::Quick), Just(Life::Short), Just(Life::Long)];
        let what = prop_oneof![
            2 => Just(What::DiesQuickly),
            1 => Just(What::Ready),
            1 => Just(What::Settles),
            1 => Just(What::ProvesItself),
            5 => life.prop_map(What::Asks),
        ];
        (0_u64..4_000, 0_u32..20, what)
    }

    proptest! {
        /// However it is asked: in no window of real time more restarts than
        /// the budget has, none before the gate opens, and the clock that
        /// leaves our waiting out never runs backwards.
        #[test]
        fn the_budget_is_kept(
            events in prop::collection::vec(any_event(), 0..300),
            starts in 0_u32..6,
        ) {
            let within = SECOND * 20;
            let budget = Budget { starts, within, unproven: 3 };
            let restart = Restart { budget: Some(budget), ..Restart::default() };
            let mut now = start();
            let mut pace = Pace::new(restart, 1, now);
            let mut next = 5;
            let mut paid: Vec<Instant> = Vec::new();
            let mut unproven = 0;
            let mut clock = Duration::ZERO;
            for (ms, age, what) in events {
                now += Duration::from_millis(ms);
                let worker = WorkerId(u32::saturating_sub(next - 1, age));
                match what {
                    What::DiesQuickly => {
                        pace.died_quickly(worker, WorkerId(next), now);
                        pace.gone(worker, now);
                    }
                    What::Ready => pace.ready(worker, now),
                    What::Settles => _ = pace.settled(worker, now),
                    What::ProvesItself => pace.proved_itself(worker, now),
                    What::Asks(life) => {
                        let wait = pace.wait(now);
                        if pace.verdict(life, false, now) == Verdict::Start {
                            prop_assert!(wait.is_zero());
                            pace.restarted(WorkerId(next), life, now);
                            next += 1;
                            if life != Life::Long {
                                paid.push(now);
                                unproven += u32::from(!pace.is_proven());
                            }
                        }
                    }
                }
                let recent = paid.iter().filter(|at| now - **at < within).count();
                prop_assert!(recent <= starts as usize && unproven <= 3);
                pace.account(now);
                prop_assert!(pace.ledger.clock(now) >= clock);
                clock = pace.ledger.clock(now);
            }
        }
    }
}
