//! The task that owns a cluster.

mod actions;
mod hearing;
mod listening;
mod orders;
mod reports;
mod requests;
mod running;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use procession_core::cluster::WorkerId;
use procession_core::cluster::balance::Balance;
use procession_core::cluster::primary::{Addresses, Errors, ListenerId, Primary as Machine, Terms};
use procession_core::cluster::supervise::{Ready, Supervisor};
use procession_core::errno;
use procession_sys::Platform;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::control::Request;
use super::error::StartError;
use super::event::Event;
use super::inherit::Inherited;
use super::process::Report;
use super::queue::EventSender;
use super::spec::Spec;
use hearing::Hearing;
use listening::Listening;
use running::Running;

/// Reports of all workers that may wait for us; then the workers do.
const REPORTS: usize = 256;

/// How often the processes are looked at while they have something to do.
const OBSERVE: Duration = Duration::from_millis(250);

/// Makes a policy for each listener.
pub(super) type Policies = Box<dyn FnMut() -> Box<dyn Balance> + Send>;

/// Something for the owner.
#[derive(Debug)]
pub(super) enum Note {
    Worker(WorkerId, Report),
    /// A client that has said something, or was waited for in vain.
    Heard(Hearing),
}

pub(super) struct Owner {
    spec: Spec,
    machine: Machine<OwnedFd>,
    supervisor: Supervisor,
    running: BTreeMap<WorkerId, Running>,
    listeners: BTreeMap<ListenerId, Listening>,
    inherited: Inherited,
    platform: Platform,
    events: EventSender,
    notes: mpsc::Receiver<Note>,
    note: mpsc::Sender<Note>,
    requests: mpsc::Receiver<Request>,
    /// Somebody can still ask.
    is_held: bool,
    started_at: Instant,
    restarts: u64,
    gave_up: bool,
    observe_at: Option<Instant>,
    /// What is said to a worker, while it is written.
    body: Vec<u8>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends, before which no time is up. It may be too early; that costs less
    /// than setting it each time.
    armed: Option<Instant>,
    /// Something has happened after which a time may be up before `sleep` ends.
    is_rushed: bool,
    /// A listener accepts again, and was not looked at since.
    has_opened: bool,
    over: Option<Event>,
}

impl Note {
    /// Whether a connection came, or a worker has it and serves it, and nothing else.
    fn is_of_connections(&self) -> bool {
        match self {
            Self::Worker(_, report) => report.is_of_connections(),
            Self::Heard(_) => true,
        }
    }
}

impl Owner {
    pub(super) fn new(
        spec: Spec,
        policies: Policies,
        events: EventSender,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Self, StartError> {
        let now = Instant::now();
        let inherited = Inherited::bind(&spec.listen)?;
        let mut plan = spec.plan();
        if !spec.listen.is_empty() {
            // Such a worker has no channel: it cannot say, nor be asked.
            plan.stop.grace = Duration::ZERO;
            if plan.ready == Ready::Listening {
                plan.ready = Ready::Started;
            }
        }
        let (note, notes) = mpsc::channel(REPORTS);
        Ok(Self {
            machine: Machine::new(terms(&spec), policies),
            supervisor: Supervisor::new(plan, seed(), now),
            spec,
            running: BTreeMap::new(),
            listeners: BTreeMap::new(),
            inherited,
            platform: procession_sys::platform(),
            events,
            notes,
            note,
            requests,
            is_held: true,
            started_at: now,
            restarts: 0,
            gave_up: false,
            observe_at: None,
            body: Vec::new(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: Some(now),
            is_rushed: true,
            has_opened: false,
            over: None,
        })
    }

    /// Runs the cluster until it is over.
    pub(super) async fn run(mut self) {
        let over = std::future::poll_fn(|cx| self.poll_turn(cx)).await;
        self.listeners.clear();
        drop(self.inherited);
        self.events.send(over).await;
    }

    /// Takes in all that is there, and does what follows, so that one wake costs one look
    /// at each source and at the clock. Ready when the cluster is over.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let now = Instant::now();
            let mut is_spent = self.hear(cx, now);
            self.run_timers(now);
            self.carry_out(now);
            if self.over.is_none() {
                is_spent |= self.accept(cx, now);
            }
            if let Some(over) = self.over.take() {
                return Poll::Ready(over);
            }
            self.arm(now);
            if self.armed.is_some() && self.sleep.as_mut().poll(cx).is_ready() {
                self.armed = None;
            } else if is_spent {
                // Others first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else if !self.has_opened {
                return Poll::Pending;
            }
        }
    }

