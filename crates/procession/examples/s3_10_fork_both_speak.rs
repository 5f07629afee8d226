//! Tutorial 003, row S3-10: parent and child each send a string to the other. Run it where
//! there is a `child.js`; with the word `rust` this program is the child as well.
//!
//! The mistake: neither side disconnects, so both stay for ever. The answer:
//! the parent disconnects after the greeting. What it sent still arrives.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;

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
    let mut command = Command::fork("child.js");
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?);
    }
    let mut child = command.spawn()?;
    let mut channel = child.channel.take().ok_or("no channel")?;

    channel.tx.send("hello child process!").await?;
    let message = channel.rx.recv().await?.ok_or("no greeting")?;
    println!("主进程收到子进程的消息： {}", message.decode::<String>()?);

    channel.disconnect().await;
    child.wait().await?;
    Ok(())
}

async fn child(mut channel: Channel) -> Result<(), Box<dyn Error>> {
    channel.tx.send("hello master process!").await?;
    while let Some(message) = channel.rx.recv().await? {
        println!("子进程收到主进程的消息： {}", message.decode::<String>()?);
    }
    Ok(())
}
