//! Tutorial 002, row S2-12: pids, a message, its answer, two heartbeats, and the end after
//! three seconds. Run it where there is a `child.js`; with the word `rust` this program is
//! the child as well.
//!
//! Two of its comments are mistaken: see `s2_13_fork_starts_at_once` and
//! `s2_14_disconnect_then_exit`. A string's `length` is that of JavaScript: UTF-16 units.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;
use std::os::unix::process::parent_id;
use std::process;
use std::time::Duration;

use procession::child_process::{Command, Event};
use procession::ipc::Channel;
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match Channel::from_env()? {
        None => parent().await,
        Some(channel) => child(channel).await,
    }
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let mut command = Command::fork("./child.js");
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?);
    }
    let mut child = command.events();
    println!("[main] pid: {}", process::id());
    if let Some(pid) = child.id() {
        println!("[main] child pid: {pid}");
    }
    println!("[main] sent a message");
    if let Some(channel) = child.channel.take() {
        channel.send("hello world").await?;
        tokio::spawn(async move {
            sleep(3 * second("PARENT_SECOND")).await;
            channel.disconnect().await;
        });
    }
    while let Some(event) = child.next().await {
        match event {
            Event::Message(message) => {
                println!("[main] got a message");
                println!("[main] message: {}", message.decode::<String>()?);
            }
            Event::Exit(_) => println!("[main] child process exited"),
            Event::Error(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

async fn child(channel: Channel) -> Result<(), Box<dyn Error>> {
    println!("[child] ppid: {}", parent_id());
    println!("[child] pid: {}", process::id());
    let Channel { tx, mut rx } = channel;
    let hear = async {
        while let Some(message) = rx.recv().await? {
            println!("[child] got a message");
            let length = message.decode::<String>()?.encode_utf16().count();
            let answer = format!("[child] message length is {length}");
            tx.send(&answer).await?;
        }
        println!("[child] disconnect");
        Ok::<_, Box<dyn Error>>(())
    };
    let beat = async {
        for n in 1..=2 {
            sleep(second("CHILD_SECOND")).await;
            tx.send(&format!("[child] heart beat {n}")).await?;
        }
        Ok(())
    };
    tokio::try_join!(hear, beat)?;
    Ok(())
}

/// A second, unless the environment says otherwise, in milliseconds: our tests have no time.
fn second(whose: &str) -> Duration {
    let given = std::env::var(whose).ok().and_then(|ms| ms.parse().ok());
    Duration::from_millis(given.unwrap_or(1_000))
}