    /// Hears what is asked and reported; says whether there may be more.
    fn hear(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        while self.is_held
            && let Poll::Ready(request) = self.requests.poll_recv(cx)
        {
            self.is_rushed = true;
            self.requested(request, now);
        }
        for _ in 0..REPORTS {
            let Poll::Ready(Some(note)) = self.notes.poll_recv(cx) else {
                return false;
            };
            self.is_rushed |= !note.is_of_connections();
            self.noted(note, now);
        }
        true
    }

    fn requested(&mut self, request: Option<Request>, now: Instant) {
        match request {
            Some(request) => self.asked(request, now),
            // Nobody is left who could want it.
            None => {
                self.is_held = false;
                self.supervisor.kill_now(now);
            }
        }
    }

    fn noted(&mut self, note: Note, now: Instant) {
        match note {
            Note::Worker(worker, report) => self.reported(worker, report, now),
            Note::Heard(hearing) => self.heard(hearing, now),
        }
    }

    fn heard(&mut self, hearing: Hearing, now: Instant) {
        let id = hearing.listener();
        if hearing
            .unfinished()
            .is_some_and(|said| !self.machine.is_enough(id, said))
        {
            tokio::spawn(hearing.go_on(self.note.clone()));
            return;
        }
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.listened_to -= 1;
        }
        self.machine.arrived(id, hearing.arrival(), now);
    }

    fn run_timers(&mut self, now: Instant) {
        if self.armed.is_some_and(|at| now < at) {
            return;
        }
        (self.armed, self.is_rushed) = (None, true);
        if self.machine.deadline().is_some_and(|at| at <= now) {
            self.machine.tick(now);
        }
        if self.observe_at.is_some_and(|at| at <= now) {
            self.observe(now);
        }
        let due: Vec<ListenerId> = self
            .listeners
            .iter_mut()
            .filter_map(|(id, listener)| listener.is_due(now).then_some(*id))
            .collect();
        for id in due {
            self.look_at(id, now);
        }
    }

    /// Sets the alarm, if it would come too late.
    fn arm(&mut self, now: Instant) {
        // Connections that come and are served need no time to be up sooner than this, and
        // there are many of them.
        let near = now.checked_add(OBSERVE.min(self.spec.stuck_after));
        if !std::mem::take(&mut self.is_rushed) && self.armed.is_some() && self.armed <= near {
            return;
        }
        let listeners = self.listeners.values();
        let listeners = listeners.filter_map(Listening::deadline);
        let own = [
            self.machine.deadline(),
            self.supervisor.deadline(),
            self.observe_at,
        ];
        let Some(next) = own.into_iter().flatten().chain(listeners).min() else {
            return;
        };
        if self.armed.is_none_or(|armed| armed > next) {
            self.armed = Some(next);
            self.sleep.as_mut().reset(next.into());
        }
    }

    fn tell(&self, event: Event) {
        self.events.tell(event);
    }
}

fn terms(spec: &Spec) -> Terms {
    let number = |name| errno::number(name).unwrap_or(1);
    Terms {
        splits: spec.balance.spreads().is_some() && procession_sys::PORTS_ARE_SHARED,
        shares: spec.balance == procession_core::cluster::balance::Policy::Kernel,
        addresses: if spec.listen.is_empty() {
            spec.addresses.clone()
        } else {
            Addresses::None
        },
        listeners: spec.quotas.listeners,
        queue: spec.quotas.queue,
        stuck_after: spec.stuck_after,
        errors: Errors {
            address_in_use: number("EADDRINUSE"),
            access: number("EACCES"),
            too_many: number("EMFILE"),
        },
    }
}

/// Another for each cluster; nothing that needs to be secret.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
