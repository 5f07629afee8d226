//! A worker's end of the channel, for threads that may wait.
//!
//! The channel of the ipc module costs a worker four switches between threads
//! for each task. Here the thread that reads a task runs it, and writes its
//! result, so an idle worker sleeps in the read itself.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use procession_core::ipc::advanced::{self, Dialect};
use procession_core::ipc::busy_poll::BusyPoll;
use procession_core::ipc::handles::Ticket;
use procession_core::ipc::inbound::{Inbound, Step};
use procession_core::ipc::internal::{self, HandOver, HandleKind, Internal, Procession};
use procession_core::ipc::outbound::{Outbound, Receipt, Settled};
use procession_core::ipc::{Limits, Serialization, Shape, frame, json};
use procession_sys::{InheritedChannel, PollFd, SendAgain};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::payload;
use super::processes::chain;
use super::wire::{CLAIMS, FromWorker, SHARES};
use super::worker::ServeError;
use crate::ipc::{DecodeError, EncodeError, FromEnvError, busy_poll, receive_waiting};

/// What is read at once.
const READ: usize = 64 * 1024;

/// The most that is kept to write the next result into.
const SCRATCH_KEPT: usize = 256 * 1024;

/// When the kernel has no memory for what is to be sent.
const PAUSE: Duration = Duration::from_millis(5);

/// The socket, and what is on its way out.
#[derive(Debug)]
pub(super) struct Line {
    socket: UnixStream,
    serialization: Serialization,
    limits: Limits,
    /// Whether the pool takes blobs.
    shares: bool,
    /// Whether it has tasks come ahead.
    takes_ahead: bool,
    out: Mutex<Out>,
}

#[derive(Debug)]
struct Out {
    half: Outbound<OwnedFd>,
    busy_poll: BusyPoll,
    /// The tasks whose results are on their way as blobs.
    parcels: Vec<(Ticket, u64)>,
    /// The newest that each task has told, as long as the pool does not read.
    news: Vec<(u64, Vec<u8>)>,
}

/// A message that is ready to be sent.
#[derive(Debug, Default)]
pub(super) struct Letter {
    frames: Vec<u8>,
    /// Of a task.
    blob: Option<(u64, OwnedFd)>,
}

/// What is on its way in.
pub(super) struct Reader {
    inbound: Inbound<OwnedFd>,
    buffer: Vec<u8>,
}

/// Whether a read waits until there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Yes,
    No,
}

/// The pool is gone: nothing can be sent.
#[derive(Debug)]
pub(super) struct Gone;

impl Line {
    /// The one that our parent gave us.
    pub(super) fn from_env() -> Result<Option<Self>, FromEnvError> {
        let Some(inherited) = InheritedChannel::take()? else {
            return Ok(None);
        };
        let serialization = match inherited.serialization {
            None => Serialization::Json,
            Some(mode) => {
                Serialization::from_name(&mode).ok_or(FromEnvError::Serialization { mode })?
            }
        };
        let limits = Limits::default();
        let busy_poll = busy_poll(&limits);
        Ok(Some(Self {
            socket: inherited.fd.into(),
            serialization,
            limits,
            shares: std::env::var_os(SHARES).is_some(),
            takes_ahead: std::env::var_os(CLAIMS).is_some_and(|it| it == "1"),
            out: Mutex::new(Out {
                half: Outbound::new(serialization),
                busy_poll,
                parcels: Vec::new(),
                news: Vec::new(),
            }),
        }))
    }

    pub(super) fn reader(&self) -> Reader {
        Reader {
            inbound: Inbound::new(self.serialization, &self.limits),
            buffer: vec![0; READ],
        }
    }

    /// What ends the channel from elsewhere.
    pub(super) fn hang_up(&self) -> io::Result<HangUp> {
        self.socket.try_clone().map(HangUp)
    }

    /// Ends it: who reads is woken.
    pub(super) fn shut(&self) {
        // It may be gone already, which is as well.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    pub(super) fn takes_ahead(&self) -> bool {
        self.takes_ahead
    }

