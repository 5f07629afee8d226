//! Tutorial 000, row S0-9: a worker with its data, and a message each way.
//!
//! The mistake: nobody closes anything, so the worker listens for ever and
//! Node's program never ends. The answer: a port has an end. Ours closes it,
//! the worker's loop is over, and the worker leaves.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;

use procession::worker_threads::{Worker, WorkerEvent};

fn main() -> Result<(), Box<dyn Error>> {
    let worker_data = "Hello from main thread!";
    let mut worker = Worker::<&str, &str>::spawn("worker", move |mut port, _stop| {
        println!("Worker Data {worker_data}");
        port.post_blocking("Hello from worker thread!")?;
        while let Some(message) = port.recv_blocking() {
            println!("Message from main thread: {message}");
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    })?;
    worker.post_blocking("Hello from main thread!")?;
    while let Some(event) = worker.next_event_blocking() {
        match event {
            WorkerEvent::Message(message) => {
                println!("Message from worker: {message}");
                worker.close();
            }
            WorkerEvent::Error(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
