//! Our pools and ports beside what else a Rust program has for that: a channel
//! with a oneshot, rayon, tokio's `spawn_blocking`. Run by `cargo xtask bench pool`.
//!
//! Every contender has the same submitter on the same kind of runtime, as many
//! threads, as many tasks ahead, and the same function to run.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result of a round is a line on stdout"
)]

mod executor;
mod flow;
mod measure;
mod overhead;
mod ports;
mod processes;
mod storm;
mod waits;

use std::error::Error;
use std::process::ExitCode;

use measure::{Job, Round, Task};

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker"] => return code(processes::worker()),
        ["sharer"] => return code(processes::sharer()),
        ["spinner"] => return code(storm::spinner()),
        _ => {}
    }
    let Some(job) = Job::parse(&words) else {
        // `cargo bench` and `cargo test --benches` come here.
        println!("usage: CONTENDER TASK WORKERS AHEAD COUNT, as `cargo xtask bench pool` does");
        return ExitCode::SUCCESS;
    };
    code(round(&job).map(|round| println!("{}", round.to_json())))
}

fn round(job: &Job) -> Result<Round, Failure> {
    match job.task {
        Task::Spin { .. } => flow::spins(job),
        Task::Payload => flow::payload(job),
        Task::Overhead { .. } => overhead::round(job),
        Task::Waits => waits::round(job),
        Task::Storm => storm::round(job),
        Task::PortPair | Task::PortAlone => ports::round(job),
        Task::Echo => processes::round(job),
        Task::Share => processes::share(job),
        Task::StormOfProcesses => storm::of_processes(job),
    }
}

fn code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
