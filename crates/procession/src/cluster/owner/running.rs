//! A worker's process, as far as the owner holds it.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use procession_core::cluster::primary::Seen;
use procession_core::cluster::spread::Queue;
use procession_core::cluster::{Slot, WorkerId};
use procession_core::ipc::handles::Ticket;
use procession_sys::Process;
use tokio_util::sync::CancellationToken;

use super::{Listening, OBSERVE, Owner};
use crate::ipc::Sender;

/// Who was heard of so lately is taken to run still.
const LATELY: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Running {
    pub(super) slot: Slot,
    pub(super) pid: u32,
    pub(super) born: Instant,
    pub(super) restarts: u32,
    pub(super) process: Process,
    /// Kills it and its tree.
    pub(super) kill: CancellationToken,
    pub(super) channel: Option<Sender>,
    /// It serves what is handed to it, but cannot accept from a socket that it was given.
    pub(super) cannot_accept: bool,
    /// Connections in the channel, and the numbers under which they were given: oldest
    /// first, which is how they come back.
    pub(super) tickets: VecDeque<(Ticket, u64)>,
    /// Its end is no surprise.
    pub(super) is_expected: bool,
    pub(super) ready_at: Option<Instant>,
    /// Its process is stopped, when that was last looked at.
    pub(super) is_stopped: bool,
    /// When it last said something.
    pub(super) heard_at: Instant,
    /// Share of a core, lately.
    pub(super) cpu: Option<f32>,
    seen: Option<(Instant, Duration)>,
}

impl Running {
    pub(super) fn new(slot: Slot, restarts: u32, process: Process, now: Instant) -> Self {
        Self {
            slot,
            pid: process.id(),
            born: now,
            restarts,
            process,
            kill: CancellationToken::new(),
            channel: None,
            cannot_accept: false,
            tickets: VecDeque::new(),
            is_expected: false,
            ready_at: None,
            is_stopped: false,
            heard_at: now,
            cpu: None,
            seen: None,
        }
    }

    /// The number under which a connection was given that came back; none for a listener's
    /// socket that was shared.
    pub(super) fn number_of(&mut self, ticket: Ticket) -> Option<u64> {
        let at = self.tickets.iter().position(|(own, _)| *own == ticket)?;
        self.tickets.remove(at).map(|(_, seq)| seq)
    }

    /// Looks at the program, which may be another than the one that was started: a
    /// script's interpreter. Deno 2.9 takes a listening socket, says that it listens,
    /// and never accepts; and it takes a connection for what comes with the message
    /// before, if both are read at once.
    pub(super) fn look_at_program(&mut self) {
        self.cannot_accept =
            procession_sys::program_name(self.pid).is_some_and(|name| name == "deno");
    }

    /// Whether it is stopped now.
    fn has_stopped(&mut self, now: Instant) -> bool {
        self.is_stopped =
            now.saturating_duration_since(self.heard_at) >= LATELY && self.process.is_stopped();
        self.is_stopped
    }

    /// Looks at the process.
    fn look(&mut self, now: Instant) {
        self.is_stopped = self.process.is_stopped();
        let Ok(load) = procession_sys::process_load(self.pid) else {
            self.cpu = None;
            return;
        };
        if let Some((then, used)) = self.seen.replace((now, load.cpu)) {
            let wall = now.saturating_duration_since(then).as_secs_f32();
            let cpu = load.cpu.saturating_sub(used).as_secs_f32();
            self.cpu = (wall > 0.0).then(|| cpu / wall);
        }
    }
}

impl Owner {
    /// There is work after a pause: look at the processes before they are given any,
    /// and again in a while.
    pub(super) fn observe_if_idle(&mut self, now: Instant) {
        if self.observe_at.is_none() {
            self.observe(now);
            self.observe_at = now.checked_add(OBSERVE);
        }
    }

    /// Whether a worker that is to be given something was stopped since the processes were
    /// last looked at: its client would wait.
    pub(super) fn has_stopped(&mut self, worker: WorkerId, now: Instant) -> bool {
        let Some(running) = self.running.get_mut(&worker) else {
            return false;
        };
        if !running.has_stopped(now) {
            return false;
        }
        self.machine
            .observed(worker, running.cpu, Seen::Stopped, now);
        // It may go on.
        self.observe_at = self.observe_at.or(now.checked_add(OBSERVE));
        true
    }

    /// Who is stopped, or rests because it was stuck, is given nothing.
    pub(super) fn pass_on_what_is_seen(&mut self, now: Instant) {
        let groups = self.listeners.values().filter_map(Listening::group);
        let resting: BTreeSet<Queue> = groups.flat_map(|group| group.spread.resting()).collect();
        for (worker, running) in &self.running {
            let seen = if running.is_stopped {
                Seen::Stopped
            } else if resting.contains(&Queue::of(running.slot)) {
                Seen::Busy
            } else {
                Seen::Running
            };
            self.machine.observed(*worker, running.cpu, seen, now);
        }
    }

    /// Looks at the processes, and goes on doing so while they are at work.
    pub(super) fn observe(&mut self, now: Instant) {
        let mut is_busy = false;
        for running in self.running.values_mut() {
            running.look(now);
            is_busy |= running.is_stopped || running.cpu.is_some_and(|cpu| cpu > 0.01);
        }
        self.pass_on_what_is_seen(now);
        self.observe_at = is_busy.then(|| now.checked_add(OBSERVE)).flatten();
    }
}
