//! Somebody who looks at the servers of the cluster examples.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;

use procession::child_process::Signal;
use procession::cluster::{Control, Event, Primary};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a server said.
pub(crate) struct Answer {
    content_type: Option<String>,
    body: String,
}

impl Answer {
    /// The first number in it: who answered.
    pub(crate) fn pid(&self) -> Option<u32> {
        let numbers = self.body.split(|c: char| !c.is_ascii_digit());
        numbers.filter_map(|digits| digits.parse().ok()).next()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(content_type) = &self.content_type {
            write!(f, "{content_type}, ")?;
        }
        f.write_str(&self.body)
    }
}

/// Asks the server at this port.
pub(crate) async fn get(port: u16) -> io::Result<Answer> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let content_type = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    Ok(Answer {
        content_type: content_type.map(|(_, value)| value.to_owned()),
        body: body.trim().to_owned(),
    })
}

/// Asks until so many workers have answered.
pub(crate) async fn answers(port: u16, count: usize) -> io::Result<Vec<Answer>> {
    let mut found: Vec<Answer> = Vec::new();
    while found.len() < count {
        let answer = get(port).await?;
        if found.iter().all(|known| known.pid() != answer.pid()) {
            found.push(answer);
        }
    }
    Ok(found)
}

/// Looks on until so many workers have begun to listen, and says where.
pub(crate) async fn listening(
    primary: &mut Primary,
    mut count: usize,
    mut died: impl FnMut(u32),
) -> Result<u16, Box<dyn Error>> {
    while let Some(event) = primary.next_event().await {
        match event {
            Event::Exit { exit, .. } => died(exit.pid),
            Event::Listening { at, .. } => {
                count -= 1;
                if count == 0 {
                    return at.port.ok_or_else(|| format!("{at} has no port").into());
                }
            }
            _ => {}
        }
    }
    Err("the cluster is over".into())
}

/// Kills the worker that has this process.
pub(crate) async fn kill(control: &Control, pid: Option<u32>) -> Result<(), Box<dyn Error>> {
    let workers = control.status().await?.workers;
    let victim = workers.iter().find(|worker| Some(worker.pid) == pid);
    let victim = victim.ok_or("no worker has that process")?;
    control.signal(victim.worker, Signal::KILL).await?;
    Ok(())
}

/// Ends the cluster, and returns when nobody is left.
pub(crate) async fn stop(mut primary: Primary) -> Result<(), Box<dyn Error>> {
    primary.control().stop().await?;
    while primary.next_event().await.is_some() {}
    Ok(())
}
