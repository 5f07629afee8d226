//! Who listens on what, and which worker gets what.
//!
//! The machine is told what workers say and which connections arrived, and
//! answers with [`Action`]s. It keeps each connection until its worker has said
//! that it serves it, so a worker that dies takes nothing with it but what it
//! had begun to serve:
//!
//! * a connection that a dead worker never confirmed goes to another;
//! * one that a worker refuses, or that got lost on its way (a worker without
//!   free descriptors), goes to another, and that worker rests for a while;
//! * listeners stay when the last worker has died: clients wait in the backlog;
//! * what waits here is bounded, and behind that the kernel's backlog is.
//!
//! A worker that says nonsense is answered as if it had asked for something
//! that it may not have, or ignored; nothing it says reaches another's state.
//!
//! # Node
//!
//! `internal/cluster/primary.js`, `round_robin_handle.js`, `shared_handle.js`,
//! whose losses these are: a connection on its way into a dying worker hangs for
//! ever; a worker that ran out of descriptors never gets a connection again; one at
//! `maxConnections` makes a busy loop; the port closes with the last worker.

mod give;
mod listener;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::balance::{Balance, Load, Wants};
use super::protocol::{FromWorker, Key, Listener as Reply, Query, ToWorker, WorkerAct};
use super::{Slot, WorkerId};
use listener::{Listener, State};
use worker::{About, Phase, Worker};

/// A listener of the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u64);

/// How a listener's connections come to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The primary accepts and hands over, one by one.
    HandOver,
    /// Each two slots have a socket in one group, and the primary has one; who
    /// accepts is the kernel's choice, steered by [`spread`](super::spread).
    Group,
    /// All have the same socket.
    Shared,
}

/// What workers may listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// Anything that we may.
    #[default]
    Any,
    /// These ports, on whatever address, and these paths.
    Only {
        /// TCP and UDP.
        ports: Vec<u16>,
        /// Unix sockets.
        paths: Vec<PathBuf>,
    },
    /// Nothing.
    None,
}

/// How a primary is to work. Plain data.
#[derive(Clone, Debug)]
pub struct Terms {
    /// TCP listeners can be split into one socket for each slot.
    pub splits: bool,
    /// All share each listener, whatever it is.
    pub shares: bool,
    /// What workers may listen on.
    pub addresses: Addresses,
    /// Listeners that one worker may hold, and that are kept while nobody holds them.
    pub listeners: usize,
    /// Connections that may wait here, for each listener: at least one.
    pub queue: usize,
    /// How long a connection may be unconfirmed before its worker counts as stuck.
    pub stuck_after: Duration,
    /// The system's numbers for what is refused.
    pub errors: Errors,
}

/// The system's numbers, positive.
#[derive(Clone, Copy, Debug)]
pub struct Errors {
    /// `EADDRINUSE`
    pub address_in_use: i32,
    /// `EACCES`
    pub access: i32,
    /// `EMFILE`
    pub too_many: i32,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Action<C> {
    /// Make the listener, and tell [`Primary::bound`].
    Bind {
        /// Which.
        listener: ListenerId,
        /// Where.
        query: Box<Query>,
        /// How.
        kind: Kind,
    },
    /// Close the listener.
    Unbind {
        /// Which.
        listener: ListenerId,
    },
    /// Accept connections from the listener, or leave them in the backlog.
    Accept {
        /// Which.
        listener: ListenerId,
        /// Which of both.
        on: bool,
    },
    /// Send this.
    Say {
        /// To whom.
        worker: WorkerId,
        /// Its number.
        seq: u64,
        /// What.
        act: ToWorker,
        /// With this listener's socket: the slot's own, or the one that all share.
        share: Option<ListenerId>,
    },
    /// Send `newconn` with this connection, and tell [`Primary::settled`] when it
    /// comes back: confirmed, refused, or at once when nothing can be sent. It
    /// counts as unconfirmed until then.
    Give {
        /// To whom.
        worker: WorkerId,
        /// Its number.
        seq: u64,
        /// For which listener.
        key: Key,
        /// What.
        conn: C,
    },
    /// Something to be told, or to be done to a worker.
    Tell(Told),
}

/// What the supervisor and the user are told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// `online`.
    Online(WorkerId),
    /// `listening`.
    Listening {
        /// Who.
        worker: WorkerId,
        /// As the worker says it.
        query: Box<Query>,
        /// It never asked for that: it bound it itself.
        self_bound: bool,
    },
    /// It could not have what it asked for.
    ListenFailed {
        /// Who.
        worker: WorkerId,
        /// What it asked for.
        query: Box<Query>,
        /// The system's number, positive.
        errno: i32,
    },
    /// It leaves on purpose: `exitedAfterDisconnect`.
    Leaving(WorkerId),
    /// It left a connection unconfirmed for so long: it should be killed.
    Stuck {
        /// Who.
        worker: WorkerId,
        /// For how long.
        waited: Duration,
    },
    /// Who holds a listener has changed: look at its group.
    Holders(ListenerId),
}

