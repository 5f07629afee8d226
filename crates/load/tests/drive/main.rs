//! Loads of servers that do what a script says: each figure is the server's own.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

mod counts;
mod drain;
mod failures;
mod pace;
mod pids;
mod running;
mod server;
#[cfg(feature = "tls")]
mod tls;
mod ways;
