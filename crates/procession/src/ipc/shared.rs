//! What the halves of a channel and its owner share: two queues with bounds.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use procession_core::ipc::busy_poll::BusyPoll;
use procession_core::ipc::handles::Ticket;
use procession_core::ipc::internal::{HandleKind, Internal};
use procession_core::ipc::outbound::Outbound;
use procession_core::ipc::{Limits, Serialization};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::cluster::Settlement;
use super::error::Failure;
use super::message::Message;
use super::request::Verdict;

/// Locks are held for a copy or a call of the kernel that does not wait, never across an await.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) peer: String,
    pub(super) serialization: Serialization,
    pub(super) limits: Limits,
    /// The receiver is a cluster's.
    pub(super) is_cluster: bool,
    outbox: Mutex<Outbox>,
    inbox: Mutex<Inbox>,
    /// Told whenever there is room in the outbox again.
    pub(super) room: Notify,
    /// Cancelled when the channel is closed.
    pub(super) closed: CancellationToken,
}

/// How far a channel is with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// Nothing more is taken; what is queued is still sent.
    Closing,
    Closed,
}

/// What is to be sent, and who waits for what became of it.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) half: Outbound<OwnedFd>,
    pub(super) stage: Stage,
    /// The owner, asleep.
    pub(super) owner: Option<Waker>,
    /// The owner's, until the channel ends: for who [writes](Self::go) without it.
    pub(super) socket: Option<Arc<OwnedFd>>,
    /// Something was read since a message was last written without the owner.
    pub(super) answers: bool,
    pub(super) busy_poll: BusyPoll,
    pub(super) hand_overs: HashMap<Ticket, oneshot::Sender<Result<(), OwnedFd>>>,
    pub(super) requests: HashMap<u64, oneshot::Sender<Verdict>>,
    pub(super) next_request: u64,
    /// Halves that are still held by somebody.
    pub(super) holders: usize,
}

/// What came and was not received yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) messages: VecDeque<Message>,
    pub(super) bytes: usize,
    /// What became of connections that a cluster handed over.
    pub(super) settled: Vec<Settlement>,
    /// The receiver, asleep.
    pub(super) receiver: Option<Waker>,
    /// The owner reads no further until something is received.
    pub(super) owner_waits: bool,
    pub(super) end: Option<Result<(), Failure>>,
    /// There is no receiver any more: what comes is dropped, as Node drops it.
    pub(super) deaf: bool,
    /// The channel is closing: what has no room is dropped, for its end waits for nobody here.
    pub(super) spills: bool,
}

/// Tells that the peer has a descriptor, or gives it back. Dropped when the channel is closed.
pub(super) type Receipt = oneshot::Receiver<Result<(), OwnedFd>>;

/// Why something was not put into the outbox; what was to go along comes back.
pub(super) enum NotSent {
    Closed(Option<OwnedFd>),
    Full(Option<OwnedFd>),
}

