//! Tutorial 003, rows S3-12 and S3-13: "processes can talk by socket". Run it where there is
//! a `child.js`; with the word `intended`, where there is an `intended_child.js`.
//!
//! The mistakes: a fourth pipe is asked for, but the child talks on descriptor
//! 1, which must then be a socket; and both sides wait for each other for ever.
//! The answer: as written, with a socket that the child is given on purpose and
//! that we end; and as intended, both ways over descriptor 3.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::os::unix::net::UnixStream as Socket;

use procession::child_process::Stdio;
use procession::cmd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => as_written().await,
        Some("intended") => as_intended().await,
        Some(other) => Err(format!("`intended` or nothing, not `{other}`").into()),
    }
}

async fn as_written() -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = Socket::pair()?;
    ours.set_nonblocking(true)?;
    let mut ours = UnixStream::from_std(ours)?;
    let mut child = cmd!("node", "child")
        .stdout(Stdio::fd(theirs))
        .stdio(3, Stdio::pipe())
        .spawn()?;

    let mut greeting = vec![0; 1024];
    let length = ours.read(&mut greeting).await?;
    println!("来自子进程消息 {}", str::from_utf8(&greeting[..length])?);

    // The child reads what we write here. Its end is what it waits for.
    ours.shutdown().await?;
    child.wait().await?;
    Ok(())
}

async fn as_intended() -> Result<(), Box<dyn Error>> {
    let mut child = cmd!("node", "intended_child")
        .stdio(3, Stdio::pipe())
        .spawn()?;
    let mut pipe = child.take_stdio(3).ok_or("no fourth pipe")?;

    pipe.write_all(b"hello child process!").await?;
    let mut answer = String::new();
    pipe.read_to_string(&mut answer).await?;
    println!("来自子进程消息 {answer}");

    drop(pipe);
    let exit = child.wait().await?;
    println!("child left with code {}", exit.shell_code());
    Ok(())
}
