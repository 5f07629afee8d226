//! Tutorial 000, row S0-3: `exec('ls -lh')`, one answer with error, stdout and stderr.
//!
//! Nothing is wrong in it. Ours says more when `ls` fails: how it ended, and its last words.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "as the tutorial")]

use procession::child_process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match Command::shell("ls -lh").output().await {
        Ok(ls) => {
            println!("stdout: {}", String::from_utf8_lossy(&ls.stdout));
            println!("stderr: {}", String::from_utf8_lossy(&ls.stderr));
        }
        Err(error) => eprintln!("Error: {error}"),
    }
}
