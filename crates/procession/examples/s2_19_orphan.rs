//! Tutorial 002, row S2-19: a parent is killed that has a child.
//!
//! Without more the child lives on, an orphan: no program can clean up after `SIGKILL`. The answer
//! is the kernel's: it ends the child when its parent is gone. Workers of a cluster have that by default.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::time::Duration;

use procession::child_process::{Command, Exit, Signal, Stdio};
use tokio::io::AsyncReadExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("parent") => parent().await,
        _ => watch().await,
    }
}

async fn watch() -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut parent = command.arg("parent").stdout(Stdio::pipe()).spawn()?;
    // The child has it too: it is open while one of them lives.
    let mut stdout = parent.stdout.take().ok_or("no stdout")?;
    let mut pid = [0; 16];
    if stdout.read(&mut pid).await? == 0 {
        return Err("the parent started nobody".into());
    }
    println!("[main] kills the parent");
    parent.kill()?;
    match parent.wait().await? {
        Exit::Signal { signal, .. } => println!("[main] the parent ended by {signal}"),
        Exit::Code(code) => println!("[main] the parent exited with code {code}"),
    }
    let mut rest = Vec::new();
    let gone = stdout.read_to_end(&mut rest);
    match tokio::time::timeout(Duration::from_secs(10), gone).await {
        Ok(read) => read.map(|_| println!("[main] its child is gone with it"))?,
        Err(_) => println!("[main] its child lives: an orphan"),
    }
    Ok(())
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let mut command = Command::new("sleep");
    command.arg(600).parent_death_signal(Signal::KILL);
    command.stdout(Stdio::inherit());
    let mut child = command.spawn()?;
    println!("{}", child.id());
    child.wait().await?;
    Ok(())
}
