//! A connection that is there: requests go out, answers come in.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::connection::Slot;
use super::core::Core;
use super::reading::{Asked, Reading};
use super::stream::Stream;
use super::why::Why;
use crate::http1::{Answer, Expect, Malformed};
use crate::schedule::Sent;
use crate::{Class, Protocol};

/// How often is read before others have their turn: a server may send without end.
const READS_IN_A_TURN: usize = 16;

/// A connection that is there.
#[derive(Debug)]
pub(super) struct Open {
    stream: Stream,
    reading: Reading,
    /// What was sent and is not answered, the oldest first.
    flight: VecDeque<Flight>,
    /// What found no room, from `written` on.
    unsent: Vec<u8>,
    written: usize,
    /// When it was begun: the first request's time-out counts from then.
    begun: Option<Duration>,
    /// Requests that were sent on it.
    made: u64,
    answers: u64,
    /// The server takes no more; what it says is still read.
    is_deaf: bool,
    /// More came than was asked for: the next answer cannot be told from it.
    has_surplus: bool,
}

#[derive(Debug)]
struct Flight {
    sent: Sent,
    /// From when the time-out counts.
    since: Duration,
    /// Which request of the spec it is.
    request: usize,
}

/// How a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// Nothing is lost by it.
    Quiet,
    /// There are no more requests for it.
    NoMore,
    /// What is in flight is lost: the oldest in one class, the rest in another.
    Lost { first: Class, rest: Class, why: Why },
}

impl End {
    fn all(class: Class, why: Why) -> Self {
        Self::Lost {
            first: class,
            rest: class,
            why,
        }
    }
}

impl Open {
    pub(super) fn new(stream: Stream, begun: Duration, core: &Core) -> Self {
        Self {
            stream,
            reading: Reading::new(core),
            flight: VecDeque::new(),
            unsent: Vec::new(),
            written: 0,
            begun: Some(begun),
            made: 0,
            answers: 0,
            is_deaf: false,
            has_surplus: false,
        }
    }

