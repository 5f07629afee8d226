//! Tutorial 000, row S0-7: a message to a child that never listens. Run it where there is a
//! `spawn.js`; with the word `rust` this program is the child as well.
//!
//! The mistake: Node's `send` says `true`, and the message is lost. Nothing
//! promises more, here neither: `send` is done when the message is queued. The
//! answer: `send_confirmed` waits until somebody has received it, and says so if not.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;
use std::time::Duration;

use procession::child_process::{Command, Event};
use procession::ipc::{Channel, RequestError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match Channel::from_env()? {
        None => parent().await,
        Some(channel) => child(channel).await,
    }
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let mut command = Command::fork("./spawn.js");
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?);
    }
    let mut child = command.spawn()?;
    let channel = child.channel.take().ok_or("no channel")?;

    let limit = Duration::from_secs(10);
    let sent = channel.tx.send_confirmed("Hello from parent", limit).await;
    child.wait().await?;
    match sent {
        Ok(()) => println!("Parent was heard"),
        Err(RequestError::Refused { reason, .. }) => println!("Parent was not heard: {reason}"),
        Err(RequestError::Closed { .. }) => println!("Parent was not heard: the child has ended"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn child(channel: Channel) -> Result<(), Box<dyn Error>> {
    // Whoever does not listen says so by dropping the receiver.
    drop(channel.rx);
    let mut ls = Command::new("ls").args(["-lh", "./"]).events();
    while let Some(event) = ls.next().await {
        match event {
            Event::Stdout(data) => println!("stdout: {}", String::from_utf8_lossy(&data)),
            Event::Stderr(data) => println!("stderr: {}", String::from_utf8_lossy(&data)),
            Event::Error(error) => return Err(error.into()),
            Event::Close(Some(exit)) => println!("child process {exit}"),
            _ => {}
        }
    }
    Ok(())
}
