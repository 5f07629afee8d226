//! The command `procession`: typed flags, a resolved request, the run.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod exit;
mod failure;
mod render;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = args::parse(std::env::args_os()).and_then(|request| commands::run(&request));
    match done {
        Ok(code) => code,
        Err(failure) => failure.tell(),
    }
}
