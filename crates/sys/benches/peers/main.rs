//! The contenders that are not ours, and the limit: what a C program does.
//!
//! They stand with procession-sys because some of them need `unsafe` for what
//! ours does without: `std` and `tokio` know a new session, a further descriptor and
//! a parent-death signal only as a `pre_exec`. Run by `cargo xtask bench spawn`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result of a round is a line on stdout"
)]

mod asynchronous;
mod blocking;
mod dressed;
mod measure;
mod raw;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use measure::{Job, Ops};

/// Does the operations it is handed.
type Run = Box<dyn FnMut(Arc<Ops>) -> io::Result<()>>;

fn main() -> ExitCode {
    measure::main_with(prepare)
}

fn prepare(job: &Job) -> io::Result<Option<Run>> {
    match job.contender.as_str() {
        "raw" | "raw-pidfd" => raw::prepare(job).map(Some),
        "std" => Ok(Some(blocking::std(job))),
        "duct" => Ok(Some(blocking::duct(job))),
        "tokio" => asynchronous::prepare(job).map(Some),
        _ => Ok(None),
    }
}
