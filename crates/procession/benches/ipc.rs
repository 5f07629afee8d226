//! Our channels, measured as the others of procession-sys' benchmark `ipc-peers`
//! are. Run by `cargo xtask bench ipc`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result of a round is a line on stdout"
)]

#[path = "../../sys/benches/peers/ipc/measure.rs"]
mod measure;

use std::env;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;

use procession::child_process::{Child, Command, Stdio};
use procession::ipc::{Channel, Limits, Message, Sender, Serialization, blocking};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use measure::{Contender, Idle, Job, Prepared, Task, expect_same};

/// Handles that are on their way at once: each is waited for.
const HANDLES_AT_ONCE: u32 = 16;

#[derive(Debug, Serialize)]
struct Sent<'a> {
    id: u32,
    body: &'a str,
}

#[derive(Debug, Serialize, Deserialize)]
struct Received {
    id: u32,
    body: String,
}

fn main() -> ExitCode {
    measure::main_with(prepare)
}

/// Who is here.
const CONTENDERS: [&str; 4] = ["ours", "ours-typed", "ours-blocking", "ours-node"];

fn prepare(job: &Job) -> io::Result<Option<Prepared>> {
    let is_blocking = job.contender == "ours-blocking";
    // The blocking form sends one handle after the other, and keeps what the async one keeps.
    let only_async = matches!(job.task, Task::Handles | Task::Memory);
    if !CONTENDERS.contains(&job.contender.as_str()) || is_blocking && only_async {
        return Ok(None);
    }
    let runtime = Builder::new_current_thread().enable_io().build()?;
    if job.is_child {
        if is_blocking {
            blocking_child(job)?;
        } else {
            runtime.block_on(child(job))?;
        }
        return Ok(Some(Prepared::Done));
    }
    if job.task == Task::Memory {
        let body = job.body();
        let open = move |pairs| idle(runtime, pairs, &body);
        return Ok(Some(Prepared::Channels(Box::new(open))));
    }
    let (ours, theirs) = procession_sys::channel_pair()?;
    let child = runtime.block_on(async { start(job, theirs) })?;
    let (serialization, limits) = (serialization(job)?, Limits::default());
    let (peer, body) = ("the child".to_owned(), job.body());
    Ok(Some(Prepared::Pair(if is_blocking {
        Box::new(BlockingParent {
            runtime,
            child,
            channel: blocking::Channel::new(ours, serialization, limits, peer),
            body,
            task: job.task,
        })
    } else {
        let channel =
            runtime.block_on(async { Channel::new(ours, serialization, limits, peer) })?;
        Box::new(Parent {
            runtime,
            child,
            channel,
            body: body.into(),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
            task: job.task,
        })
    })))
}

/// Starts this program again, or Node, with the other end of the channel.
fn start(job: &Job, theirs: OwnedFd) -> io::Result<Child> {
    let mut command = if job.contender == "ours-node" {
        let script = env::var("BENCH_SCRIPT").map_err(io::Error::other)?;
        let mut node = Command::new("node");
        node.arg(script);
        node
    } else {
        Command::new(env::current_exe()?)
    };
    command
        .args(job.child_words())
        .stdin(Stdio::ignore())
        .stdout(Stdio::ignore())
        .stderr(Stdio::inherit())
        .stdio(3, theirs)
        .env("NODE_CHANNEL_FD", "3")
        .env("NODE_CHANNEL_SERIALIZATION_MODE", &job.serialization);
    command.spawn().map_err(io::Error::other)
}

