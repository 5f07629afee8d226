//! Node's process model for Rust.
//!
//! [`child_process`] starts, feeds, reads, times out and ends programs; [`ipc`] is
//! the channel to those that speak as Node does; [`cluster`] serves with many of them.
//! `worker_threads` are threads with ports, and [`pool`] spreads tasks over threads or processes.
#![forbid(unsafe_code)]

pub mod child_process;
pub mod cluster;
pub mod ipc;
pub mod node;
pub mod platform;
pub mod pool;
#[cfg(feature = "worker-threads")]
pub mod worker_threads;

pub use child_process::{Child, Command, Exit, Outcome, RunError, Signal, SpawnError, Stdio};

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
