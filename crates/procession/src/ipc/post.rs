//! What ports between processes do with a channel, beside sending messages.

use std::os::fd::AsFd as _;

use procession_core::ipc::json;
use procession_core::ipc::outbound::Outbound;
use serde::Serialize;

use super::channel::Sender;
use super::error::{EncodeError, SendError};
use super::message;
use super::shared::Room;

/// A message as bytes, which the other side takes if its limits are ours.
#[derive(Debug, Clone)]
pub(crate) struct Frame(Vec<u8>);

impl Sender {
    /// A message as bytes, unless it is longer than we would take it ourselves.
    pub(crate) fn frame<T: Serialize + ?Sized>(&self, message: &T) -> Result<Frame, SendError> {
        self.frame_within(message, self.shared.limits.max_frame)
    }

    /// A message as bytes, unless it is longer than the peer takes it.
    pub(crate) fn frame_within<T: Serialize + ?Sized>(
        &self,
        message: &T,
        most: usize,
    ) -> Result<Frame, SendError> {
        let mut frame = Vec::new();
        message::encode_frame(self.shared.serialization, message, &mut frame)
            .map_err(|source| self.cannot_encode(source, None))?;
        if frame.len() > most {
            return Err(self.cannot_encode(EncodeError::TooLong, None));
        }
        Ok(Frame(frame))
    }

    /// What the error of a value inside of a message is.
    pub(crate) fn cannot_encode_json(&self, error: json::EncodeError) -> SendError {
        self.cannot_encode(EncodeError::Json(error), None)
    }

    /// As [`Sender::send`].
    pub(crate) async fn post(&self, mut frame: Frame) -> Result<(), SendError> {
        self.push(&mut frame.0).await
    }

    /// As [`Sender::try_send`].
    pub(crate) fn try_post(&self, mut frame: Frame) -> Result<(), SendError> {
        match self.shared.push(&mut frame.0) {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.is_full() => Err(SendError::Full {
                peer: self.shared.peer.clone(),
                handle: None,
            }),
            Err(_) => Err(self.closed(None)),
        }
    }

    /// Sends however much waits; whoever calls it sees that this has a bound. Nothing
    /// is said when the channel is closed: that is told elsewhere.
    pub(crate) fn post_at_once(&self, mut frame: Frame) {
        let mut outbox = self.shared.outbox();
        if self.shared.room_for(&outbox, 0) != Room::Never {
            outbox.send(&mut frame.0);
        }
    }

    /// Waits until less is queued than the limit, or the channel is closed.
    pub(crate) async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            let is_full = self.shared.room_for(&self.shared.outbox(), 0) == Room::Later;
            if !is_full {
                return;
            }
            room.await;
        }
    }

    /// Whether nothing is taken any more.
    pub(crate) fn is_refusing(&self) -> bool {
        self.shared.room_for(&self.shared.outbox(), 0) == Room::Never
    }

    /// Closes the channel after what was sent, without waiting for that.
    pub(crate) fn close(&self) {
        self.shared.disconnect();
    }

    /// Closes the channel now, whatever waits, and whether the peer reads or not.
    pub(crate) fn cut(&self) {
        let mut outbox = self.shared.outbox();
        outbox.half = Outbound::new(self.shared.serialization);
        if let Some(socket) = &outbox.socket {
            // It fails when the peer is gone, which is as well.
            let _ = procession_sys::end_both(socket.as_fd());
        }
        drop(outbox);
        self.shared.disconnect();
    }
}
