//! A channel as programs hold it, and its sending half.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use procession_core::ipc::internal::HandleKind;
use procession_core::ipc::{Limits, Serialization, frame};
use procession_sys::InheritedChannel;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Handle;
use super::error::{EncodeError, FromEnvError, SendError};
use super::memory::make_room;
use super::message::{self, Message};
use super::owner::Owner;
use super::receiver::Receiver;
use super::shared::{NotSent, Receipt, Shared};

thread_local! {
    /// Where values become frames, so that small messages cost no allocation, and
    /// how long the last frame was, so that large ones cost one.
    static SCRATCH: Cell<(Vec<u8>, usize)> = const { Cell::new((Vec::new(), 0)) };
}

/// The most of the scratch space that a thread keeps.
const SCRATCH_KEPT: usize = 256 * 1024;

/// A channel to another program: Node's, or one that speaks as Node does.
///
/// Both halves are public fields: move them apart at will. When the receiver
/// and all senders are dropped the channel closes, after what was sent.
///
/// A task of the runtime owns the socket. When the runtime is shut down it
/// still writes what was sent, as long as the other side reads some of it every 5 s.
///
/// # Node
///
/// `ChildProcess` in the parent, `process` in the child, as far as they speak
/// of messages. Here nothing keeps a program alive but what it waits for, so
/// there is no `ref` and `unref`.
#[derive(Debug)]
pub struct Channel {
    /// Sends.
    pub tx: Sender,
    /// Receives.
    pub rx: Receiver,
}

/// The sending half; clones send over the same channel.
#[derive(Debug)]
pub struct Sender {
    pub(super) shared: Arc<Shared>,
}

impl Channel {
    /// Takes the channel that our parent gave us: a Node program that forked us
    /// by `execPath`, or one of ours. `None` when there is none.
    ///
    /// The variables leave the environment and the descriptor becomes
    /// close-on-exec, so that our own children do not take it for theirs. Call
    /// it once, early: reading the environment from C code at the same time may
    /// see it half changed.
    ///
    /// # Errors
    ///
    /// [`FromEnvError`]; also when it was taken before.
    ///
    /// # Node
    ///
    /// What `process.send` is there for.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession::ipc::Channel;
    ///
    /// let Some(mut channel) = Channel::from_env()? else {
    ///     return Ok(println!("nobody wants to talk"));
    /// };
    /// // Ends when the parent disconnects or is gone.
    /// while let Some(message) = channel.rx.recv().await? {
    ///     let n: u64 = message.decode()?;
    ///     channel.tx.send(&(n * 2)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env() -> Result<Option<Self>, FromEnvError> {
        Self::from_env_with(Limits::default())
    }

    /// As [`Channel::from_env`], with other limits.
    ///
    /// # Errors
    ///
    /// As [`Channel::from_env`].
    pub fn from_env_with(limits: Limits) -> Result<Option<Self>, FromEnvError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(FromEnvError::NoRuntime);
        }
        let Some((fd, serialization)) = inherited()? else {
            return Ok(None);
        };
        let channel = Self::new(fd, serialization, limits, "our parent".into());
        channel.map(Some).map_err(FromEnvError::Io)
    }

    /// Speaks over a connected Unix stream socket; `peer` is the other side's name in errors.
    ///
    /// # Errors
    ///
    /// What registering the socket with the runtime says.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    pub fn new(
        socket: impl Into<OwnedFd>,
        serialization: Serialization,
        limits: Limits,
        peer: String,
    ) -> std::io::Result<Self> {
        Self::start(socket.into(), Shared::new(peer, serialization, limits))
    }

    /// A channel of a cluster, whose receiver also gets what programs never see.
    pub(crate) fn for_cluster(
        socket: OwnedFd,
        serialization: Serialization,
        limits: Limits,
        peer: String,
    ) -> std::io::Result<Self> {
        let mut shared = Shared::new(peer, serialization, limits);
        shared.is_cluster = true;
        Self::start(socket, shared)
    }

    fn start(socket: OwnedFd, shared: Shared) -> std::io::Result<Self> {
        let shared = Arc::new(shared);
        let owner = Owner::new(socket, Arc::clone(&shared))?;
        let (tx, rx) = (Sender::new(&shared), Receiver::new(&shared));
        tokio::spawn(owner);
        Ok(Self { tx, rx })
    }

    /// The two ends of a new channel within this program.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`.
    ///
    /// # Panics
    ///
    /// As [`Channel::new`].
    pub fn pair(serialization: Serialization) -> std::io::Result<(Self, Self)> {
        let (one, other) = procession_sys::channel_pair()?;
        let end = |fd| Self::new(fd, serialization, Limits::default(), "the other end".into());
        Ok((end(one)?, end(other)?))
    }

    /// Closes the channel after what was sent, and waits for that.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on by itself.
    ///
    /// # Node
    ///
    /// `disconnect`.
    pub async fn disconnect(self) {
        self.tx.disconnect().await;
    }
}

