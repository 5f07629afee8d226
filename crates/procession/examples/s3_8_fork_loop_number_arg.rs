//! Tutorial 003, row S3-8: three children by `fork`, with the number `i` as an argument. Run it
//! where there is a `command.js`; with the word `rust` this program is the children as well.
//!
//! Nothing is wrong in it: a forked child writes where we write.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "as the tutorial")]

use std::error::Error;

use procession::child_process::Command;
use procession::ipc::Channel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if Channel::from_env()?.is_some() {
        return child();
    }
    tokio::try_join!(run(0), run(1), run(2))?;
    Ok(())
}

async fn run(i: u32) -> Result<(), Box<dyn Error>> {
    let mut command = Command::fork("command.js");
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?);
    }
    let exit = command.arg(i).spawn()?.wait().await?;
    println!("子进程已退出，退出码{}", exit.shell_code());
    Ok(())
}

fn child() -> Result<(), Box<dyn Error>> {
    let pid = std::process::id();
    // As in Node, the module's name is the first argument.
    let i = std::env::args().nth(2).ok_or("no number")?;
    println!("pid: {pid}，进程{i}的stdout");
    // In one piece, as `console.error` writes it: three children write at the same time.
    let line = format!("pid: {pid}，进程{i}的stderr\n");
    eprint!("{line}");
    Ok(())
}
