//! A child as a row of events, in Node's order.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use procession_core::order::{EventOrder, SETTLE, Seen, Told};
use procession_sys::Process;
use tokio::sync::mpsc;

use super::child::{SignalError, send};
use super::command::Command;
use super::error::SpawnError;
use super::pipes::{ChildDuplex, ChildOutput, ChildStdin, MOST_IN_PIPE};
use super::prepare::Defaults;
use super::{Child, Exit, Signal, Stdio};
use crate::ipc::{Message, ReceiveError, Receiver, Sender};

/// Events that may wait for a reader; then the child waits.
const QUEUE: usize = 16;
/// One piece of output is at most this long.
const CHUNK: usize = 64 * 1024;

/// Something that happened to a child.
///
/// # Node
///
/// The events of `ChildProcess` and its streams, by the same names.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// It was started: `spawn`.
    Spawn {
        /// Its process id.
        pid: u32,
    },
    /// It was not started: `error`. Only the ends of outputs that would have been
    /// pipes and [`Event::Close`] follow, and never an exit, as in Node.
    Error(SpawnError),
    /// It is being ended because its token was cancelled: `error` with `ABORT_ERR`.
    /// Comes before the exit.
    Aborted,
    /// Standard output: `data`.
    Stdout(Bytes),
    /// Standard error: `data`.
    Stderr(Bytes),
    /// Standard output has ended: `end`.
    StdoutEnd,
    /// Standard error has ended: `end`.
    StderrEnd,
    /// It sent a message over its channel: `message`. Those that it sent before it
    /// ended come before [`Event::Exit`].
    Message(Message),
    /// The channel broke: what it sent was no message. Node's parent dies of it.
    ChannelError(ReceiveError),
    /// The channel is closed: `disconnect`.
    Disconnect,
    /// The process has ended: `exit`.
    Exit(Exit),
    /// The process and its outputs have ended: `close`. `None` after a failed start.
    Close(Option<Exit>),
}

/// The events of one child.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
    /// The child's standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Sends to the child, if it has a channel. What it sends are events. The
    /// events hold the channel too: to close it, call
    /// [`disconnect`](Sender::disconnect).
    pub channel: Option<Sender>,
    extra: BTreeMap<u32, ChildDuplex>,
    process: Option<Process>,
}

impl Events {
    /// Waits for the next event; `None` after [`Event::Close`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The process id; `None` if the child was not started.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Sends a signal to this process and no other; `false` when it has ended or
    /// was not started.
    ///
    /// # Errors
    ///
    /// As [`Child::signal`].
    ///
    /// # Node
    ///
    /// `kill(signal)`; on a child that was not started Node says `true`, having
    /// signalled its own process group.
    pub fn signal(&self, signal: Signal) -> Result<bool, SignalError> {
        let process = self.process.as_ref();
        process.map_or(Ok(false), |process| send(process, signal))
    }

    /// Takes our end of a further descriptor, if it is a pipe. [`Event::Close`]
    /// does not wait for its end.
    ///
    /// # Node
    ///
    /// `child.stdio[index]`.
    pub fn take_stdio(&mut self, index: u32) -> Option<ChildDuplex> {
        self.extra.remove(&index)
    }
}

impl Command {
    /// Starts the child and tells what happens to it in Node's order: `spawn`,
    /// output, `exit`, the ends of the outputs, `close`.
    ///
    /// A start that fails is an event too, also the one outside of a tokio runtime
    /// ([`SpawnError::NoRuntime`]). When the events are dropped the child
    /// goes on, unless [`Command::kill_on_drop`] is set; its outputs are closed.
    ///
    /// # Node
    ///
    /// `spawn` with listeners. After a failed start Node tells `error` and
    /// `close`, and never `exit`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use procession::child_process::{Command, Event};
    ///
    /// let mut events = Command::shell("echo hi; exit 3").events();
    /// let mut told = Vec::new();
    /// while let Some(event) = events.next().await {
    ///     told.push(match event {
    ///         Event::Spawn { .. } => "spawn",
    ///         Event::Stdout(_) => "stdout",
    ///         Event::Exit(_) => "exit",
    ///         Event::StdoutEnd | Event::StderrEnd => "end",
    ///         Event::Close(_) => "close",
    ///         other => panic!("{other:?}"),
    ///     });
    /// }
    /// assert_eq!(told, ["spawn", "stdout", "exit", "end", "end", "close"]);
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self) -> Events {
        let (told, events) = mpsc::channel(QUEUE);
        match Child::spawn(self, Defaults::Pipes) {
            Ok(mut child) => {
                child.start_moving();
                // A task of its own: a time-out holds while nobody listens, and after.
                child.start_supervisor();
                let (stdin, extra) = (child.stdin.take(), child.take_extra());
                let process = Some(child.process());
                let (channel, messages) = child.channel.take().map(|c| (c.tx, c.rx)).unzip();
                tokio::spawn(tell(child, Messages(messages), told));
                Events {
                    events,
                    stdin,
                    channel,
                    extra,
                    process,
                }
            }
            Err(error) => {
                // The queue is new: there is room for all four.
                let _ = told.try_send(Event::Error(error));
                if self.tells_output(1) {
                    let _ = told.try_send(Event::StdoutEnd);
                }
                if self.tells_output(2) {
                    let _ = told.try_send(Event::StderrEnd);
                }
                let _ = told.try_send(Event::Close(None));
                Events {
                    events,
                    stdin: None,
                    channel: None,
                    extra: BTreeMap::new(),
                    process: None,
                }
            }
        }
    }
}

