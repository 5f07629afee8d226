//! The task that owns a cluster.

mod actions;
mod listening;
mod orders;
mod reports;
mod requests;
mod running;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use procession_core::cluster::WorkerId;
use procession_core::cluster::balance::Balance;
use procession_core::cluster::primary::{
    Addresses, Arrival, Errors, ListenerId, Primary as Machine, Terms,
};
use procession_core::cluster::supervise::{Ready, Supervisor};
use procession_core::errno;
use procession_sys::Platform;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::control::Request;
use super::error::StartError;
use super::event::Event;
use super::inherit::Inherited;
use super::process::Report;
use super::queue::EventSender;
use super::spec::Spec;
use listening::Listening;
use running::Running;

/// Reports of all workers that may wait for us; then the workers do.
const REPORTS: usize = 256;

/// How often the processes are looked at while they have something to do.
const OBSERVE: Duration = Duration::from_millis(250);

/// How long a client may take to say something, where the policy wants to hear it.
const FIRST_WORDS: Duration = Duration::from_secs(2);

/// Makes a policy for each listener.
pub(super) type Policies = Box<dyn FnMut() -> Box<dyn Balance> + Send>;

/// Something for the owner.
#[derive(Debug)]
pub(super) enum Note {
    Worker(WorkerId, Report),
    /// A connection whose first bytes were waited for.
    Heard(ListenerId, Arrival<OwnedFd>),
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
    over: Option<Event>,
}

/// Why the owner woke.
enum Wake {
    Request(Option<Request>),
    Note(Note),
    Accepted(ListenerId, OwnedFd, Option<IpAddr>),
    Time,
}

impl Wake {
    /// Whether a connection came, or a worker has it and serves it, and nothing else.
    fn is_of_connections(&self) -> bool {
        match self {
            Self::Accepted(..) | Self::Note(Note::Heard(..)) => true,
            Self::Note(Note::Worker(_, report)) => report.is_of_connections(),
            Self::Request(_) | Self::Time => false,
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
            over: None,
        })
    }

    /// Runs the cluster until it is over.
    pub(super) async fn run(mut self) {
        let mut now = Instant::now();
        loop {
            self.run_timers(now);
            self.carry_out(now);
            if let Some(over) = self.over.take() {
                self.listeners.clear();
                drop(self.inherited);
                self.events.send(over).await;
                return;
            }
            self.arm(now);
            let wake = std::future::poll_fn(|cx| self.poll_wake(cx)).await;
            now = Instant::now();
            self.woken(wake, now);
            self.read_on(now);
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.is_held
            && let Poll::Ready(request) = self.requests.poll_recv(cx)
        {
            return Poll::Ready(Wake::Request(request));
        }
        if let Poll::Ready(Some(note)) = self.notes.poll_recv(cx) {
            return Poll::Ready(Wake::Note(note));
        }
        for (id, listener) in &mut self.listeners {
            if let Some((fd, peer)) = listener.poll_accept(cx) {
                return Poll::Ready(Wake::Accepted(*id, fd, peer));
            }
        }
        if self.armed.is_some() && self.sleep.as_mut().poll(cx).is_ready() {
            self.armed = None;
            return Poll::Ready(Wake::Time);
        }
        Poll::Pending
    }

    /// What else is here already, so that all of it costs one look at the clock.
    fn read_on(&mut self, now: Instant) {
        for _ in 0..REPORTS {
            let Ok(note) = self.notes.try_recv() else {
                return;
            };
            self.woken(Wake::Note(note), now);
        }
    }

    fn woken(&mut self, wake: Wake, now: Instant) {
        self.is_rushed |= !wake.is_of_connections();
        match wake {
            Wake::Request(Some(request)) => self.asked(request, now),
            // Nobody is left who could want it.
            Wake::Request(None) => {
                self.is_held = false;
                self.supervisor.kill_now(now);
            }
            Wake::Note(Note::Worker(worker, report)) => self.reported(worker, report, now),
            Wake::Note(Note::Heard(id, arrival)) => {
                if let Some(listener) = self.listeners.get_mut(&id) {
                    listener.listened_to -= 1;
                }
                self.machine.arrived(id, arrival, now);
            }
            Wake::Accepted(id, fd, peer) => self.accepted(id, fd, peer, now),
            Wake::Time => {}
        }
    }

    fn run_timers(&mut self, now: Instant) {
        if self.armed.is_some_and(|at| now < at) {
            return;
        }
        self.is_rushed = true;
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

/// Waits for a client's first bytes, and tells.
async fn hear(
    id: ListenerId,
    client: AsyncFd<OwnedFd>,
    peer: Option<IpAddr>,
    note: mpsc::Sender<Note>,
) {
    const HEAD: usize = 4 * 1024;
    let mut head = vec![0; HEAD];
    let heard = tokio::time::timeout(FIRST_WORDS, client.readable()).await;
    let count = heard
        .ok()
        .and_then(|_| procession_sys::peek(client.get_ref(), &mut head).ok());
    let first_bytes = count.map(|count| {
        head.truncate(count);
        Bytes::from(head)
    });
    let arrival = Arrival {
        conn: client.into_inner(),
        peer,
        first_bytes,
    };
    // Without an owner there is nobody to serve it.
    let _ = note.send(Note::Heard(id, arrival)).await;
}
