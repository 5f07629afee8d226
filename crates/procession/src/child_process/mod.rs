//! How do I start a program, feed it, read it, time it out and end it?
//!
//! A [`Command`] says what to start; it is plain data. What happens then is
//! asked of it:
//!
//! | you want | call | Node |
//! |---|---|---|
//! | its output, or an error that still carries it | [`Command::output`] | `exec`, `execFile` |
//! | all about the run, however it ended | [`Command::outcome`] | `spawnSync`'s result |
//! | only how it ended, with our terminal | [`Command::status`] | `stdio: 'inherit'` |
//! | to talk to it while it runs | [`Command::spawn`] | `spawn` |
//! | its events in Node's order | [`Command::events`] | `child.on(…)` |
//! | several joined by pipes | [`Command::pipe`] | – |
//! | any of these without a runtime | [`Command::output_blocking`] and its kin | `execSync`, `spawnSync` |
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use procession::child_process::{Command, RunError, Stop};
//! use tokio::io::AsyncWriteExt;
//!
//! // A bad exit is an error that still carries the output.
//! match Command::shell("echo half done; exit 3").output().await {
//!     Err(RunError::Failed { outcome }) => {
//!         assert_eq!(outcome.exit.code(), Some(3));
//!         assert_eq!(outcome.stdout_str()?, "half done");
//!     }
//!     other => panic!("{other:?}"),
//! }
//!
//! // A conversation.
//! let mut cat = Command::new("cat").spawn()?;
//! cat.stdin.take().ok_or("no stdin")?.write_all(b"hello\n").await?;
//! let mut lines = cat.stdout.take().ok_or("no stdout")?.lines();
//! assert_eq!(lines.next_line().await?.as_deref(), Some(&b"hello"[..]));
//!
//! // The end of a whole tree: politely, then not.
//! let mut tree = Command::shell("sleep 60 | sleep 60").spawn()?;
//! let stopped = tree.stop(Stop { grace: Duration::from_secs(2), ..Stop::default() }).await?;
//! assert!(!stopped.forced);
//! # Ok(())
//! # }
//! ```
//!
//! # Differences from Node, on purpose
//!
//! * A missing working directory is blamed itself, not the program.
//! * Every end we bring about escalates: the polite signal, a grace period, `SIGKILL`.
//! * A time-out ends the programs of a shell line too ([`Tree`]).
//! * After the child's end its output is read for a bounded time ([`Drain`]).
//! * `maxBuffer` is 100 MiB, and the tail or a file can be kept instead ([`MaxBuffer`]).
//! * A script without `#!` is an error (`ENOEXEC`), not a shell script by accident.
//! * Arguments of a shell line are quoted.

mod argument;
mod assemble;
mod blocking;
mod child;
mod collect;
mod command;
mod error;
mod events;
mod exit;
mod fork;
mod limits;
mod listen;
mod oom;
mod outcome;
mod pipeline;
mod pipes;
mod prepare;
mod run;
mod sink;
mod stdio;
mod supervise;
mod trace;
mod transform;

pub use argument::{Argument, Arguments};
pub(crate) use child::send;
pub use child::{Child, SignalError, Stopped};
pub use command::{Command, DEFAULT_DRAIN, DEFAULT_MAX_BUFFER, Drain, MaxBuffer, Tree};
pub use error::{RunError, SpawnError};
pub use events::{Event, Events};
pub use exit::Exit;
pub use outcome::{Outcome, Verdict};
pub use pipeline::{From, Pipeline};
pub use pipes::{ChildDuplex, ChildOutput, ChildStdin, Lines};
pub use procession_core::capture::Overflow;
pub use procession_core::lifecycle::Stop;
pub use procession_core::signal::{Signal, UnknownSignal};
pub use procession_sys::{Resource, Step, TreeLevel, Usage};
pub use stdio::{FileMode, Stdio, Target};
pub use transform::Transform;