    /// Whether the pool can read all that was sent.
    pub(super) fn is_written(&self) -> bool {
        self.out().half.is_written()
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a message as a frame; nothing is left of one that cannot be written.
    pub(super) fn encode<M: Serialize>(
        &self,
        message: &M,
        letter: &mut Letter,
    ) -> Result<(), EncodeError> {
        let frames = &mut letter.frames;
        let begun = frame::begin(self.serialization, frames);
        if let Err(error) = self.encode_body(message, frames) {
            begun.cancel(frames);
            return Err(error);
        }
        begun.end(frames).map_err(|_| EncodeError::TooLong)?;
        if frames.len() > self.limits.max_frame {
            frames.clear();
            return Err(EncodeError::TooLong);
        }
        Ok(())
    }

    /// Writes what came of a task, with its large payloads beside it.
    pub(super) fn encode_result<M: Serialize>(
        &self,
        id: u64,
        message: &M,
        letter: &mut Letter,
    ) -> Result<(), String> {
        let written = if self.shares {
            payload::write(self.serialization, || self.encode(message, letter))
        } else {
            Ok((self.encode(message, letter), None))
        };
        let (encoded, blob) = written.map_err(|error| chain(&error))?;
        encoded.map_err(|error| chain(&error))?;
        let Some(blob) = blob else {
            return Ok(());
        };
        // It is written twice, but it is short: its payloads are elsewhere.
        let handle = blob.to_handle().map_err(|error| chain(&error))?;
        self.wrap(letter).map_err(|error| chain(&error))?;
        letter.blob = Some((id, handle.into_fd()));
        Ok(())
    }

    /// Makes a letter one that takes a descriptor along.
    fn wrap(&self, letter: &mut Letter) -> Result<(), EncodeError> {
        let body = match self.serialization {
            // A newline ends it.
            Serialization::Json => &letter.frames[..letter.frames.len() - 1],
            // Its length is before it.
            Serialization::Advanced => &letter.frames[4..],
        };
        let hand_over = Internal::Handle(HandOver {
            kind: HandleKind::Socket,
            message: Some(Bytes::copy_from_slice(body)),
            key: None,
            dgram_type: None,
        });
        letter.frames.clear();
        let begun = frame::begin(self.serialization, &mut letter.frames);
        internal::encode(self.serialization, &hand_over, &mut letter.frames)?;
        let ended = begun.end(&mut letter.frames);
        ended.map(drop).map_err(|_| EncodeError::TooLong)
    }

    fn encode_body<M: Serialize>(
        &self,
        message: &M,
        body: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match self.serialization {
            Serialization::Json => json::encode(message, body)?,
            Serialization::Advanced => advanced::to_writer(body, message, Dialect::Ipc)?,
        }
        Ok(())
    }

    pub(super) fn decode<M: DeserializeOwned>(
        &self,
        body: &Bytes,
        shape: Shape,
    ) -> Result<M, DecodeError> {
        let depth = self.limits.max_depth;
        Ok(match self.serialization {
            Serialization::Json => json::decode_checked(body, shape, depth)?,
            Serialization::Advanced => {
                advanced::from_slice_with(body, Dialect::Ipc, &advanced::Limits { depth })?
            }
        })
    }

    /// Sends a letter, and waits until the kernel has it.
    pub(super) fn send(&self, letter: &mut Letter) -> Result<(), Gone> {
        let mut out = self.out();
        out.tell_news();
        match letter.blob.take() {
            None => out.half.send(&mut letter.frames),
            Some((id, fd)) => {
                let frame = std::mem::take(&mut letter.frames);
                let ticket = out.half.send_handle(&HandleKind::Socket, frame, fd);
                out.parcels.push((ticket, id));
            }
        }
        if letter.frames.capacity() > SCRATCH_KEPT {
            letter.frames = Vec::new();
        }
        out.busy_poll.sent(Instant::now);
        self.write(&mut out.half, Wait::Yes)
    }

    /// Sends a word.
    pub(super) fn say(&self, word: &FromWorker<(), ()>) {
        let mut letter = Letter::default();
        // A word can be written, and who is gone is met by the read.
        let _ = self.encode(word, &mut letter);
        let _ = self.send(&mut letter);
    }

    /// Sends what a task tells, if the pool has read what was sent before. Else it
    /// waits for that, and only the newest of each task does.
    pub(super) fn tell(&self, id: u64, letter: &mut Letter) {
        let mut out = self.out();
        let news = std::mem::take(&mut letter.frames);
        match out.news.iter_mut().find(|(own, _)| *own == id) {
            Some((_, older)) => *older = news,
            None => out.news.push((id, news)),
        }
        self.try_news(&mut out);
    }

    /// Sends what was told and did not fit, if it does now.
    pub(super) fn tell_again(&self) {
        let mut out = self.out();
        if !out.news.is_empty() {
            self.try_news(&mut out);
        }
    }

    fn try_news(&self, out: &mut Out) {
        // Who is gone will be met by the read.
        let _ = self.write(&mut out.half, Wait::No);
        if out.half.is_written() {
            out.tell_news();
            let _ = self.write(&mut out.half, Wait::No);
        }
    }

    fn write(&self, half: &mut Outbound<OwnedFd>, wait: Wait) -> Result<(), Gone> {
        while let Some(write) = half.next_write() {
            let handle = write.handle.map(AsFd::as_fd);
            match procession_sys::send(self.socket.as_fd(), write.bytes, handle) {
                Ok(bytes) => half.wrote(bytes),
                Err(error) => match procession_sys::send_again(&error) {
                    None => return Err(Gone),
                    Some(_) if wait == Wait::No => return Ok(()),
                    Some(SendAgain::Later) => std::thread::sleep(PAUSE),
                    Some(SendAgain::Writable) => {
                        let mut socket = [PollFd::writable(self.socket.as_fd())];
                        // A poll that fails is met again by the write.
                        let _ = procession_sys::poll(&mut socket, None);
                    }
                },
            }
        }
        Ok(())
    }

    fn answer(&self, answer: &Internal) {
        let mut out = self.out();
        out.half.answer(answer);
        let _ = self.write(&mut out.half, Wait::No);
    }

    /// The pool has a blob, or could not take it.
    fn settle(&self, receipt: Receipt) {
        let mut out = self.out();
        let Some(settled) = out.half.answered(receipt) else {
            return;
        };
        let (Settled::Taken(ticket, _) | Settled::Refused(ticket, _)) = &settled;
        let at = out.parcels.iter().position(|(own, _)| own == ticket);
        let id = at.map(|at| out.parcels.swap_remove(at).1);
        drop(out);
        if let (Settled::Refused(..), Some(id)) = (settled, id) {
            let message = "its result cannot be sent: the pool did not receive it".to_owned();
            self.say(&FromWorker::Failed { id, message });
        }
    }
}

impl Out {
    fn tell_news(&mut self) {
        for (_, mut frame) in self.news.drain(..) {
            self.half.send(&mut frame);
        }
    }
}

impl Letter {
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.blob = None;
    }
}

