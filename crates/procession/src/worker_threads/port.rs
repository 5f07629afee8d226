//! Two linked ports: what one posts, the other receives.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::blocking;
use super::error::{PostError, RecvTimedOut, TryRecvError};

/// How many messages may wait in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// So many, at least one; then `post` waits and `try_post` refuses.
    Bounded(usize),
    /// As many as memory holds, as Node has it. For the case that the number is
    /// bounded elsewhere: by what is asked for, by a fixed set of senders.
    Unbounded,
}

impl Default for Queue {
    /// 1024 messages.
    fn default() -> Self {
        Self::Bounded(1024)
    }
}

/// Two linked ports. `port1` posts `A` and receives `B`, `port2` the reverse.
///
/// Two ends that both wait in `post` while both queues are full wait for each
/// other; let one of them receive, or use `try_post`.
///
/// # Node
///
/// `MessageChannel`. The queues are bounded here. A port works as soon as it is
/// there: there is no `start`, `ref` or `unref`.
///
/// # Examples
///
/// ```
/// use procession::worker_threads::MessageChannel;
///
/// let MessageChannel { port1, mut port2 } = MessageChannel::<&str, ()>::new();
/// port1.blocking_post("ping")?;
/// drop(port1);
/// assert_eq!(port2.blocking_recv(), Some("ping"));
/// assert_eq!(port2.blocking_recv(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MessageChannel<A, B> {
    /// Posts `A`, receives `B`.
    pub port1: MessagePort<A, B>,
    /// Posts `B`, receives `A`.
    pub port2: MessagePort<B, A>,
}

impl<A, B> Default for MessageChannel<A, B> {
    fn default() -> Self {
        Self::with_queue(Queue::default())
    }
}

impl<A, B> MessageChannel<A, B> {
    /// With room for 1024 messages each way.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this much room each way.
    ///
    /// # Panics
    ///
    /// With room for no message.
    #[must_use]
    pub fn with_queue(queue: Queue) -> Self {
        let (tx1, rx2) = one_way(queue);
        let (tx2, rx1) = one_way(queue);
        let (cut1, cut2) = (Arc::default(), Arc::default());
        Self {
            port1: MessagePort {
                tx: Some(tx1),
                rx: rx1,
                cut_by_us: Arc::clone(&cut1),
                cut_by_peer: Arc::clone(&cut2),
            },
            port2: MessagePort {
                tx: Some(tx2),
                rx: rx2,
                cut_by_us: cut2,
                cut_by_peer: cut1,
            },
        }
    }
}

fn one_way<T>(queue: Queue) -> (Tx<T>, Rx<T>) {
    match queue {
        Queue::Bounded(room) => {
            let (tx, rx) = mpsc::channel(room.min(Semaphore::MAX_PERMITS));
            (Tx::Bounded(tx), Rx::Bounded(rx))
        }
        Queue::Unbounded => {
            #[expect(
                clippy::disallowed_methods,
                reason = "the caller says that there is a bound"
            )]
            let (tx, rx) = mpsc::unbounded_channel();
            (Tx::Unbounded(tx), Rx::Unbounded(rx))
        }
    }
}

/// One of two linked ports: posts `Out`, receives `In`.
///
/// Dropping or [closing](Self::close) it closes both. Each side still receives
/// what was posted to it before; then its `recv` says `None` and its posts fail.
///
/// A port is transferable: it can be posted through another one, with all that
/// waits in it. (One that is posted into its own other end is out of reach, and
/// its memory with it.)
///
/// # Node
///
/// `MessagePort`.
pub struct MessagePort<Out, In> {
    /// `None` once closed.
    tx: Option<Tx<Out>>,
    rx: Rx<In>,
    /// What waits for the peer is to be dropped, not received.
    cut_by_us: Arc<AtomicBool>,
    /// The same for what waits for us.
    cut_by_peer: Arc<AtomicBool>,
}

impl<Out, In> MessagePort<Out, In> {
    /// Posts a message; waits while the other side's queue is full.
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// A dropped post has posted nothing, and the message is dropped with it;
    /// keep it by [`try_post`](Self::try_post).
    pub async fn post(&self, message: Out) -> Result<(), PostError<Out>> {
        match &self.tx {
            Some(tx) => tx.post(message).await,
            None => Err(PostError::Closed(message)),
        }
    }

    /// Posts a message if there is room.
    ///
    /// # Errors
    ///
    /// [`PostError::Full`], [`PostError::Closed`].
    pub fn try_post(&self, message: Out) -> Result<(), PostError<Out>> {
        match &self.tx {
            Some(tx) => tx.try_post(message),
            None => Err(PostError::Closed(message)),
        }
    }

    /// As [`post`](Self::post), for threads without a runtime.
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn blocking_post(&self, message: Out) -> Result<(), PostError<Out>> {
        match &self.tx {
            Some(tx) => tx.blocking_post(message),
            None => Err(PostError::Closed(message)),
        }
    }

    /// Posts for others: any number of them, at the same time.
    ///
    /// It does not keep the port open.
    #[must_use]
    pub fn sender(&self) -> PortSender<Out> {
        PortSender(self.tx.as_ref().map(Tx::downgrade))
    }

    /// Waits for the next message; `None` when the port is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no message.
    pub async fn recv(&mut self) -> Option<In> {
        let message = match &mut self.rx {
            Rx::Bounded(rx) => rx.recv().await,
            Rx::Unbounded(rx) => rx.recv().await,
        };
        self.wanted(message)
    }

