//! Tutorial 002, row S2-13: when does a child begin to run? Run it where there is a
//! `child.js`; with the word `rust` this program is the child as well.
//!
//! The mistake: a comment says, at the first message. The answer: at once, here
//! and in Node. A message waits in the channel until somebody listens.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::time::Duration;

use procession::child_process::Command;
use procession::ipc::Channel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match Channel::from_env()? {
        None => parent().await,
        Some(channel) => child(channel).await,
    }
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let mut command = Command::fork("./child.js");
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?);
    }
    let mut child = command.spawn()?;
    let mut channel = child.channel.take().ok_or("no channel")?;

    let message = channel.rx.recv().await?.ok_or("no message")?;
    println!("[main] got: {}", message.decode::<String>()?);
    println!("[main] sends its first message");
    channel.tx.send("hello world").await?;
    child.wait().await?;
    Ok(())
}

async fn child(mut channel: Channel) -> Result<(), Box<dyn Error>> {
    println!("[child] runs");
    channel.tx.send("I run, and was sent nothing").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let message = channel.rx.recv().await?.ok_or("no message")?;
    println!("[child] got: {}", message.decode::<String>()?);
    Ok(())
}
