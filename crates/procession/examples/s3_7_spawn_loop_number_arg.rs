//! Tutorial 003, row S3-7: three children by `spawn`, with the number `i` as an argument.
//! Run it where there is a `command.js`.
//!
//! The tutorial turns each piece of output into text by itself, so a character
//! that is cut in two is lost. Lines are whole, and so are their characters.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::io;

use procession::child_process::{ChildOutput, Command};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    tokio::try_join!(run(0), run(1), run(2))?;
    Ok(())
}

async fn run(i: u32) -> io::Result<()> {
    let mut node = Command::new("node");
    let spawned = node.arg("command.js").arg(i).spawn();
    let mut child = spawned.map_err(io::Error::other)?;
    let stdout = print("stdout:", child.stdout.take());
    let stderr = print("stderr:", child.stderr.take());
    tokio::try_join!(stdout, stderr)?;
    println!("子进程已退出，退出码 {}", child.wait().await?.shell_code());
    Ok(())
}

async fn print(name: &str, output: Option<ChildOutput>) -> io::Result<()> {
    let Some(output) = output else { return Ok(()) };
    let mut lines = output.lines();
    while let Some(line) = lines.next_line().await? {
        println!("{name}{}", String::from_utf8_lossy(&line));
    }
    Ok(())
}
