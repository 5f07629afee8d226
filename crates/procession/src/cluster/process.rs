//! The task that looks after one worker's process.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use procession_core::cluster::WorkerId;
use procession_core::cluster::protocol::{BadClusterMessage, FromWorker, decode_from_worker};
use procession_core::cluster::supervise::Ready;
use tokio::sync::mpsc;

use super::event::{Event, Output};
use super::owner::Note;
use super::queue::EventSender;
use crate::child_process::{Child, ChildOutput, Outcome, RunError};
use crate::ipc::cluster::{Incoming, Settlement};
use crate::ipc::{Message, ReceiveError, Receiver, Serialization};

/// How long what a dead worker had sent and written is waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is read from an output at once.
const PIECE: usize = 8 * 1024;

/// Lines of standard error that are told with the cause of death, and bytes kept for that.
const LAST_LINES: usize = 16;
const TAIL: usize = 4 * 1024;

/// What happened to one worker, for the primary.
#[derive(Debug)]
pub(super) enum Report {
    Said(FromWorker),
    Nonsense(BadClusterMessage),
    Settled(Settlement),
    /// It sent what [`Ready::Message`] names.
    SaysReady,
    ChannelEnded(Option<ReceiveError>),
    Ended(Box<Ended>),
}

/// A process is gone, and its tree.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Result<Outcome, RunError>,
    pub(super) last_lines: Vec<String>,
}

/// What belongs to one worker's process.
pub(super) struct Process {
    worker: WorkerId,
    ready: Option<String>,
    serialization: Serialization,
    channel: Option<Receiver>,
    stdout: Option<ChildOutput>,
    stderr: Option<ChildOutput>,
    stderr_tail: Tail,
    /// Output that nobody could be told of.
    dropped: u64,
    events: EventSender,
    reports: mpsc::Sender<Note>,
}

impl Process {
    /// Looks after a worker until it and its outputs have ended.
    pub(super) fn tend(
        worker: WorkerId,
        mut child: Child,
        ready: &Ready,
        events: EventSender,
        reports: mpsc::Sender<Note>,
    ) {
        drop(child.stdin.take());
        let channel = child.channel.take();
        let serialization = channel
            .as_ref()
            .map_or(Serialization::Json, |channel| channel.tx.serialization());
        let process = Self {
            worker,
            ready: match ready {
                Ready::Message(text) => Some(text.clone()),
                Ready::Listening | Ready::Started | Ready::After(_) => None,
            },
            serialization,
            channel: channel.map(|channel| channel.rx),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            stderr_tail: Tail::default(),
            dropped: 0,
            events,
            reports,
        };
        tokio::spawn(process.run(child));
    }

    async fn run(mut self, child: Child) {
        let outcome = {
            let mut ending = std::pin::pin!(child.outcome());
            loop {
                tokio::select! {
                    outcome = &mut ending => break outcome,
                    () = self.next_thing() => {}
                }
            }
        };
        let until = tokio::time::Instant::now() + LAST_WORDS;
        while self.has_something() {
            if tokio::time::timeout_at(until, self.next_thing())
                .await
                .is_err()
            {
                break;
            }
        }
        if self.channel.take().is_some() {
            self.report(Report::ChannelEnded(None)).await;
        }
        let ended = Ended {
            outcome,
            last_lines: self.stderr_tail.lines(),
        };
        self.report(Report::Ended(Box::new(ended))).await;
    }

    fn has_something(&self) -> bool {
        self.channel.is_some() || self.stdout.is_some() || self.stderr.is_some()
    }

    /// Passes on one thing that came; for ever, if nothing can come.
    async fn next_thing(&mut self) {
        if !self.has_something() {
            return std::future::pending().await;
        }
        tokio::select! {
            came = incoming(&mut self.channel) => self.came(came).await,
            read = piece(&mut self.stdout) => self.wrote(Output::Stdout, read),
            read = piece(&mut self.stderr) => self.wrote(Output::Stderr, read),
        }
    }

    async fn came(&mut self, came: Result<Option<Incoming>, ReceiveError>) {
        match came {
            Ok(Some(Incoming::Cluster(body, _))) => {
                let said = decode_from_worker(self.serialization, &body);
                self.report(said.map_or_else(Report::Nonsense, Report::Said))
                    .await;
            }
            Ok(Some(Incoming::Settled(settled))) => self.report(Report::Settled(settled)).await,
            Ok(Some(Incoming::Message(message))) => self.message(message).await,
            Ok(None) => self.channel_ended(None).await,
            Err(error) => self.channel_ended(Some(error)).await,
        }
    }

    async fn message(&mut self, message: Message) {
        if let Some(ready) = &self.ready
            && message.decode::<String>().is_ok_and(|text| text == *ready)
        {
            self.report(Report::SaysReady).await;
        }
        let worker = self.worker;
        // A worker whose messages nobody takes waits; the others do not.
        self.events.send(Event::Message { worker, message }).await;
    }

    async fn channel_ended(&mut self, error: Option<ReceiveError>) {
        self.channel = None;
        self.report(Report::ChannelEnded(error)).await;
    }

    fn wrote(&mut self, output: Output, read: std::io::Result<Bytes>) {
        let from = match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        };
        let bytes = match read {
            Ok(bytes) if !bytes.is_empty() => bytes,
            Ok(_) | Err(_) => {
                *from = None;
                return;
            }
        };
        if output == Output::Stderr {
            self.stderr_tail.add(&bytes);
        }
        let count = bytes.len() as u64;
        let told = self.events.tell(Event::Output {
            worker: self.worker,
            output,
            bytes,
            dropped: self.dropped,
        });
        self.dropped = if told { 0 } else { self.dropped + count };
    }

    async fn report(&self, report: Report) {
        // Without a primary there is nobody to care.
        let _ = self.reports.send(Note::Worker(self.worker, report)).await;
    }
}

async fn incoming(channel: &mut Option<Receiver>) -> Result<Option<Incoming>, ReceiveError> {
    match channel {
        Some(channel) => channel.incoming().await,
        None => std::future::pending().await,
    }
}

async fn piece(output: &mut Option<ChildOutput>) -> std::io::Result<Bytes> {
    match output {
        Some(output) => output.read_piece(PIECE).await,
        None => std::future::pending().await,
    }
}

/// The end of what a worker wrote to standard error.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        let over = (self.0.len() + bytes.len()).saturating_sub(TAIL);
        self.0.drain(..over);
        self.0.extend(bytes);
    }

    fn lines(&mut self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.0.make_contiguous());
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        last.iter().map(|line| (*line).to_owned()).collect()
    }
}