/// What a worker's process is seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It runs, or waits for work.
    Running,
    /// It does not take what waits for it.
    Busy,
    /// It was stopped: `SIGSTOP`, Ctrl-Z.
    Stopped,
}

/// A connection that arrived.
#[derive(Debug)]
pub struct Arrival<C> {
    /// The connection; it closes when it is dropped.
    pub conn: C,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// What it has sent, if the policy wants that.
    pub first_bytes: Option<Bytes>,
}

/// A connection that was given comes back.
#[derive(Debug)]
pub struct Back<C> {
    /// From whom.
    pub worker: WorkerId,
    /// The number under which it was given.
    pub seq: u64,
    /// The worker has got it; otherwise it never will.
    pub is_taken: bool,
    /// Ours.
    pub conn: C,
}

/// How long a listener stays that its last worker closed and lives on: that
/// worker may be leaving, and another come.
const LINGER: Duration = Duration::from_secs(2);

/// The primary's side of Node's cluster. `C` is a connection.
#[derive(Debug)]
pub struct Primary<C> {
    terms: Terms,
    make: Make,
    workers: BTreeMap<WorkerId, Worker<C>>,
    listeners: BTreeMap<ListenerId, Listener<C>>,
    by_key: HashMap<Key, ListenerId>,
    next_listener: u64,
    /// Of messages. Node counts them in each program.
    seq: u64,
    /// Counted up whenever a worker becomes free.
    frees: u64,
    /// Counted up whenever a listener loses its last holder.
    unheld: u64,
    /// Counted up whenever several listeners want workers.
    turn: usize,
    /// What gone workers never confirmed and the channels have not yet given back.
    stranded: BTreeMap<u64, (ListenerId, About)>,
    actions: VecDeque<Action<C>>,
    /// Reused for each choice.
    loads: Vec<Load>,
    ignored: u64,
}

/// Makes the policy of a listener.
struct Make(Box<dyn FnMut() -> Box<dyn Balance> + Send>);

impl std::fmt::Debug for Make {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Make")
    }
}