    /// As [`recv`](Self::recv), for threads without a runtime.
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn blocking_recv(&mut self) -> Option<In> {
        let message = match &mut self.rx {
            Rx::Bounded(rx) => rx.blocking_recv(),
            Rx::Unbounded(rx) => rx.blocking_recv(),
        };
        self.wanted(message)
    }

    /// As [`blocking_recv`](Self::blocking_recv), for so long.
    ///
    /// # Errors
    ///
    /// [`RecvTimedOut`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn blocking_recv_timeout(&mut self, limit: Duration) -> Result<Option<In>, RecvTimedOut> {
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
        let message = match &mut self.rx {
            Rx::Bounded(rx) => rx.try_recv(),
            Rx::Unbounded(rx) => rx.try_recv(),
        };
        match message {
            Ok(message) => self.wanted(Some(message)).ok_or(TryRecvError::Closed),
            Err(mpsc::error::TryRecvError::Empty) => Err(TryRecvError::Empty),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(TryRecvError::Closed),
        }
    }

    /// Closes both ports. What waits in them can still be received.
    pub fn close(&mut self) {
        self.tx = None;
        match &mut self.rx {
            Rx::Bounded(rx) => rx.close(),
            Rx::Unbounded(rx) => rx.close(),
        }
    }

    /// Whether posts fail because the port is closed, from here or from there.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.tx.as_ref().is_none_or(Tx::is_closed)
    }

    /// Closes both ports; the other side does not receive what waits for it.
    pub(super) fn cut(&mut self) {
        self.cut_by_us.store(true, Ordering::Release);
        self.close();
    }

    fn wanted(&mut self, message: Option<In>) -> Option<In> {
        if message.is_some() && self.cut_by_peer.load(Ordering::Acquire) {
            self.close();
            return None;
        }
        message
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
pub struct PortSender<T>(Option<WeakTx<T>>);

impl<T> PortSender<T> {
    fn tx(&self) -> Option<Tx<T>> {
        self.0.as_ref().and_then(WeakTx::upgrade)
    }

    /// As [`MessagePort::post`].
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessagePort::post`].
    pub async fn post(&self, message: T) -> Result<(), PostError<T>> {
        match self.tx() {
            Some(tx) => tx.post(message).await,
            None => Err(PostError::Closed(message)),
        }
    }

    /// As [`MessagePort::try_post`].
    ///
    /// # Errors
    ///
    /// [`PostError::Full`], [`PostError::Closed`].
    pub fn try_post(&self, message: T) -> Result<(), PostError<T>> {
        match self.tx() {
            Some(tx) => tx.try_post(message),
            None => Err(PostError::Closed(message)),
        }
    }

    /// As [`MessagePort::blocking_post`].
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn blocking_post(&self, message: T) -> Result<(), PostError<T>> {
        match self.tx() {
            Some(tx) => tx.blocking_post(message),
            None => Err(PostError::Closed(message)),
        }
    }
}

impl<T> Clone for PortSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for PortSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortSender").finish_non_exhaustive()
    }
}

enum Tx<T> {
    Bounded(mpsc::Sender<T>),
    Unbounded(mpsc::UnboundedSender<T>),
}

enum WeakTx<T> {
    Bounded(mpsc::WeakSender<T>),
    Unbounded(mpsc::WeakUnboundedSender<T>),
}

enum Rx<T> {
    Bounded(mpsc::Receiver<T>),
    Unbounded(mpsc::UnboundedReceiver<T>),
}

impl<T> Tx<T> {
    async fn post(&self, message: T) -> Result<(), PostError<T>> {
        let sent = match self {
            Self::Bounded(tx) => tx.send(message).await,
            Self::Unbounded(tx) => tx.send(message),
        };
        sent.map_err(|mpsc::error::SendError(message)| PostError::Closed(message))
    }

    fn try_post(&self, message: T) -> Result<(), PostError<T>> {
        match self {
            Self::Bounded(tx) => tx.try_send(message).map_err(|error| match error {
                mpsc::error::TrySendError::Full(message) => PostError::Full(message),
                mpsc::error::TrySendError::Closed(message) => PostError::Closed(message),
            }),
            Self::Unbounded(tx) => tx
                .send(message)
                .map_err(|mpsc::error::SendError(message)| PostError::Closed(message)),
        }
    }

    fn blocking_post(&self, message: T) -> Result<(), PostError<T>> {
        let sent = match self {
            Self::Bounded(tx) => tx.blocking_send(message),
            Self::Unbounded(tx) => tx.send(message),
        };
        sent.map_err(|mpsc::error::SendError(message)| PostError::Closed(message))
    }

    fn downgrade(&self) -> WeakTx<T> {
        match self {
            Self::Bounded(tx) => WeakTx::Bounded(tx.downgrade()),
            Self::Unbounded(tx) => WeakTx::Unbounded(tx.downgrade()),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Bounded(tx) => tx.is_closed(),
            Self::Unbounded(tx) => tx.is_closed(),
        }
    }
}

impl<T> WeakTx<T> {
    fn upgrade(&self) -> Option<Tx<T>> {
        match self {
            Self::Bounded(tx) => tx.upgrade().map(Tx::Bounded),
            Self::Unbounded(tx) => tx.upgrade().map(Tx::Unbounded),
        }
    }
}

impl<T> Clone for WeakTx<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Bounded(tx) => Self::Bounded(tx.clone()),
            Self::Unbounded(tx) => Self::Unbounded(tx.clone()),
        }
    }
}
