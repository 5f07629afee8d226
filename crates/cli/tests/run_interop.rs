//! Unmodified servers under `procession run`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(clippy::print_stderr, reason = "skips are told to the terminal")]

#[path = "run_interop/bad_input.rs"]
mod bad_input;
#[path = "run_interop/deaths.rs"]
mod deaths;
#[path = "run_interop/egg.rs"]
mod egg;
#[path = "run_interop/endurance.rs"]
mod endurance;
#[path = "run_interop/frameworks.rs"]
mod frameworks;
#[path = "run_interop/kills.rs"]
mod kills;
#[path = "run_interop/listeners.rs"]
mod listeners;
#[path = "run_interop/load.rs"]
mod load;
#[path = "run_interop/servers.rs"]
mod servers;
#[path = "run_interop/stage.rs"]
mod stage;
