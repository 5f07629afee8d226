//! Tutorial 002, rows S2-17 and S2-18: a child that dies is started again. Run it where there is a
//! `child.js`; with the word `rust` this program is the child as well.
//!
//! The mistake: `process.on('exit')` "tells of the child's exit". It is that of one's own program.
//! Here the child's is what `wait` returns. For servers, see `s1_11_respawn_storm`: a loop like
//! this one is a storm when the child never gets well.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::process::ExitCode;

use procession::child_process::Command;
use procession::ipc::Channel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    if Channel::from_env()?.is_some() {
        return Ok(child());
    }
    for attempt in 1.. {
        let mut command = Command::fork("./child.js");
        if std::env::args().any(|word| word == "rust") {
            command.exec_path(std::env::current_exe()?);
        }
        let exit = command.arg(attempt).spawn()?.wait().await?;
        println!("[main] child exited with code {}", exit.shell_code());
        if exit.success() {
            break;
        }
    }
    // The end of `main` is one's own exit.
    println!("[main] process.on('exit'): 0");
    Ok(ExitCode::SUCCESS)
}

fn child() -> ExitCode {
    let attempt = std::env::args().nth(2).unwrap_or_default();
    println!("[child] attempt {attempt}");
    u8::from(attempt != "3").into()
}
