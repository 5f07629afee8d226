//! How do all cores serve one port? A primary that listens, and workers that
//! are unmodified Node servers, Rust servers, or anything that takes a socket.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use procession::child_process::Command;
//! use procession::cluster::{Event, Primary, Spec};
//!
//! let mut primary = Primary::start(Spec::new(Command::node("server.js")))?;
//! while let Some(event) = primary.next_event().await {
//!     match event {
//!         Event::Listening { worker, at, .. } => println!("worker {worker} serves {at}"),
//!         Event::Exit { worker, exit, .. } => eprintln!("worker {worker} {exit}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A primary lives as long as it is asked for events, or its
//! [`Control`]s are used: dropping all of them kills its workers.

mod control;
mod error;
mod event;
mod group;
mod inherit;
mod listener;
mod owner;
mod primary;
mod process;
mod queue;
mod sockets;
mod spec;
mod status;
mod worker;

pub use control::Control;
pub use error::{ControlError, StartError};
pub use event::{Address, Event, Output, WorkerExit};
pub use listener::{Accepted, ListenError, Listener, ParseListenError, Stream};
pub use primary::Primary;
pub use procession_core::cluster::balance::{
    Balance, FIRST_BYTES, Incoming, Load, Policy, PolicyError, Wants,
};
pub use procession_core::cluster::primary::Addresses;
pub use procession_core::cluster::protocol::AddressType;
pub use procession_core::cluster::restart::{Budget, Restart, When};
pub use procession_core::cluster::spread::Mode;
pub use procession_core::cluster::supervise::{End, GaveUp, Phase, Ready, StopPlan};
pub use procession_core::cluster::worker::Leave;
pub use procession_core::cluster::{Slot, WorkerId};
pub use spec::{Inspect, Listen, Quotas, Spec};
pub use status::{ListenerStatus, Status, WorkerStatus};
pub use worker::Worker;
