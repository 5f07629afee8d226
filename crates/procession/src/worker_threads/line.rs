//! One direction of a port: what waits, and who waits for it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use crossbeam_utils::Backoff;

use super::blocking;
use super::error::{PostError, TryRecvError};
use super::gate::Gate;
use super::port::Queue;
use super::sync::{AtomicUsize, ConcurrentQueue, Notify, Ordering, PopError, PushError};

/// A queue up to this size, in bytes, is allocated at once, and the faster for it.
const RING: usize = 32 * 1024;

/// Any number of posters, one receiver.
///
/// The queue's own operations are sequentially consistent: either a poster
/// sees that the receiver waits, or the receiver, who looks once more after it
/// said so, sees the message. The same holds for room.
pub(super) struct Line<T> {
    messages: ConcurrentQueue<T>,
    /// Room that is left, if the queue does not know.
    left: Option<AtomicUsize>,
    receiver: Gate,
    /// Posters that wait for room.
    posters: AtomicUsize,
    room: Notify,
}

impl<T> Line<T> {
    /// # Panics
    ///
    /// With room for no message.
    pub(super) fn new(queue: Queue) -> Self {
        let (messages, left) = match queue {
            Queue::Bounded(room) => {
                assert!(room > 0, "a port needs room for one message at least");
                let bytes = room.saturating_mul(size_of::<T>() + size_of::<usize>());
                if bytes <= RING {
                    (ConcurrentQueue::bounded(room), None)
                } else {
                    (ConcurrentQueue::unbounded(), Some(AtomicUsize::new(room)))
                }
            }
            Queue::Unbounded => (ConcurrentQueue::unbounded(), None),
        };
        Self {
            messages,
            left,
            receiver: Gate::new(),
            posters: AtomicUsize::new(0),
            room: Notify::new(),
        }
    }

    pub(super) fn try_post(&self, message: T) -> Result<(), PostError<T>> {
        if let Some(left) = &self.left {
            let took = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if took.is_err() {
                return Err(match self.messages.is_closed() {
                    true => PostError::Closed(message),
                    false => PostError::Full(message),
                });
            }
        }
        match self.messages.push(message) {
            Ok(()) => {
                self.receiver.open();
                Ok(())
            }
            Err(PushError::Full(message)) => Err(PostError::Full(message)),
            Err(PushError::Closed(message)) => Err(PostError::Closed(message)),
        }
    }

    pub(super) async fn post(&self, message: T) -> Result<(), PostError<T>> {
        match self.try_post(message) {
            Err(PostError::Full(message)) => self.wait_and_post(message).await,
            posted => posted,
        }
    }

    pub(super) fn post_blocking(&self, message: T) -> Result<(), PostError<T>> {
        blocking::might_wait();
        match self.try_post(message) {
            Err(PostError::Full(message)) => blocking::wait(self.wait_and_post(message)),
            posted => posted,
        }
    }

    async fn wait_and_post(&self, mut message: T) -> Result<(), PostError<T>> {
        let _waits = Counted::new(&self.posters);
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            message = match self.try_post(message) {
                Err(PostError::Full(message)) => message,
                posted => return posted,
            };
            room.await;
        }
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.messages.pop() {
            Ok(message) => {
                if let Some(left) = &self.left {
                    left.fetch_add(1, Ordering::SeqCst);
                }
                if self.posters.load(Ordering::SeqCst) > 0 {
                    self.room.notify_one();
                }
                Ok(message)
            }
            Err(PopError::Empty) => Err(TryRecvError::Empty),
            Err(PopError::Closed) => Err(TryRecvError::Closed),
        }
    }

    pub(super) async fn recv(&self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        match self.try_recv() {
            Ok(message) => return Poll::Ready(Some(message)),
            Err(TryRecvError::Closed) => return Poll::Ready(None),
            Err(TryRecvError::Empty) => self.receiver.wait(cx.waker()),
        }
        match self.try_recv() {
            Ok(message) => {
                self.receiver.leave();
                Poll::Ready(Some(message))
            }
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Looks a few times before it sleeps, which costs both sides more.
    pub(super) fn recv_blocking(&self) -> Option<T> {
        blocking::might_wait();
        let backoff = Backoff::new();
        loop {
            match self.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) if backoff.is_completed() => break,
                Err(TryRecvError::Empty) => backoff.snooze(),
            }
        }
        blocking::wait(self.recv())
    }

    /// What waits can still be received.
    pub(super) fn close(&self) {
        self.messages.close();
        self.receiver.open();
        self.room.notify_waiters();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }

    /// Drops what waits; the line is closed.
    pub(super) fn empty(&self) {
        while self.messages.pop().is_ok() {}
    }
}

/// One more, for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
