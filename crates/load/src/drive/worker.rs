//! One thread of a load: it polls its connections itself.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use procession_sys::{thread_cpu, thread_waited};
use tokio::runtime::Runtime;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::Connection;
use super::core::{Core, Shared};
use super::limits::Halt;
use super::wake::Ready;
use crate::Until;
use crate::http1::Writer;
use crate::tally::Tally;

/// How often is looked for what is overdue, at least: a time-out is exact to this.
const LONGEST_SWEEP: Duration = Duration::from_millis(100);
const SHORTEST_SWEEP: Duration = Duration::from_millis(5);

/// What a thread is to do.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) shared: Shared,
    /// Which of the threads it is: every so manieth connection is its own.
    pub(super) thread: usize,
    pub(super) writers: Vec<Vec<Writer>>,
    pub(super) parts: SyncSender<Part>,
}

/// What a thread counted in an interval.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) thread: usize,
    pub(super) tally: Tally,
    /// It is the last one.
    pub(super) end: Option<ThreadEnd>,
}

/// How a thread ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadEnd {
    pub(super) at: Duration,
    pub(super) cpu: Duration,
    /// How long it had work and no core.
    pub(super) waited: Duration,
    pub(super) latest: Duration,
    pub(super) no_ports: u64,
    pub(super) no_descriptors: u64,
}

/// What a thread has used since it began.
#[derive(Clone, Copy, Debug)]
struct Used {
    cpu: Duration,
    waited: Duration,
}

impl Used {
    fn now() -> Self {
        Self {
            cpu: thread_cpu(),
            waited: thread_waited().unwrap_or_default(),
        }
    }
}

/// Does the job to its end.
pub(super) fn work(job: Job, runtime: &Runtime) {
    let before = Used::now();
    let _ends_all = EndsAll(Arc::clone(&job.shared.halt));
    runtime.block_on(async {
        let mut worker = Worker::new(job);
        // A budget for each turn would only send it round by the timer.
        tokio::task::unconstrained(poll_fn(|cx| worker.poll(cx))).await;
        worker.finish(before);
    });
}

/// A thread that panics ends the load, or the others would go on for nothing.
struct EndsAll(Arc<Halt>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.now();
        }
    }
}

#[derive(Debug)]
struct Worker {
    core: Core,
    connections: Vec<Connection>,
    ready: Arc<Ready>,
    /// The connections that have their turn now.
    turn: Vec<u32>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends.
    wakes_at: Duration,
    next_sweep: Duration,
    next_sample: Duration,
    end: Duration,
    is_registered: bool,
    /// It was seen that no further request is to be begun.
    drains: bool,
    thread: usize,
    parts: SyncSender<Part>,
}

impl Worker {
    fn new(job: Job) -> Self {
        let mut core = Core::new(job.shared, job.writers);
        let ready = Arc::new(Ready::default());
        let shared = core.shared.clone();
        let spec = &shared.plan.spec;
        let own = (job.thread..spec.connections).step_by(spec.threads);
        let connections: Vec<_> = (0..)
            .zip(own)
            .map(|(number, of_all)| Connection::new(number, of_all, &core, &ready))
            .collect();
        core.alive = connections.len();
        core.again = (0..).zip(&connections).map(|(number, _)| number).collect();
        Self {
            core,
            connections,
            turn: Vec::new(),
            sleep: Box::pin(sleep_until(Instant::now())),
            wakes_at: Duration::ZERO,
            next_sweep: Duration::ZERO,
            next_sample: spec.sample,
            end: match spec.until {
                Until::Elapsed(limit) => limit,
                Until::Requests(_) | Until::Stopped => Duration::MAX,
            },
            is_registered: false,
            drains: false,
            thread: job.thread,
            parts: job.parts,
            ready,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.take_turns(cx);
        self.core.tell_answers();
        over
    }

    fn take_turns(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_registered {
            self.is_registered = true;
            self.ready.belongs_to(cx.waker());
            self.core.shared.halt.register(cx.waker());
        }
        self.core.clock();
        self.tick();
        self.core.ring();
        if !self.drains && self.core.drains() {
            self.drains = true;
            // Those that wait for their next request must see it.
            self.core.again = (0..).zip(&self.connections).map(|(it, _)| it).collect();
        }
        self.ready.take(&mut self.turn);
        self.turn.append(&mut self.core.again);
        for number in self.turn.drain(..) {
            self.core.next_turn();
            self.connections[number as usize].poll(&mut self.core);
            if self.core.now >= self.end || self.core.shared.halt.is_over() {
                return Poll::Ready(());
            }
        }
        if self.is_over() {
            return Poll::Ready(());
        }
        if !self.core.again.is_empty() {
            cx.waker().wake_by_ref();
        }
        self.set_alarm(cx);
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        let core = &self.core;
        core.alive == 0 || core.now >= self.end || core.shared.halt.is_over()
    }

    /// Does what is done from time to time.
    fn tick(&mut self) {
        let (sample, timeout) = {
            let spec = &self.core.shared.plan.spec;
            (spec.sample, spec.timeout)
        };
        // The last interval ends with the load.
        while self.core.now >= self.next_sample && self.next_sample < self.end {
            self.next_sample += sample;
            let tally = self.core.take_tally();
            self.tell(tally, None);
        }
        if self.core.now >= self.next_sweep {
            let pause = (timeout / 8).clamp(SHORTEST_SWEEP, LONGEST_SWEEP);
            self.next_sweep = self.core.now + pause;
            for (number, connection) in (0..).zip(&mut self.connections) {
                if connection.sweep(&mut self.core) {
                    self.core.again.push(number);
                }
            }
        }
    }

    /// Wakes the thread when the next thing is due.
    fn set_alarm(&mut self, cx: &mut Context<'_>) {
        let next = [
            self.next_sweep,
            self.next_sample,
            self.end,
            self.core.next_alarm(),
        ];
        let next = next.into_iter().min().unwrap_or_default();
        if next != self.wakes_at {
            self.wakes_at = next;
            let at = Instant::from_std(self.core.shared.epoch + next);
            self.sleep.as_mut().reset(at);
            if self.sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Closes every connection and says how it was.
    fn finish(mut self, before: Used) {
        let under_way: u64 = self.connections.iter().map(Connection::under_way).sum();
        self.core.tally.unfinished += under_way;
        let latest = self.connections.iter().map(Connection::latest).max();
        let at = self.core.now;
        let used = Used::now();
        self.connections.clear();
        let tally = self.core.take_tally();
        let end = ThreadEnd {
            at,
            cpu: used.cpu.saturating_sub(before.cpu),
            waited: used.waited.saturating_sub(before.waited),
            latest: latest.unwrap_or_default(),
            no_ports: self.core.no_ports,
            no_descriptors: self.core.no_descriptors,
        };
        self.tell(tally, Some(end));
    }

    fn tell(&self, tally: Tally, end: Option<ThreadEnd>) {
        let part = Part {
            thread: self.thread,
            tally,
            end,
        };
        // An error: nobody is there any more to count.
        let _ = self.parts.send(part);
    }
}
