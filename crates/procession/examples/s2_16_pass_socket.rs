//! Tutorial 002, row S2-16, the second remedy for a port that is taken: the parent listens and passes
//! its socket to both children. Run it where there is a `child.js`; with the word `rust` this program is
//! the children as well.
//!
//! Who accepts a connection is the kernel's choice.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};

use procession::child_process::{Child, Command, Stop};
use procession::ipc::{Channel, Handle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[expect(dead_code, reason = "there is no cluster here")]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a visitor looks for few events"
)]
mod visit;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match Channel::from_env()? {
        None => parent().await,
        Some(channel) => child(channel).await,
    }
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let mut children = [start(1, &listener).await?, start(2, &listener).await?];
    println!("[main] both children have the socket");
    drop(listener);
    let first = visit::get(port).await?.pid();
    println!("[main] one answers and is killed");
    let answered = usize::from(first == Some(2));
    children[answered].kill()?;
    children[answered].wait().await?;
    if visit::get(port).await?.pid() != first {
        println!("[main] the other one answers");
    }
    for child in &mut children {
        child.stop(Stop::default()).await?;
    }
    Ok(())
}

/// A child that has the socket.
async fn start(name: u32, listener: &TcpListener) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::fork("./child.js");
    if std::env::args().any(|word| word == "rust") {
        command.exec_path(std::env::current_exe()?);
    }
    let mut child = command.arg(name).spawn()?;
    let channel = child.channel.as_mut().ok_or("no channel")?;
    let socket = listener.try_clone()?;
    channel
        .tx
        .send_with_handle("here is the socket", socket)
        .await?;
    channel
        .rx
        .recv()
        .await?
        .ok_or("it has not got the socket")?;
    Ok(child)
}

async fn child(mut channel: Channel) -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(2).unwrap_or_default();
    let mut message = channel.rx.recv().await?.ok_or("no message")?;
    let Some(Handle::TcpListener(listener)) = message.take_handle() else {
        return Err("no socket".into());
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    channel.tx.send("I have it").await?;
    loop {
        let (mut connection, _) = listener.accept().await?;
        // As much of HTTP as the visitor needs: the request fits into one read.
        let read = connection.read(&mut [0; 1024]).await?;
        if read > 0 {
            let length = name.len();
            let head = "HTTP/1.1 200 OK\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{name}");
            connection.write_all(answer.as_bytes()).await?;
        }
    }
}
