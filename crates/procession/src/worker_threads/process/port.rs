//! Two linked ports in two processes: what one posts, the other receives.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{RecvTimedOut, blocking};
use super::error::{NotAHandle, RecvError, TryRecvError};
use crate::ipc::{Channel, Handle, Limits, Message, Receiver, SendError, Sender, Serialization};

/// Two linked ports, before either is used. `port1` posts `A` and receives `B`, `port2` the reverse.
///
/// [Start](DetachedPort::start) what is to be used here, and send the other to
/// another process: with a message of a [channel](crate::ipc::Channel), or through another port.
///
/// # Node
///
/// `MessageChannel`, whose ports can go to another thread only.
#[derive(Debug)]
pub struct MessageChannel<A, B> {
    /// Posts `A`, receives `B`.
    pub port1: DetachedPort<A, B>,
    /// Posts `B`, receives `A`.
    pub port2: DetachedPort<B, A>,
}

impl<A, B> MessageChannel<A, B> {
    /// Two new ports.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`.
    pub fn new() -> io::Result<Self> {
        let (one, other) = procession_sys::channel_pair()?;
        Ok(Self {
            port1: DetachedPort::new(one),
            port2: DetachedPort::new(other),
        })
    }
}

/// A port that nobody uses yet, so that it can travel: it is `Into<Handle>`.
///
/// What is posted to it meanwhile waits in it, as much as a socket holds (some 100 kB).
/// The types are for the two programs to agree on.
pub struct DetachedPort<Out, In> {
    socket: OwnedFd,
    types: PhantomData<fn(Out) -> In>,
}

impl<Out, In> DetachedPort<Out, In> {
    fn new(socket: OwnedFd) -> Self {
        let types = PhantomData;
        Self { socket, types }
    }

    /// A port that came as a handle.
    ///
    /// # Errors
    ///
    /// [`NotAHandle`], when it is not even a Unix socket; that it is something
    /// else than a port is seen when the first message comes.
    pub fn from_handle(handle: Handle) -> Result<Self, NotAHandle> {
        let wanted = "message port";
        match handle {
            Handle::UnixStream(socket) => Ok(Self::new(socket.into())),
            handle @ (Handle::TcpStream(_)
            | Handle::TcpListener(_)
            | Handle::TcpBound(_)
            | Handle::UdpSocket(_)
            | Handle::UnixListener(_)
            | Handle::Pipe(_)) => Err(NotAHandle { wanted, handle }),
        }
    }
}

impl<Out: Serialize, In: DeserializeOwned> DetachedPort<Out, In> {
    /// Begins to use it, in this process and this runtime.
    ///
    /// # Errors
    ///
    /// What registering the socket with the runtime says.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    ///
    /// # Node
    ///
    /// `start`, which a listener for `message` does by itself there.
    pub fn start(self) -> io::Result<MessagePort<Out, In>> {
        self.start_with(Limits::default())
    }

    /// As [`start`](Self::start), with other bounds: [`Limits::max_queue`] is how
    /// much waits to be written before `post` waits, [`Limits::max_inbox`] how much
    /// waits to be received, [`Limits::max_frame`] the longest message, both ways.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with(self, limits: Limits) -> io::Result<MessagePort<Out, In>> {
        let peer = "the other port".to_owned();
        let Channel { tx, rx } = Channel::new(self.socket, Serialization::Json, limits, peer)?;
        let types = PhantomData;
        Ok(MessagePort { tx, rx, types })
    }
}

/// To be sent to another process.
impl<Out, In> From<DetachedPort<Out, In>> for Handle {
    fn from(port: DetachedPort<Out, In>) -> Self {
        Self::UnixStream(UnixStream::from(port.socket))
    }
}

impl<Out, In> fmt::Debug for DetachedPort<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedPort").finish_non_exhaustive()
    }
}

/// One of two linked ports: posts `Out`, receives `In`, both by serde.
///
/// Dropping or [closing](Self::close) it closes both, after what was posted; so
/// does the death of its process, after what [was written](Self::flush). The
/// other side receives all that first; then its `recv` says `None` and its posts fail.
///
/// Values travel as JSON: NaN and infinities do not. Bytes are best sent as a
/// [`Blob`](crate::ipc::Blob).
///
/// # Node
///
/// `MessagePort`, between threads there.
pub struct MessagePort<Out, In> {
    tx: Sender,
    rx: Receiver,
    types: PhantomData<fn(Out) -> In>,
}

impl<Out: Serialize, In: DeserializeOwned> MessagePort<Out, In> {
    /// Posts a message; waits while [`Limits::max_queue`] is used up.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`]; [`SendError::Encode`], also for one above [`Limits::max_frame`].
    ///
    /// # Cancel safety
    ///
    /// A dropped post has posted nothing.
    pub async fn post(&self, message: &Out) -> Result<(), SendError> {
        // In an array nothing can be taken for a message that Node's channels keep to themselves.
        let frame = self.tx.frame(&(message,))?;
        self.tx.post(frame).await
    }

