//! The tasks that look after one worker's process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use procession_core::cluster::WorkerId;
use procession_core::cluster::protocol::{
    BadClusterMessage, FromWorker, WorkerAct, decode_from_worker,
};
use procession_core::cluster::supervise::Ready;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
    /// A message of its program comes next: to be answered when all before it is told.
    Next(oneshot::Sender<()>),
    ChannelEnded(Option<ReceiveError>),
    Ended(Box<Ended>),
}

impl Report {
    /// Whether it says that a connection was taken or is served, as nearly all do.
    pub(super) fn is_of_connections(&self) -> bool {
        match self {
            Self::Said(said) => matches!(
                said.act,
                WorkerAct::Answer {
                    accepted: Some(true),
                    ..
                }
            ),
            Self::Settled(settlement) => settlement.is_taken,
            Self::Nonsense(_)
            | Self::SaysReady
            | Self::Next(_)
            | Self::ChannelEnded(_)
            | Self::Ended(_) => false,
        }
    }
}

/// A process is gone, and its tree.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Result<Outcome, RunError>,
    pub(super) last_lines: Vec<String>,
}

/// Looks after a worker until it, its channel and its outputs have ended.
///
/// Each has a task of its own: what comes over the channel is what costs time, and
/// nothing else is looked at for it.
pub(super) fn tend(
    worker: WorkerId,
    mut child: Child,
    ready: &Ready,
    events: EventSender,
    notes: mpsc::Sender<Note>,
) {
    drop(child.stdin.take());
    let reports = Reports { worker, notes };
    let tail = Arc::new(Mutex::new(Tail::default()));
    let outputs = Outputs {
        worker,
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        tail: Arc::clone(&tail),
        dropped: 0,
        events: events.clone(),
    };
    let outputs = tokio::spawn(outputs.pass_on());
    let talk = child.channel.take().map(|channel| {
        let talk = Talk {
            ready: match ready {
                Ready::Message(text) => Some(text.clone()),
                Ready::Listening | Ready::Started | Ready::After(_) => None,
            },
            serialization: channel.tx.serialization(),
            channel: channel.rx,
            events,
            reports: reports.clone(),
            is_untold: false,
        };
        tokio::spawn(talk.pass_on())
    });
    tokio::spawn(async move {
        let outcome = child.outcome().await;
        let until = Instant::now() + LAST_WORDS;
        if let Some(talk) = talk
            && !is_done(talk, until).await
        {
            reports.send(Report::ChannelEnded(None)).await;
        }
        is_done(outputs, until).await;
        let last_lines = lock(&tail).lines();
        let ended = Ended {
            outcome,
            last_lines,
        };
        reports.send(Report::Ended(Box::new(ended))).await;
    });
}

/// Waits for a task, and ends it when its time is over.
async fn is_done(mut task: JoinHandle<()>, until: Instant) -> bool {
    let done = tokio::time::timeout_at(until.into(), &mut task).await;
    task.abort();
    done.is_ok()
}

/// Reports on one worker.
#[derive(Clone)]
struct Reports {
    worker: WorkerId,
    notes: mpsc::Sender<Note>,
}

impl Reports {
    async fn send(&self, report: Report) {
        let note = Note::Worker(self.worker, report);
        // Nearly always there is room, and then there is no need to ask for some first.
        if let Err(TrySendError::Full(note)) = self.notes.try_send(note) {
            // Without a primary there is nobody to care.
            let _ = self.notes.send(note).await;
        }
    }

    /// Waits until what was reported is told to the program.
    async fn told(&self) {
        let (told, is_told) = oneshot::channel();
        self.send(Report::Next(told)).await;
        // Without a primary there is nobody to tell.
        let _ = is_told.await;
    }
}

/// What comes over the channel.
struct Talk {
    ready: Option<String>,
    serialization: Serialization,
    channel: Receiver,
    events: EventSender,
    reports: Reports,
    /// It said something in the cluster's name that may be an event.
    is_untold: bool,
}

impl Talk {
    async fn pass_on(mut self) {
        let end = loop {
            match self.channel.incoming().await {
                Ok(Some(Incoming::Cluster(body, _))) => {
                    let said = decode_from_worker(self.serialization, &body);
                    let report = said.map_or_else(Report::Nonsense, Report::Said);
                    self.is_untold |= !report.is_of_connections();
                    self.reports.send(report).await;
                }
                Ok(Some(Incoming::Settled(settled))) => {
                    self.reports.send(Report::Settled(settled)).await;
                }
                Ok(Some(Incoming::Message(message))) => self.message(message).await,
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        self.reports.send(Report::ChannelEnded(end)).await;
    }

    async fn message(&mut self, message: Message) {
        if let Some(ready) = &self.ready
            && message.decode::<String>().is_ok_and(|text| text == *ready)
        {
            self.reports.send(Report::SaysReady).await;
        }
        // Events come in the order in which it caused them.
        if std::mem::take(&mut self.is_untold) {
            self.reports.told().await;
        }
        let worker = self.reports.worker;
        // A worker whose messages nobody takes waits; the others do not.
        self.events.send(Event::Message { worker, message }).await;
    }
}

/// What is written to standard output and error.
struct Outputs {
    worker: WorkerId,
    stdout: Option<ChildOutput>,
    stderr: Option<ChildOutput>,
    tail: Arc<Mutex<Tail>>,
    /// Bytes that nobody could be told of.
    dropped: u64,
    events: EventSender,
}

impl Outputs {
    async fn pass_on(mut self) {
        while self.stdout.is_some() || self.stderr.is_some() {
            tokio::select! {
                read = piece(&mut self.stdout) => self.wrote(Output::Stdout, read),
                read = piece(&mut self.stderr) => self.wrote(Output::Stderr, read),
            }
        }
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
            lock(&self.tail).add(&bytes);
        }
        let count = bytes.len() as u64;
        let told = self.events.tell_output(Event::Output {
            worker: self.worker,
            output,
            bytes,
            dropped: self.dropped,
        });
        self.dropped = if told { 0 } else { self.dropped + count };
    }
}

async fn piece(output: &mut Option<ChildOutput>) -> std::io::Result<Bytes> {
    match output {
        Some(output) => output.read_piece(PIECE).await,
        None => std::future::pending().await,
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
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
