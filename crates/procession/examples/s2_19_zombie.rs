//! Tutorial 002, row S2-19: a child that has ended, and nobody has asked how.
//!
//! The tutorial takes a zombie for an orphan. Node reaps from its event loop, so not while that is
//! busy; `std` when `wait` is called, so perhaps never. Here a thread of the library reaps every child
//! as it ends, whether its handle is used, kept or dropped.
#![expect(
    clippy::disallowed_methods,
    reason = "a child of std, for the contrast"
)]
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::fs;
use std::thread;

use procession::child_process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut forgotten = std::process::Command::new("true").spawn()?;
    while state(forgotten.id()) != Some('Z') {
        thread::yield_now();
    }
    println!("[main] std, nobody asks: the child is a zombie");
    forgotten.wait()?;

    let mut child = Command::new("true").spawn()?;
    // Not a task of the runtime can run meanwhile.
    while state(child.id()).is_some() {
        thread::yield_now();
    }
    println!("[main] ours, nobody asks: the child is gone");
    let exit = child.wait().await?;
    println!("[main] and yet it is known: code {}", exit.shell_code());
    Ok(())
}

/// What the kernel says of a process: `Z` is a zombie; nothing where there is none.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
