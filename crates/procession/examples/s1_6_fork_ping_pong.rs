//! Tutorial 001, row S1-6: `fork('child.js')`, one object each way. Run it where there is a
//! `child.js`; with the word `rust` this program is the child as well.
//!
//! The mistake: neither side disconnects, so both stay for ever. The answer:
//! the parent disconnects when it has what it wants, and the child ends by that.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;

use procession::child_process::Command;
use procession::ipc::Channel;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Greeting {
    hello: String,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    response: String,
}

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

    let hello = "world".to_owned();
    channel.tx.send(&Greeting { hello }).await?;
    let message = channel.rx.recv().await?.ok_or("no answer")?;
    let Answer { response } = message.decode()?;
    println!("Сообщение от дочернего процесса: {{ response: '{response}' }}");

    channel.disconnect().await;
    child.wait().await?;
    Ok(())
}

async fn child(mut channel: Channel) -> Result<(), Box<dyn Error>> {
    while let Some(message) = channel.rx.recv().await? {
        let Greeting { hello } = message.decode()?;
        println!("Получено от родительского процесса: {{ hello: '{hello}' }}");
        let response = "ok".to_owned();
        channel.tx.send(&Answer { response }).await?;
    }
    Ok(())
}
