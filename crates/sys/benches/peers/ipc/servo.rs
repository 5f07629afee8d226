//! The crate ipc-channel, which Servo is built on.

use std::borrow::Cow;
use std::env;
use std::io;
use std::process::{Child, Command, Stdio};

use ipc_channel::IpcError;
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};

use crate::ended;
use crate::measure::{Contender, Idle, Job, Prepared, Task, expect_same};

/// It prints values with postcard, no JSON. Handles are of its own kind only: ends of
/// its channels, a descriptor each.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    id: u32,
    /// Borrowed by the sender, for `send` takes the message away.
    body: Cow<'static, str>,
    handle: Option<IpcSender<u8>>,
}

/// The variable that says where the parent is found.
const ADDRESS: &str = "BENCH_ADDRESS";

/// What the child sends first: the parent's ends.
type Ends = (IpcSender<Message>, IpcReceiver<Message>);

pub(crate) fn prepare(job: &Job) -> io::Result<Prepared> {
    if job.task == Task::Memory {
        let body = job.body().leak();
        return Ok(Prepared::Channels(Box::new(|pairs| idle(pairs, body))));
    }
    if job.is_child {
        child(job)?;
        return Ok(Prepared::Done);
    }
    let (server, name) = IpcOneShotServer::<Ends>::new()?;
    let child = Command::new(env::current_exe()?)
        .args(job.child_words())
        .env(ADDRESS, name)
        .stdout(Stdio::null())
        .spawn()?;
    let (_, (sender, receiver)) = server.accept().map_err(io::Error::other)?;
    Ok(Prepared::Pair(Box::new(Parent {
        child,
        sender,
        receiver,
        body: job.body().leak(),
        task: job.task,
    })))
}

struct Parent {
    child: Child,
    sender: IpcSender<Message>,
    receiver: IpcReceiver<Message>,
    body: &'static str,
    task: Task,
}

impl Contender for Parent {
    fn child(&self) -> u32 {
        self.child.id()
    }

    fn run(&mut self, count: u32) -> io::Result<()> {
        let (travels, _kept) = ipc::channel::<u8>()?;
        let handle = (self.task == Task::Handles).then_some(travels);
        for id in (0..count).rev() {
            let message = Message {
                id,
                body: Cow::Borrowed(self.body),
                handle: handle.clone(),
            };
            self.sender.send(message).map_err(io::Error::other)?;
            if self.task == Task::RoundTrip || id == 0 {
                let answer = self.receiver.recv().map_err(io::Error::other)?;
                expect_same(&answer.id, &id)?;
                expect_same(&answer.body.len(), &self.body.len())?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self {
            mut child, sender, ..
        } = *self;
        drop(sender);
        ended(&mut child)
    }
}

fn child(job: &Job) -> io::Result<()> {
    let address = env::var(ADDRESS).map_err(io::Error::other)?;
    let (to_child, from_parent) = ipc::channel()?;
    let (to_parent, from_child) = ipc::channel()?;
    let bootstrap = IpcSender::<Ends>::connect(address)?;
    let ends = (to_child, from_child);
    bootstrap.send(ends).map_err(io::Error::other)?;
    loop {
        let message: Message = match from_parent.recv() {
            Ok(message) => message,
            Err(IpcError::Disconnected) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        if job.task == Task::RoundTrip || message.id == 0 {
            to_parent.send(message).map_err(io::Error::other)?;
        }
    }
}

/// Both ends of both directions in this process; each has carried one message.
fn idle(pairs: u32, body: &'static str) -> io::Result<Idle> {
    let mut channels = Vec::new();
    for _ in 0..2 * pairs {
        let (sender, receiver) = ipc::channel::<Message>()?;
        let message = Message {
            id: 1,
            body: Cow::Borrowed(body),
            handle: None,
        };
        sender.send(message).map_err(io::Error::other)?;
        receiver.recv().map_err(io::Error::other)?;
        channels.push((sender, receiver));
    }
    Ok((Box::new(channels), 2 * pairs))
}
