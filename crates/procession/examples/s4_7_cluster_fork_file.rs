//! Tutorial 004, row S4-7: a worker that runs a file of its own. Run it where there is a `worker.js`.
//!
//! The mistake: `cluster.fork("worker.js")` takes an environment, not a file, so the worker runs the
//! primary's own program and dies of it. Here that cannot be written: the program is what a `Spec` is
//! made from, and an environment is a method of it.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;

use procession::child_process::{Command, Stdio};
use procession::cluster::{Event, Primary, Spec, When};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut command = Command::node("./worker.js");
    command.env("COLOR", "no").stdout(Stdio::inherit());
    let mut spec = Spec::new(command);
    spec.workers = 1;
    spec.restart.when = When::Never;
    let mut primary = Primary::start(spec)?;
    while let Some(event) = primary.next_event().await {
        match event {
            Event::Message { worker, message } => println!("worker {worker}: {message:?}"),
            Event::Exit { worker, exit } if !exit.exit.success() => {
                println!("worker {worker} {exit}")
            }
            _ => {}
        }
    }
    Ok(())
}
