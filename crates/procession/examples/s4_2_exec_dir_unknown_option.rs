//! Tutorial 004, rows S4-2 and S4-4: `exec("dir", { cmd: "./log" })`, and `throw err`.
//! With the word `intended` it lists the directory `log`, as the tutorial meant.
//!
//! The mistakes: there is no option `cmd`, so Node ignores it and lists the
//! wrong directory; and the exception ends the program. The answers: `.cmd(…)`
//! does not compile; a missing directory is named, where Node blames `/bin/sh`;
//! a failure is a value, with all that was written until then.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "as the tutorial")]

use std::process::ExitCode;

use procession::child_process::{Command, Transform};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut dir = Command::shell("dir");
    let intended = std::env::args()
        .nth(1)
        .is_some_and(|word| word == "intended");
    if intended {
        dir.current_dir("./log");
    } else {
        dir.transform(1, Transform::lines("print", print));
    }

    let ended = dir.output().await;
    if !intended {
        println!("输出结束");
    }
    match ended {
        Ok(dir) => {
            println!("stdout: {}", String::from_utf8_lossy(&dir.stdout));
            eprintln!("stderr: {}", String::from_utf8_lossy(&dir.stderr));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", error.node_code().unwrap_or("error"));
            ExitCode::FAILURE
        }
    }
}

/// Shows a line as soon as it comes, and leaves it as it is.
fn print(line: &[u8]) -> Option<Vec<u8>> {
    println!("{}\n", String::from_utf8_lossy(line));
    Some(line.to_vec())
}