impl<C> Primary<C> {
    /// A primary without workers; `balance` makes the policy of each listener.
    #[must_use]
    pub fn new(terms: Terms, balance: impl FnMut() -> Box<dyn Balance> + Send + 'static) -> Self {
        Self {
            terms,
            make: Make(Box::new(balance)),
            workers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            by_key: HashMap::new(),
            next_listener: 0,
            seq: 0,
            frees: 0,
            unheld: 0,
            turn: 0,
            stranded: BTreeMap::new(),
            actions: VecDeque::new(),
            loads: Vec::new(),
            ignored: 0,
        }
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action<C>> {
        self.actions.pop_front()
    }

    /// A worker was started.
    pub fn add_worker(&mut self, worker: WorkerId, slot: Slot) {
        self.workers.insert(worker, Worker::new(slot));
    }

    /// A worker is ready: from now on its share grows.
    pub fn ready(&mut self, worker: WorkerId, now: Instant) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.ready_at = Some(now);
        }
    }

    /// A worker that is about to ask for a listener gets no connection until it says
    /// that it listens: one that cannot read the answer and a connection together.
    pub fn hold_back(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.is_held_back = true;
        }
    }

    /// What is seen of a worker's process.
    pub fn observed(&mut self, worker: WorkerId, cpu: Option<f32>, seen: Seen, now: Instant) {
        let Some(observed) = self.workers.get_mut(&worker) else {
            return;
        };
        observed.cpu = cpu;
        if observed.is_seen(seen, now) {
            self.dispatch_all(now);
        }
    }

    /// A worker says something.
    pub fn said(&mut self, worker: WorkerId, message: FromWorker, now: Instant) {
        if !self.workers.contains_key(&worker) {
            return;
        }
        match message.act {
            WorkerAct::Online => self.tell(Told::Online(worker)),
            WorkerAct::QueryServer(query) => self.queried(worker, message.seq, *query, now),
            WorkerAct::Listening(query) => {
                self.listening(worker, query);
                self.goes_on(worker, now);
            }
            WorkerAct::Close { key } => self.closed(worker, &key, now),
            WorkerAct::ExitedAfterDisconnect => self.leaves(worker, message.seq),
            WorkerAct::Answer { ack, accepted } => {
                self.answered(worker, ack, accepted.unwrap_or(false), now);
            }
            WorkerAct::Unknown { .. } => self.ignored += 1,
        }
    }

    /// A worker is to leave: it gets nothing more, and is asked to disconnect.
    pub fn leave(&mut self, worker: WorkerId) {
        let Some(leaver) = self.workers.get_mut(&worker) else {
            return;
        };
        if std::mem::replace(&mut leaver.phase, Phase::Leaving) == Phase::Leaving {
            return;
        }
        self.let_go_of_all(worker);
        self.say(worker, ToWorker::Disconnect, None);
    }

    /// A worker's channel has ended, and everything that came over it was told:
    /// what it never confirmed goes to others.
    pub fn disconnected(&mut self, worker: WorkerId, now: Instant) {
        let Some(gone) = self.workers.remove(&worker) else {
            return;
        };
        self.let_go_of_all(worker);
        self.take_back(gone.given);
        self.dispatch_all(now);
    }

    /// Closes all listeners. What waits for a worker is given away first,
    /// whatever the workers have; what nobody can take is closed.
    pub fn stop_listening(&mut self, now: Instant) {
        let all: Vec<ListenerId> = self.listeners.keys().copied().collect();
        for listener in all {
            self.dispatch_with(listener, give::Haste::Last, now);
            self.unbind(listener);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        self.abandon(now);
        self.find_stuck(now);
        let mut has_woken = false;
        for worker in self.workers.values_mut() {
            has_woken |= worker.wake(now);
        }
        if has_woken {
            self.dispatch_all(now);
        }
    }

    /// When [`Primary::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let abandoned = self.listeners.values().filter_map(|l| l.abandoned_at);
        let stuck_after = self.terms.stuck_after;
        let workers = self.workers.values();
        let workers = workers.filter_map(|worker| worker.deadline(stuck_after));
        abandoned.chain(workers).min()
    }

    /// Whether a worker holds this listener and is to stay.
    #[must_use]
    pub fn serves(&self, listener: ListenerId, worker: WorkerId) -> bool {
        let holds = self
            .listeners
            .get(&listener)
            .is_some_and(|listener| listener.holders.contains(&worker));
        holds
            && self
                .workers
                .get(&worker)
                .is_some_and(|worker| worker.phase == Phase::Open)
    }

    /// How many more connections may wait for a worker.
    #[must_use]
    pub fn room(&self, listener: ListenerId) -> usize {
        self.listeners.get(&listener).map_or(0, |listener| {
            self.terms.queue.max(1).saturating_sub(listener.queue.len())
        })
    }

    /// What has to be known of a connection before it is told.
    #[must_use]
    pub fn wants(&self, listener: ListenerId) -> Wants {
        let listener = self.listeners.get(&listener);
        listener.map_or(Wants::Nothing, |listener| listener.balance.wants())
    }

    /// Whether a client has said enough for its worker to be chosen.
    #[must_use]
    pub fn is_enough(&self, listener: ListenerId, first_bytes: &[u8]) -> bool {
        let listener = self.listeners.get(&listener);
        listener.is_none_or(|listener| listener.balance.enough(first_bytes))
    }

    /// What a worker was given, and what of that it has not confirmed.
    #[must_use]
    pub fn given(&self, worker: WorkerId) -> (u64, usize) {
        let worker = self.workers.get(&worker);
        worker.map_or((0, 0), |worker| (worker.given_total, worker.given.len()))
    }

    /// All listeners, for display.
    pub fn listeners(&self) -> impl Iterator<Item = ListenerView<'_>> + '_ {
        self.listeners.iter().map(|(id, listener)| ListenerView {
            listener: *id,
            query: &listener.query,
            sockname: listener.sockname(),
            kind: listener.kind,
            accepted: listener.accepted,
            waiting: listener.queue.len(),
            holders: listener.holders.iter().copied().collect(),
        })
    }

    /// Messages that said nothing of use, and answers to nothing.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn tell(&mut self, told: Told) {
        self.actions.push_back(Action::Tell(told));
    }

    fn say(&mut self, worker: WorkerId, act: ToWorker, share: Option<ListenerId>) {
        let seq = self.next_seq();
        self.actions.push_back(Action::Say {
            worker,
            seq,
            act,
            share,
        });
    }

    fn next_seq(&mut self) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        seq
    }

    /// It leaves on purpose, and waits for our word.
    fn leaves(&mut self, worker: WorkerId, seq: u64) {
        if let Some(leaver) = self.workers.get_mut(&worker) {
            leaver.phase = Phase::Leaving;
        }
        self.let_go_of_all(worker);
        self.say(worker, ToWorker::ExitAllowed { ack: seq }, None);
        self.tell(Told::Leaving(worker));
    }

    fn find_stuck(&mut self, now: Instant) {
        let after = self.terms.stuck_after;
        let mut stuck = Vec::new();
        for (id, worker) in &mut self.workers {
            if let Some(waited) = worker.stuck_for(now, after) {
                stuck.push(Told::Stuck {
                    worker: *id,
                    waited,
                });
            }
        }
        self.actions.extend(stuck.into_iter().map(Action::Tell));
    }
}

/// A listener, for display.
#[derive(Debug)]
pub struct ListenerView<'a> {
    /// Which.
    pub listener: ListenerId,
    /// What was asked for.
    pub query: &'a Query,
    /// Where it is, if that is TCP.
    pub sockname: Option<SocketAddr>,
    /// How it works.
    pub kind: Kind,
    /// Connections that the primary was told of.
    pub accepted: u64,
    /// Connections that wait for a worker.
    pub waiting: usize,
    /// Workers that hold it.
    pub holders: Vec<WorkerId>,
}
