//! Questions with answers, and messages that are confirmed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use procession_core::ipc::internal::{Internal, Procession};
use serde::Serialize;
use tokio::sync::oneshot;

use super::channel::Sender;
use super::error::{RequestError, SendError};
use super::message::{self, Message};
use super::shared::{NotSent, Shared};

/// What came of a question or of a message that wants to be confirmed.
#[derive(Debug)]
pub(super) enum Verdict {
    Reply(Bytes),
    Taken,
    Refused(String),
}

/// The way back to whoever asked. Dropped unused, it refuses.
#[derive(Debug)]
pub(super) struct Responder {
    shared: Arc<Shared>,
    id: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Wants an answer.
    Request,
    /// Wants to hear that it was received.
    Confirm,
    Done,
}

impl Responder {
    pub(super) fn request(shared: &Arc<Shared>, id: u64) -> Self {
        let (shared, kind) = (Arc::clone(shared), Kind::Request);
        Self { shared, id, kind }
    }

    pub(super) fn confirm(shared: &Arc<Shared>, id: u64) -> Self {
        let (shared, kind) = (Arc::clone(shared), Kind::Confirm);
        Self { shared, id, kind }
    }

    /// Confirms if that is all that is wanted; else it is a question and stays.
    pub(super) fn received(mut self) -> Option<Self> {
        if self.kind != Kind::Confirm {
            return Some(self);
        }
        self.kind = Kind::Done;
        self.say(Procession::Ack { id: self.id });
        None
    }

    pub(super) async fn reply<T: Serialize + ?Sized>(
        mut self,
        answer: &T,
    ) -> Result<(), SendError> {
        let sender = Sender::new(&self.shared);
        let mut body = Vec::new();
        message::encode(self.shared.serialization, answer, &mut body)
            .map_err(|source| sender.cannot_encode(source, None))?;
        let message = body.into();
        let reply = Procession::Reply {
            id: self.id,
            message,
        };
        let mut frame = sender.internal_frame(reply)?;
        self.kind = Kind::Done;
        sender.push(&mut frame).await
    }

    /// An answer of our own making, before everything that waits.
    fn say(&self, message: Procession) {
        let mut outbox = self.shared.outbox();
        outbox.answer(&Internal::Procession(message));
        outbox.wake_owner();
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let reason = match self.kind {
            Kind::Done => return,
            Kind::Request => "the request was dropped without a reply",
            Kind::Confirm => "nobody receives messages there",
        };
        let reason = reason.to_owned();
        self.say(Procession::Refuse {
            id: self.id,
            reason,
        });
    }
}

impl Sender {
    /// Asks the other side, and waits for its answer.
    ///
    /// The question travels as an internal message: programs that listen to
    /// `'message'` never see it, and one that knows nothing of it lets it time
    /// out. Ours receive it as a [`Message`] with
    /// [`is_request`](Message::is_request); a Node program answers with a few
    /// lines (see the [module](super)).
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the question may have been sent; its answer is ignored.
    ///
    /// # Node
    ///
    /// Nothing like it.
    pub async fn request<T: Serialize + ?Sized>(
        &self,
        question: &T,
        limit: Duration,
    ) -> Result<Message, RequestError> {
        let message = self.encode_body(question)?;
        let verdict = self
            .ask(limit, |id| Procession::Request { id, message })
            .await?;
        match verdict {
            Verdict::Reply(body) => Ok(self.message(body)),
            Verdict::Taken => Err(self.refused("it only confirmed the question")),
            Verdict::Refused(reason) => Err(self.refused(&reason)),
        }
    }

    /// Sends a message and waits until somebody there has received it.
    ///
    /// It travels as [`Sender::request`] does.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; [`RequestError::Refused`] when nobody receives messages there.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the message may have been sent.
    ///
    /// # Node
    ///
    /// execa's `sendMessage` with `strict`.
    pub async fn send_confirmed<T: Serialize + ?Sized>(
        &self,
        message: &T,
        limit: Duration,
    ) -> Result<(), RequestError> {
        let message = self.encode_body(message)?;
        let verdict = self
            .ask(limit, |id| Procession::Send { id, message })
            .await?;
        match verdict {
            Verdict::Taken | Verdict::Reply(_) => Ok(()),
            Verdict::Refused(reason) => Err(self.refused(&reason)),
        }
    }

    fn encode_body<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, SendError> {
        let mut body = Vec::new();
        message::encode(self.shared.serialization, value, &mut body)
            .map_err(|source| self.cannot_encode(source, None))?;
        Ok(body.into())
    }

    async fn ask(
        &self,
        limit: Duration,
        question: impl FnOnce(u64) -> Procession,
    ) -> Result<Verdict, RequestError> {
        let (id, answer) = self.expect_answer();
        let waiting = Waiting {
            shared: &self.shared,
            id,
        };
        let asked = async {
            let mut frame = self.internal_frame(question(id))?;
            self.push(&mut frame).await?;
            answer.await.map_err(|_| RequestError::Closed {
                peer: self.shared.peer.clone(),
            })
        };
        let answered = tokio::time::timeout(limit, asked).await;
        drop(waiting);
        answered.unwrap_or_else(|_| {
            Err(RequestError::TimedOut {
                peer: self.shared.peer.clone(),
                limit,
            })
        })
    }

    fn expect_answer(&self) -> (u64, oneshot::Receiver<Verdict>) {
        let (told, answer) = oneshot::channel();
        let mut outbox = self.shared.outbox();
        let id = outbox.next_request;
        outbox.next_request += 1;
        // After the end nobody would take it out again; dropped here, it says so.
        if !self.shared.closed.is_cancelled() {
            outbox.requests.insert(id, told);
        }
        (id, answer)
    }

    pub(super) fn internal_frame(&self, message: Procession) -> Result<Vec<u8>, SendError> {
        message::internal_frame(self.shared.serialization, &Internal::Procession(message))
            .map_err(|source| self.cannot_encode(source, None))
    }

    fn refused(&self, reason: &str) -> RequestError {
        RequestError::Refused {
            peer: self.shared.peer.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// Forgets the question when nobody waits for its answer any more.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.outbox().requests.remove(&self.id);
    }
}

impl NotSent {
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}
