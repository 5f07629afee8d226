//! How do processes share what threads share? By the same names, over a channel.
//!
//! Between programs of procession that have an [`ipc`](crate::ipc) channel, in the
//! manner of [`worker_threads`](super):
//!
//! | to | there is |
//! | --- | --- |
//! | talk with one other | [`MessageChannel`] |
//! | share memory | [`SharedArrayBuffer`] |
//! | hand over a large result without a copy | [`Blob`](crate::ipc::Blob) |
//! | tell everybody in the tree who listens | [`BroadcastChannel`] |
//! | let one in the tree at a time | [`Hub::request`] |
//!
//! A port's end, memory, and a [`Seat`] at a hub become a
//! [`Handle`](crate::ipc::Handle) that travels with any message; what the
//! message says is the program's own. An unmodified Node on a channel of this
//! process never sees any of it, unless it is sent one of these handles: to it
//! they are plain connections.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use procession::ipc::{Channel, Serialization};
//! use procession::worker_threads::process::{DetachedPort, MessageChannel};
//!
//! let (ours, mut theirs) = Channel::pair(Serialization::Json)?; // of a parent and its child
//! let MessageChannel { port1, port2 } = MessageChannel::<u32, String>::new()?;
//! let mut port = port1.start()?;
//! port.post(&7).await?;
//!
//! let (sent, message) = tokio::join!(ours.tx.send_with_handle("a port", port2), theirs.rx.recv());
//! sent?;
//! let handle = message?.and_then(|mut message| message.take_handle()).ok_or("no port")?;
//! let mut other = DetachedPort::<String, u32>::from_handle(handle)?.start()?;
//! assert_eq!(other.recv().await?, Some(7));
//! other.post(&"seven".to_owned()).await?;
//! drop(other);
//! assert_eq!(port.recv().await?.as_deref(), Some("seven"));
//! assert_eq!(port.recv().await?, None);
//! # Ok(())
//! # }
//! ```
//!
//! # Who is trusted
//!
//! Nobody: what a peer sends is checked, counted and bounded, and nothing of it
//! can crash us, change memory that we read as plain bytes, or grow without a
//! bound. A peer that does not keep to the format loses its port or its place
//! at the hub. Members of a tree do trust the hub, which is in its root.
//!
//! # Async or not
//!
//! What has a socket belongs to the runtime in which it was made. The methods
//! that end in `_blocking` are for plain threads beside it, and panic in async code.

mod broadcast;
mod error;
mod host;
mod hub;
mod locks;
mod port;
mod shared;
mod table;
mod wire;

pub use broadcast::BroadcastChannel;
pub use error::{BroadcastError, HubError, NotAHandle, RecvError, TryRecvError};
pub use hub::{Hub, Seat};
pub use locks::{Lock, LockInfo, LockSnapshot};
pub use port::{DetachedPort, MessageChannel, MessagePort, PortSender};
pub use shared::SharedArrayBuffer;