    /// Posts a message and a handle: a socket, [another port](DetachedPort), a
    /// [`Blob`](crate::ipc::Blob). Waits until the other side has it.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post), and [`SendError::NotReceived`]; the handle comes
    /// back in all of them.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the message may still be posted.
    pub async fn post_with(
        &self,
        message: &Out,
        handle: impl Into<Handle>,
    ) -> Result<(), SendError> {
        match self.tx.frame(&(message,)) {
            Ok(_) => self.tx.send_with_handle(&(message,), handle).await,
            Err(SendError::Encode { peer, source, .. }) => Err(SendError::Encode {
                peer,
                handle: Some(handle.into()),
                source,
            }),
            Err(error) => Err(error),
        }
    }

    /// Posts a message if there is room.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post), and [`SendError::Full`].
    pub fn try_post(&self, message: &Out) -> Result<(), SendError> {
        self.tx.try_post(self.tx.frame(&(message,))?)
    }

    /// As [`post`](Self::post), for threads beside the runtime.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn post_blocking(&self, message: &Out) -> Result<(), SendError> {
        blocking::wait(self.post(message))
    }

    /// Waits until all that was posted is in the hands of the kernel: the death of
    /// this process does not take it back.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the port closed before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flush(&self) -> Result<(), SendError> {
        self.tx.flush().await
    }

    /// Posts for others: any number of them, at the same time.
    ///
    /// It does not keep the port open.
    #[must_use]
    pub fn sender(&self) -> PortSender<Out> {
        PortSender {
            tx: self.tx.clone(),
            types: PhantomData,
        }
    }

    /// Waits for the next message; `None` when the port is closed and empty. What
    /// was posted [with it](Self::post_with) is closed.
    ///
    /// # Errors
    ///
    /// [`RecvError`]. After one of another type the next call goes on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no message.
    pub async fn recv(&mut self) -> Result<Option<In>, RecvError> {
        Ok(self.recv_with().await?.map(|(message, _)| message))
    }

    /// As [`recv`](Self::recv), with the handle that was posted with it.
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no message.
    pub async fn recv_with(&mut self) -> Result<Option<(In, Option<Handle>)>, RecvError> {
        self.rx.recv().await?.map(decode).transpose()
    }

    /// As [`recv`](Self::recv), for threads beside the runtime.
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn recv_blocking(&mut self) -> Result<Option<In>, RecvError> {
        blocking::wait(self.recv())
    }

    /// As [`recv_blocking`](Self::recv_blocking), for so long.
    ///
    /// # Errors
    ///
    /// [`RecvTimedOut`]; inside, as [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn recv_timeout_blocking(
        &mut self,
        limit: Duration,
    ) -> Result<Result<Option<In>, RecvError>, RecvTimedOut> {
        let deadline = blocking::deadline(limit);
        blocking::wait_until(self.recv(), deadline).ok_or(RecvTimedOut { limit })
    }

    /// Takes a message that is there already.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`].
    ///
    /// # Node
    ///
    /// `receiveMessageOnPort`, which does not tell empty from closed.
    #[doc(alias = "receiveMessageOnPort")]
    pub fn try_recv(&mut self) -> Result<In, TryRecvError> {
        match self.rx.poll_recv(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(TryRecvError::Empty),
            Poll::Ready(Ok(None)) => Err(TryRecvError::Closed),
            Poll::Ready(Ok(Some(message))) => Ok(decode(message)?.0),
            Poll::Ready(Err(error)) => Err(RecvError::from(error).into()),
        }
    }
}

impl<Out, In> MessagePort<Out, In> {
    /// Closes both ports. The other side receives what was posted before, ours
    /// what has arrived.
    pub fn close(&mut self) {
        self.tx.close();
    }

    /// Whether posts fail because the port is closed, from here or from there.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.tx.is_refusing()
    }
}

fn decode<In: DeserializeOwned>(mut message: Message) -> Result<(In, Option<Handle>), RecvError> {
    let (value,): (In,) = message.decode().map_err(RecvError::Decode)?;
    Ok((value, message.take_handle()))
}

/// Whatever senders there still are.
impl<Out, In> Drop for MessagePort<Out, In> {
    fn drop(&mut self) {
        self.tx.close();
    }
}

impl<Out, In> fmt::Debug for MessagePort<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagePort")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Posts to the other side of a [`MessagePort`], for as long as that is open.
pub struct PortSender<T> {
    tx: Sender,
    types: PhantomData<fn(T)>,
}

impl<T: Serialize> PortSender<T> {
    /// As [`MessagePort::post`].
    ///
    /// # Errors
    ///
    /// As [`MessagePort::post`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessagePort::post`].
    pub async fn post(&self, message: &T) -> Result<(), SendError> {
        let frame = self.tx.frame(&(message,))?;
        self.tx.post(frame).await
    }

    /// As [`MessagePort::try_post`].
    ///
    /// # Errors
    ///
    /// As [`MessagePort::try_post`].
    pub fn try_post(&self, message: &T) -> Result<(), SendError> {
        self.tx.try_post(self.tx.frame(&(message,))?)
    }

    /// As [`MessagePort::post_blocking`].
    ///
    /// # Errors
    ///
    /// As [`MessagePort::post`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn post_blocking(&self, message: &T) -> Result<(), SendError> {
        blocking::wait(self.post(message))
    }
}

impl<T> Clone for PortSender<T> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx.clone(),
            types: PhantomData,
        }
    }
}

impl<T> fmt::Debug for PortSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortSender").finish_non_exhaustive()
    }
}
