//! The worker of the storm: does what a task says, once it has noted that it began.

#[path = "task.rs"]
mod task;

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::time::Instant;

use procession::pool::{Running, Worker};
use task::{Deed, GRACE, LEDGER, Task};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ledger = std::env::var_os(LEDGER).ok_or("start me from the storm")?;
    let ledger = OpenOptions::new().append(true).open(ledger)?;
    let worker = Worker::from_env()?.ok_or("start me from a pool")?;
    worker
        .serve(move |task: Task, running: &mut Running<'_, (), ()>| run(&ledger, task, running))
        .await?;
    Ok(())
}

#[expect(clippy::exit, reason = "to see what becomes of the pool")]
#[expect(clippy::disallowed_methods, reason = "to see what becomes of the pool")]
fn run(ledger: &File, task: Task, running: &mut Running<'_, (), ()>) -> u64 {
    note_begin(ledger, task.id).expect("the ledger can be written");
    match task.deed {
        Deed::Return => {}
        Deed::Panic => panic!("{}", task.id),
        Deed::Slow => {
            let end = Instant::now() + GRACE * 3 / 2;
            while Instant::now() < end && !running.is_canceled() {
                std::thread::sleep(GRACE / 100);
            }
        }
        Deed::Wait => {
            while !running.is_canceled() {
                std::thread::yield_now();
            }
        }
        Deed::Deaf => loop {
            std::thread::park();
        },
        Deed::Exit => std::process::exit(7),
        Deed::Kill => {
            let itself = rustix::process::getpid();
            rustix::process::kill_process(itself, rustix::process::Signal::KILL)
                .expect("it may kill itself");
        }
    }
    task.id
}

/// Notes in one write that a task began, and in which process: lines of others
/// do not mix with it.
fn note_begin(mut ledger: &File, id: u64) -> io::Result<()> {
    ledger.write_all(format!("{id} {}\n", std::process::id()).as_bytes())
}
