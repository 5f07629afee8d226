//! Tutorial 002, row S2-20: a daemon that ends its children when it gets `SIGTERM`.
//!
//! The mistake: a signal to each child leaves theirs alone, and does not wait. The answer: `stop`
//! ends the trees and returns when nobody is left.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::fs;
use std::os::unix::net::UnixStream as StdUnixStream;

use procession::child_process::{Command, Signal, Stdio, Stop};
use procession::ipc::Channel;
use signal_hook::consts::SIGTERM;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match Channel::from_env()? {
        None => watch().await,
        Some(channel) => daemon(channel).await,
    }
}

async fn watch() -> Result<(), Box<dyn Error>> {
    let mut daemon = Command::fork(std::env::current_exe()?).spawn()?;
    let channel = daemon.channel.as_mut().ok_or("no channel")?;
    let message = channel.rx.recv().await?.ok_or("no message")?;
    let grandchildren: Vec<u32> = message.decode()?;
    daemon.signal(Signal::TERM)?;
    let exit = daemon.wait().await?;
    println!("[main] the daemon exited with code {}", exit.shell_code());
    let all = grandchildren.len();
    let live = grandchildren.into_iter().filter(|pid| lives(*pid)).count();
    println!("[main] of its {all} grandchildren {live} live");
    Ok(())
}

async fn daemon(channel: Channel) -> Result<(), Box<dyn Error>> {
    // The handler writes a byte.
    let (told, handler) = StdUnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, handler)?;
    told.set_nonblocking(true)?;
    let mut told = UnixStream::from_std(told)?;
    let mut children = Vec::new();
    let mut grandchildren: Vec<u32> = Vec::new();
    for _ in [1, 2] {
        let mut command = Command::shell("sleep 600 >&2 & echo $!; wait");
        command.stdout(Stdio::pipe()).stderr(Stdio::ignore());
        let mut child = command.spawn()?;
        let mut digits = [0; 16];
        let stdout = child.stdout.as_mut().ok_or("no stdout")?;
        let length = stdout.read(&mut digits).await?;
        grandchildren.push(str::from_utf8(&digits[..length])?.trim().parse()?);
        children.push(child);
    }
    channel.tx.send(&grandchildren).await?;
    told.read_u8().await?;
    println!("[daemon] SIGTERM: ends its children");
    for mut child in children {
        child.stop(Stop::default()).await?;
    }
    Ok(())
}

/// A zombie, that its new parent has not asked for yet, does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
