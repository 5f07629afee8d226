//! Tutorial 003, row S3-2: "when a thread breaks, the process crashes".
//!
//! The mistake: it does not, in Node neither. A worker that panics is an event
//! for whoever started it, and nothing else ends.
#![expect(clippy::print_stdout, reason = "as the Node program beside it")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;
use std::panic;

use procession::worker_threads::{MessagePort, Worker, WorkerError, WorkerEvent};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Rust says on stderr what panicked; here the event says it.
    panic::set_hook(Box::new(|_| {}));

    let mut worker = Worker::spawn("broken", broken)?;
    while let Some(event) = worker.next_event().await {
        match event {
            WorkerEvent::Error(WorkerError::Panicked(panic)) => {
                println!("error: {}", panic.message)
            }
            WorkerEvent::Exit(exit) => println!("exit: {}", exit.code()),
            _ => {}
        }
    }
    println!("the process lives");
    Ok(())
}

fn broken(_: MessagePort<(), ()>, _: CancellationToken) {
    panic!("a broken thread");
}
