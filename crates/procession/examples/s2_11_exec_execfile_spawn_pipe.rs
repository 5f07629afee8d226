//! Tutorial 002, row S2-11: `exec`, `execFile`, `spawn` with our terminal, and `echo | wc`,
//! all side by side.
//!
//! The tutorial looks at no error, and carries every byte from `echo` to `wc`
//! itself. Here the first failure ends `main`, and the pipe is the kernel's.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use procession::child_process::{Command, RunError, Stdio};
use procession::cmd;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), RunError> {
    let exec = async {
        let echo = Command::shell("echo hello world").output().await?;
        println!("[exec] {}", String::from_utf8_lossy(&echo.stdout));
        Ok(())
    };
    let exec_file = async {
        let echo = cmd!("echo", "hi", "world").output().await?;
        println!("[execFile] {}", String::from_utf8_lossy(&echo.stdout));
        Ok(())
    };
    let spawn = async { cmd!("npm", "--help").status().await };
    let pipe = async {
        let mut wc = cmd!("wc", "-w");
        wc.stdout(Stdio::inherit());
        cmd!("echo", "hello world").pipe(&wc).output().await
    };
    tokio::try_join!(exec, exec_file, spawn, pipe)?;
    Ok(())
}