fn serialization(job: &Job) -> io::Result<Serialization> {
    Serialization::from_name(&job.serialization).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

struct Parent {
    runtime: Runtime,
    child: Child,
    channel: Channel,
    body: Arc<str>,
    listener: TcpListener,
    task: Task,
}

impl Contender for Parent {
    fn child(&self) -> u32 {
        self.child.id()
    }

    fn run(&mut self, count: u32) -> io::Result<()> {
        let (channel, task) = (&mut self.channel, self.task);
        let (body, listener) = (&self.body, &self.listener);
        self.runtime.block_on(async {
            if task == Task::Handles {
                send_handles(&channel.tx, count, body, listener).await?;
                return answer(channel, 0, body).await;
            }
            for id in (0..count).rev() {
                let message = Sent { id, body };
                channel.tx.send(&message).await.map_err(io::Error::other)?;
                if task == Task::RoundTrip || id == 0 {
                    answer(channel, id, body).await?;
                }
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self {
            runtime,
            mut child,
            channel,
            ..
        } = *self;
        runtime.block_on(async {
            channel.disconnect().await;
            ended(&mut child).await
        })
    }
}

async fn ended(child: &mut Child) -> io::Result<()> {
    let exit = child.wait().await?;
    if exit.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the child: {exit}")))
    }
}

async fn answer(channel: &mut Channel, id: u32, body: &str) -> io::Result<()> {
    let message = channel.rx.recv().await.map_err(io::Error::other)?;
    is_answer(message, id, body)
}

fn is_answer(message: Option<Message>, id: u32, body: &str) -> io::Result<()> {
    let message = message.ok_or(io::ErrorKind::UnexpectedEof)?;
    let answer: Received = message.decode().map_err(io::Error::other)?;
    expect_same(&answer.id, &id)?;
    expect_same(&answer.body.len(), &body.len())
}

/// Several tasks, for each waits until its handle has arrived.
async fn send_handles(
    sender: &Sender,
    count: u32,
    body: &Arc<str>,
    listener: &TcpListener,
) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for first in 0..HANDLES_AT_ONCE.min(count) {
        let (sender, body, listener) = (sender.clone(), Arc::clone(body), listener.try_clone()?);
        tasks.spawn(async move {
            let step = HANDLES_AT_ONCE as usize;
            // The last of the first task is message 0.
            for id in (first..count).step_by(step).rev() {
                let message = Sent { id, body: &body };
                let handle = listener.try_clone()?;
                let sent = sender.send_with_handle(&message, handle).await;
                sent.map_err(io::Error::other)?;
            }
            io::Result::Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

async fn child(job: &Job) -> io::Result<()> {
    let channel = Channel::from_env().map_err(io::Error::other)?;
    let mut channel = channel.ok_or(io::ErrorKind::NotConnected)?;
    let passes_on = job.task == Task::RoundTrip && job.contender == "ours";
    while let Some(message) = channel.rx.recv().await.map_err(io::Error::other)? {
        if passes_on {
            let sent = channel.tx.forward(message).await;
            sent.map_err(io::Error::other)?;
            continue;
        }
        let message: Received = message.decode().map_err(io::Error::other)?;
        if job.task == Task::RoundTrip || message.id == 0 {
            let sent = channel.tx.send(&message).await;
            sent.map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Without a runtime, but for the start and the end of the child.
struct BlockingParent {
    runtime: Runtime,
    child: Child,
    channel: blocking::Channel,
    body: String,
    task: Task,
}

impl Contender for BlockingParent {
    fn child(&self) -> u32 {
        self.child.id()
    }

    fn run(&mut self, count: u32) -> io::Result<()> {
        let (channel, body) = (&mut self.channel, &self.body);
        for id in (0..count).rev() {
            let message = Sent { id, body };
            channel.send(&message).map_err(io::Error::other)?;
            if self.task == Task::RoundTrip || id == 0 {
                is_answer(channel.recv().map_err(io::Error::other)?, id, body)?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self {
            runtime,
            mut child,
            channel,
            ..
        } = *self;
        drop(channel);
        runtime.block_on(ended(&mut child))
    }
}

fn blocking_child(job: &Job) -> io::Result<()> {
    let channel = blocking::Channel::from_env().map_err(io::Error::other)?;
    let mut channel = channel.ok_or(io::ErrorKind::NotConnected)?;
    while let Some(message) = channel.recv().map_err(io::Error::other)? {
        let sent = if job.task == Task::RoundTrip {
            channel.forward(&message)
        } else {
            let message: Received = message.decode().map_err(io::Error::other)?;
            match message.id {
                0 => channel.send(&message),
                _ => Ok(()),
            }
        };
        sent.map_err(io::Error::other)?;
    }
    Ok(())
}

/// Both ends in this process; each has carried one message each way.
fn idle(runtime: Runtime, pairs: u32, body: &str) -> io::Result<Idle> {
    let mut channels = Vec::new();
    runtime.block_on(async {
        for _ in 0..pairs {
            let (mut one, mut other) = Channel::pair(Serialization::Json)?;
            let message = Sent { id: 1, body };
            one.tx.send(&message).await.map_err(io::Error::other)?;
            answer(&mut other, 1, body).await?;
            other.tx.send(&message).await.map_err(io::Error::other)?;
            answer(&mut one, 1, body).await?;
            channels.push((one, other));
        }
        io::Result::Ok(())
    })?;
    Ok((Box::new((channels, runtime)), 2 * pairs))
}
