//! Connections: queued, given, confirmed, taken back.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::WorkerId;
use super::super::balance::{Incoming, Wants};
use super::worker::{About, Given, Worker};
use super::{Action, Arrival, Back, Kind, ListenerId, Primary, State};

/// How much may be given to one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// What the policy allows.
    Usual,
    /// The listener closes: whatever the channel takes.
    Last,
}

/// What a channel takes before it waits for answers.
const CHANNEL: u32 = 64;

impl<C> Primary<C> {
    /// A connection was accepted.
    pub fn arrived(&mut self, id: ListenerId, arrival: Arrival<C>, now: Instant) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        listener.accepted += 1;
        listener.queue.push_back(arrival);
        self.dispatch(id, now);
    }

    /// A connection came back from the channel. It does so once, whenever that is:
    /// before or after its worker's answer, or the end of its worker.
    pub fn settled(&mut self, back: Back<C>, now: Instant) {
        let Back {
            worker,
            seq,
            is_taken,
            conn,
        } = back;
        let holder = self.workers.get_mut(&worker);
        let Some(given) = holder.and_then(|holder| holder.given.get_mut(&seq)) else {
            self.came_late(seq, conn, now);
            return;
        };
        let arrival = std::mem::take(&mut given.about).with(conn);
        let again = match (given.answer, is_taken) {
            (None, true) => {
                given.arrival = Some(arrival);
                return;
            }
            // Ours closes here.
            (Some(true), _) => None,
            (None, false) => {
                let id = given.listener;
                self.rests(worker, id, now);
                Some(arrival)
            }
            (Some(false), _) => Some(arrival),
        };
        self.end(worker, seq, again);
        self.dispatch_all(now);
    }

    /// Its worker is gone.
    fn came_late(&mut self, seq: u64, conn: C, now: Instant) {
        if let Some((id, about)) = self.stranded.remove(&seq) {
            self.requeue(id, about.with(conn));
            self.dispatch(id, now);
        }
    }

    /// A worker says whether it serves a connection.
    pub(super) fn answered(&mut self, worker: WorkerId, ack: u64, accepted: bool, now: Instant) {
        let Some(holder) = self.workers.get_mut(&worker) else {
            return;
        };
        let given = holder.given.get_mut(&ack);
        let Some(given) = given.filter(|given| given.answer.is_none()) else {
            self.ignored += 1;
            return;
        };
        given.answer = Some(accepted);
        let (id, at) = (given.listener, given.at);
        let arrival = given.arrival.take();
        if accepted {
            holder.confirmed(now.saturating_duration_since(at));
        } else {
            self.rests(worker, id, now);
        }
        // What is still on its way counts until it has come back: a worker that
        // answers to what it has not got would be given everything.
        if let Some(arrival) = arrival {
            self.end(worker, ack, (!accepted).then_some(arrival));
        }
        // Whatever it has room for may be another listener's.
        self.dispatch_all(now);
    }

    /// A worker without room or descriptors rests; one that has closed the
    /// listener merely says so.
    fn rests(&mut self, worker: WorkerId, id: ListenerId, now: Instant) {
        let listener = self.listeners.get(&id);
        let holds = listener.is_some_and(|listener| listener.holders.contains(&worker));
        if let Some(holder) = self.workers.get_mut(&worker).filter(|_| holds) {
            holder.take_a_rest(now);
        }
    }

    /// A worker has one less; perhaps it is to be given to another.
    fn end(&mut self, worker: WorkerId, seq: u64, again: Option<Arrival<C>>) {
        let Some(holder) = self.workers.get_mut(&worker) else {
            return;
        };
        let Some(given) = holder.given.remove(&seq) else {
            return;
        };
        if holder.given.is_empty() {
            self.frees += 1;
            holder.free_since = self.frees;
        }
        if let Some(arrival) = again {
            self.requeue(given.listener, arrival);
        }
    }

    /// What a worker that is gone never confirmed is the next again, the oldest first.
    pub(super) fn take_back(&mut self, mut given: BTreeMap<u64, Given<C>>) {
        while let Some((seq, given)) = given.pop_last() {
            match (given.answer, given.arrival) {
                (Some(true), _) => {}
                (_, Some(arrival)) => self.requeue(given.listener, arrival),
                (_, None) => {
                    self.stranded.insert(seq, (given.listener, given.about));
                }
            }
        }
    }

    /// It is the next again.
    pub(super) fn requeue(&mut self, id: ListenerId, arrival: Arrival<C>) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.queue.push_front(arrival);
        }
    }

    pub(super) fn dispatch_all(&mut self, now: Instant) {
        let waiting = self.listeners.iter();
        let waiting = waiting.filter(|(_, listener)| !listener.queue.is_empty());
        let mut waiting: Vec<ListenerId> = waiting.map(|(id, _)| *id).collect();
        if waiting.len() > 1 {
            // Each is the first in turn: one that always has some must not take all room.
            self.turn = self.turn.wrapping_add(1);
            let first = self.turn % waiting.len();
            waiting.rotate_left(first);
        }
        for id in waiting {
            self.dispatch(id, now);
        }
    }

    pub(super) fn dispatch(&mut self, id: ListenerId, now: Instant) {
        self.dispatch_with(id, Haste::Usual, now);
        self.regulate(id);
    }

    /// Gives away what can be given.
    pub(super) fn dispatch_with(&mut self, id: ListenerId, haste: Haste, now: Instant) {
        let mut index = 0;
        while let Some((worker, is_sticky)) = self.choose(id, index, haste, now) {
            match worker {
                Some(worker) => self.give(id, index, worker, now),
                // Its own worker has no room: those behind it may have another.
                None if is_sticky => index += 1,
                None => return,
            }
        }
    }

    /// Who gets the connection at `index` of the queue; `None` if there is no connection.
    fn choose(
        &mut self,
        id: ListenerId,
        index: usize,
        haste: Haste,
        now: Instant,
    ) -> Option<(Option<WorkerId>, bool)> {
        let listener = self.listeners.get_mut(&id)?;
        let arrival = listener.queue.get(index)?;
        let is_sticky = listener.balance.wants() != Wants::Nothing;
        let holders = listener.holders.iter();
        let holders = holders.filter_map(|id| Some((*id, self.workers.get(id)?)));
        let most = match haste {
            Haste::Last => CHANNEL,
            Haste::Usual => listener.balance.depth().clamp(1, CHANNEL),
        };
        let has_room = |worker: &Worker<C>| is_sticky || worker.in_flight() < most;
        let takers = holders.filter(|(_, worker)| match haste {
            Haste::Usual => {
                has_room(worker) && worker.may_take(now) && (is_sticky || !worker.is_slow(now))
            }
            Haste::Last => has_room(worker) && worker.is_open(),
        });
        self.loads.clear();
        self.loads
            .extend(takers.map(|(id, worker)| worker.load(id, now)));
        if !is_sticky {
            // Nobody gets a second one while somebody has none.
            if self.loads.iter().any(|load| load.in_flight == 0) {
                self.loads.retain(|load| load.in_flight == 0);
            }
        }
        if self.loads.is_empty() {
            return Some((None, false));
        }
        let incoming = Incoming {
            peer: arrival.peer,
            first_bytes: arrival.first_bytes.as_deref(),
        };
        let chosen = listener.balance.choose(&self.loads, &incoming);
        let chosen = chosen.and_then(|index| self.loads.get(index));
        let chosen = chosen.filter(|load| load.in_flight < most);
        Some((chosen.map(|load| load.worker), is_sticky))
    }

    fn give(&mut self, id: ListenerId, index: usize, worker: WorkerId, now: Instant) {
        let seq = self.next_seq();
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        let (Some(arrival), Some(taker)) =
            (listener.queue.remove(index), self.workers.get_mut(&worker))
        else {
            return;
        };
        taker.given_total += 1;
        taker.given.insert(
            seq,
            Given {
                listener: id,
                at: now,
                arrival: None,
                about: About {
                    peer: arrival.peer,
                    first_bytes: arrival.first_bytes,
                },
                answer: None,
            },
        );
        self.actions.push_back(Action::Give {
            worker,
            seq,
            key: listener.key.clone(),
            conn: arrival.conn,
        });
    }

    /// Accepts while there is room, with some distance between on and off.
    pub(super) fn regulate(&mut self, id: ListenerId) {
        let most = self.terms.queue.max(1);
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        let can = match (&listener.state, listener.kind) {
            (State::Open(_), Kind::HandOver | Kind::Group) => true,
            (State::Open(_), Kind::Shared) | (State::Binding(_), _) => false,
        };
        let waiting = listener.queue.len();
        let on = can
            && if listener.accepting {
                waiting < most
            } else {
                waiting <= most / 2
            };
        if on != listener.accepting {
            listener.accepting = on;
            self.actions.push_back(Action::Accept { listener: id, on });
        }
    }
}
