//! Tutorial 003, row S3-6: three children by `exec`, each told at its exit, then its output.
//! Run it where there is a `command.js`.
//!
//! The tutorial pastes `i` into a line for the shell; here it is an argument,
//! quoted where need be, so the line means the same whatever `i` holds.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use procession::child_process::{Command, Exit, RunError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), RunError> {
    tokio::try_join!(run(0), run(1), run(2))?;
    Ok(())
}

async fn run(i: u32) -> Result<(), RunError> {
    let child = Command::shell("node command.js").arg(i).outcome().await?;
    match child.exit {
        Exit::Code(code) => println!("子进程已退出，退出码 {code}"),
        Exit::Signal { signal, .. } => println!("子进程已退出，信号 {signal}"),
    }
    if !child.success() {
        println!("{}", child.cause());
    }
    println!("stdout:{}", String::from_utf8_lossy(&child.stdout));
    println!("stderr: {}", String::from_utf8_lossy(&child.stderr));
    Ok(())
}
