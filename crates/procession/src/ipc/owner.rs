//! The task that owns a channel's socket.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use procession_core::ipc::inbound::{Inbound, Step};
use procession_core::ipc::internal::{Internal, Procession};
use procession_core::ipc::outbound::{Outbound, Receipt, Settled};
use procession_sys::{PollFd, SendAgain};
use tokio::time::Sleep;

use super::Handle;
use super::cluster::Settlement;
use super::error::Failure;
use super::message::Message;
use super::read::{TURN, read};
use super::request::{Responder, Verdict};
use super::shared::{Shared, Stage};
use super::socket::Socket;

/// What is read at once of a peer whose messages are shorter than this on average: it is
/// their number that costs time.
const SHORT_TURN: usize = 2 * 1024;
const SHORT: usize = 64;

/// How long to wait when the kernel cannot take a descriptor now.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// How long the peer may leave the last messages unread when the runtime is shut down.
const LAST_WORDS: Duration = Duration::from_secs(5);

thread_local! {
    /// The memory for the messages of one turn, if they were few.
    static MESSAGES: Cell<Vec<Message>> = const { Cell::new(Vec::new()) };
}

/// The most messages for which a thread keeps memory.
const MESSAGES_KEPT: usize = 64;

/// Moves bytes between the socket and the queues, until the channel ends.
#[derive(Debug)]
pub(super) struct Owner {
    socket: Socket,
    inbound: Inbound<OwnedFd>,
    shared: Arc<Shared>,
    /// The kernel has no room for a descriptor: until then nothing is written.
    pause: Option<Pin<Box<Sleep>>>,
    /// What is read at once.
    piece: usize,
    /// Something was read in this turn.
    heard: bool,
    /// A message became whole in this turn.
    tells: bool,
    /// The inbox is full, as far as we know: nothing is read until it is not.
    is_full: bool,
    /// The peer leaves our answers unread: nothing it asks is read until it does not.
    is_unheard: bool,
    /// The peer takes nothing of us any more; what it sent before is still heard.
    is_gone: bool,
    /// An answer is likely to come at once: it is looked for again, rather than slept.
    polls: bool,
    /// The channel closes as soon as the message that arrives now is whole.
    is_last: bool,
    ended: bool,
}

/// How a step of the owner's turn went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    /// Something was moved, and there may be more.
    On,
    /// Nothing more for now; we will be woken.
    Still,
    /// The other side has closed.
    End,
}

impl Owner {
    pub(super) fn new(socket: OwnedFd, shared: Arc<Shared>) -> io::Result<Self> {
        procession_sys::set_nonblocking(&socket, true)?;
        let socket = Socket::new(socket)?;
        shared.outbox().socket = Some(socket.share());
        if shared.limits.max_pending_handles == 0 {
            procession_sys::forbid_handles(socket.as_fd())?;
        }
        Ok(Self {
            socket,
            inbound: Inbound::new(shared.serialization, &shared.limits),
            shared,
            pause: None,
            piece: TURN,
            heard: false,
            tells: false,
            is_full: false,
            is_unheard: false,
            is_gone: false,
            polls: false,
            is_last: false,
            ended: false,
        })
    }

