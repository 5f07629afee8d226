//! A program that is a pool's worker: it does sums, and what else it is told.
//!
//! `Pool::processes(limits, Command::new("pool_worker").ipc(Serialization::Json))`

use std::error::Error;

use procession::pool::{Running, Worker};
use serde::{Deserialize, Serialize};

/// What can be asked of it.
#[derive(Debug, Serialize, Deserialize)]
enum Task {
    Square(u64),
    /// Counts, and says so, until it is to end.
    Count,
    Panic,
    /// Ends the process.
    Exit,
    /// Never ends, whatever it is told.
    Hang,
    /// The process's number.
    Pid,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let worker = Worker::from_env()?.ok_or("start me from a pool")?;
    worker.serve(run).await?;
    Ok(())
}

#[expect(clippy::exit, reason = "to see what becomes of the pool")]
#[expect(clippy::disallowed_methods, reason = "to see what becomes of the pool")]
fn run(task: Task, running: &mut Running<'_, (), u64>) -> u64 {
    match task {
        Task::Square(n) => n * n,
        Task::Count => {
            let mut count = 0;
            while !running.is_canceled() {
                running.progress(count);
                count += 1;
                std::thread::yield_now();
            }
            count
        }
        Task::Panic => panic!("as I was told"),
        Task::Exit => {
            eprint_farewell();
            std::process::exit(7)
        }
        Task::Hang => loop {
            std::thread::park();
        },
        Task::Pid => u64::from(std::process::id()),
    }
}

#[expect(clippy::print_stderr, reason = "last words")]
fn eprint_farewell() {
    eprintln!("farewell");
}
