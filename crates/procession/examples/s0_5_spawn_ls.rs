//! Tutorial 000, row S0-5: `spawn('ls', ['-lh', './'])`, output as it comes, the code on `close`.
//!
//! It forgets the event `error`: without an `ls` it would die of an exception.
//! Here a failed start is the error that `main` returns.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use procession::child_process::{Command, Event, SpawnError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), SpawnError> {
    let mut ls = Command::new("ls").args(["-lh", "./"]).events();
    while let Some(event) = ls.next().await {
        match event {
            Event::Stdout(data) => println!("stdout: {}", String::from_utf8_lossy(&data)),
            Event::Stderr(data) => println!("stderr: {}", String::from_utf8_lossy(&data)),
            Event::Error(error) => return Err(error),
            Event::Close(Some(exit)) => println!("child process {exit}"),
            _ => {}
        }
    }
    Ok(())
}
