//! What can go wrong with a channel, by operation.

use std::io;
use std::time::Duration;

use procession_core::ipc::inbound::ProtocolError;
use procession_core::ipc::{advanced, internal, json};
use procession_sys::InheritedError;

use super::Handle;

/// A message was not sent. What was to travel with it comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel is closed, from here or from there.
    #[error("the channel to {peer} is closed")]
    Closed {
        /// Who the message was for.
        peer: String,
        /// The handle, still open.
        handle: Option<Handle>,
    },
    /// So much waits already that this has no room; only of the `try_` methods.
    #[error("the queue of the channel to {peer} is full")]
    Full {
        /// Who the message was for.
        peer: String,
        /// The handle, still open.
        handle: Option<Handle>,
    },
    /// The value is none that a channel can carry.
    #[error("the message for {peer} cannot be written")]
    Encode {
        /// Who the message was for.
        peer: String,
        /// The handle, still open.
        handle: Option<Handle>,
        /// What is wrong with it.
        source: EncodeError,
    },
    /// The peer says that the message came without its handle, again and again.
    #[error("{peer} did not receive the handle")]
    NotReceived {
        /// Who the message was for.
        peer: String,
        /// The handle, still open.
        handle: Handle,
    },
    /// Nothing can be made of what is to travel with the message.
    #[error("nothing can be sent to {peer} with the message")]
    Handle {
        /// Who the message was for.
        peer: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl SendError {
    /// Node's code.
    #[must_use]
    pub fn node_code(&self) -> Option<&'static str> {
        match self {
            Self::Closed { .. } => Some("ERR_IPC_CHANNEL_CLOSED"),
            Self::Full { .. } | Self::Handle { .. } => None,
            Self::Encode { source, .. } => source.node_code(),
            Self::NotReceived { .. } => Some("SentHandleNotReceivedWarning"),
        }
    }

    /// The handle that was not sent, still open.
    #[must_use]
    pub fn into_handle(self) -> Option<Handle> {
        match self {
            Self::Closed { handle, .. }
            | Self::Full { handle, .. }
            | Self::Encode { handle, .. } => handle,
            Self::NotReceived { handle, .. } => Some(handle),
            Self::Handle { .. } => None,
        }
    }
}

/// A value that a channel cannot carry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It has no JSON text.
    #[error(transparent)]
    Json(#[from] json::EncodeError),
    /// V8's format has no place for it.
    #[error(transparent)]
    Advanced(#[from] advanced::EncodeError),
    /// The message itself is `undefined`, which Node refuses.
    #[error("the message is undefined")]
    Undefined,
    /// The message itself is a bigint, which Node refuses; inside of others it may be.
    #[error("the message is a bigint")]
    BigInt,
    /// It cannot travel inside of another.
    #[error(transparent)]
    Inside(#[from] internal::EncodeError),
    /// Longer than its frame can say.
    #[error("the message is too long for a frame")]
    TooLong,
    /// Bytes that were given as a message are none.
    #[error("the given bytes are no message")]
    Malformed(#[source] procession_core::ipc::BadMessage),
}

impl EncodeError {
    fn node_code(&self) -> Option<&'static str> {
        match self {
            Self::Undefined => Some("ERR_MISSING_ARGS"),
            Self::BigInt => Some("ERR_INVALID_ARG_TYPE"),
            Self::Json(_)
            | Self::Advanced(_)
            | Self::Inside(_)
            | Self::TooLong
            | Self::Malformed(_) => None,
        }
    }
}

/// The channel ended otherwise than by being closed, or cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The peer sent what is no message; the channel is closed.
    #[error("{peer} does not keep to the channel's format")]
    Protocol {
        /// Who sent it.
        peer: String,
        /// What it did.
        source: ProtocolError,
    },
    /// Only of [`Receiver::recv_where`](super::Receiver::recv_where), and the channel goes
    /// on: so much was passed over that no more is read.
    #[error("too many messages of {peer} were passed over")]
    Full {
        /// Who sent them.
        peer: String,
    },
    /// Reading or writing failed; the channel is closed.
    #[error("the channel to {peer} broke")]
    Io {
        /// Who is at the other end.
        peer: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl ReceiveError {
    pub(super) fn new(peer: &str, failure: &Failure) -> Self {
        let peer = peer.to_owned();
        match failure {
            Failure::Protocol(source) => Self::Protocol {
                peer,
                source: source.clone(),
            },
            Failure::Io(errno) => Self::Io {
                peer,
                source: io::Error::from_raw_os_error(*errno),
            },
        }
    }
}

/// Why a channel ended; kept for everybody who asks.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Protocol(ProtocolError),
    Io(i32),
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error.raw_os_error().unwrap_or(0))
    }
}

/// A message does not have the expected shape.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Of a JSON text.
    #[error(transparent)]
    Json(#[from] json::DecodeError),
    /// Of V8's format.
    #[error(transparent)]
    Advanced(#[from] advanced::DecodeError),
}

/// A question was not answered, or a message not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The peer says that no answer will come.
    #[error("{peer} refused: {reason}")]
    Refused {
        /// Who was asked.
        peer: String,
        /// What it said.
        reason: String,
    },
    /// No answer came in time. The peer may still be at work on it.
    #[error("{peer} did not answer within {limit:?}")]
    TimedOut {
        /// Who was asked.
        peer: String,
        /// The time.
        limit: Duration,
    },
    /// The channel closed before the answer came.
    #[error("the channel to {peer} closed before the answer came")]
    Closed {
        /// Who was asked.
        peer: String,
    },
}

/// Why there is no channel to the parent although the environment says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FromEnvError {
    /// The descriptor is none, or not a channel's.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// A serialization that Node does not have.
    #[error("NODE_CHANNEL_SERIALIZATION_MODE is `{mode}`; there are `json` and `advanced`")]
    Serialization {
        /// The value.
        mode: String,
    },
    /// The async form needs a tokio runtime with I/O.
    #[error("there is no tokio runtime here; `ipc::blocking::Channel` needs none")]
    NoRuntime,
    /// The socket could not be made ready.
    #[error("cannot use the channel to our parent")]
    Io(#[source] io::Error),
}