    /// Reads one turn's worth, and writes what waits and the answers to that.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Went, Failure> {
        let read = self.read(cx)?;
        if self.is_gone && read == Went::Still {
            return Ok(self.go_on_alone());
        }
        let is_paused = self.is_paused(cx);
        let mut outbox = self.shared.outbox();
        if std::mem::take(&mut self.heard) {
            outbox.answers = true;
            outbox.busy_poll.heard(Instant::now);
        }
        let waits = !is_paused && !self.is_gone && !outbox.half.is_written();
        let written = if waits {
            let written = self.socket.write(&mut outbox.half, cx);
            outbox.busy_poll.sent(Instant::now);
            Some(written)
        } else {
            self.socket.rest(cx)?;
            None
        };
        self.polls = outbox.busy_poll.polls(Instant::now);
        let was_unheard = self.is_unheard;
        self.is_unheard = !self.is_gone && !outbox.half.may_receive();
        let closes = outbox.stage == Stage::Closing && outbox.half.is_drained();
        // A message that has begun to arrive is waited for, as in Node; not the one after it.
        let is_done = !self.inbound.is_partial() || (self.is_last && self.tells);
        self.is_last = closes;
        let went = if closes && is_done {
            Went::End
        } else if was_unheard && !self.is_unheard {
            // Nothing was read, so nobody listens at the socket.
            Went::On
        } else {
            read
        };
        let has_room = outbox.half.queued() <= self.shared.limits.max_queue / 2;
        drop(outbox);
        if let Some(written) = written {
            self.wrote(written, has_room, cx)?;
        }
        // Who reads on hears of it by that.
        if went == Went::Still && self.is_full && self.socket.is_hung_up(cx)? {
            self.is_gone = true;
            return Ok(Went::On);
        }
        Ok(went)
    }

    fn wrote(
        &mut self,
        written: io::Result<()>,
        has_room: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Failure> {
        match written {
            Ok(()) if has_room => self.shared.room.notify_waiters(),
            Ok(()) => {}
            Err(error) if procession_sys::send_again(&error) == Some(SendAgain::Later) => {
                self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                // Registers our waker with it.
                let _ = self.is_paused(cx);
            }
            Err(error) if is_gone(&error) => {
                self.is_gone = true;
                // What it answered before is heard first.
                self.polls = true;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The peer is gone and what could be read of it is: nobody waits for it any longer,
    /// however long the program leaves messages unreceived.
    fn go_on_alone(&mut self) -> Went {
        self.polls = false;
        let inbox = self.shared.inbox();
        let is_heard = !inbox.deaf && !inbox.spills;
        drop(inbox);
        if !is_heard {
            return Went::End;
        }
        if self.shared.closed.is_cancelled() {
            return Went::Still;
        }
        self.refuse();
        let was_unheard = std::mem::take(&mut self.is_unheard);
        // Nothing was read, so nobody listens at the socket.
        if was_unheard { Went::On } else { Went::Still }
    }

    fn is_paused(&mut self, cx: &mut Context<'_>) -> bool {
        let paused = self
            .pause
            .as_mut()
            .is_some_and(|pause| pause.as_mut().poll(cx).is_pending());
        if !paused {
            self.pause = None;
        }
        paused
    }

    /// Reads once, and passes on what became whole.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Went, Failure> {
        self.tells = false;
        // The socket is looked at before memory is asked for.
        if !self.may_read() || !self.socket.may_read(cx) {
            return Ok(Went::Still);
        }
        let socket = &self.socket;
        let takes_handles = self.shared.limits.max_pending_handles > 0;
        let bytes = match read(
            &mut self.inbound,
            self.piece,
            |buffer, handles| match socket.poll_read(cx, buffer, handles, takes_handles) {
                Poll::Ready(received) => received,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            },
        ) {
            Ok(0) => return Ok(Went::End),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Went::Still),
            // A peer that ended with our bytes unread resets the connection: the end.
            Err(error) if is_gone(&error) => return Ok(Went::End),
            Err(error) => return Err(error.into()),
        };
        self.heard = true;
        let count = self.deliver()?;
        self.tells = count > 0;
        let is_stormy = count > bytes / SHORT;
        self.piece = if is_stormy { SHORT_TURN } else { TURN };
        // What was emptied need not be looked at again to be woken by.
        let may_go_on = self.socket.may_read(cx);
        Ok(if may_go_on { Went::On } else { Went::Still })
    }

    /// Not while the program leaves messages unreceived, or the peer our answers.
    fn may_read(&mut self) -> bool {
        if self.is_full {
            let mut inbox = self.shared.inbox();
            self.is_full =
                inbox.bytes >= self.shared.limits.max_inbox && !inbox.deaf && !inbox.spills;
            inbox.owner_waits = self.is_full;
        }
        !self.is_full && !self.is_unheard
    }

    /// Passes on every whole message, and tells how many there were.
    fn deliver(&mut self) -> Result<usize, Failure> {
        let mut messages = MESSAGES.take();
        let mut settled = Vec::new();
        let mut count = 0;
        let outcome = loop {
            match self.inbound.next_step() {
                Ok(Some(Step::Receipt(receipt))) => settled.extend(self.settle(receipt)),
                Ok(Some(step)) => messages.extend(self.carry_out(step)),
                Ok(None) => break Ok(count),
                Err(error) => break Err(error.into()),
            }
            count += 1;
        };
        if !messages.is_empty() || !settled.is_empty() {
            let mut inbox = self.shared.inbox();
            if !inbox.deaf {
                let is_full = inbox.bytes >= self.shared.limits.max_inbox;
                if !(is_full && inbox.spills) {
                    inbox.bytes += messages.iter().map(Message::weight).sum::<usize>();
                    inbox.messages.extend(messages.drain(..));
                }
                inbox.settled.append(&mut settled);
                self.is_full = inbox.bytes >= self.shared.limits.max_inbox;
                if let Some(receiver) = inbox.receiver.take() {
                    receiver.wake();
                }
            }
        }
        // What nobody receives is dropped with no lock held: it may have to be refused.
        messages.clear();
        if messages.capacity() <= MESSAGES_KEPT {
            MESSAGES.set(messages);
        }
        outcome
    }

    fn carry_out(&self, step: Step<OwnedFd>) -> Option<Message> {
        match step {
            Step::Message(body, shape, attached) => {
                let handle = attached.and_then(|(_, fd)| Handle::of(fd).ok());
                let mut message = self.message(body, None);
                (message.shape, message.handle) = (Some(shape), handle);
                return Some(message);
            }
            Step::Internal(Internal::Procession(own), _) => return self.procession(own),
            Step::Internal(Internal::Cluster(body), attached) if self.shared.is_cluster => {
                let mut message = self.message(body, None);
                message.handle = attached.and_then(|(_, fd)| Handle::of(fd).ok());
                message.is_cluster = true;
                return Some(message);
            }
            // A cluster's that is none of ours, or a later version's: to be ignored.
            Step::Internal(..) => {}
            Step::Answer(answer) => self.shared.outbox().answer(&answer),
            Step::Receipt(receipt) => drop(self.settle(receipt)),
            Step::Mark => self.shared.outbox().half.mark_internal(),
        }
        None
    }

    fn procession(&self, own: Procession) -> Option<Message> {
        let (id, verdict) = match own {
            Procession::Request { id, message } => {
                let responder = Responder::request(&self.shared, id);
                return Some(self.message(message, Some(responder)));
            }
            Procession::Send { id, message } => {
                let responder = Responder::confirm(&self.shared, id);
                return Some(self.message(message, Some(responder)));
            }
            Procession::Reply { id, message } => (id, Verdict::Reply(message)),
            Procession::Refuse { id, reason } => (id, Verdict::Refused(reason)),
            Procession::Ack { id } => (id, Verdict::Taken),
            // A later version's.
            _ => return None,
        };
        if let Some(asked) = self.shared.outbox().requests.remove(&id) {
            // Whoever asked may have given up just now.
            let _ = asked.send(verdict);
        }
        None
    }

    fn message(&self, body: bytes::Bytes, responder: Option<Responder>) -> Message {
        Message {
            body,
            serialization: self.shared.serialization,
            shape: None,
            max_depth: self.shared.limits.max_depth,
            handle: None,
            responder,
            is_cluster: false,
        }
    }

    /// Tells whoever waits for it, if anybody does.
    fn settle(&self, receipt: Receipt) -> Option<Settlement> {
        let mut outbox = self.shared.outbox();
        let (ticket, is_taken, ours) = match outbox.half.answered(receipt)? {
            Settled::Taken(ticket, ours) => (ticket, true, ours),
            Settled::Refused(ticket, ours) => (ticket, false, ours),
        };
        let Some(waiting) = outbox.hand_overs.remove(&ticket) else {
            return self.shared.is_cluster.then_some(Settlement {
                ticket,
                is_taken,
                fd: ours,
            });
        };
        // Nobody may wait for it any more: then it closes here.
        let _ = waiting.send(if is_taken { Ok(()) } else { Err(ours) });
        None
    }

    /// Closes the channel, and tells everybody who waits for something.
    fn end(&mut self, end: Result<(), Failure>) {
        self.ended = true;
        self.refuse();
        let mut inbox = self.shared.inbox();
        inbox.end = Some(end);
        if let Some(receiver) = inbox.receiver.take() {
            receiver.wake();
        }
    }

    /// Nothing can be sent any more: tells everybody who waits for that.
    fn refuse(&self) {
        let mut outbox = self.shared.outbox();
        outbox.stage = Stage::Closed;
        outbox.socket = None;
        let mut back = Vec::new();
        for (ticket, fd) in outbox.half.give_back() {
            match outbox.hand_overs.remove(&ticket) {
                // Nobody may wait for it any more: then it closes here.
                Some(settled) => drop(settled.send(Err(fd))),
                None if self.shared.is_cluster => back.push(Settlement {
                    ticket,
                    is_taken: false,
                    fd,
                }),
                None => {}
            }
        }
        outbox.hand_overs.clear();
        let requests = std::mem::take(&mut outbox.requests);
        self.shared.closed.cancel();
        drop(outbox);
        drop(requests);
        self.shared.room.notify_waiters();
        let mut inbox = self.shared.inbox();
        if !inbox.deaf {
            inbox.settled.append(&mut back);
        }
        if let Some(receiver) = inbox.receiver.take() {
            receiver.wake();
        }
    }
}

/// The other side is not there any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl Future for Owner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // First, so that what another thread sends or receives during the turn wakes us.
        match &mut self.shared.outbox().owner {
            Some(owner) => owner.clone_from(cx.waker()),
            owner @ None => *owner = Some(cx.waker().clone()),
        }
        let end = match self.turn(cx) {
            Ok(Went::Still) => {
                if self.polls {
                    // Woken after all who have something to do, and what the kernel has to tell.
                    let _ = pin!(tokio::task::yield_now()).poll(cx);
                }
                return Poll::Pending;
            }
            Ok(Went::On) => {
                // Others first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Ok(Went::End) => Ok(()),
            Err(failure) => Err(failure),
        };
        self.end(end);
        Poll::Ready(())
    }
}

