//! What can go wrong between processes, by operation.

use crate::ipc::{DecodeError, Handle, ReceiveError, SendError};

use super::super::Lagged;

/// A handle that came with a message is something else than was expected.
#[derive(Debug, thiserror::Error)]
#[error("the handle is no {wanted}")]
pub struct NotAHandle {
    /// `message port`, `seat at a hub`.
    pub wanted: &'static str,
    /// The handle, as it came.
    pub handle: Handle,
}

/// A message was not received from a port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// A message of another type came. The port goes on.
    ///
    /// # Node
    ///
    /// The event `messageerror`.
    #[error("a message of another type came through the port")]
    Decode(#[source] DecodeError),
    /// The other side sent what is no message, or too long a one. The port is closed.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

/// There is no message to be had without waiting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// None has come.
    #[error("no message has come")]
    Empty,
    /// None will come.
    #[error("the message port is closed")]
    Closed,
    /// One came that is none.
    #[error(transparent)]
    Failed(#[from] RecvError),
}

/// The hub did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The root process is gone, or it has shown us the door: for more listeners,
    /// locks or members than it has places, or for what is no message.
    #[error("the hub is gone")]
    Closed,
    /// A message that no hub takes: longer than 1 MiB, or not to be written.
    #[error("the hub does not take the message")]
    Message(#[source] SendError),
    /// So much waits already; only of `try_post`.
    #[error("the way to the hub is full")]
    Full,
    /// A name above the limit, in bytes.
    #[error("a name of {bytes} bytes is above the limit of {most}")]
    Name {
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// This process holds or waits for as many locks, or has as many listeners, as the hub lets it.
    #[error("this process has {most} places at the hub already")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// What came as a handle is no seat.
    #[error(transparent)]
    NotASeat(#[from] NotAHandle),
    /// No socket for a seat.
    #[error("no seat at the hub can be made")]
    Seat(#[source] std::io::Error),
}

impl HubError {
    pub(super) fn of(error: SendError) -> Self {
        match error {
            SendError::Closed { .. } => Self::Closed,
            SendError::Full { .. } => Self::Full,
            error @ (SendError::Encode { .. }
            | SendError::NotReceived { .. }
            | SendError::Handle { .. }) => Self::Message(error),
        }
    }
}

/// A broadcast message was not received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// Some were missed; the next call goes on with the oldest that is there.
    #[error(transparent)]
    Lagged(#[from] Lagged),
    /// One of another type came.
    #[error("a message of another type came to the broadcast channel `{name}`")]
    Decode {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: procession_core::ipc::json::DecodeError,
    },
    /// The hub is gone: nothing will come.
    #[error("the hub is gone")]
    Closed,
}
