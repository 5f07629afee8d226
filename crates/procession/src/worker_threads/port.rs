//! Two linked ports: what one posts, the other receives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::blocking;
use super::error::{PostError, RecvTimedOut, TryRecvError};
use super::line::Line;
use super::sync::{AtomicBool, Ordering};

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
/// port1.post_blocking("ping")?;
/// drop(port1);
/// assert_eq!(port2.recv_blocking(), Some("ping"));
/// assert_eq!(port2.recv_blocking(), None);
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
        let there = Arc::new(Line::new(queue));
        let back = Arc::new(Line::new(queue));
        let (cut1, cut2) = (Arc::default(), Arc::default());
        Self {
            port1: MessagePort {
                tx: Arc::clone(&there),
                rx: Arc::clone(&back),
                cut_by_us: Arc::clone(&cut1),
                cut_by_peer: Arc::clone(&cut2),
            },
            port2: MessagePort {
                tx: back,
                rx: there,
                cut_by_us: cut2,
                cut_by_peer: cut1,
            },
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
    tx: Arc<Line<Out>>,
    rx: Arc<Line<In>>,
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
        self.tx.post(message).await
    }

    /// Posts a message if there is room.
    ///
    /// # Errors
    ///
    /// [`PostError::Full`], [`PostError::Closed`].
    pub fn try_post(&self, message: Out) -> Result<(), PostError<Out>> {
        self.tx.try_post(message)
    }

    /// As [`post`](Self::post), for threads without a runtime.
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Panics
    ///
    /// In async code; in a release build only if it has to wait.
    pub fn post_blocking(&self, message: Out) -> Result<(), PostError<Out>> {
        self.tx.post_blocking(message)
    }

    /// Posts for others: any number of them, at the same time.
    ///
    /// It does not keep the port open.
    #[must_use]
    pub fn sender(&self) -> PortSender<Out> {
        PortSender(Arc::clone(&self.tx))
    }

    /// Waits for the next message; `None` when the port is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no message.
    pub async fn recv(&mut self) -> Option<In> {
        let message = self.rx.recv().await;
        self.wanted(message)
    }

    /// As [`recv`](Self::recv), for threads without a runtime.
    ///
    /// # Panics
    ///
    /// In async code; in a release build only if it has to wait.
    pub fn recv_blocking(&mut self) -> Option<In> {
        let message = self.rx.recv_blocking();
        self.wanted(message)
    }

    /// As [`recv_blocking`](Self::recv_blocking), for so long.
    ///
    /// # Errors
    ///
    /// [`RecvTimedOut`].
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn recv_timeout_blocking(&mut self, limit: Duration) -> Result<Option<In>, RecvTimedOut> {
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
        let message = self.rx.try_recv()?;
        self.wanted(Some(message)).ok_or(TryRecvError::Closed)
    }

    /// Closes both ports. What waits in them can still be received.
    pub fn close(&mut self) {
        // In this order: who is told that nothing more comes cannot post any more either.
        self.rx.close();
        self.tx.close();
    }

    /// Whether posts fail because the port is closed, from here or from there.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.tx.is_closed()
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

impl<Out, In> Drop for MessagePort<Out, In> {
    fn drop(&mut self) {
        self.close();
        // Nobody receives it any more, and a sender may live on.
        self.rx.empty();
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
pub struct PortSender<T>(Arc<Line<T>>);

impl<T> PortSender<T> {
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
        self.0.post(message).await
    }

    /// As [`MessagePort::try_post`].
    ///
    /// # Errors
    ///
    /// [`PostError::Full`], [`PostError::Closed`].
    pub fn try_post(&self, message: T) -> Result<(), PostError<T>> {
        self.0.try_post(message)
    }

    /// As [`MessagePort::post_blocking`].
    ///
    /// # Errors
    ///
    /// [`PostError::Closed`].
    ///
    /// # Panics
    ///
    /// In async code; in a release build only if it has to wait.
    pub fn post_blocking(&self, message: T) -> Result<(), PostError<T>> {
        self.0.post_blocking(message)
    }
}

impl<T> Clone for PortSender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for PortSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortSender").finish_non_exhaustive()
    }
}
