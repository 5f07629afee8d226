//! Reading once: where what comes goes.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use procession_core::ipc::inbound::Inbound;
use procession_sys::Received;

use super::memory;

/// What is read at once, and the most that one peer gets before others have their turn.
pub(super) const TURN: usize = 64 * 1024;

/// The same while the rest of a large message comes, which is no work but the copy.
const LARGE_TURN: usize = 256 * 1024;

thread_local! {
    /// One buffer for all channels of a thread: an idle one has none.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; TURN]);
}

/// Reads once, up to `piece` bytes or the rest of a large message, and notes what came;
/// gives how much that was.
pub(super) fn read(
    inbound: &mut Inbound<OwnedFd>,
    piece: usize,
    receive: impl FnOnce(&mut [u8], &mut Vec<OwnedFd>) -> io::Result<Received>,
) -> io::Result<usize> {
    let mut handles = Vec::new();
    if let Some(rest) = inbound.rest(memory::made) {
        let received = append(rest, |room| receive(room, &mut handles))?;
        inbound.arrived(received.bytes, takeable(handles, received));
        return Ok(received.bytes);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let received = receive(&mut buffer[..piece], &mut handles)?;
        let bytes = &buffer[..received.bytes];
        inbound.received(bytes, takeable(handles, received));
        Ok(received.bytes)
    })
}

/// Receives what is there, or waits for it: awake while that pays, then asleep.
pub(crate) fn receive_waiting(
    socket: BorrowedFd<'_>,
    mut polls: impl FnMut() -> bool,
    buffer: &mut [u8],
    handles: &mut Vec<OwnedFd>,
) -> io::Result<Received> {
    while polls() {
        match procession_sys::receive(socket, buffer, handles) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
            received => return received,
        }
    }
    procession_sys::receive_waiting(socket, buffer, handles)
}

/// Reads into the room behind what the buffer holds.
fn append(
    buffer: &mut BytesMut,
    receive: impl FnOnce(&mut [u8]) -> io::Result<Received>,
) -> io::Result<Received> {
    let held = buffer.len();
    let room = (buffer.capacity() - held).min(LARGE_TURN);
    buffer.resize(held + room, 0);
    let received = receive(&mut buffer[held..]);
    let bytes = received.as_ref().map_or(0, |received| received.bytes);
    buffer.truncate(held + bytes);
    received
}

/// What no message can have is closed at once; its place is kept, and that of what was lost.
fn takeable(handles: Vec<OwnedFd>, received: Received) -> impl Iterator<Item = Option<OwnedFd>> {
    let takes = |fd: &OwnedFd| {
        procession_sys::fd_kind(fd.as_fd()).is_ok_and(procession_sys::FdKind::node_takes)
    };
    let lost = received.lost_handles.then_some(None);
    handles
        .into_iter()
        .map(move |fd| Some(fd).filter(takes))
        .chain(lost)
}
