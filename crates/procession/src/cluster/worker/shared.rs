//! What a worker's listeners and its task share.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use procession_core::cluster::protocol::{self, FromWorker, Query};
use procession_core::cluster::worker::{
    Action, Came, Connection, Failure, How, Leave, ListenerId, Worker as Machine,
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ipc::{Handle, Message, ReceiveError, SendError, Sender};

/// Bytes of messages that nobody asked for yet.
const MAX_INBOX: usize = 1024 * 1024;
/// What a message takes beside its text.
const MESSAGE: usize = size_of::<Message>();

/// The lock is held for a turn of the machine, never across an await.
#[derive(Debug)]
pub(in crate::cluster) struct Shared {
    pub(super) tx: Sender,
    state: Mutex<State>,
    /// The task is to look at the state again.
    pub(super) poke: Notify,
    pub(super) finishing: CancellationToken,
    /// Cancelled when the task has ended, and the channel with it.
    ended: CancellationToken,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    /// Who waits for a listener.
    wishes: HashMap<ListenerId, oneshot::Sender<Result<Opened, Failure>>>,
    open: HashMap<ListenerId, Offers>,
    inbox: Inbox,
    left: Option<Leave>,
}

/// A listener that the primary has given.
#[derive(Debug)]
pub(in crate::cluster) enum Opened {
    OneByOne(Option<std::net::SocketAddr>),
    Shared(Handle),
}

/// What a listener is asked for next.
#[derive(Debug)]
pub(in crate::cluster) enum Offer<T> {
    Taken(T),
    /// The listener has ended.
    End,
}

#[derive(Debug, Default)]
struct Offers {
    waiting: VecDeque<(Connection, Handle)>,
    /// Who accepts, asleep.
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
    waker: Option<Waker>,
    end: Option<Result<(), ReceiveError>>,
}

impl Shared {
    pub(super) fn new(tx: Sender) -> Self {
        let shared = Self {
            tx,
            state: Mutex::new(State {
                machine: Machine::new(),
                wishes: HashMap::new(),
                open: HashMap::new(),
                inbox: Inbox::default(),
                left: None,
            }),
            poke: Notify::new(),
            finishing: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        shared.with(|_| ());
        shared
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the machine decide, and carries it out.
    pub(super) fn with<T>(&self, decide: impl FnOnce(&mut Machine) -> T) -> T {
        let mut state = self.state();
        let decided = decide(&mut state.machine);
        self.carry_out(&mut state, None);
        decided
    }

    /// As [`Shared::with`], where the machine takes the time.
    pub(super) fn with_now(&self, decide: impl FnOnce(&mut Machine, Instant)) {
        self.with(|machine| decide(machine, Instant::now()));
        self.poke.notify_one();
    }

    /// Asks for a listener.
    pub(super) fn ask(
        &self,
        query: Query,
    ) -> Result<(ListenerId, oneshot::Receiver<Result<Opened, Failure>>), Failure> {
        let mut state = self.state();
        let id = state.machine.listen(query)?;
        let (wish, answer) = oneshot::channel();
        state.wishes.insert(id, wish);
        self.carry_out(&mut state, None);
        Ok((id, answer))
    }

    /// A shared listener listens.
    pub(in crate::cluster) fn listening(&self, id: ListenerId, port: Option<u16>) {
        self.with(|machine| machine.listening(id, port));
    }

    /// A listener is not wanted any more.
    pub(in crate::cluster) fn close(&self, id: ListenerId) {
        let mut state = self.state();
        state.machine.close(id);
        let unserved = (state.open.remove(&id), state.wishes.remove(&id));
        self.carry_out(&mut state, None);
        drop(state);
        drop(unserved);
    }

    /// The next connection that was offered, once the primary is told; `make`
    /// turns it into what it is to be.
    pub(in crate::cluster) fn poll_offer<T>(
        &self,
        id: ListenerId,
        cx: &mut Context<'_>,
        make: impl Fn(Handle) -> Option<T>,
    ) -> Poll<Offer<T>> {
        let mut state = self.state();
        let State { machine, open, .. } = &mut *state;
        let Some(offers) = open.get_mut(&id) else {
            return Poll::Ready(Offer::End);
        };
        let mut taken = None;
        while let Some((connection, handle)) = offers.waiting.pop_front() {
            match make(handle) {
                Some(made) if machine.take(connection) => {
                    taken = Some(made);
                    break;
                }
                // Refused meanwhile, or nothing that can be served.
                Some(_) | None => machine.refuse(connection),
            }
        }
        if taken.is_none() {
            offers.waker = Some(cx.waker().clone());
        }
        self.carry_out(&mut state, None);
        taken.map_or(Poll::Pending, |taken| Poll::Ready(Offer::Taken(taken)))
    }

    /// Waits until what was said so far is written.
    pub(in crate::cluster) fn written(
        &self,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        let tx = self.tx.clone();
        async move { tx.flush().await }
    }

    /// The primary says something that is to be understood.
    pub(super) fn hear(
        &self,
        body: &Bytes,
        handle: Option<Handle>,
    ) -> Result<(), protocol::BadClusterMessage> {
        let said = protocol::decode_from_primary(self.tx.serialization(), body)?;
        let came = match handle {
            Some(_) => Came::WithHandle,
            None => Came::Alone,
        };
        let mut state = self.state();
        state.machine.hear(said, came);
        self.carry_out(&mut state, handle);
        Ok(())
    }

    fn carry_out(&self, state: &mut State, mut handle: Option<Handle>) {
        while let Some(action) = state.machine.next_action() {
            match action {
                Action::Send(said) => self.say(&said),
                Action::Open { listener, how, .. } => {
                    let opened = match (how, handle.take()) {
                        (How::OneByOne { at }, _) => Ok(Opened::OneByOne(at)),
                        (How::Shared, Some(handle)) => Ok(Opened::Shared(handle)),
                        (How::Shared, None) => Err(Failure::Leaving),
                    };
                    state.fulfil(listener, opened);
                }
                Action::Fail { listener, why } => state.fulfil(listener, Err(why)),
                Action::Offer {
                    listener,
                    connection,
                } => state.offer(listener, connection, handle.take()),
                Action::Close { listener } => state.end(listener),
                Action::Finish => self.finishing.cancel(),
                Action::Leave(why) => {
                    state.left = Some(why);
                    self.poke.notify_one();
                }
            }
        }
    }

    fn say(&self, said: &FromWorker) {
        let mut body = Vec::new();
        protocol::encode_to_primary(self.tx.serialization(), said.seq, &said.act, &mut body);
        // On a closed channel there is nobody to be told; its end comes to the task by itself.
        let _ = self.tx.send_cluster(&body);
    }

    /// The time at which [`Machine::deadline_passed`] is to be called, and whether all is over.
    pub(super) fn outlook(&self) -> (Option<Instant>, bool) {
        let state = self.state();
        (state.machine.deadline(), state.left.is_some())
    }

    /// Keeps a message for [`Shared::poll_message`].
    pub(super) fn deliver(&self, message: Message) {
        let mut state = self.state();
        let inbox = &mut state.inbox;
        let mut dropped = Vec::new();
        inbox.bytes += MESSAGE + message.body().len();
        inbox.messages.push_back(message);
        while inbox.bytes > MAX_INBOX && inbox.messages.len() > 1 {
            if let Some(oldest) = inbox.messages.pop_front() {
                inbox.bytes -= MESSAGE + oldest.body().len();
                dropped.push(oldest);
            }
        }
        inbox.wake();
        drop(state);
        // Those that wanted an answer are refused, which takes other locks.
        drop(dropped);
    }

    pub(super) fn poll_message(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, ReceiveError>> {
        let mut state = self.state();
        let inbox = &mut state.inbox;
        if let Some(message) = inbox.messages.pop_front() {
            inbox.bytes -= MESSAGE + message.body().len();
            return Poll::Ready(Ok(Some(message)));
        }
        match &mut inbox.end {
            Some(end) => Poll::Ready(std::mem::replace(end, Ok(())).map(|()| None)),
            None => {
                inbox.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The channel is closed.
    pub(super) fn end(&self, end: Result<(), ReceiveError>) {
        self.with(Machine::disconnected);
        let mut state = self.state();
        state.inbox.end = Some(end);
        state.inbox.wake();
        drop(state);
        self.ended.cancel();
    }

    /// Waits for the end, and says why it was.
    pub(super) async fn left(&self) -> Leave {
        self.ended.cancelled().await;
        self.state().left.unwrap_or(Leave::Lost)
    }
}

impl State {
    fn fulfil(&mut self, listener: ListenerId, opened: Result<Opened, Failure>) {
        if opened.is_ok() {
            self.open.insert(listener, Offers::default());
        }
        if let Some(wish) = self.wishes.remove(&listener) {
            // Who does not wait any more has closed it.
            let _ = wish.send(opened);
        }
    }

    fn offer(&mut self, listener: ListenerId, connection: Connection, handle: Option<Handle>) {
        match (self.open.get_mut(&listener), handle) {
            (Some(offers), Some(handle)) => {
                offers.waiting.push_back((connection, handle));
                if let Some(waker) = offers.waker.take() {
                    waker.wake();
                }
            }
            (Some(_) | None, _) => self.machine.refuse(connection),
        }
    }

    fn end(&mut self, listener: ListenerId) {
        let waker = self.open.remove(&listener).and_then(|offers| offers.waker);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Inbox {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
