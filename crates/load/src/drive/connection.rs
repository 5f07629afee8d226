//! One of the connections that are open at a time, and those that follow it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use procession_sys::is_out_of_descriptors;

use super::core::Core;
use super::open::{End, Open};
use super::plan::begun_at;
use super::stream::{NoConnection, Stream};
use super::wake::{Bell, Ready};
use super::why::Why;
use crate::schedule::Schedule;
use crate::{Class, Rate};

/// How long to wait before the next try after so many in a row that came to nothing:
/// 1 ms, doubled each time, up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// One of the connections that are open at a time.
#[derive(Debug)]
pub(super) struct Connection {
    slot: Slot,
    state: State,
    /// Connections in a row that brought no answer.
    vain: u32,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What outlives one connection and goes on with the next.
#[derive(Debug)]
pub(super) struct Slot {
    /// Among those of its thread.
    pub(super) number: u32,
    pub(super) target: usize,
    pub(super) schedule: Schedule,
    /// A request was taken from those that are left, and is not begun yet.
    holds_one: bool,
    /// Requests that were begun.
    made: u64,
    /// When it asked to be polled again.
    rings_at: Duration,
}

#[derive(Debug)]
enum State {
    /// Nothing is to be done until then.
    Resting {
        until: Duration,
    },
    Connecting {
        attempt: Attempt,
        since: Duration,
    },
    Open(Box<Open>),
    /// There are no more requests for it.
    Done,
}

/// A connection that is being made.
struct Attempt(Pin<Box<dyn Future<Output = Result<Stream, NoConnection>> + Send>>);

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

impl Slot {
    /// Makes sure that there is a request for it to make.
    pub(super) fn holds_one(&mut self, core: &Core) -> bool {
        let shared = &core.shared;
        let may_take = self.made < shared.plan.most_each() && !core.drains();
        self.holds_one = self.holds_one || (may_take && shared.limits.take());
        self.holds_one
    }

    /// It will not make the request that it holds.
    pub(super) fn give_up(&mut self) {
        self.holds_one = false;
    }

    /// Has it polled again at that time, or before.
    pub(super) fn alarm(&mut self, at: Duration, core: &mut Core) {
        // One that is set and rings before is enough, or there would be one more with each poll.
        let is_set = self.rings_at > core.now && self.rings_at <= at;
        if !is_set {
            self.rings_at = at;
            core.alarm(at, self.number);
        }
    }

    /// A request that it holds is begun; says which one of the spec's it is.
    pub(super) fn begin(&mut self, core: &mut Core) -> usize {
        let all = core.shared.plan.spec.requests.len() as u64;
        let request = usize::try_from(self.made % all).unwrap_or(0);
        self.holds_one = false;
        self.made += 1;
        core.tally.sent += 1;
        request
    }
}

impl Connection {
    /// `number` is the one among those of its thread, `of_all` that among all.
    pub(super) fn new(number: u32, of_all: usize, core: &Core, ready: &Arc<Ready>) -> Self {
        let spec = &core.shared.plan.spec;
        let bell = Bell::new(number, ready);
        Self {
            slot: Slot {
                number,
                target: of_all % spec.targets.len(),
                schedule: Schedule::new(spec.rate, of_all, spec.connections, spec.pipelining),
                holds_one: false,
                made: 0,
                rings_at: Duration::ZERO,
            },
            state: State::Resting {
                until: begun_at(of_all),
            },
            vain: 0,
            waker: Arc::clone(&bell).into(),
            bell,
        }
    }

