//! Tutorial 001, row S1-3: `exec('ls -lh')`, errors and stderr first.
//!
//! The mistake: it takes any word on stderr for failure, so a warning hides the
//! listing. The answer: how a command ended and what it said on stderr are two
//! things. `output` fails by the exit alone, and the warning comes as well.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "as the tutorial")]

use procession::child_process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match Command::shell("ls -lh").output().await {
        Ok(ls) => {
            println!("stdout: {}", String::from_utf8_lossy(&ls.stdout));
            if !ls.stderr.is_empty() {
                eprintln!("stderr: {}", String::from_utf8_lossy(&ls.stderr));
            }
        }
        Err(error) => eprintln!("Ошибка: {error}"),
    }
}
