//! Carrying between two sockets until both are done.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use procession_core::ipc::Serialization;
use procession_sys::{PollFd, SendAgain, end_input, poll, receive, send, send_again};

use super::reader::{Passed, Reader};
use super::{Seen, Side};

/// What is read at once.
const CHUNK: usize = 64 * 1024;

/// Messages are appended to each other up to about this size, to be written at once.
const COALESCED: usize = 64 * 1024;

/// How long a kernel that has no room for descriptors is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// How often a side that sends no more is asked whether it is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Carries everything from the parent to the child and back, and tells what passed.
///
/// `saw` is called before the other side gets what it is told of. Blocks until
/// both sides are done or gone. From a side nothing is read until the other one
/// has taken what was read before: who does not read holds up the sender, as
/// without a relay. One whole message, of 64 MiB at most, is held on each way.
///
/// A side that sends no more is passed on as such, and may still receive. One
/// that is gone ends both ways: then nothing that is sent to it has a reader.
///
/// # Errors
///
/// Only of waiting itself: a socket that breaks is a side that is gone.
pub fn carry(
    parent: BorrowedFd<'_>,
    child: BorrowedFd<'_>,
    serialization: Serialization,
    mut saw: impl FnMut(Side, Seen),
) -> io::Result<()> {
    let mut down = Way::new(Side::Parent, parent, child, serialization);
    let mut up = Way::new(Side::Child, child, parent, serialization);
    let mut buffer = vec![0; CHUNK];
    loop {
        down.advance(&mut buffer, &mut saw);
        up.advance(&mut buffer, &mut saw);
        // Who is gone will not take what the other one still sends.
        down.end_if(up.has_ended() && is_gone(child));
        up.end_if(down.has_ended() && is_gone(parent));
        if down.has_ended() && up.has_ended() {
            return Ok(());
        }
        wait(&mut [&mut down, &mut up])?;
    }
}

/// Waits until one of the ways can go on.
fn wait(ways: &mut [&mut Way<'_>; 2]) -> io::Result<()> {
    let mut limit = ways.iter().any(|way| way.has_ended()).then_some(LOOK);
    if ways.iter().any(|way| way.pause) {
        limit = Some(PAUSE);
    }
    let waited: Vec<usize> = (0..ways.len())
        .filter(|index| ways[*index].waits_for().is_some())
        .collect();
    let mut fds: Vec<PollFd<'_>> = waited
        .iter()
        .filter_map(|index| ways[*index].waits_for())
        .collect();
    poll(&mut fds, limit)?;
    let ready: Vec<bool> = fds.iter().map(|fd| fd.ready).collect();
    for (index, ready) in waited.iter().zip(ready) {
        ways[*index].ready = ready;
    }
    for way in ways {
        way.ready |= way.pause;
        way.pause = false;
    }
    Ok(())
}

/// Whether the other end of a socket is closed altogether, and not only for sending.
fn is_gone(socket: BorrowedFd<'_>) -> bool {
    // Nothing is sent; that it could not be is all we want to hear.
    send(socket, b"", None).is_err_and(|error| send_again(&error).is_none())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The sender has sent its last; some of it is still here.
    Ending,
    Ended,
}

/// Bytes that go out together, a descriptor with the first of them.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    handle: Option<OwnedFd>,
}

/// From one side to the other.
#[derive(Debug)]
struct Way<'fd> {
    side: Side,
    from: BorrowedFd<'fd>,
    to: BorrowedFd<'fd>,
    reader: Reader,
    out: VecDeque<Piece>,
    /// How much of the first piece is written.
    written: usize,
    state: State,
    /// Whether something was seen to be possible.
    ready: bool,
    pause: bool,
}

impl<'fd> Way<'fd> {
    fn new(
        side: Side,
        from: BorrowedFd<'fd>,
        to: BorrowedFd<'fd>,
        serialization: Serialization,
    ) -> Self {
        Self {
            side,
            from,
            to,
            reader: Reader::new(serialization),
            out: VecDeque::new(),
            written: 0,
            state: State::Open,
            ready: true,
            pause: false,
        }
    }

    fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    fn waits_for(&self) -> Option<PollFd<'fd>> {
        match self.state {
            State::Ended => None,
            _ if self.pause => None,
            State::Ending | State::Open if !self.out.is_empty() => Some(PollFd::writable(self.to)),
            State::Ending | State::Open => Some(PollFd::readable(self.from)),
        }
    }

    /// Writes what is here, else reads once and writes that.
    fn advance(&mut self, buffer: &mut [u8], saw: &mut impl FnMut(Side, Seen)) {
        if !std::mem::take(&mut self.ready) || self.has_ended() {
            return;
        }
        if self.out.is_empty() && self.state == State::Open {
            self.read(buffer, saw);
        }
        self.write();
    }

    fn read(&mut self, buffer: &mut [u8], saw: &mut impl FnMut(Side, Seen)) {
        let mut handles = Vec::new();
        let passed = match receive(self.from, buffer, &mut handles) {
            Ok(received) if received.bytes > 0 => {
                let bytes = &buffer[..received.bytes];
                self.reader.received(bytes, handles, received.lost_handles)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // The end, or a peer that has left without reading all: the same to a Node.
            Ok(_) | Err(_) => {
                self.state = State::Ending;
                vec![self.reader.end()]
            }
        };
        for Passed { wire, handle, seen } in passed {
            if let Some(seen) = seen {
                saw(self.side, seen);
            }
            self.push(wire, handle);
        }
    }

    fn push(&mut self, bytes: Vec<u8>, handle: Option<OwnedFd>) {
        if bytes.is_empty() {
            return;
        }
        match self.out.back_mut() {
            Some(last) if handle.is_none() && last.bytes.len() + bytes.len() <= COALESCED => {
                last.bytes.extend_from_slice(&bytes);
            }
            _ => self.out.push_back(Piece { bytes, handle }),
        }
    }

    fn write(&mut self) {
        while let Some(piece) = self.out.front_mut() {
            let handle = piece.handle.as_ref().map(AsFd::as_fd);
            match send(self.to, &piece.bytes[self.written..], handle) {
                Ok(written) => {
                    piece.handle = None;
                    self.written += written;
                    if self.written == piece.bytes.len() {
                        self.out.pop_front();
                        self.written = 0;
                    }
                }
                Err(error) => match send_again(&error) {
                    Some(SendAgain::Writable) => return,
                    Some(SendAgain::Later) => {
                        self.pause = true;
                        return;
                    }
                    None => return self.end(),
                },
            }
        }
        if self.state == State::Ending {
            self.end();
        }
    }

    fn end_if(&mut self, gone: bool) {
        if gone && !self.has_ended() {
            self.end();
        }
    }

    /// No more goes this way: the receiver sees the end, the sender that nobody reads.
    fn end(&mut self) {
        self.out.clear();
        self.state = State::Ended;
        // Either may be gone already, and then knows.
        let _ = end_input(self.to);
    }
}