impl Command {
    /// Whether this output is a pipe that is read here.
    fn tells_output(&self, index: u32) -> bool {
        matches!(self.stdio.get(&index), None | Some(Stdio::Pipe))
    }
}

/// One output that is read.
struct Output {
    index: u32,
    pipe: Option<ChildOutput>,
    buffer: Vec<u8>,
}

impl Output {
    async fn read(&mut self) -> std::io::Result<usize> {
        let Some(pipe) = &mut self.pipe else {
            return std::future::pending().await;
        };
        self.buffer.clear();
        self.buffer.reserve(CHUNK);
        pipe.read_some(&mut self.buffer).await
    }

    /// Tells what is in the pipe now; whether that was the end of it.
    async fn last_look(&mut self, told: &mpsc::Sender<Event>) -> bool {
        let mut seen = 0;
        while let Some(pipe) = &mut self.pipe
            && seen < MOST_IN_PIPE
        {
            self.buffer.clear();
            self.buffer.reserve(CHUNK);
            match pipe.read_now(&mut self.buffer) {
                Ok(Some(count @ 1..)) => {
                    seen += count;
                    let _ = told.send(self.event()).await;
                }
                Ok(None) => return false,
                Ok(Some(0)) | Err(_) => {
                    self.pipe = None;
                    return true;
                }
            }
        }
        false
    }

    fn event(&self) -> Event {
        let bytes = Bytes::copy_from_slice(&self.buffer);
        if self.index == 1 {
            Event::Stdout(bytes)
        } else {
            Event::Stderr(bytes)
        }
    }
}

/// What comes over the channel; none when there is none any more.
struct Messages(Option<Receiver>);

impl Messages {
    /// The next thing to be told.
    ///
    /// Cancel safe, as [`Receiver::recv`] is.
    async fn next(&mut self) -> Event {
        let Some(receiver) = &mut self.0 else {
            return std::future::pending().await;
        };
        match receiver.recv().await {
            Ok(Some(message)) => Event::Message(message),
            Ok(None) => {
                self.0 = None;
                Event::Disconnect
            }
            // The end follows.
            Err(error) => Event::ChannelError(error),
        }
    }

    /// Tells what the child sent before it ended. Somebody else may hold the
    /// channel open, so this does not wait for its end; nor for what others send.
    async fn last_look(&mut self, told: &mpsc::Sender<Event>) {
        // The listener's time is not the child's: only waiting for messages counts.
        let mut patience = SETTLE;
        let mut left = self.0.as_ref().map_or(0, Receiver::most_sent);
        while self.0.is_some() && left > 0 {
            let asked = Instant::now();
            let Ok(event) = tokio::time::timeout(patience, self.next()).await else {
                return;
            };
            patience = patience.saturating_sub(asked.elapsed());
            if let Event::Message(message) = &event {
                // Most of one that is longer came before.
                left = left.saturating_sub((message.body().len() + 1).min(CHUNK));
            }
            if told.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Sees the child through; the only sender of its events.
async fn tell(mut child: Child, mut messages: Messages, told: mpsc::Sender<Event>) {
    let (pid, cancel) = (child.id(), child.command().cancel.clone());
    let mut stdout = Output {
        index: 1,
        pipe: child.stdout.take(),
        buffer: Vec::new(),
    };
    let mut stderr = Output {
        index: 2,
        pipe: child.stderr.take(),
        buffer: Vec::new(),
    };
    let mut supervising = std::pin::pin!(child.supervised());
    let streams = [&stdout, &stderr]
        .into_iter()
        .filter(|o| o.pipe.is_some())
        .map(|o| o.index);
    let mut order = EventOrder::new(streams);
    let (mut aborted, mut exit) = (false, None);
    let _ = told.send(Event::Spawn { pid }).await;
    loop {
        let deadline = order.deadline();
        let seen = tokio::select! {
            biased;
            () = told.closed() => return,
            count = stdout.read() => ended(&mut stdout, count, &told).await,
            count = stderr.read() => ended(&mut stderr, count, &told).await,
            () = canceled(cancel.as_ref()), if !aborted && exit.is_none() => {
                aborted = true;
                let _ = told.send(Event::Aborted).await;
                None
            }
            event = messages.next() => {
                let _ = told.send(event).await;
                None
            }
            supervised = &mut supervising, if exit.is_none() => {
                messages.last_look(&told).await;
                // Whatever it wrote is told before its exit, heard of or not.
                for output in [&mut stdout, &mut stderr] {
                    if output.last_look(&told).await {
                        order.on(Seen::Eof(output.index), Instant::now());
                    }
                }
                exit = Some(supervised.map_or(Exit::Code(-1), |s| Exit::from_how(s.ended.how)));
                Some(Seen::Exited)
            }
            () = sleep_until(deadline), if deadline.is_some() => Some(Seen::Deadline),
        };
        if let Some(seen) = seen {
            order.on(seen, Instant::now());
        }
        while let Some(event) = order.next_event() {
            let event = match event {
                Told::Exit => Event::Exit(exit.unwrap_or(Exit::Code(-1))),
                Told::End(1) => Event::StdoutEnd,
                Told::End(_) => Event::StderrEnd,
                Told::Close => Event::Close(exit),
            };
            let _ = told.send(event).await;
        }
        if order.is_closed() {
            return;
        }
    }
}

/// Passes on what was read, or notes the end.
async fn ended(
    output: &mut Output,
    count: std::io::Result<usize>,
    told: &mpsc::Sender<Event>,
) -> Option<Seen> {
    if let Ok(1..) = count {
        let _ = told.send(output.event()).await;
        return None;
    }
    output.pipe = None;
    Some(Seen::Eof(output.index))
}

async fn canceled(token: Option<&tokio_util::sync::CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