impl Shared {
    pub(super) fn new(peer: String, serialization: Serialization, limits: Limits) -> Self {
        let busy_poll = busy_poll(&limits);
        Self {
            peer,
            serialization,
            limits,
            is_cluster: false,
            outbox: Mutex::new(Outbox {
                half: Outbound::new(serialization),
                stage: Stage::Open,
                owner: None,
                socket: None,
                answers: true,
                busy_poll,
                hand_overs: HashMap::new(),
                requests: HashMap::new(),
                next_request: 1,
                holders: 0,
            }),
            inbox: Mutex::default(),
            room: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues whole frames, and empties `frames`.
    pub(super) fn push(&self, frames: &mut Vec<u8>) -> Result<(), NotSent> {
        let mut outbox = self.outbox();
        match self.room_for(&outbox, frames.len()) {
            Room::Yes => {}
            Room::Later => return Err(NotSent::Full(None)),
            Room::Never => return Err(NotSent::Closed(None)),
        }
        outbox.send(frames);
        Ok(())
    }

    /// Queues a whole frame with a descriptor; the answer tells what became of it.
    pub(super) fn push_handle(
        &self,
        kind: &HandleKind,
        frame: Vec<u8>,
        handle: OwnedFd,
    ) -> Result<Receipt, (NotSent, Vec<u8>)> {
        let mut outbox = self.outbox();
        match self.room_for(&outbox, frame.len()) {
            Room::Yes => {}
            Room::Later => return Err((NotSent::Full(Some(handle)), frame)),
            Room::Never => return Err((NotSent::Closed(Some(handle)), frame)),
        }
        let (settled, answer) = oneshot::channel();
        let way = outbox.way_of_handle();
        let ticket = outbox.half.send_handle(kind, frame, handle);
        outbox.hand_overs.insert(ticket, settled);
        outbox.go(way);
        Ok(answer)
    }

    /// A message that alone is above the bound goes when nothing else waits.
    pub(super) fn room_for(&self, outbox: &Outbox, bytes: usize) -> Room {
        let queued = outbox.half.queued();
        if outbox.stage != Stage::Open {
            Room::Never
        } else if queued == 0 || queued + bytes <= self.limits.max_queue {
            Room::Yes
        } else {
            Room::Later
        }
    }

    /// Takes no more messages, and closes when those that wait are sent.
    pub(super) fn disconnect(&self) {
        self.inbox().spills = true;
        let mut outbox = self.outbox();
        if outbox.stage == Stage::Open {
            outbox.stage = Stage::Closing;
        }
        outbox.wake_owner();
        drop(outbox);
        self.room.notify_waiters();
    }

    /// One half more is held.
    pub(super) fn hold(&self) {
        self.outbox().holders += 1;
    }

    /// One half less is held; the last closes the channel.
    pub(super) fn let_go(&self) {
        let mut outbox = self.outbox();
        outbox.holders -= 1;
        let last = outbox.holders == 0;
        drop(outbox);
        if last {
            self.disconnect();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    Later,
    Never,
}

/// Who writes what is queued now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Who queued it: that saves a switch of tasks.
    Direct,
    /// The owner, together with what else is queued until its turn.
    Owner,
}

/// For how long the channels of this process poll: an only processor is the peer's.
pub(crate) fn busy_poll(limits: &Limits) -> BusyPoll {
    static IS_ALONE: LazyLock<bool> =
        LazyLock::new(|| available_parallelism().is_ok_and(|count| count.get() == 1));
    let limit = if *IS_ALONE {
        Duration::ZERO
    } else {
        limits.busy_poll
    };
    BusyPoll::new(limit)
}

/// From so many bytes on a message is written for itself.
const LARGE: usize = 16 * 1024;

impl Outbox {
    /// Sends a message. One that answers goes at once, and a large one while it is in the
    /// processor's cache; of many short ones in a row each would cost a call of the kernel.
    pub(super) fn send(&mut self, frames: &mut Vec<u8>) {
        let at_once = std::mem::take(&mut self.answers) || frames.len() >= LARGE;
        if at_once && self.half.is_written() {
            self.send_now(frames);
        } else {
            self.half.send(frames);
            self.wake_owner();
        }
    }

    /// Who is to write a message with a descriptor, which has a call of the kernel for itself anyway.
    pub(super) fn way_of_handle(&self) -> Way {
        if self.half.is_written() {
            Way::Direct
        } else {
            Way::Owner
        }
    }

    /// Answers the peer, before everything that waits, if it still hears.
    pub(super) fn answer(&mut self, message: &Internal) {
        if self.stage != Stage::Closed {
            self.half.answer(message);
        }
    }

    /// Writes what was queued, or wakes who will. What cannot be written now is
    /// the owner's, and so is the error.
    pub(super) fn go(&mut self, way: Way) {
        if way == Way::Owner || !self.write() {
            self.wake_owner();
        }
    }

    /// Writes frames before which nothing waits. What is not written now is the owner's,
    /// and so is the error.
    fn send_now(&mut self, frames: &mut Vec<u8>) {
        let socket = self.socket.as_ref();
        match socket.map(|socket| procession_sys::send(socket.as_fd(), frames, None)) {
            Some(Ok(written)) if written == frames.len() => {
                frames.clear();
                if !self.busy_poll.sent(Instant::now) {
                    return;
                }
                // It is the owner who looks for the answer.
            }
            Some(Ok(written)) => self.half.send_rest(frames, written),
            Some(Err(_)) | None => self.half.send(frames),
        }
        self.wake_owner();
    }

    /// Says whether all is written.
    fn write(&mut self) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        while let Some(write) = self.half.next_write() {
            let handle = write.handle.map(AsFd::as_fd);
            match procession_sys::send(socket.as_fd(), write.bytes, handle) {
                Ok(bytes) => self.half.wrote(bytes),
                Err(_) => return false,
            }
        }
        self.half.is_written()
    }

    pub(super) fn wake_owner(&mut self) {
        if let Some(owner) = self.owner.take() {
            owner.wake();
        }
    }
}
