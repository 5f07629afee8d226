//! The limit: frames with a length in front, blocking reads and writes. It has no
//! values: nothing is parsed or printed.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::Child;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
    sendmsg,
};

use crate::measure::{Contender, Job, Prepared, Task, expect_same};
use crate::{ended, from_parent, start_child};

/// What stands in front of a body: its length and the id.
const HEAD: usize = 8;
const READ_SIZE: usize = 64 * 1024;

pub(crate) fn prepare(job: &Job) -> io::Result<Option<Prepared>> {
    if job.task == Task::Memory {
        // There is nothing to keep.
        return Ok(None);
    }
    if job.is_child {
        child(job.task, from_parent()?)?;
        return Ok(Some(Prepared::Done));
    }
    let (child, socket) = start_child(job)?;
    Ok(Some(Prepared::Pair(Box::new(Parent {
        child,
        frames: Frames::new(socket),
        frame: frame(job.body().as_bytes())?,
        listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        task: job.task,
    }))))
}

fn frame(body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes(), &[0; 4], body].concat())
}

struct Parent {
    child: Child,
    frames: Frames,
    frame: Vec<u8>,
    listener: TcpListener,
    task: Task,
}

impl Contender for Parent {
    fn child(&self) -> u32 {
        self.child.id()
    }

    fn run(&mut self, count: u32) -> io::Result<()> {
        for id in (0..count).rev() {
            self.frame[4..HEAD].copy_from_slice(&id.to_le_bytes());
            if self.task == Task::Handles {
                self.send_with_handle()?;
            } else {
                (&self.frames.socket).write_all(&self.frame)?;
            }
            if self.task == Task::RoundTrip || id == 0 {
                let answer = self.frames.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                expect_same(&answer.len(), &self.frame.len())?;
                expect_same(&answer[4..HEAD], &self.frame[4..HEAD])?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self {
            mut child, frames, ..
        } = *self;
        drop(frames);
        ended(&mut child)
    }
}

impl Parent {
    fn send_with_handle(&self) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let handles = [self.listener.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&handles));
        let pieces = [IoSlice::new(&self.frame)];
        let sent = sendmsg(
            &self.frames.socket,
            &pieces,
            &mut control,
            SendFlags::empty(),
        )?;
        (&self.frames.socket).write_all(&self.frame[sent..])
    }
}

fn child(task: Task, socket: UnixStream) -> io::Result<()> {
    let mut frames = Frames::new(socket.try_clone()?);
    frames.with_handles = task == Task::Handles;
    while let Some(frame) = frames.next()? {
        if task == Task::RoundTrip || frame[4..HEAD] == [0; 4] {
            (&socket).write_all(frame)?;
        }
    }
    Ok(())
}

/// Whole frames out of a socket.
struct Frames {
    socket: UnixStream,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet taken.
    start: usize,
    end: usize,
    with_handles: bool,
}

impl Frames {
    fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            buffer: vec![0; READ_SIZE],
            start: 0,
            end: 0,
            with_handles: false,
        }
    }

    /// The next frame with its head; `None` at the end.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let length = self.length();
            if self.end - self.start >= length {
                let frame = self.start..self.start + length;
                self.start = frame.end;
                return Ok(Some(&self.buffer[frame]));
            }
            self.make_room(length);
            let count = self.read()?;
            if count == 0 {
                return Ok(None);
            }
            self.end += count;
        }
    }

    /// How long the next frame is, as far as is known.
    fn length(&self) -> usize {
        let rest = &self.buffer[self.start..self.end];
        let length = rest.first_chunk().map_or(0, |it| u32::from_le_bytes(*it));
        HEAD + length as usize
    }

    fn make_room(&mut self, length: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + length > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if length > self.buffer.len() {
            self.buffer.resize(length, 0);
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let room = &mut self.buffer[self.end..];
        if !self.with_handles {
            return (&self.socket).read(room);
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(8))];
        // The descriptors are closed with it.
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut pieces = [IoSliceMut::new(room)];
        Ok(recvmsg(&self.socket, &mut pieces, &mut control, flags)?.bytes)
    }
}
