//! Tutorial 001, row S1-5: `spawn('node', ['-v'])`, output as it comes, then `close`.
//!
//! A child that a signal ended has no code; the tutorial would print `null`.
//! `Exit` is a code or a signal, so the other case cannot be forgotten.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use procession::child_process::{Event, Exit, SpawnError};
use procession::cmd;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), SpawnError> {
    let mut node = cmd!("node", "-v").events();
    while let Some(event) = node.next().await {
        match event {
            Event::Stdout(data) => println!("stdout: {}", String::from_utf8_lossy(&data)),
            Event::Stderr(data) => eprintln!("stderr: {}", String::from_utf8_lossy(&data)),
            Event::Error(error) => return Err(error),
            Event::Close(Some(Exit::Code(code))) => println!("Процесс завершился с кодом {code}"),
            Event::Close(Some(Exit::Signal { signal, .. })) => {
                println!("Процесс завершён сигналом {signal}");
            }
            _ => {}
        }
    }
    Ok(())
}
