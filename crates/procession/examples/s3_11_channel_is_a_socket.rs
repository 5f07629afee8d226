//! Tutorial 003, row S3-11: what is the channel? Run it where there is a `child.js`; with the
//! word `rust` this program is the child as well.
//!
//! The mistake: "IPC works by shared memory". The answer: by a pair of Unix
//! sockets, and each message is copied twice. The child looks at its end and
//! says what it is; from outside, `ss -xp` shows both.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;

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
    while let Some(message) = channel.rx.recv().await? {
        println!("the channel is a {}", message.decode::<String>()?);
    }
    child.wait().await?;
    Ok(())
}

async fn child(channel: Channel) -> Result<(), Box<dyn Error>> {
    // `fork` puts the channel behind the three standard streams.
    let kind = fs::metadata("/dev/fd/3")?.file_type();
    let name = if kind.is_socket() {
        "socket"
    } else {
        "something else"
    };
    channel.tx.send(name).await?;
    Ok(())
}
