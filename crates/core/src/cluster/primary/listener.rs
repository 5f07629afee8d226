//! Listeners: asked for, made, shared, closed.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::super::WorkerId;
use super::super::balance::Balance;
use super::super::protocol::{AddressType, Key, Query};
use super::{
    Action, Addresses, Arrival, Kind, LINGER, ListenerId, Phase, Primary, Reply, ToWorker, Told,
};

/// One listener of the primary's.
#[derive(Debug)]
pub(super) struct Listener<C> {
    pub(super) key: Key,
    /// As it was first asked for.
    pub(super) query: Query,
    pub(super) kind: Kind,
    pub(super) state: State,
    /// What the first worker that had some gave to all.
    pub(super) data: Option<Value>,
    pub(super) holders: BTreeSet<WorkerId>,
    /// Workers that closed it and live on.
    pub(super) closed_by: BTreeSet<WorkerId>,
    pub(super) abandoned_at: Option<Instant>,
    /// When it lost its last holder, as a number that is counted up.
    pub(super) unheld_at: u64,
    pub(super) queue: VecDeque<Arrival<C>>,
    pub(super) accepting: bool,
    pub(super) accepted: u64,
    pub(super) balance: Box<dyn Balance>,
}

/// A worker's question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    worker: WorkerId,
    seq: u64,
}

#[derive(Debug)]
pub(super) enum State {
    /// Being made; these wait for it.
    Binding(Vec<Ask>),
    Open(Option<SocketAddr>),
}

impl<C> Listener<C> {
    pub(super) fn sockname(&self) -> Option<SocketAddr> {
        match self.state {
            State::Binding(_) => None,
            State::Open(sockname) => sockname,
        }
    }

    pub(super) fn forget_asks(&mut self, worker: WorkerId) {
        if let State::Binding(asks) = &mut self.state {
            asks.retain(|ask| ask.worker != worker);
        }
    }

    /// Whether this may be what a worker says that it listens on.
    fn is(&self, said: &Query) -> bool {
        let asked = &self.query;
        let is_there = match self.sockname() {
            Some(at) => said.port == Some(i32::from(at.port())),
            // The system chose, and only the worker knows.
            None => matches!(asked.port, None | Some(0)),
        };
        asked.address_type == said.address_type
            && asked.address == said.address
            && asked.fd == said.fd
            && (is_there || asked.port == said.port)
    }

    fn is_asked_by(&self, worker: WorkerId) -> bool {
        match &self.state {
            State::Binding(asks) => asks.iter().any(|ask| ask.worker == worker),
            State::Open(_) => self.holders.contains(&worker),
        }
    }
}

impl Addresses {
    fn allow(&self, query: &Query) -> bool {
        let (ports, paths) = match self {
            Self::Any => return true,
            Self::None => return false,
            Self::Only { ports, paths } => (ports, paths),
        };
        match (query.address_type, &query.address, query.port) {
            // A descriptor of ours is neither port nor path, whatever else is said of it.
            _ if query.fd.is_some_and(|fd| fd >= 0) => false,
            (Some(AddressType::Path), Some(path), _) => {
                paths.iter().any(|allowed| allowed == Path::new(path))
            }
            (_, _, Some(port)) => ports.iter().any(|allowed| i32::from(*allowed) == port),
            _ => false,
        }
    }
}

