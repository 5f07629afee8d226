//! Tutorial 004, row S4-3: one child seen both ways, output as it comes and all of it at the end.
//!
//! Its mistakes are those of S4-2. What it shows is right: the pieces, the end
//! of the output, and the whole, in this order. One loop sees all of them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use procession::child_process::{Command, Event, SpawnError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), SpawnError> {
    let mut dir = Command::shell("dir").events();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(event) = dir.next().await {
        match event {
            Event::Stdout(chunk) => {
                println!("{}", String::from_utf8_lossy(&chunk));
                stdout.extend(chunk);
            }
            Event::Stderr(chunk) => stderr.extend(chunk),
            Event::StdoutEnd => println!("输出结束"),
            Event::Error(error) => return Err(error),
            Event::Close(Some(exit)) if !exit.success() => eprintln!("dir {exit}"),
            _ => {}
        }
    }
    println!("stdout: {}", String::from_utf8_lossy(&stdout));
    eprintln!("stderr: {}", String::from_utf8_lossy(&stderr));
    Ok(())
}
