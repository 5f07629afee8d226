//! Node's channel between a parent and a child, decided without a socket.
//!
//! Bytes go in as they were read and come out as they are to be written:
//!
//! * [`frame`]: where messages end;
//! * [`json`] and [`advanced`]: what they say, in Node's two serializations;
//! * [`internal`]: the messages that programs never see;
//! * [`handles`]: which message owns which descriptor, and who waits for whom;
//! * [`inbound`] and [`outbound`]: the two halves of one end of a channel, made of all of these;
//! * [`busy_poll`]: whether to stay awake for an answer.

pub mod advanced;
pub mod busy_poll;
pub mod frame;
pub mod handles;
pub mod inbound;
pub mod internal;
pub mod json;
pub mod outbound;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

/// How values become bytes: Node's `serialization` option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serialization {
    /// One JSON text and a newline for a message. What Node uses unless asked.
    #[default]
    Json,
    /// A length and V8's structured clone: keeps `Map`, `Date`, `Buffer`, `undefined`, cycles.
    Advanced,
}

impl Serialization {
    /// As `NODE_CHANNEL_SERIALIZATION_MODE` has it: `json` or `advanced`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Advanced => "advanced",
        }
    }

    /// The serialization of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "advanced" => Some(Self::Advanced),
            _ => None,
        }
    }

    /// The message that says nothing.
    fn undefined(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Json => b"null",
            Self::Advanced => b"\xff\x0f_",
        })
    }
}

/// What one pass over a message's bytes tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How deep arrays and objects nest: 0 for a number, 1 for `[1]`.
    pub depth: usize,
    /// It is an object whose `cmd` is a string longer than 5 that starts with `NODE_`.
    pub internal: bool,
}

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} of a message is not {wanted}: {excerpt}")]
pub struct BadMessage {
    /// Where in the message, from 0.
    pub offset: usize,
    /// What could have stood there.
    pub wanted: &'static str,
    /// The bytes around it, printable: others are escaped.
    pub excerpt: String,
}

impl BadMessage {
    /// Tells of the byte at `offset` of `message`.
    #[must_use]
    pub fn new(message: &[u8], offset: usize, wanted: &'static str) -> Self {
        const AROUND: usize = 16;
        let offset = offset.min(message.len());
        let from = offset.saturating_sub(AROUND);
        let to = offset.saturating_add(AROUND).min(message.len());
        let excerpt = format!("\"{}\"", message[from..to].escape_ascii());
        Self {
            offset,
            wanted,
            excerpt,
        }
    }
}

/// How much is taken from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message; default 64 MiB. Above it the channel ends with an error.
    pub max_frame: usize,
    /// How deep its arrays and objects may nest when they become values; default 1,024.
    pub max_depth: usize,
    /// Descriptors that wait for their message; default 16. Above it the oldest are closed.
    pub max_pending_handles: usize,
    /// Bytes of messages that wait to be written; default 16 MiB. Above it a send waits.
    pub max_queue: usize,
    /// Bytes of messages that wait to be received, with what each costs beside its text;
    /// default 1 MiB. Above it nothing is read.
    pub max_inbox: usize,
    /// For how long at most an answer is polled for before sleeping until it comes, while
    /// answers come that fast; default 15 µs, zero: never. See [`busy_poll`].
    pub busy_poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 64 * 1024 * 1024,
            max_depth: 1_024,
            max_pending_handles: 16,
            max_queue: 16 * 1024 * 1024,
            max_inbox: 1024 * 1024,
            busy_poll: Duration::from_micros(15),
        }
    }
}

/// Looks at a message: is it one, and whose?
///
/// # Errors
///
/// [`BadMessage`].
pub fn check(serialization: Serialization, body: &[u8]) -> Result<Shape, BadMessage> {
    match serialization {
        Serialization::Json => json::check(body),
        Serialization::Advanced => advanced::check(body, advanced::Dialect::Ipc),
    }
}
