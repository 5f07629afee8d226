//! How do two programs talk, one of which may be Node? Over the channel that
//! Node opens between a parent and a child.
//!
//! A parent asks for it with [`Command::ipc`] or [`Command::fork`], a child
//! takes it with [`Channel::from_env`]. Either may be an unmodified Node
//! program, in both of Node's serializations, and sockets travel along.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use procession::child_process::Command;
//!
//! let mut child = Command::fork("child.js").spawn()?;
//! let mut channel = child.channel.take().ok_or("no channel")?;
//! channel.tx.send(&serde_json::json!({ "hello": "world" })).await?;
//! if let Some(message) = channel.rx.recv().await? {
//!     let answer: serde_json::Value = message.decode()?;
//!     println!("{answer}");
//! }
//! channel.disconnect().await;
//! child.wait().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//!
//! What waits to be written is bounded ([`Limits::max_queue`]): [`Sender::send`]
//! waits, [`Sender::try_send`] refuses. What waits to be received is bounded too
//! ([`Limits::max_inbox`]): then nothing more is read, and the other side's
//! sends wait. A receiver that is never asked also holds up the confirmations
//! of handles; drop it if you do not listen. A peer that sends rubbish, or a
//! message above [`Limits::max_frame`], ends its channel with a
//! [`ReceiveError`], and nothing else.
//!
//! # Polling
//!
//! Two ends that answer each other at once stay awake meanwhile: an end that has
//! sent something polls for the answer for up to [`Limits::busy_poll`], 15 µs, if
//! answers have come that fast. It finds that out by itself, and costs nothing where they
//! do not. In async code others run meanwhile. Node needs some 25 µs for an answer, so by
//! default nobody polls for it; with a limit of 50 µs a round trip to a Node child
//! takes a third of the time and, of both sides together, two thirds of the processor's.
//!
//! # Large values
//!
//! A [`Blob`] is written once and read by other programs of procession where it is;
//! it travels with a message as a handle.
//!
//! # Questions and answers
//!
//! [`Sender::request`] and [`Sender::send_confirmed`] travel as internal
//! messages, which an unmodified Node program never sees. One that wants to
//! take part listens for them (which alone does not keep it running; a
//! listener for `'message'` does):
//!
//! ```js
//! process.on('internalMessage', ({ cmd, kind, id, msg }) => {
//!   if (cmd !== 'NODE_PROCESSION') return;
//!   if (kind === 'request') process._send({ cmd, kind: 'reply', id, msg: answer(msg) });
//!   if (kind === 'send') process._send({ cmd, kind: 'ack', id });
//! });
//! ```
//!
//! [`Command::ipc`]: crate::child_process::Command::ipc
//! [`Command::fork`]: crate::child_process::Command::fork

mod blob;
pub mod blocking;
mod channel;
pub(crate) mod cluster;
mod delivery;
pub(crate) mod envelope;
mod error;
mod handle;
mod memory;
mod message;
mod owner;
#[cfg(feature = "worker-threads")]
pub(crate) mod post;
mod read;
mod receiver;
pub mod relay;
mod request;
mod shared;
mod socket;

pub(crate) use read::receive_waiting;
pub(crate) use shared::busy_poll;

pub use blob::{Blob, BlobWriter, MemoryError};
pub use channel::{Channel, Sender};
pub use delivery::Delivery;
pub use error::{DecodeError, EncodeError, FromEnvError, ReceiveError, RequestError, SendError};
pub use handle::{Handle, HandleError};
pub use message::Message;
pub use procession_core::ipc::inbound::ProtocolError;
pub use procession_core::ipc::{BadMessage, Limits, Serialization};
pub use procession_sys::ForeignMemoryError;
pub use receiver::Receiver;

/// V8's structured clone as data: everything that an `advanced` message can say.
pub mod v8 {
    pub use procession_core::ipc::advanced::*;
}
