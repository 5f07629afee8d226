//! A channel without a runtime: every call waits for what it does.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use procession_core::ipc::busy_poll::BusyPoll;
use procession_core::ipc::handles::Ticket;
use procession_core::ipc::inbound::{Inbound, Step};
use procession_core::ipc::internal::{Internal, Procession};
use procession_core::ipc::outbound::{Outbound, Settled};
use procession_core::ipc::{Limits, Serialization, Shape, frame};
use procession_sys::{PollFd, SendAgain};
use serde::Serialize;

use super::Handle;
use super::channel::inherited;
use super::error::{EncodeError, Failure, FromEnvError, ReceiveError, SendError};
use super::memory::make_room;
use super::message::{self, Message};
use super::owner::{PAUSE, is_gone};
use super::read::{TURN, read, receive_waiting};
use super::shared::busy_poll;

/// One end of a channel, for programs without a runtime.
///
/// While a send waits for the other side it keeps what comes, up to
/// [`Limits::max_inbox`], so two ends that send to each other do not hang.
///
/// Takes part in confirmed messages: they are confirmed when they are read
/// from the socket, which a send may do too. Questions are refused: they need
/// the [async form](super::Channel).
///
/// # Examples
///
/// ```
/// use procession::ipc::{Serialization, blocking::Channel};
///
/// let (mut one, mut other) = Channel::pair(Serialization::Json)?;
/// one.send("ping")?;
/// let word: String = other.recv()?.ok_or("closed")?.decode()?;
/// assert_eq!(word, "ping");
/// drop(one);
/// assert!(other.recv()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    inbound: Inbound<OwnedFd>,
    outbound: Outbound<OwnedFd>,
    inbox: VecDeque<Message>,
    inbox_bytes: usize,
    settled: Vec<Settled<OwnedFd>>,
    scratch: Vec<u8>,
    /// How long the last frame was: the next may be as long.
    usual: usize,
    limits: Limits,
    busy_poll: BusyPoll,
    peer: String,
    end: Option<Result<(), Failure>>,
}

/// The most of the scratch space that is kept.
const SCRATCH_KEPT: usize = 2 * 1024;

impl Channel {
    /// Takes the channel that our parent gave us; see [`Channel::from_env`](super::Channel::from_env).
    ///
    /// # Errors
    ///
    /// [`FromEnvError`].
    pub fn from_env() -> Result<Option<Self>, FromEnvError> {
        Self::from_env_with(Limits::default())
    }

    /// As [`Channel::from_env`], with other limits.
    ///
    /// # Errors
    ///
    /// [`FromEnvError`].
    pub fn from_env_with(limits: Limits) -> Result<Option<Self>, FromEnvError> {
        let channel = inherited()?.map(|(socket, serialization)| {
            Self::new(socket, serialization, limits, "our parent".into())
        });
        Ok(channel)
    }

    /// Speaks over a connected Unix stream socket; `peer` is the other side's name in errors.
    ///
    /// Best a blocking socket; whether it is, is left as it is.
    #[must_use]
    pub fn new(
        socket: impl Into<OwnedFd>,
        serialization: Serialization,
        limits: Limits,
        peer: String,
    ) -> Self {
        Self {
            socket: socket.into(),
            inbound: Inbound::new(serialization, &limits),
            outbound: Outbound::new(serialization),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            settled: Vec::new(),
            scratch: Vec::new(),
            usual: 0,
            busy_poll: busy_poll(&limits),
            limits,
            peer,
            end: None,
        }
    }

    /// The two ends of a new channel.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`.
    pub fn pair(serialization: Serialization) -> io::Result<(Self, Self)> {
        let (one, other) = procession_sys::channel_pair()?;
        let end = |fd| Self::new(fd, serialization, Limits::default(), "the other end".into());
        Ok((end(one), end(other)))
    }

    /// How messages are written.
    #[must_use]
    pub fn serialization(&self) -> Serialization {
        self.outbound.serialization()
    }