/// The descriptor and the serialization that the environment names.
pub(crate) fn inherited() -> Result<Option<(OwnedFd, Serialization)>, FromEnvError> {
    let Some(inherited) = InheritedChannel::take()? else {
        return Ok(None);
    };
    let serialization = match inherited.serialization {
        None => Serialization::Json,
        Some(mode) => {
            Serialization::from_name(&mode).ok_or(FromEnvError::Serialization { mode })?
        }
    };
    Ok(Some((inherited.fd, serialization)))
}

impl Sender {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.hold();
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// Sends a message; waits while too much is queued.
    ///
    /// Done when the message is queued: messages go out in their order, also
    /// around handles. See [`Sender::flush`] for when it is written, and
    /// [`Sender::send_confirmed`] for when it is received.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::Encode`].
    ///
    /// # Cancel safety
    ///
    /// A dropped send has sent nothing, unless it was done.
    ///
    /// # Node
    ///
    /// `send`, whose queue has no bound and which never waits.
    pub async fn send<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), SendError> {
        let mut rest = match self.encode_and_push(message, usize::MAX, |_| true)? {
            Pushed::Done => return Ok(()),
            Pushed::Full(frame) => frame,
        };
        self.push(&mut rest).await
    }

    /// Sends a message if there is room for it.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`], and [`SendError::Full`].
    pub fn try_send<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), SendError> {
        match self.encode_and_push(message, usize::MAX, |_| true)? {
            Pushed::Done => Ok(()),
            Pushed::Full(_) => Err(self.full(None)),
        }
    }

    /// As [`Sender::try_send`], for a peer whose limits are ours: what we would
    /// not take is not sent. Nor is one of a length for which there is no room by this.
    pub(crate) fn try_send_within_limits<T: Serialize + ?Sized>(
        &self,
        message: &T,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Result<(), SendError> {
        match self.encode_and_push(message, self.shared.limits.max_frame, has_room)? {
            Pushed::Done => Ok(()),
            Pushed::Full(_) => Err(self.full(None)),
        }
    }

    /// Sends a message with a handle, and waits until the peer has it.
    ///
    /// Ours is closed then. Handles that are sent from several tasks are on
    /// their way together, up to 64; with one whose message is above 16 KiB no other is.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`], and [`SendError::NotReceived`]; the handle comes back in all.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the message may still be sent.
    ///
    /// # Node
    ///
    /// `send(message, handle)`. A connection that the peer did not receive is
    /// sent again, three times, as Node does.
    pub async fn send_with_handle<T: Serialize + ?Sized>(
        &self,
        message: &T,
        handle: impl Into<Handle>,
    ) -> Result<(), SendError> {
        let handle = handle.into();
        match message::hand_over_frame(self.shared.serialization, message, &handle) {
            Ok((kind, frame)) => self.push_handle(&kind, frame, handle).await,
            Err(source) => Err(self.cannot_encode(source, Some(handle))),
        }
    }

    /// Sends a message that came from elsewhere, as it is.
    ///
    /// Between channels of one serialization nothing is parsed or printed. What
    /// travelled with it is passed on too, as by [`Sender::send_with_handle`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send`]; [`SendError::Encode`] too when the bytes are no
    /// message in this channel's serialization. With a handle as
    /// [`Sender::send_with_handle`]: it comes back in all.
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send`], or [`Sender::send_with_handle`].
    pub async fn forward(&self, mut message: Message) -> Result<(), SendError> {
        if let Some(handle) = message.take_handle() {
            return match message::passed_on_frame(self.shared.serialization, &message, &handle) {
                Ok((kind, frame)) => self.push_handle(&kind, frame, handle).await,
                Err(source) => Err(self.cannot_encode(source, Some(handle))),
            };
        }
        if message.serialization != self.shared.serialization {
            return self.send_raw(&message.body).await;
        }
        let pushed = self.write_and_push(
            usize::MAX,
            |_| true,
            |scratch| {
                frame::write(self.shared.serialization, &message.body, scratch)
                    .map_err(|_| EncodeError::TooLong)
            },
        );
        match pushed? {
            Pushed::Done => Ok(()),
            Pushed::Full(mut frame) => self.push(&mut frame).await,
        }
    }

    /// Sends bytes that are a message already: a JSON text, or V8's format with its header.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`]; [`SendError::Encode`] when they are none.
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send`].
    pub async fn send_raw(&self, body: &[u8]) -> Result<(), SendError> {
        let mut out = Vec::with_capacity(body.len() + 4);
        message::frame_of(self.shared.serialization, body, &mut out)
            .map_err(|source| self.cannot_encode(source, None))?;
        self.push(&mut out).await
    }

    /// Waits until everything that was sent is in the hands of the kernel.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the channel closed before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flush(&self) -> Result<(), SendError> {
        loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            if self.shared.outbox().half.is_written() {
                return Ok(());
            }
            if self.is_closed() {
                return Err(self.closed(None));
            }
            room.await;
        }
    }

    /// Closes the channel after what was sent, and waits for that.
    ///
    /// Nothing can be sent any more. What the other side sends meanwhile is
    /// still received, up to [`Limits::max_inbox`] and then dropped, so that this
    /// ends also if nobody receives. A message that has begun to arrive is waited for.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on by itself.
    ///
    /// # Node
    ///
    /// `disconnect`. A second one is no error here.
    pub async fn disconnect(&self) {
        self.shared.disconnect();
        self.shared.closed.cancelled().await;
    }

    /// Whether the channel has closed. After a [`disconnect`](Self::disconnect)
    /// it has when what was sent before is out; nothing new is taken meanwhile.
    ///
    /// # Node
    ///
    /// `!connected`, which is so at once.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.is_cancelled()
    }

    /// Cancelled when the channel is closed, by whomever: to end work that nobody waits for.
    ///
    /// # Node
    ///
    /// The event `'disconnect'`; execa's `getCancelSignal`.
    #[must_use]
    pub fn cancel_signal(&self) -> CancellationToken {
        self.shared.closed.child_token()
    }

    /// How messages are written.
    #[must_use]
    pub fn serialization(&self) -> Serialization {
        self.shared.serialization
    }

    fn encode_and_push<T: Serialize + ?Sized>(
        &self,
        message: &T,
        most: usize,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Result<Pushed, SendError> {
        self.write_and_push(most, has_room, |scratch| {
            message::encode_frame(self.shared.serialization, message, scratch)
        })
    }

    /// Queues the frame that `write` makes, if there is room.
    fn write_and_push(
        &self,
        most: usize,
        has_room: impl FnOnce(usize) -> bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<Pushed, SendError> {
        // Taken, for a value may send another one while it is written.
        let (mut scratch, usual) = SCRATCH.take();
        scratch.clear();
        make_room(&mut scratch, usual);
        write(&mut scratch).map_err(|source| self.cannot_encode(source, None))?;
        let length = scratch.len();
        if length > most {
            return Err(self.cannot_encode(EncodeError::TooLong, None));
        }
        SCRATCH.set((Vec::new(), length));
        if !has_room(length) {
            return Ok(Pushed::Full(scratch));
        }
        match self.shared.push(&mut scratch) {
            Ok(()) => {}
            Err(NotSent::Full(_)) => return Ok(Pushed::Full(scratch)),
            Err(NotSent::Closed(_)) => return Err(self.closed(None)),
        }
        if scratch.capacity() <= SCRATCH_KEPT {
            SCRATCH.set((scratch, length));
        }
        Ok(Pushed::Done)
    }

    pub(super) async fn push(&self, frame: &mut Vec<u8>) -> Result<(), SendError> {
        // Mostly there is room, and nobody need be told when there is.
        let mut pushed = self.shared.push(frame);
        loop {
            match pushed {
                Ok(()) => return Ok(()),
                Err(refusal) if refusal.is_full() => {}
                Err(_) => return Err(self.closed(None)),
            }
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            pushed = self.shared.push(frame);
            if pushed.as_ref().is_err_and(NotSent::is_full) {
                room.await;
            }
        }
    }

    async fn push_handle(
        &self,
        kind: &HandleKind,
        mut frame: Vec<u8>,
        handle: Handle,
    ) -> Result<(), SendError> {
        let mut handle = handle.into_fd();
        let answer = loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            match self.shared.push_handle(kind, frame, handle) {
                Ok(answer) => break answer,
                Err((NotSent::Full(Some(back)), again)) => (handle, frame) = (back, again),
                Err((NotSent::Full(None) | NotSent::Closed(None), _)) => {
                    return Err(self.closed(None));
                }
                Err((NotSent::Closed(Some(back)), _)) => {
                    return Err(self.closed(Handle::of(back).ok()));
                }
            }
            room.await;
        };
        self.delivered(answer).await
    }

    /// Waits until the peer has a handle.
    pub(super) async fn delivered(&self, answer: Receipt) -> Result<(), SendError> {
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(back)) => Err(self.not_received(back)),
            Err(_) => Err(self.closed(None)),
        }
    }

    /// The channel is closed, or the peer says that it never got it.
    fn not_received(&self, back: OwnedFd) -> SendError {
        match Handle::of(back) {
            Ok(handle) if !self.is_closed() => SendError::NotReceived {
                peer: self.shared.peer.clone(),
                handle,
            },
            back => self.closed(back.ok()),
        }
    }

    pub(super) fn message(&self, body: Bytes) -> Message {
        Message {
            body,
            serialization: self.shared.serialization,
            shape: None,
            max_depth: self.shared.limits.max_depth,
            handle: None,
            responder: None,
            is_cluster: false,
        }
    }

    pub(super) fn closed(&self, handle: Option<Handle>) -> SendError {
        SendError::Closed {
            peer: self.shared.peer.clone(),
            handle,
        }
    }

    pub(super) fn full(&self, handle: Option<Handle>) -> SendError {
        SendError::Full {
            peer: self.shared.peer.clone(),
            handle,
        }
    }

    pub(super) fn cannot_encode(&self, source: EncodeError, handle: Option<Handle>) -> SendError {
        SendError::Encode {
            peer: self.shared.peer.clone(),
            handle,
            source,
        }
    }
}

enum Pushed {
    Done,
    Full(Vec<u8>),
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        Self::new(&self.shared)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.let_go();
    }
}
