//! The worker's side: what a server says to the primary that started it.
//!
//! It asks for listeners, and gets a socket to accept from, or connections one
//! by one, or both; it says of each connection whether it serves it; and it
//! leaves in the order that the primary expects.
//!
//! A connection is [offered](Action::Offer) first, and the primary hears of it
//! when the program [takes](Worker::take) it. So a worker that is busy is not
//! given more than it asks for, and what it has not taken when it closes or
//! dies is served by another.
//!
//! # Node
//!
//! `internal/cluster/child.js`, which says yes to a connection when it arrives.

mod indexes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::protocol::{FromPrimary, FromWorker, Key, Listener, Query, ToWorker, WorkerAct};
use indexes::Indexes;

/// Offered connections of a listener that may wait to be taken. A primary that
/// sends more is told to serve them elsewhere.
pub const MAX_OFFERED: usize = 64;

/// How long a worker that wants to leave waits for the primary to allow it.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A listener, by its worker's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(u64);

/// A connection that was offered, by the number of the message that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(u64);

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// By itself.
    Alone,
    /// With a descriptor.
    WithHandle,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell the primary.
    Send(FromWorker),
    /// There is the listener.
    Open {
        /// Which.
        listener: ListenerId,
        /// How connections come.
        how: How,
        /// What its first worker gave to all others.
        data: Option<Value>,
    },
    /// There is no listener.
    Fail {
        /// Which.
        listener: ListenerId,
        /// Why.
        why: Failure,
    },
    /// The handle that came is a connection to that listener, for
    /// [`Worker::take`]. It is to be closed when it was refused meanwhile.
    Offer {
        /// To which.
        listener: ListenerId,
        /// Which.
        connection: Connection,
    },
    /// The listener has ended: nothing more is to be accepted from it.
    Close {
        /// Which.
        listener: ListenerId,
    },
    /// The worker is leaving: what it does is to be finished, then
    /// [`Worker::leave`] be called.
    Finish,
    /// Close the channel; the process ends.
    Leave(Leave),
}

/// How connections to a listener come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The primary accepts and offers them.
    OneByOne {
        /// Where it listens, if the primary says so.
        at: Option<SocketAddr>,
    },
    /// The handle that came is a socket to listen on and accept from; call
    /// [`Worker::listening`] then. Some may be offered all the same.
    Shared,
}

/// Why there is no listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The primary could not listen there: the system's number, positive.
    #[error("the primary was refused by its system (error {errno})")]
    Errno {
        /// `EADDRINUSE`, and the like.
        errno: i32,
    },
    /// The worker listens there already.
    #[error("the worker listens there already")]
    InUse,
    /// The worker is leaving.
    #[error("the worker is leaving")]
    Leaving,
}

/// Why a worker may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The primary wanted it.
    Told,
    /// It wanted to, and the primary knows.
    Allowed,
    /// It wanted to, and the primary did not answer in [`PATIENCE`].
    Unanswered,
    /// The primary closed the channel, or is gone.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    /// All listeners are closed; the program finishes.
    Finishing(By),
    /// Waits for the answer to that message.
    Asking {
        seq: u64,
        until: Instant,
    },
    Left,
}

/// Who wanted the worker to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Primary,
    Worker,
}

#[derive(Debug)]
struct Place {
    query: Query,
    at: At,
    /// How many connections wait to be taken.
    offered: usize,
}

#[derive(Debug)]
enum At {
    /// The primary was asked.
    Asked {
        seq: u64,
    },
    /// The same, but nobody wants it any more.
    Abandoned {
        seq: u64,
    },
    Open {
        key: Key,
    },
}

