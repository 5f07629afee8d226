//! Tutorial 004, row S4-6: a child by `fork`, and a listener for a parent of our own. Run it
//! where there is a `child.js`; with the word `grandparent`, where there is a `main.js` too, for
//! three generations; with the word `rust` this program is all children as well.
//!
//! The mistakes: `path` is never imported, which here would not compile;
//! `process.on('message')` does not hear the child, but a parent of one's own;
//! and neither side disconnects. The answers: the two channels are two values,
//! and a program that nobody forked has only one of them.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;
use std::io::{self, Write as _};

use procession::child_process::{Command, Event, Signal};
use procession::ipc::Channel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let our_parent = Channel::from_env()?;
    // As in Node, the first argument says which module to be.
    let module = std::env::args().nth(1).unwrap_or_default();
    match our_parent {
        None if module == "grandparent" => grandparent().await,
        Some(channel) if module.ends_with("child.js") => child(channel).await,
        our_parent => parent(our_parent).await,
    }
}

/// A child with a channel that runs a module: by Node or, with the word `rust`, by us.
fn fork(module: &str) -> io::Result<Command> {
    let mut command = Command::fork(module);
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?).arg("rust");
    }
    Ok(command)
}

async fn grandparent() -> Result<(), Box<dyn Error>> {
    let mut middle = fork("./main.js")?.silent().events();
    if let Some(channel) = &middle.channel {
        channel.send("你好啊，中间的进程！").await?;
    }
    let mut lines = 0;
    while let Some(event) = middle.next().await {
        match event {
            Event::Stdout(data) => {
                io::stdout().write_all(&data)?;
                lines += data.iter().filter(|byte| **byte == b'\n').count();
                // The tutorial's program never ends by itself.
                if lines == 3 {
                    middle.signal(Signal::TERM)?;
                }
            }
            Event::Error(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

async fn parent(our_parent: Option<Channel>) -> Result<(), Box<dyn Error>> {
    let mut child = fork("./child.js")?.spawn()?;
    let mut channel = child.channel.take().ok_or("no channel")?;
    channel.tx.send("你好啊，我的子进程！").await?;
    let from_child = async {
        let message = channel.rx.recv().await?.ok_or("no answer")?;
        println!("主进程收到信息:{}", message.decode::<String>()?);
        Ok::<_, Box<dyn Error>>(())
    };
    let from_parent = async {
        let Some(mut channel) = our_parent else {
            return Ok(());
        };
        let message = channel.rx.recv().await?.ok_or("no message")?;
        println!("主进程收到信息了：{}", message.decode::<String>()?);
        Ok(())
    };
    tokio::try_join!(from_child, from_parent)?;
    channel.disconnect().await;
    child.wait().await?;
    Ok(())
}

async fn child(mut channel: Channel) -> Result<(), Box<dyn Error>> {
    while let Some(message) = channel.rx.recv().await? {
        println!("子进程收到信息：{}", message.decode::<String>()?);
        channel.tx.send("我是子进程，我收到了！！").await?;
    }
    Ok(())
}
