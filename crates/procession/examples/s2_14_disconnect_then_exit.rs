//! Tutorial 002, row S2-14: what a parent hears when a child leaves. Run it where there is a
//! `child.js`; with the word `rust` this program is the child as well.
//!
//! The mistake: its listener for `exit` "listens for the disconnect". These are
//! two events: the channel closes, and later the child ends. Another one is
//! Node's own: a parent that disconnects by itself never hears `close`. Here it does.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;
use std::process::ExitCode;

use procession::child_process::{Command, Event};
use procession::ipc::Channel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    match Channel::from_env()? {
        None => parent().await,
        Some(channel) => child(channel).await,
    }
}

async fn parent() -> Result<ExitCode, Box<dyn Error>> {
    let mut command = Command::fork("./child.js");
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?);
    }
    let mut child = command.events();
    while let Some(event) = child.next().await {
        match event {
            Event::Message(_) => {
                if let Some(channel) = &child.channel {
                    channel.disconnect().await;
                }
            }
            Event::Disconnect => println!("[main] disconnect"),
            Event::Exit(exit) => println!("[main] exit with code {}", exit.shell_code()),
            Event::Close(Some(exit)) => println!("[main] close with code {}", exit.shell_code()),
            Event::Error(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn child(mut channel: Channel) -> Result<ExitCode, Box<dyn Error>> {
    channel.tx.send("ready").await?;
    while channel.rx.recv().await?.is_some() {}
    println!("[child] disconnect");
    Ok(7.into())
}
