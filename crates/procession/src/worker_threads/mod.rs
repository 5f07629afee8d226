//! How does work get a thread of its own, and how do the two talk?
//!
//! **A thread cannot be killed.** [`Worker::terminate`] is a request with a
//! deadline: the body's token is cancelled and its port closed. A body that
//! looks at neither runs on, `terminate` says so by an error, and nothing but
//! the end of the process ends it. What must be ended belongs into a process
//! ([`child_process`](crate::child_process)).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use procession::worker_threads::{Worker, WorkerEvent};
//!
//! let greeting = String::from("hello"); // workerData: moved in
//! let mut worker = Worker::<String, String>::spawn("greeter", move |mut port, stop| {
//!     while let Some(name) = port.recv_blocking() {
//!         if stop.is_cancelled() || port.post_blocking(format!("{greeting} {name}")).is_err() {
//!             break;
//!         }
//!     }
//! })?;
//! worker.post("world".into()).await?;
//! while let Some(event) = worker.next_event().await {
//!     match event {
//!         WorkerEvent::Message(text) => {
//!             assert_eq!(text, "hello world");
//!             worker.close();
//!         }
//!         WorkerEvent::Error(error) => eprintln!("{error}"), // a panic, too
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | to | there is |
//! | --- | --- |
//! | run on a thread | [`Worker`] |
//! | talk with one other | [`MessageChannel`] |
//! | tell everybody who listens | [`BroadcastChannel`] |
//! | tell a thread, and know that it heard | [`post_message_to_thread`] |
//! | share memory | [`SharedArrayBuffer`] |
//! | let one at a time | [`locks`] |
//! | hand settings down | [`set_environment_data`] |
//! | have the same between processes | [`process`] |
//!
//! # Async or not
//!
//! All of it works on any tokio runtime (`terminate` and
//! `post_message_to_thread` need its time enabled) and on plain threads, by the
//! methods that end in `_blocking`. Those panic when they are called in
//! async code, where they would stop a whole runtime.
//!
//! # Panics
//!
//! A panic of a worker's body is a [`WorkerEvent::Error`] with its text and
//! place, and takes nothing else down (unless the program is built with
//! `panic = "abort"`). The panic hook still prints it: for the place, the first
//! worker wraps the hook that it finds.

mod blocking;
mod broadcast;
mod environment;
mod error;
mod gate;
mod line;
pub mod locks;
mod messaging;
mod panic;
mod port;
pub mod process;
mod shared;
mod slot;
mod sync;
mod worker;

pub use broadcast::BroadcastChannel;
pub use environment::{
    ThreadId, get_environment_data, is_main_thread, remove_environment_data, set_environment_data,
};
pub use error::{
    AlreadyListening, Lagged, PostError, PostToThreadError, RecvTimedOut, SpawnError,
    TerminateError, TryRecvError, WorkerError, WrongType,
};
pub use messaging::{
    ThreadMessage, ThreadMessages, post_message_to_thread, post_message_to_thread_blocking,
};
pub use panic::Panic;
pub use port::{MessageChannel, MessagePort, PortSender, Queue};
pub use shared::{SharedArrayBuffer, Waited};
pub use worker::{Worker, WorkerEvent, WorkerExit, WorkerOptions, WorkerResult};