    /// Sends a message; returns when the kernel has it.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::Encode`].
    pub fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), SendError> {
        let mut frame = self.scratch();
        message::encode_frame(self.serialization(), message, &mut frame)
            .map_err(|source| self.cannot_encode(source, None))?;
        self.queue(frame)
    }

    /// Sends bytes that are a message already; see [`Sender::send_raw`](super::Sender::send_raw).
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub fn send_raw(&mut self, body: &[u8]) -> Result<(), SendError> {
        let mut frame = Vec::with_capacity(body.len() + 4);
        message::frame_of(self.serialization(), body, &mut frame)
            .map_err(|source| self.cannot_encode(source, None))?;
        self.queue(frame)
    }

    /// Sends the bytes of a message that came from elsewhere, as they are. What travelled
    /// with it stays with it: see [`Channel::send_with_handle`].
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub fn forward(&mut self, message: &Message) -> Result<(), SendError> {
        if message.serialization != self.serialization() {
            return self.send_raw(&message.body);
        }
        let mut frame = self.scratch();
        frame::write(self.serialization(), &message.body, &mut frame)
            .map_err(|_| self.cannot_encode(EncodeError::TooLong, None))?;
        self.queue(frame)
    }

    /// Room for a frame as long as the last one.
    fn scratch(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        make_room(&mut frame, self.usual);
        frame
    }

    fn queue(&mut self, mut frame: Vec<u8>) -> Result<(), SendError> {
        self.usual = frame.len();
        let sent = if self.outbound.is_written() {
            self.send_now(&mut frame)
        } else {
            self.outbound.send(&mut frame);
            Ok(())
        };
        if frame.capacity() <= SCRATCH_KEPT {
            self.scratch = frame;
        }
        sent.and_then(|()| self.write_all())
            .map_err(|()| self.closed(None))
    }

    /// Writes a frame before which nothing waits; what of it does not fit is queued.
    fn send_now(&mut self, frame: &mut Vec<u8>) -> Result<(), ()> {
        match procession_sys::send(self.socket.as_fd(), frame, None) {
            Ok(bytes) if bytes == frame.len() => {
                frame.clear();
                self.busy_poll.sent(Instant::now);
                Ok(())
            }
            Ok(bytes) => {
                self.outbound.send_rest(frame, bytes);
                Ok(())
            }
            Err(error) => {
                self.outbound.send(frame);
                self.hold_on(&error)
            }
        }
    }

    /// Sends a message with a handle; returns when the peer has it, and closes ours.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`], and [`SendError::NotReceived`]; the handle comes back in all.
    pub fn send_with_handle<T: Serialize + ?Sized>(
        &mut self,
        message: &T,
        handle: impl Into<Handle>,
    ) -> Result<(), SendError> {
        let handle = handle.into();
        let (kind, frame) = match message::hand_over_frame(self.serialization(), message, &handle) {
            Ok(made) => made,
            Err(source) => return Err(self.cannot_encode(source, Some(handle))),
        };
        let ticket = self.outbound.send_handle(&kind, frame, handle.into_fd());
        loop {
            let written = self.write_all();
            if let Some(settled) = self.settlement(ticket) {
                return settled;
            }
            if written.is_err() || self.end.is_some() || self.read(Wait::Readable).is_err() {
                return Err(self.abandoned(ticket));
            }
        }
    }

    fn settlement(&mut self, ticket: Ticket) -> Option<Result<(), SendError>> {
        let of = |settled: &Settled<OwnedFd>| match settled {
            Settled::Taken(own, _) | Settled::Refused(own, _) => *own == ticket,
        };
        let index = self.settled.iter().position(of)?;
        Some(match self.settled.swap_remove(index) {
            Settled::Taken(..) => Ok(()),
            Settled::Refused(_, back) => Err(match Handle::of(back) {
                Ok(handle) => SendError::NotReceived {
                    peer: self.peer.clone(),
                    handle,
                },
                Err(_) => self.closed(None),
            }),
        })
    }

    /// The channel ended: the handle goes back.
    fn abandoned(&mut self, ticket: Ticket) -> SendError {
        let mut back = self.outbound.give_back().into_iter();
        let own = back.find(|(own, _)| *own == ticket);
        self.closed(own.and_then(|(_, fd)| Handle::of(fd).ok()))
    }

    /// Waits for the next message; `None` when the channel is closed.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`], once, when the channel did not just close; then `None`.
    pub fn recv(&mut self) -> Result<Option<Message>, ReceiveError> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            if self.end.is_some() {
                return self.ended();
            }
            // Answers to what was read, if they did not fit before.
            let _ = self.write_all();
            let _ = self.read(Wait::Readable);
        }
    }

    /// As [`Channel::recv`], for so long at most: `Ok(None)` is also the time running out,
    /// which [`Channel::is_closed`] tells apart.
    ///
    /// # Errors
    ///
    /// As [`Channel::recv`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Message>, ReceiveError> {
        let until = Instant::now() + limit;
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            if self.end.is_some() {
                return self.ended();
            }
            let _ = self.write_all();
            let left = until.saturating_duration_since(Instant::now());
            if !self.busy_poll.polls(Instant::now) {
                let mut socket = [PollFd::readable(self.socket.as_fd())];
                // A failing poll is met again by the read.
                let _ = procession_sys::poll(&mut socket, Some(left));
            }
            if self.read(Wait::No) == Ok(0) && left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Takes a message that is here already.
    ///
    /// # Errors
    ///
    /// As [`Channel::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Message>, ReceiveError> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Whether the other side has closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.is_some()
    }

    fn take(&mut self) -> Option<Message> {
        let message = self.inbox.pop_front()?;
        self.inbox_bytes -= message.weight();
        Some(message)
    }

    fn ended(&mut self) -> Result<Option<Message>, ReceiveError> {
        match self.end.replace(Ok(())) {
            Some(Err(failure)) => Err(ReceiveError::new(&self.peer, &failure)),
            Some(Ok(())) | None => Ok(None),
        }
    }

    /// Writes everything that may go now. While the kernel takes no more, keeps what comes.
    fn write_all(&mut self) -> Result<(), ()> {
        if self.outbound.is_written() {
            return Ok(());
        }
        while let Some(write) = self.outbound.next_write() {
            let handle = write.handle.map(AsFd::as_fd);
            match procession_sys::send(self.socket.as_fd(), write.bytes, handle) {
                Ok(bytes) => self.outbound.wrote(bytes),
                Err(error) => self.hold_on(&error)?,
            }
        }
        self.busy_poll.sent(Instant::now);
        Ok(())
    }

    /// Waits until what was not written can be tried again, if it can.
    fn hold_on(&mut self, error: &io::Error) -> Result<(), ()> {
        match procession_sys::send_again(error) {
            Some(SendAgain::Writable) => self.wait_for_room(),
            Some(SendAgain::Later) => std::thread::sleep(PAUSE),
            None => return Err(()),
        }
        Ok(())
    }

    fn wait_for_room(&mut self) {
        // Nor while the peer leaves our answers unread: it would be asked without end.
        let may_read = self.inbox_bytes < self.limits.max_inbox
            && self.end.is_none()
            && self.outbound.may_receive();
        let socket = self.socket.as_fd();
        // A failing poll is met again by the write.
        if may_read {
            let mut either = [PollFd::writable(socket), PollFd::readable(socket)];
            let _ = procession_sys::poll(&mut either, None);
            let _ = self.read(Wait::No);
        } else {
            let _ = procession_sys::poll(&mut [PollFd::writable(socket)], None);
        }
    }

    /// Reads once, and keeps what became whole; gives how many bytes came.
    fn read(&mut self, wait: Wait) -> Result<usize, ()> {
        let (socket, busy) = (self.socket.as_fd(), &mut self.busy_poll);
        let polls = || busy.polls(Instant::now);
        let received = read(&mut self.inbound, TURN, |buffer, handles| match wait {
            Wait::Readable => receive_waiting(socket, polls, buffer, handles),
            Wait::No => procession_sys::receive(socket, buffer, handles),
        });
        let end = match received {
            Ok(0) => Ok(()),
            Ok(bytes) => {
                self.busy_poll.heard(Instant::now);
                match self.deliver() {
                    Ok(()) => return Ok(bytes),
                    Err(failure) => Err(failure),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.end = Some(end);
        Err(())
    }

    fn deliver(&mut self) -> Result<(), Failure> {
        while let Some(step) = self.inbound.next_step()? {
            match step {
                Step::Message(body, shape, attached) => {
                    let handle = attached.and_then(|(_, fd)| Handle::of(fd).ok());
                    self.keep(body, Some(shape), handle);
                }
                Step::Internal(Internal::Procession(Procession::Send { id, message }), _) => {
                    self.keep(message, None, None);
                    self.outbound
                        .answer(&Internal::Procession(Procession::Ack { id }));
                }
                Step::Internal(Internal::Procession(Procession::Request { id, .. }), _) => {
                    let reason = "this side answers no questions".to_owned();
                    let refusal = Procession::Refuse { id, reason };
                    self.outbound.answer(&Internal::Procession(refusal));
                }
                // The cluster's, or a later version's: to be ignored.
                Step::Internal(..) => {}
                Step::Answer(answer) => self.outbound.answer(&answer),
                Step::Receipt(receipt) => self.settled.extend(self.outbound.answered(receipt)),
                Step::Mark => self.outbound.mark_internal(),
            }
        }
        // Answers go at once: a Node that waits for one sends nothing else.
        if self.outbound.has_answers() {
            // If the peer takes nothing now they go with the next call.
            self.write_now();
        }
        Ok(())
    }

    fn write_now(&mut self) {
        while let Some(write) = self.outbound.next_write() {
            let handle = write.handle.map(AsFd::as_fd);
            match procession_sys::send(self.socket.as_fd(), write.bytes, handle) {
                Ok(bytes) => self.outbound.wrote(bytes),
                Err(_) => return,
            }
        }
    }

    fn keep(&mut self, body: bytes::Bytes, shape: Option<Shape>, handle: Option<Handle>) {
        let message = Message {
            body,
            serialization: self.outbound.serialization(),
            shape,
            max_depth: self.limits.max_depth,
            handle,
            responder: None,
            is_cluster: false,
        };
        self.inbox_bytes += message.weight();
        self.inbox.push_back(message);
    }

    fn closed(&self, handle: Option<Handle>) -> SendError {
        SendError::Closed {
            peer: self.peer.clone(),
            handle,
        }
    }

    fn cannot_encode(&self, source: EncodeError, handle: Option<Handle>) -> SendError {
        SendError::Encode {
            peer: self.peer.clone(),
            handle,
            source,
        }
    }
}

/// Whether a read waits for something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Readable,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Two ends that would poll for an hour, and have answered each other at once.
    fn brisk() -> (Channel, Channel) {
        let (mut one, mut other) = Channel::pair(Serialization::Json).unwrap();
        for end in [&mut one, &mut other] {
            // Also where there is one processor.
            end.busy_poll = BusyPoll::new(HOUR);
        }
        for count in 0..20 {
            exchange(&mut one, &mut other, count);
            exchange(&mut other, &mut one, count);
        }
        (one, other)
    }

    fn exchange(from: &mut Channel, to: &mut Channel, what: u32) {
        from.send(&what).unwrap();
        let message = to.recv().unwrap().unwrap();
        assert_eq!(message.decode::<u32>().unwrap(), what);
    }

    #[test]
    fn who_is_answered_at_once_polls() {
        let (mut one, mut other) = brisk();
        one.send(&"?").unwrap();
        assert!(one.busy_poll.polls(Instant::now));
        exchange(&mut other, &mut one, 1);
        assert!(
            !one.busy_poll.polls(Instant::now),
            "nothing is to be answered"
        );
    }

    #[test]
    fn who_polls_keeps_a_time_limit() {
        let (mut one, mut other) = brisk();
        one.send(&"?").unwrap();
        let heard = one.recv_timeout(Duration::from_millis(2)).unwrap();
        assert!(heard.is_none() && !one.is_closed());
        assert!(one.try_recv().unwrap().is_none());
        exchange(&mut other, &mut one, 1);
    }

    #[test]
    fn who_polls_hears_of_the_end() {
        let (mut one, other) = brisk();
        one.send(&"?").unwrap();
        drop(other);
        assert!(one.recv().unwrap().is_none());
    }
}