/// The runtime is shut down: what was sent is still written, as long as the peer reads.
impl Drop for Owner {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Nobody else has to wait for that: they are refused meanwhile.
        let mut outbox = self.shared.outbox();
        outbox.stage = Stage::Closing;
        let nothing = Outbound::new(self.shared.serialization);
        let mut half = std::mem::replace(&mut outbox.half, nothing);
        drop(outbox);
        write_last(self.socket.as_fd(), &mut half);
        self.shared.outbox().half = half;
        self.end(Ok(()));
    }
}

/// Writes until all is written or the other side has read nothing for too long.
fn write_last(socket: BorrowedFd<'_>, half: &mut Outbound<OwnedFd>) {
    let mut until = Instant::now() + LAST_WORDS;
    while let Some(write) = half.next_write() {
        let handle = write.handle.map(AsFd::as_fd);
        match procession_sys::send(socket, write.bytes, handle) {
            Ok(bytes) => {
                half.wrote(bytes);
                until = Instant::now() + LAST_WORDS;
            }
            Err(error) if procession_sys::send_again(&error).is_some() => {
                let left = until.saturating_duration_since(Instant::now());
                let waited = procession_sys::poll(&mut [PollFd::writable(socket)], Some(left));
                if left.is_zero() || waited.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use procession_core::ipc::busy_poll::BusyPoll;

    use super::super::{Channel, Serialization};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Two ends that would poll for an hour, and have answered each other at once.
    async fn brisk() -> (Channel, Channel) {
        let (mut one, mut other) = Channel::pair(Serialization::Json).unwrap();
        for end in [&one, &other] {
            // Also where there is one processor.
            end.tx.shared.outbox().busy_poll = BusyPoll::new(HOUR);
        }
        for count in 0..20 {
            exchange(&mut one, &mut other, count).await;
            exchange(&mut other, &mut one, count).await;
        }
        (one, other)
    }

    async fn exchange(from: &mut Channel, to: &mut Channel, what: u32) {
        from.tx.send(&what).await.unwrap();
        let message = to.rx.recv().await.unwrap().unwrap();
        assert_eq!(message.decode::<u32>().unwrap(), what);
    }

    #[tokio::test]
    async fn who_is_answered_at_once_polls() {
        let (one, _other) = brisk().await;
        one.tx.send(&"?").await.unwrap();
        assert!(one.tx.shared.outbox().busy_poll.polls(Instant::now));
    }

    #[tokio::test]
    async fn who_polls_holds_up_nobody() {
        let (mut one, mut other) = brisk().await;
        one.tx.send(&"?").await.unwrap();
        // Timers, other tasks, and the channel itself.
        tokio::time::sleep(Duration::from_millis(2)).await;
        tokio::spawn(async {}).await.unwrap();
        let message = other.rx.recv().await.unwrap().unwrap();
        assert_eq!(message.decode::<String>().unwrap(), "?");
        exchange(&mut other, &mut one, 1).await;
    }

    #[tokio::test]
    async fn who_polls_hears_of_the_end() {
        let (mut one, other) = brisk().await;
        one.tx.send(&"?").await.unwrap();
        drop(other);
        assert!(one.rx.recv().await.unwrap().is_none());
    }
}