    /// Does what can be done now.
    pub(super) fn poll(&mut self, core: &mut Core) {
        self.bell.heard();
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        loop {
            match &mut self.state {
                State::Resting { .. } if core.drains() => return self.be_done(core),
                State::Resting { until } if core.now < *until => {
                    self.slot.alarm(*until, core);
                    return;
                }
                State::Resting { .. } => self.connect(core),
                State::Connecting { attempt, since } => match attempt.0.as_mut().poll(&mut cx) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(stream)) => {
                        let since = *since;
                        self.open(stream, since, core);
                    }
                    Poll::Ready(Err(none)) => self.not_connected(none, core),
                },
                State::Open(open) => match open.poll(&mut self.slot, core, &mut cx) {
                    Poll::Pending => return,
                    Poll::Ready(end) => self.end(end, core),
                },
                State::Done => return,
            }
        }
    }

    /// Ends what took too long; true: it is to be polled.
    pub(super) fn sweep(&mut self, core: &mut Core) -> bool {
        let limit = core.shared.plan.spec.timeout;
        let overdue = |since: Duration| core.now.saturating_sub(since) >= limit;
        match &mut self.state {
            State::Connecting { since, .. } if overdue(*since) => {
                self.lose_one(Class::TimedOut, &Why::NotConnected(limit), core);
            }
            State::Open(open) if open.oldest().is_some_and(overdue) => {
                let end = open.overdue(limit);
                self.end(end, core);
            }
            State::Resting { .. } | State::Connecting { .. } | State::Open(_) | State::Done => {
                return false;
            }
        }
        true
    }

    /// How many requests are neither answered nor failed.
    pub(super) fn under_way(&self) -> u64 {
        match &self.state {
            State::Open(open) => open.under_way(),
            State::Resting { .. } | State::Connecting { .. } | State::Done => 0,
        }
    }

    /// How late the client itself was at most.
    pub(super) fn latest(&self) -> Duration {
        self.slot.schedule.latest()
    }

    fn connect(&mut self, core: &mut Core) {
        if !self.slot.holds_one(core) {
            return self.be_done(core);
        }
        if self.vain == 0 {
            self.slot.schedule.wake(core.scheduled());
        }
        let (ways, target) = (Arc::clone(&core.shared.plan.ways), self.slot.target);
        self.state = State::Connecting {
            attempt: Attempt(Box::pin(async move { ways[target].connect().await })),
            since: core.now,
        };
    }

    fn open(&mut self, stream: Stream, since: Duration, core: &mut Core) {
        core.clock();
        core.tally.connected += 1;
        self.slot.schedule.connect(core.scheduled());
        self.state = State::Open(Box::new(Open::new(stream, since, core)));
    }

    fn not_connected(&mut self, none: NoConnection, core: &mut Core) {
        core.clock();
        let NoConnection { class, error } = none;
        core.no_ports += u64::from(error.kind() == io::ErrorKind::AddrNotAvailable);
        core.no_descriptors += u64::from(is_out_of_descriptors(&error));
        self.lose_one(class, &Why::Io(error), core);
    }

    /// The request for which there was to be a connection is lost.
    fn lose_one(&mut self, class: Class, why: &Why, core: &mut Core) {
        self.slot.begin(core);
        self.slot.schedule.skip();
        core.fail(class, why);
        self.vain += 1;
        self.rest(core);
    }

    fn end(&mut self, end: End, core: &mut Core) {
        let State::Open(open) = &mut self.state else {
            unreachable!("only an open connection ends");
        };
        let had_answers = open.had_answers();
        if let End::Lost { first, rest, why } = &end {
            let classes = std::iter::once(*first).chain(std::iter::repeat(*rest));
            for (sent, class) in open.lost().zip(classes) {
                self.slot.schedule.fail(sent, core.scheduled());
                core.fail(class, why);
            }
        }
        self.vain = if had_answers { 0 } else { self.vain + 1 };
        match end {
            End::NoMore => self.be_done(core),
            End::Quiet | End::Lost { .. } => self.rest(core),
        }
    }

    /// Waits as long as it must before the next connection.
    fn rest(&mut self, core: &mut Core) {
        let pause = match self.vain {
            0 => Duration::ZERO,
            tries => LONGEST_PAUSE.min(Duration::from_millis(1 << (tries - 1).min(16))),
        };
        let due = match core.shared.plan.spec.rate {
            Rate::Free => Duration::ZERO,
            Rate::PerConnection(_) | Rate::Overall(_) => {
                let next = self.slot.schedule.next().unwrap_or_default();
                next.saturating_add(core.shared.plan.lead)
            }
        };
        let until = due.max(core.now + pause);
        self.state = State::Resting { until };
    }

    fn be_done(&mut self, core: &mut Core) {
        self.state = State::Done;
        core.alive -= 1;
    }
}
