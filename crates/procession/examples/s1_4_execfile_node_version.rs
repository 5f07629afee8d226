//! Tutorial 001, row S1-4: `execFile('node', ['-v'])`, no shell.
//!
//! The mistake is that of S1-3: a Node that warns seems to have no version.
//! The answer: the version, and then the warning.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "as the tutorial")]

use procession::cmd;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match cmd!("node", "-v").output().await {
        Ok(node) => {
            println!("stdout: {}", String::from_utf8_lossy(&node.stdout));
            if !node.stderr.is_empty() {
                eprintln!("stderr: {}", String::from_utf8_lossy(&node.stderr));
            }
        }
        Err(error) => eprintln!("Ошибка: {error}"),
    }
}