impl<C> Primary<C> {
    /// A worker wants to listen.
    pub(super) fn queried(&mut self, worker: WorkerId, seq: u64, query: Query, now: Instant) {
        match self.workers.get(&worker).map(|asker| asker.phase) {
            Some(Phase::Open) => {}
            // Node does not answer one that leaves.
            Some(Phase::Leaving) | None => return,
        }
        let ask = Ask { worker, seq };
        let key = query.key();
        let known = self.by_key.get(&*key).copied();
        let refusal = self.refusal(worker, &query, known);
        if let Some(errno) = refusal {
            self.refuse(ask, key.into(), &query, errno);
            return;
        }
        if let Some(id) = known {
            self.join(id, ask, query.data, now);
            return;
        }
        self.make_room();
        let id = ListenerId(self.next_listener);
        self.next_listener += 1;
        let kind = self.kind_of(&query);
        let key: Key = key.into();
        self.by_key.insert(key.clone(), id);
        self.listeners.insert(
            id,
            Listener {
                key,
                query: query.clone(),
                kind,
                state: State::Binding(vec![ask]),
                data: query.data.clone(),
                holders: BTreeSet::new(),
                closed_by: BTreeSet::new(),
                abandoned_at: None,
                unheld_at: 0,
                queue: VecDeque::new(),
                accepting: false,
                accepted: 0,
                balance: (self.make.0)(),
            },
        );
        self.actions.push_back(Action::Bind {
            listener: id,
            query: Box::new(query),
            kind,
        });
    }

    /// Closes what nobody has held for the longest. Listeners outlive workers, but a
    /// worker whose every start has another address (a path with its number in
    /// it) must not leave all of them behind.
    fn make_room(&mut self) {
        let is_unheld = |listener: &Listener<C>| match listener.state {
            State::Binding(_) => false,
            State::Open(_) => listener.holders.is_empty(),
        };
        let unheld = self.listeners.iter().filter(|(_, one)| is_unheld(one));
        let mut unheld: Vec<_> = unheld.map(|(id, one)| (one.unheld_at, *id)).collect();
        unheld.sort_unstable();
        let excess = (unheld.len() + 1).saturating_sub(self.terms.listeners.max(1));
        for (_, id) in unheld.into_iter().take(excess) {
            self.unbind(id);
        }
    }

    fn refusal(&self, worker: WorkerId, query: &Query, known: Option<ListenerId>) -> Option<i32> {
        let errors = self.terms.errors;
        if !self.terms.addresses.allow(query) {
            return Some(errors.access);
        }
        let held = self.listeners.values();
        let held = held.filter(|listener| listener.is_asked_by(worker)).count();
        let has_it = known
            .and_then(|id| self.listeners.get(&id))
            .is_some_and(|listener| listener.is_asked_by(worker));
        if has_it {
            Some(errors.address_in_use)
        } else if held >= self.terms.listeners {
            Some(errors.too_many)
        } else {
            None
        }
    }

    fn kind_of(&self, query: &Query) -> Kind {
        let is_tcp = match query.address_type {
            Some(AddressType::V4 | AddressType::V6) => query.fd.is_none_or(|fd| fd < 0),
            Some(AddressType::Path | AddressType::Udp4 | AddressType::Udp6) | None => false,
        };
        if query.is_udp() || self.terms.shares {
            Kind::Shared
        } else if is_tcp && self.terms.splits {
            Kind::Group
        } else {
            Kind::HandOver
        }
    }

