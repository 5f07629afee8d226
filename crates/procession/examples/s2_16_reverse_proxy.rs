//! Tutorial 002, row S2-16, the first remedy for a port that is taken: one port for each child, and
//! a reverse proxy in front of them. Run it where there is a `server.js`.
//!
//! Each byte is copied twice more than with the other remedies, and the children see us as their client.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;

use procession::child_process::{Child, Command, Stop};
use tokio::net::{TcpListener, TcpStream};

#[expect(dead_code, reason = "there is no cluster here")]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a visitor looks for few events"
)]
mod visit;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut children = Vec::new();
    let mut ports = Vec::new();
    for name in [1, 2] {
        let mut child = Command::fork("./server.js").arg(name).spawn()?;
        ports.push(port(&mut child).await?);
        children.push(child);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = listener.local_addr()?.port();
    let proxy = tokio::spawn(proxy(listener, ports));
    for _ in 0..4 {
        println!("[main] {} answers", visit::get(at).await?);
    }
    proxy.abort();
    for mut child in children {
        child.stop(Stop::default()).await?;
    }
    Ok(())
}

async fn port(child: &mut Child) -> Result<u16, Box<dyn Error>> {
    let channel = child.channel.as_mut().ok_or("no channel")?;
    Ok(channel.rx.recv().await?.ok_or("no port")?.decode()?)
}

/// Gives connections to the ports, one after the other.
async fn proxy(listener: TcpListener, ports: Vec<u16>) -> io::Result<()> {
    for port in ports.into_iter().cycle() {
        let (client, _) = listener.accept().await?;
        // A connection that breaks harms no other.
        tokio::spawn(relay(client, port));
    }
    Ok(())
}

async fn relay(mut client: TcpStream, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