    /// From when the time-out of the oldest request counts.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.flight.front().map(|flight| flight.since)
    }

    pub(super) fn under_way(&self) -> u64 {
        self.flight.len() as u64
    }

    pub(super) fn had_answers(&self) -> bool {
        self.answers > 0
    }

    /// Takes out what is in flight, the oldest first.
    pub(super) fn lost(&mut self) -> impl Iterator<Item = Sent> {
        self.flight.drain(..).map(|flight| flight.sent)
    }

    /// Time is over for the oldest request.
    pub(super) fn overdue(&self, limit: Duration) -> End {
        let first = if self.reading.is_within() {
            Class::TimedOut
        } else {
            Class::Hung
        };
        End::Lost {
            first,
            // Those behind it were not answered either.
            rest: Class::Hung,
            why: Why::Overdue(limit),
        }
    }

    /// Sends what is due and reads what is there, until there is nothing to do or it ends.
    pub(super) fn poll(
        &mut self,
        slot: &mut Slot,
        core: &mut Core,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        for _ in 0..READS_IN_A_TURN {
            if let Some(end) = self.send(slot, core, cx) {
                return Poll::Ready(end);
            }
            if let Some(end) = ready!(self.receive(slot, core, cx)) {
                return Poll::Ready(end);
            }
        }
        core.again.push(slot.number);
        Poll::Pending
    }

    fn send(&mut self, slot: &mut Slot, core: &mut Core, cx: &mut Context<'_>) -> Option<End> {
        while self.may_send(core) && slot.schedule.next().is_some() && slot.holds_one(core) {
            core.clock_if_stale();
            let due = slot.schedule.next().unwrap_or_default();
            let due = due.saturating_add(core.shared.plan.lead);
            if due > core.now && core.drains() {
                slot.give_up();
                break;
            }
            if due > core.now {
                slot.alarm(due, core);
                break;
            }
            self.begin(slot, core);
        }
        if self.has_surplus && !self.flight.is_empty() {
            return Some(End::all(Class::Malformed, Why::Unasked));
        }
        if self.flight.is_empty() {
            if self.is_deaf {
                return Some(End::Quiet);
            }
            if !slot.holds_one(core) {
                return Some(End::NoMore);
            }
        }
        self.write(core, cx);
        None
    }

    fn may_send(&self, core: &Core) -> bool {
        !self.is_deaf && self.made < core.shared.plan.uses()
    }

    fn begin(&mut self, slot: &mut Slot, core: &mut Core) {
        debug_assert!(
            core.now >= core.shared.plan.lead,
            "time of schedules has begun"
        );
        let request = slot.begin(core);
        self.made += 1;
        self.flight.push_back(Flight {
            sent: slot.schedule.send(core.scheduled()),
            since: self.begun.take().unwrap_or(core.now),
            request,
        });
        match core.shared.plan.spec.protocol {
            Protocol::Http1 => core.writers[slot.target][request].write(&mut core.out),
            Protocol::Echo => {
                let body = &core.shared.plan.spec.requests[request].body;
                core.out.extend_from_slice(body);
            }
        }
    }

    /// Writes what there is to write; what finds no room is kept.
    fn write(&mut self, core: &mut Core, cx: &mut Context<'_>) {
        if !self.unsent.is_empty() {
            self.unsent.append(&mut core.out);
        }
        let kept = !self.unsent.is_empty();
        let bytes = if kept { &self.unsent } else { &core.out };
        let result = write(&mut self.stream, &bytes[self.written..], cx);
        match result {
            Ok(length) => self.written += length,
            // It may have answered before it closed: reading tells.
            Err(_) => self.is_deaf = true,
        }
        let bytes = if kept { &self.unsent } else { &core.out };
        if self.is_deaf || self.written == bytes.len() {
            self.unsent = Vec::new();
            self.written = 0;
        } else if !kept {
            self.unsent = core.out.split_off(self.written);
            self.written = 0;
        }
        core.out.clear();
    }

    /// Reads once. `Pending`: nothing has come; `None`: it goes on.
    fn receive(
        &mut self,
        slot: &mut Slot,
        core: &mut Core,
        cx: &mut Context<'_>,
    ) -> Poll<Option<End>> {
        let mut buffer = mem::take(&mut core.buffer);
        let end = match self.stream.poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => {
                core.clock();
                Poll::Ready(match read {
                    Ok(0) => Some(self.closed(Why::Closed, slot, core)),
                    Ok(length) => {
                        core.tally.bytes += length as u64;
                        self.take_in(&buffer[..length], slot, core)
                    }
                    Err(error) => Some(self.closed(Why::Io(error), slot, core)),
                })
            }
        };
        core.buffer = buffer;
        end
    }

    fn take_in(&mut self, mut bytes: &[u8], slot: &mut Slot, core: &mut Core) -> Option<End> {
        while !bytes.is_empty() {
            let Some(oldest) = self.flight.front() else {
                return self.surplus(bytes);
            };
            let asked = asked(oldest.request, slot, core);
            let (taken, answer) = match self.reading.read(bytes, &asked) {
                Ok(read) => read,
                Err(malformed) => return Some(malformed_end(malformed)),
            };
            bytes = &bytes[taken..];
            match answer {
                Some(answer) => {
                    if let Some(end) = self.answered(&answer, slot, core) {
                        return Some(end);
                    }
                }
                None => break,
            }
        }
        None
    }

    /// Bytes came that nobody asked for. Some servers end a body with a newline too many.
    fn surplus(&mut self, bytes: &[u8]) -> Option<End> {
        if bytes.trim_ascii().is_empty() {
            return None;
        }
        if self.made == 0 {
            // It speaks first, so it speaks no HTTP; that is told when a request is due.
            return Some(End::Quiet);
        }
        self.has_surplus = true;
        None
    }

    fn answered(&mut self, answer: &Answer, slot: &mut Slot, core: &mut Core) -> Option<End> {
        let flight = self.flight.pop_front()?;
        let latency = slot.schedule.answer(flight.sent, core.scheduled());
        self.answers += 1;
        core.answered(answer, latency);
        let is_last = self.flight.is_empty();
        if !answer.keep_alive && !is_last {
            return Some(End::all(Class::Reset, Why::NotKept));
        }
        let is_used_up = !answer.keep_alive || self.made >= core.shared.plan.uses();
        (is_used_up && is_last).then_some(End::Quiet)
    }

    /// The server closed it, or it broke.
    fn closed(&mut self, why: Why, slot: &mut Slot, core: &mut Core) -> End {
        let was_within = self.reading.is_within();
        if let Why::Closed = why
            && let Some(answer) = self.reading.end()
            && let Some(end) = self.answered(&answer, slot, core)
        {
            return end;
        }
        if self.flight.is_empty() {
            return End::Quiet;
        }
        if let Why::Io(error) = &why
            && is_tls(error)
        {
            return End::all(Class::Tls, why);
        }
        let first = if was_within {
            Class::Half
        } else {
            Class::Reset
        };
        End::Lost {
            first,
            rest: Class::Reset,
            why,
        }
    }
}

/// Writes as much as finds room.
fn write(stream: &mut Stream, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.poll_write(cx, &bytes[written..]) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(length) => written += length?,
        }
    }
    match stream.poll_flush(cx) {
        Poll::Pending | Poll::Ready(Ok(())) => Ok(written),
        Poll::Ready(Err(error)) => Err(error),
    }
}

fn asked<'a>(request: usize, slot: &Slot, core: &'a Core) -> Asked<'a> {
    let spec = &core.shared.plan.spec;
    match spec.protocol {
        Protocol::Http1 => Asked::Http(Expect {
            head: core.writers[slot.target][request].is_head(),
        }),
        Protocol::Echo => Asked::Echo(&spec.requests[request].body),
    }
}

fn malformed_end(malformed: Malformed) -> End {
    End::all(Class::Malformed, Why::Malformed(malformed))
}

/// The server ended it by an alert: it wants a certificate, for example, and says so late.
#[cfg(feature = "tls")]
fn is_tls(error: &io::Error) -> bool {
    use tokio_rustls::rustls::Error;
    error
        .get_ref()
        .is_some_and(|error| error.downcast_ref::<Error>().is_some())
}

#[cfg(not(feature = "tls"))]
fn is_tls(_: &io::Error) -> bool {
    false
}