    /// One more worker has it, or waits for it.
    fn join(&mut self, id: ListenerId, ask: Ask, data: Option<Value>, now: Instant) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        if listener.data.is_none() {
            listener.data = data;
        }
        match &mut listener.state {
            State::Binding(asks) => asks.push(ask),
            State::Open(_) => self.attach(id, ask, now),
        }
    }

    /// The listener was made, or could not be:
    /// `result` is where it is, for TCP, or the system's number, positive.
    pub fn bound(&mut self, id: ListenerId, result: Result<Option<SocketAddr>, i32>, now: Instant) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        let asks = match &mut listener.state {
            State::Binding(asks) => std::mem::take(asks),
            State::Open(_) => return,
        };
        match result {
            Ok(sockname) => {
                listener.state = State::Open(sockname);
                // None, if all that asked are gone.
                self.unheld += 1;
                listener.unheld_at = self.unheld;
                for ask in asks {
                    self.attach(id, ask, now);
                }
                self.regulate(id);
            }
            Err(errno) => {
                let (key, query) = (listener.key.clone(), listener.query.clone());
                self.forget(id);
                for ask in asks {
                    self.refuse(ask, key.clone(), &query, errno);
                }
            }
        }
    }

    fn refuse(&mut self, ask: Ask, key: Key, query: &Query, errno: i32) {
        let Ask { worker, seq } = ask;
        let reply = Reply {
            ack: seq,
            key,
            errno: -errno,
            sockname: None,
            data: None,
        };
        self.say(worker, ToWorker::Listener(Box::new(reply)), None);
        self.tell(Told::ListenFailed {
            worker,
            query: Box::new(query.clone()),
            errno,
        });
    }

    fn attach(&mut self, id: ListenerId, ask: Ask, now: Instant) {
        let Ask { worker, seq } = ask;
        let (Some(listener), Some(holder)) =
            (self.listeners.get_mut(&id), self.workers.get_mut(&worker))
        else {
            return;
        };
        if holder.phase != Phase::Open {
            return;
        }
        listener.holders.insert(worker);
        listener.closed_by.remove(&worker);
        listener.abandoned_at = None;
        self.frees += 1;
        holder.free_since = self.frees;
        let reply = Reply {
            ack: seq,
            key: listener.key.clone(),
            errno: 0,
            sockname: listener.sockname(),
            data: listener.data.clone(),
        };
        let share = match listener.kind {
            Kind::HandOver => None,
            Kind::Group | Kind::Shared => Some(id),
        };
        self.say(worker, ToWorker::Listener(Box::new(reply)), share);
        self.tell(Told::Holders(id));
        self.dispatch(id, now);
    }

    /// A worker says that it listens.
    pub(super) fn listening(&mut self, worker: WorkerId, query: Box<Query>) {
        let is_ours = self
            .listeners
            .values()
            .any(|listener| listener.holders.contains(&worker) && listener.is(&query));
        self.tell(Told::Listening {
            worker,
            query,
            self_bound: !is_ours,
        });
    }

    /// A worker that was held back gets connections from now on.
    pub(super) fn goes_on(&mut self, worker: WorkerId, now: Instant) {
        let held = self.workers.get_mut(&worker);
        if held.is_some_and(|held| std::mem::take(&mut held.is_held_back)) {
            self.dispatch_all(now);
        }
    }

    /// A worker does not listen there any more.
    pub(super) fn closed(&mut self, worker: WorkerId, key: &str, now: Instant) {
        let id = self.by_key.get(key).copied();
        let Some((id, listener)) = id.and_then(|id| Some((id, self.listeners.get_mut(&id)?)))
        else {
            self.ignored += 1;
            return;
        };
        if !listener.holders.remove(&worker) {
            // It was taken from it when it was to leave.
            return;
        }
        listener.closed_by.insert(worker);
        if listener.holders.is_empty() {
            listener.abandoned_at = now.checked_add(LINGER);
            self.unheld += 1;
            listener.unheld_at = self.unheld;
        }
        self.tell(Told::Holders(id));
    }

    /// Closes listeners that all workers closed, and live on.
    pub(super) fn abandon(&mut self, now: Instant) {
        let mut abandoned = Vec::new();
        for (id, listener) in &mut self.listeners {
            if listener.abandoned_at.is_none_or(|at| at > now) {
                continue;
            }
            listener.abandoned_at = None;
            // Whoever closed it and left since did so because it left.
            if listener.holders.is_empty() && !listener.closed_by.is_empty() {
                abandoned.push(*id);
            }
        }
        for id in abandoned {
            self.unbind(id);
        }
    }

    /// A worker gets nothing more.
    pub(super) fn let_go_of_all(&mut self, worker: WorkerId) {
        let mut changed = Vec::new();
        for (id, listener) in &mut self.listeners {
            listener.forget_asks(worker);
            // It did not mean to close it for all.
            listener.closed_by.remove(&worker);
            if listener.holders.remove(&worker) {
                self.unheld += 1;
                listener.unheld_at = self.unheld;
                changed.push(*id);
            }
        }
        for id in changed {
            self.tell(Told::Holders(id));
        }
    }

    pub(super) fn unbind(&mut self, id: ListenerId) {
        self.forget(id);
        self.actions.push_back(Action::Unbind { listener: id });
    }

    fn forget(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.remove(&id) {
            self.by_key.remove(&listener.key);
        }
    }
}
