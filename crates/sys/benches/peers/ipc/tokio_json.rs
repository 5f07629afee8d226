//! What one writes by hand: a tokio stream, a line of JSON for each message.

use std::io;
use std::process::Child;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::{Builder, Runtime};

use crate::measure::{Contender, Idle, Job, Prepared, Task, expect_same};
use crate::{ended, from_parent, start_child};

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    id: u32,
    body: String,
}

pub(crate) fn prepare(job: &Job) -> io::Result<Prepared> {
    if job.task == Task::Handles {
        return Err(io::Error::other("tokio's streams carry no descriptors"));
    }
    let runtime = Builder::new_current_thread().enable_io().build()?;
    if job.task == Task::Memory {
        let body = job.body();
        return Ok(Prepared::Channels(Box::new(|pairs| {
            idle(runtime, pairs, body)
        })));
    }
    if job.is_child {
        runtime.block_on(child(job.task))?;
        return Ok(Prepared::Done);
    }
    let (child, socket) = start_child(job)?;
    let channel = runtime.block_on(async { Channel::new(socket) })?;
    Ok(Prepared::Pair(Box::new(Parent {
        child,
        channel,
        runtime,
        body: job.body(),
        task: job.task,
    })))
}

struct Channel {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The line that was read last, kept for its room.
    line: Vec<u8>,
    /// The same for what is written.
    text: Vec<u8>,
}

impl Channel {
    fn new(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(socket)?.into_split();
        Ok(Self {
            reader: BufReader::new(reader),
            writer,
            line: Vec::new(),
            text: Vec::new(),
        })
    }

    async fn send(&mut self, message: &Message) -> io::Result<()> {
        self.text.clear();
        serde_json::to_writer(&mut self.text, message)?;
        self.text.push(b'\n');
        self.writer.write_all(&self.text).await
    }

    async fn receive(&mut self) -> io::Result<Option<Message>> {
        self.line.clear();
        if self.reader.read_until(b'\n', &mut self.line).await? == 0 {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&self.line)?)
    }
}

struct Parent {
    child: Child,
    channel: Channel,
    runtime: Runtime,
    body: String,
    task: Task,
}

impl Contender for Parent {
    fn child(&self) -> u32 {
        self.child.id()
    }

    fn run(&mut self, count: u32) -> io::Result<()> {
        let (channel, task) = (&mut self.channel, self.task);
        let mut message = Message {
            id: 0,
            body: self.body.clone(),
        };
        self.runtime.block_on(async {
            for id in (0..count).rev() {
                message.id = id;
                channel.send(&message).await?;
                if task == Task::RoundTrip || id == 0 {
                    let answer = channel.receive().await?;
                    let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
                    expect_same(&answer.id, &id)?;
                    expect_same(&answer.body.len(), &message.body.len())?;
                }
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self {
            mut child, channel, ..
        } = *self;
        drop(channel);
        ended(&mut child)
    }
}

async fn child(task: Task) -> io::Result<()> {
    let mut channel = Channel::new(from_parent()?)?;
    while let Some(message) = channel.receive().await? {
        if task == Task::RoundTrip || message.id == 0 {
            channel.send(&message).await?;
        }
    }
    Ok(())
}

/// Both ends in this process; each has carried one message each way.
fn idle(runtime: Runtime, pairs: u32, body: String) -> io::Result<Idle> {
    let mut channels = Vec::new();
    let message = Message { id: 1, body };
    runtime.block_on(async {
        for _ in 0..pairs {
            let (one, other) = std::os::unix::net::UnixStream::pair()?;
            let (mut one, mut other) = (Channel::new(one)?, Channel::new(other)?);
            one.send(&message).await?;
            other.receive().await?;
            other.send(&message).await?;
            one.receive().await?;
            channels.push((one, other));
        }
        io::Result::Ok(())
    })?;
    Ok((Box::new((channels, runtime)), 2 * pairs))
}
