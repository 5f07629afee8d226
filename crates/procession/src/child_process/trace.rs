//! What is told to `tracing`, if the feature of that name is on: each start, each
//! signal on the way to an end, each end. Never the environment, which may hold
//! secrets.
//!
//! # Node
//!
//! The diagnostics channels `child_process.spawn:*`.

use procession_sys::Ended;

use super::Signal;
use super::command::Command;
use super::error::SpawnError;

/// A child was started, or was not.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn start(command: &Command, result: &Result<u32, &SpawnError>) {
    #[cfg(feature = "tracing")]
    match result {
        Ok(pid) => tracing::debug!(target: "procession::spawn", pid, %command, "started"),
        Err(error) => tracing::debug!(target: "procession::spawn", %command, %error, "not started"),
    }
}

/// A child is being ended.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn signal(pid: u32, signal: Signal) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "procession::stop", pid, %signal, "ending it and its tree");
}

/// A child has ended.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn end(pid: u32, ended: &Ended) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "procession::exit", pid, exit = %super::Exit::from_how(ended.how), "ended");
}
