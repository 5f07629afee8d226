//! The receiving half of a channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cluster::Settlement;
use super::error::ReceiveError;
use super::message::Message;
use super::request::Responder;
use super::shared::Shared;

/// More than a socket and one turn of reading hold, in bytes.
const KERNEL: usize = 2 * 1024 * 1024;

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    /// Taken from the shared inbox in one go.
    batch: VecDeque<Message>,
    /// Passed over by [`Receiver::recv_where`].
    kept: VecDeque<Message>,
    kept_bytes: usize,
    settled: VecDeque<Settlement>,
}

impl Receiver {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.hold();
        Self {
            shared: Arc::clone(shared),
            batch: VecDeque::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            settled: VecDeque::new(),
        }
    }

    /// Waits for the next message; `None` when the channel is closed.
    ///
    /// Messages that were sent just before the other side ended all arrive.
    /// A half message at the end is dropped, as Node does.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`], once, when the channel did not just close; then `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    ///
    /// # Node
    ///
    /// `'message'`; `None` is `'disconnect'`.
    pub async fn recv(&mut self) -> Result<Option<Message>, ReceiveError> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`Receiver::recv`], for futures that are written by hand.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`].
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, ReceiveError>> {
        match self.take_kept(0) {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None => self.poll_next(cx),
        }
    }

    /// Waits for the next message that fits, and keeps those before it for later.
    ///
    /// What is kept counts towards [`Limits::max_inbox`](super::Limits::max_inbox):
    /// receive it when this says that it is full.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`], and [`ReceiveError::Full`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was looked at is kept in its order.
    ///
    /// # Node
    ///
    /// execa's `getOneMessage` with `filter`, which keeps without a bound.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession::ipc::{Channel, Serialization};
    ///
    /// let (one, mut other) = Channel::pair(Serialization::Json)?;
    /// for word in ["progress", "ready"] {
    ///     one.tx.send(word).await?;
    /// }
    /// let ready = other.rx.recv_where(|m| m.body() == "\"ready\"").await?;
    /// assert!(ready.is_some());
    /// // What came before it is received after all.
    /// let before: String = other.rx.recv().await?.ok_or("closed")?.decode()?;
    /// assert_eq!(before, "progress");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recv_where(
        &mut self,
        fits: impl Fn(&Message) -> bool,
    ) -> Result<Option<Message>, ReceiveError> {
        if let Some(index) = self.kept.iter().position(&fits) {
            return Ok(self.take_kept(index));
        }
        loop {
            if self.kept_bytes >= self.shared.limits.max_inbox {
                return Err(ReceiveError::Full {
                    peer: self.shared.peer.clone(),
                });
            }
            match std::future::poll_fn(|cx| self.poll_next(cx)).await? {
                Some(message) if !fits(&message) => {
                    self.kept_bytes += message.weight();
                    self.kept.push_back(message);
                }
                found => return Ok(found),
            }
        }
    }

    /// Takes a message that is here already.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<Message>, ReceiveError> {
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        match self.poll_recv(&mut nobody) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(None),
        }
    }

    /// More than what the other side can have sent by now, in bytes: what was taken, what
    /// waits here, and what the kernel holds.
    pub(crate) fn most_sent(&self) -> usize {
        let most = self.shared.limits.max_inbox.saturating_mul(2);
        most.saturating_add(KERNEL)
    }

    pub(super) fn next_settled(&mut self) -> Option<Settlement> {
        self.settled.pop_front()
    }

    /// It is the next again.
    pub(super) fn put_back(&mut self, message: Message) {
        self.batch.push_front(message);
    }

    fn take_kept(&mut self, index: usize) -> Option<Message> {
        let message = self.kept.remove(index)?;
        self.kept_bytes -= message.weight();
        Some(message)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, ReceiveError>> {
        if self.batch.is_empty() {
            let mut inbox = self.shared.inbox();
            std::mem::swap(&mut self.batch, &mut inbox.messages);
            // What is kept takes up room as if it had not been received.
            inbox.bytes = self.kept_bytes;
            self.settled.extend(inbox.settled.drain(..));
            let resume = std::mem::take(&mut inbox.owner_waits);
            if self.batch.is_empty() && self.settled.is_empty() {
                match &mut inbox.end {
                    Some(end) => {
                        let end = std::mem::replace(end, Ok(()));
                        return Poll::Ready(match end {
                            Ok(()) => Ok(None),
                            Err(failure) => Err(ReceiveError::new(&self.shared.peer, &failure)),
                        });
                    }
                    None => inbox.receiver = Some(cx.waker().clone()),
                }
            }
            drop(inbox);
            if resume {
                self.shared.outbox().wake_owner();
            }
        }
        let Some(mut message) = self.batch.pop_front() else {
            return Poll::Pending;
        };
        message.responder = message.responder.and_then(Responder::received);
        Poll::Ready(Ok(Some(message)))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut inbox = self.shared.inbox();
        inbox.deaf = true;
        let unread = std::mem::take(&mut inbox.messages);
        inbox.bytes = 0;
        drop(inbox);
        // Refuses what wanted to be confirmed, which takes the other lock.
        drop(unread);
        self.shared.outbox().wake_owner();
        self.shared.let_go();
    }
}