/// One worker's talk with its primary.
///
/// What is to be done about what it is told comes from [`Worker::next_action`].
#[derive(Debug)]
pub struct Worker {
    state: State,
    seq: u64,
    next: u64,
    places: BTreeMap<ListenerId, Place>,
    offered: BTreeMap<Connection, ListenerId>,
    indexes: Indexes,
    actions: VecDeque<Action>,
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl Worker {
    /// A worker that has just been started, and says so.
    #[must_use]
    pub fn new() -> Self {
        let mut worker = Self {
            state: State::Serving,
            seq: 0,
            next: 0,
            places: BTreeMap::new(),
            offered: BTreeMap::new(),
            indexes: Indexes::default(),
            actions: VecDeque::new(),
        };
        worker.say(WorkerAct::Online);
        worker
    }

    /// What is to be done next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Asks for a listener; [`Action::Open`] or [`Action::Fail`] follows. The
    /// query's index is counted here.
    ///
    /// # Errors
    ///
    /// [`Failure::Leaving`].
    pub fn listen(&mut self, mut query: Query) -> Result<ListenerId, Failure> {
        if self.state != State::Serving {
            return Err(Failure::Leaving);
        }
        query.index = self.indexes.take(&query);
        let seq = self.say(WorkerAct::QueryServer(query.clone().into()));
        let listener = ListenerId(self.next);
        self.next += 1;
        let place = Place {
            query,
            at: At::Asked { seq },
            offered: 0,
        };
        self.places.insert(listener, place);
        Ok(listener)
    }

    /// A [shared](How::Shared) listener listens; the port is the one it has got, if it has one.
    pub fn listening(&mut self, listener: ListenerId, port: Option<u16>) {
        let Some(place) = self.places.get(&listener).filter(|place| place.is_open()) else {
            return;
        };
        let mut query = place.query.clone();
        query.port = port.map(i32::from).or(query.port);
        self.say(WorkerAct::Listening(query.into()));
    }

    /// Takes an offered connection. If this says no, another worker has it,
    /// and it is to be closed.
    ///
    /// The primary's copy is closed when it hears of it: what is taken is to
    /// be read only once the message is written.
    #[must_use]
    pub fn take(&mut self, connection: Connection) -> bool {
        self.decide(connection, true)
    }

    /// Leaves an offered connection to another worker.
    pub fn refuse(&mut self, connection: Connection) {
        self.decide(connection, false);
    }

    fn decide(&mut self, connection: Connection, accepted: bool) -> bool {
        let Some(listener) = self.offered.remove(&connection) else {
            return false;
        };
        if let Some(place) = self.places.get_mut(&listener) {
            place.offered -= 1;
        }
        self.answer(connection, accepted);
        true
    }

    /// Closes a listener, or takes back the wish for one. What was offered and not taken goes to others.
    pub fn close(&mut self, listener: ListenerId) {
        let Some(place) = self.places.remove(&listener) else {
            return;
        };
        self.give_back(listener);
        match place.at {
            At::Asked { seq } | At::Abandoned { seq } => {
                // Its index stays taken until the primary has answered.
                let at = At::Abandoned { seq };
                self.places.insert(listener, Place { at, ..place });
            }
            At::Open { key } => self.let_go(&place.query, key),
        }
    }

    /// Leaves: closes all listeners; [`Worker::leave`] is to be called when all is finished.
    ///
    /// # Node
    ///
    /// `cluster.worker.disconnect()`.
    pub fn disconnect(&mut self) {
        if self.state == State::Serving {
            self.state = State::Finishing(By::Worker);
            self.end_all();
        }
    }

    /// All is finished. [`Action::Leave`] follows, once the primary knows.
    pub fn leave(&mut self, now: Instant) {
        self.disconnect();
        match self.state {
            State::Finishing(By::Primary) => self.go(Leave::Told),
            State::Finishing(By::Worker) => self.ask(now),
            State::Serving | State::Asking { .. } | State::Left => {}
        }
    }

    /// Leaves at once, whatever is unfinished: [`Action::Leave`] follows, once
    /// the primary knows that it is on purpose.
    ///
    /// # Node
    ///
    /// `cluster.worker.kill()`. Node's gives up no listener before, so that its
    /// primary may send it a connection that nobody will ever read; here all are closed.
    pub fn kill(&mut self, now: Instant) {
        self.disconnect();
        match self.state {
            State::Finishing(_) => self.ask(now),
            State::Serving | State::Asking { .. } | State::Left => {}
        }
    }

    /// The channel is closed.
    pub fn disconnected(&mut self) {
        self.disconnect();
        self.go(Leave::Lost);
    }

    /// When [`Worker::deadline_passed`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Asking { until, .. } => Some(until),
            State::Serving | State::Finishing(_) | State::Left => None,
        }
    }

    /// The [deadline](Worker::deadline) may have come.
    pub fn deadline_passed(&mut self, now: Instant) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.go(Leave::Unanswered);
        }
    }

    /// The primary says something. The handle that came with it belongs to the
    /// one action that speaks of it, or is to be closed.
    pub fn hear(&mut self, said: FromPrimary, came: Came) {
        let FromPrimary { seq, act } = said;
        let handle = came == Came::WithHandle;
        match act {
            ToWorker::NewConn { key } => self.offer(Connection(seq), &key, handle),
            ToWorker::Listener(listener) => self.answered(*listener, handle),
            ToWorker::Disconnect => self.told_to_leave(),
            ToWorker::ExitAllowed { ack } => self.allowed(ack),
            ToWorker::Unknown { .. } => {}
        }
    }

    fn offer(&mut self, connection: Connection, key: &str, handle: bool) {
        let place = self.places.iter_mut().find(|(_, place)| place.is(key));
        let Some((listener, place)) = place.filter(|_| handle) else {
            return self.answer(connection, false);
        };
        if place.offered >= MAX_OFFERED || self.offered.contains_key(&connection) {
            return self.answer(connection, false);
        }
        place.offered += 1;
        let listener = *listener;
        self.offered.insert(connection, listener);
        self.actions.push_back(Action::Offer {
            listener,
            connection,
        });
    }

    fn answered(&mut self, answer: Listener, handle: bool) {
        let asked = self
            .places
            .iter()
            .find(|(_, place)| place.asked(answer.ack));
        let Some(listener) = asked.map(|(listener, _)| *listener) else {
            return;
        };
        let in_use = self.places.values().any(|place| place.is(&answer.key));
        let Some(mut place) = self.places.remove(&listener) else {
            return;
        };
        let wanted = matches!(place.at, At::Asked { .. });
        let why = match answer.errno {
            0 if in_use => Some(Failure::InUse),
            0 => None,
            errno => Some(Failure::Errno {
                errno: errno.saturating_neg(),
            }),
        };
        if let Some(why) = why {
            self.indexes.give_back(&place.query);
            if wanted {
                self.actions.push_back(Action::Fail { listener, why });
            }
            return;
        }
        if !wanted {
            return self.let_go(&place.query, answer.key);
        }
        place.at = At::Open { key: answer.key };
        self.places.insert(listener, place);
        let at = answer.sockname;
        let how = if handle {
            How::Shared
        } else {
            How::OneByOne { at }
        };
        self.actions.push_back(Action::Open {
            listener,
            how,
            data: answer.data,
        });
        if !handle {
            self.listening(listener, at.map(|at| at.port()));
        }
    }

    fn told_to_leave(&mut self) {
        match self.state {
            State::Serving => {
                self.state = State::Finishing(By::Primary);
                self.end_all();
            }
            State::Finishing(_) => self.state = State::Finishing(By::Primary),
            // It knows, then.
            State::Asking { .. } => self.go(Leave::Told),
            State::Left => {}
        }
    }

    fn allowed(&mut self, ack: u64) {
        match self.state {
            State::Asking { seq, .. } if seq == ack => self.go(Leave::Allowed),
            State::Asking { .. } | State::Serving | State::Finishing(_) | State::Left => {}
        }
    }

    /// Gives up all listeners.
    fn end_all(&mut self) {
        let listeners: Vec<_> = self.places.keys().copied().collect();
        for listener in listeners {
            self.end(listener);
            self.close(listener);
        }
        self.actions.push_back(Action::Finish);
    }

    /// Tells the program that a listener has ended, or that there will be none.
    fn end(&mut self, listener: ListenerId) {
        let why = Failure::Leaving;
        match self.places.get(&listener).map(|place| &place.at) {
            Some(At::Asked { .. }) => self.actions.push_back(Action::Fail { listener, why }),
            Some(At::Open { .. }) => self.actions.push_back(Action::Close { listener }),
            Some(At::Abandoned { .. }) | None => {}
        }
    }

    /// Refuses what a listener was offered.
    fn give_back(&mut self, listener: ListenerId) {
        let offered = self.offered.extract_if(.., |_, of| *of == listener);
        let refused: Vec<_> = offered.map(|(connection, _)| connection).collect();
        for connection in refused {
            self.answer(connection, false);
        }
    }

    fn let_go(&mut self, query: &Query, key: Key) {
        self.indexes.give_back(query);
        self.say(WorkerAct::Close { key });
    }

    fn ask(&mut self, now: Instant) {
        let seq = self.say(WorkerAct::ExitedAfterDisconnect);
        let until = now + PATIENCE;
        self.state = State::Asking { seq, until };
    }

    fn go(&mut self, why: Leave) {
        if self.state != State::Left {
            self.state = State::Left;
            self.actions.push_back(Action::Leave(why));
        }
    }

    fn answer(&mut self, connection: Connection, accepted: bool) {
        self.say(WorkerAct::Answer {
            ack: connection.0,
            accepted: Some(accepted),
        });
    }

    fn say(&mut self, act: WorkerAct) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        self.actions
            .push_back(Action::Send(FromWorker { seq, act }));
        seq
    }
}

impl Place {
    fn is_open(&self) -> bool {
        matches!(self.at, At::Open { .. })
    }

    fn is(&self, name: &str) -> bool {
        matches!(&self.at, At::Open { key } if **key == *name)
    }

    fn asked(&self, ack: u64) -> bool {
        matches!(self.at, At::Asked { seq } | At::Abandoned { seq } if seq == ack)
    }
}