impl Reader {
    /// Reads once, and passes on what became whole; `false` at the end.
    pub(super) fn read(
        &mut self,
        line: &Line,
        wait: Wait,
        mut heard: impl FnMut(Bytes, Shape, Option<OwnedFd>),
    ) -> Result<bool, ServeError> {
        let mut handles = Vec::new();
        let (socket, buffer) = (line.socket.as_fd(), &mut self.buffer);
        let read = match wait {
            Wait::Yes => {
                let polls = || line.out().busy_poll.polls(Instant::now);
                receive_waiting(socket, polls, buffer, &mut handles)
            }
            Wait::No => procession_sys::receive(socket, buffer, &mut handles),
        };
        let bytes = match read {
            Ok(received) => received.bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if is_gone(&error) => 0,
            Err(error) => return Err(ServeError::Read(error)),
        };
        if bytes == 0 {
            return Ok(false);
        }
        line.out().busy_poll.heard(Instant::now);
        self.inbound
            .received(&self.buffer[..bytes], handles.into_iter().map(Some));
        while let Some(step) = self.inbound.next_step()? {
            match step {
                Step::Message(body, shape, attached) => {
                    heard(body, shape, attached.map(|(_, fd)| fd));
                }
                Step::Internal(Internal::Procession(question), _) => refuse(line, &question),
                Step::Internal(..) => {}
                Step::Answer(answer) => line.answer(&answer),
                Step::Receipt(receipt) => line.settle(receipt),
                Step::Mark => line.out().half.mark_internal(),
            }
        }
        Ok(true)
    }
}

/// A pool that ended with our bytes unread resets the connection: the end.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// A pool asks nothing of this kind, but somebody else might.
fn refuse(line: &Line, question: &Procession) {
    if let Procession::Send { id, .. } | Procession::Request { id, .. } = question {
        let refusal = Procession::Refuse {
            id: *id,
            reason: "a worker of a pool takes tasks only".to_owned(),
        };
        line.answer(&Internal::Procession(refusal));
    }
}

/// Ends the channel when it is dropped, so that who reads it leaves.
pub(super) struct HangUp(UnixStream);

impl Drop for HangUp {
    fn drop(&mut self) {
        // It may be gone already, which is as well.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
