//! Where the bytes of one output go: kept, changed, spilled, passed on.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use procession_core::capture::{Limit, Overflow, Verdict, cut_at_character};

use super::command::Command;
use super::prepare::Destination;
use super::transform::Running;

/// Room for a first read; a pipe holds as much.
const FIRST_READ: usize = 64 * 1024;
/// From here on an output is a flood.
const LARGE: usize = 1024 * 1024;
/// More than this is not asked for at once.
const HUGE: usize = 256 * 1024 * 1024;
/// A read with less room than this is not worth its call.
const LEAST_ROOM: usize = 16 * 1024;

/// Both outputs as they arrived, up to a limit of their own.
pub(super) type Interleaved = Arc<Mutex<All>>;

/// The tail of everything that arrived.
#[derive(Debug)]
pub(super) struct All {
    bytes: Vec<u8>,
    limit: Limit,
}

impl All {
    pub(super) fn shared(command: &Command) -> Option<Interleaved> {
        let limit = || Limit::new(command.buffers.default.bytes, Overflow::KeepTail);
        command.all.then(|| {
            Arc::new(Mutex::new(Self {
                bytes: Vec::new(),
                limit: limit(),
            }))
        })
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if let Verdict::DropFront(count) = self.limit.judge(self.bytes.len(), bytes.len()) {
            self.bytes.drain(..count);
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let surplus = self.limit.surplus(self.bytes.len());
        self.bytes.drain(..surplus);
        mem::take(&mut self.bytes)
    }
}

/// Makes room: by doubling while small, then at once for all that may be kept.
///
/// Memory costs nothing until it is written to, and most of the cost of keeping
/// a flood is page faults: so it comes in huge pages where the kernel has them,
/// in one piece, since such a piece cannot be grown without copying.
fn grow(buffer: &mut Vec<u8>, most: usize) {
    if buffer.capacity() < LARGE {
        buffer.reserve(buffer.len().max(FIRST_READ));
        return;
    }
    let step = most
        .checked_sub(buffer.len())
        .filter(|step| *step > 0)
        .unwrap_or(buffer.len());
    // Where memory is promised sparingly, a small step may still be had.
    if buffer.try_reserve_exact(step).is_err() {
        buffer.reserve(LARGE);
    }
    procession_sys::prefer_huge_pages(buffer.spare_capacity_mut());
}

/// Takes what arrived, at the end.
pub(super) fn taken(all: &Interleaved) -> Vec<u8> {
    all.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The end of one output.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) index: u32,
    kept: Vec<u8>,
    /// Where bytes are read into when they are not kept as they come.
    raw: Vec<u8>,
    limit: Limit,
    keeps: bool,
    transform: Option<Running>,
    spill: Option<File>,
    targets: Vec<Arc<OwnedFd>>,
    all: Option<Interleaved>,
    failed: bool,
    received: u64,
}

/// What came of bytes that were taken in.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// To be passed on to the targets.
    pub(super) pass_on: Option<Bytes>,
    /// The limit was passed just now: the child is to be ended.
    pub(super) overrun: bool,
}

impl Sink {
    pub(super) fn new(
        command: &Command,
        index: u32,
        destinations: Option<Vec<Destination>>,
        all: Option<&Interleaved>,
    ) -> Self {
        let buffer = command.buffer_of(index);
        let mut keeps = destinations.is_none();
        let mut targets = Vec::new();
        for destination in destinations.into_iter().flatten() {
            match destination {
                Destination::Capture => keeps = true,
                Destination::Fd(fd) => targets.push(fd),
            }
        }
        Self {
            index,
            kept: Vec::new(),
            raw: Vec::new(),
            limit: Limit::new(buffer.bytes, buffer.overflow.clone()),
            keeps,
            transform: command.transforms.get(&index).cloned().map(Running::new),
            spill: None,
            targets,
            all: all.filter(|_| index == 1 || index == 2).cloned(),
            failed: false,
            received: 0,
        }
    }

    /// Where to read into; there is room.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        let most = self.limit.most_kept().saturating_add(FIRST_READ).min(HUGE);
        let buffer = if self.is_plain() {
            &mut self.kept
        } else {
            &mut self.raw
        };
        if buffer.capacity() - buffer.len() < LEAST_ROOM {
            grow(buffer, most);
        }
        buffer
    }

    fn is_plain(&self) -> bool {
        self.transform.is_none() && self.keeps && !self.failed
    }

    /// Takes the `added` bytes that were read into the buffer.
    pub(super) fn take(&mut self, added: usize) -> io::Result<Taken> {
        self.received += added as u64;
        if self.is_plain() {
            return self.keep(added);
        }
        let raw = mem::take(&mut self.raw);
        let before = self.kept.len();
        match &mut self.transform {
            Some(transform) => transform.feed(&raw, &mut self.kept),
            None => self.kept.extend_from_slice(&raw),
        }
        // Keep the allocation for the next read.
        self.raw = raw;
        self.raw.clear();
        self.keep(self.kept.len() - before)
    }

    /// Takes the end of the stream.
    pub(super) fn finish(&mut self) -> io::Result<Taken> {
        let before = self.kept.len();
        if let Some(transform) = &mut self.transform {
            transform.finish(&mut self.kept);
        }
        self.keep(self.kept.len() - before)
    }

    fn keep(&mut self, added: usize) -> io::Result<Taken> {
        let start = self.kept.len() - added;
        let new = &self.kept[start..];
        if let Some(all) = &self.all {
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .append(new);
        }
        let pass_on = (!self.targets.is_empty() && added > 0).then(|| Bytes::copy_from_slice(new));
        if !self.keeps || self.failed {
            self.kept.truncate(start);
            return Ok(Taken {
                pass_on,
                overrun: false,
            });
        }
        let overrun = match self.limit.judge(self.kept.len(), added) {
            Verdict::Keep => false,
            Verdict::Fail { keep } => {
                let keep = cut_at_character(&self.kept, keep);
                self.kept.truncate(keep);
                // Read on so that the child can end, but keep nothing.
                self.failed = true;
                true
            }
            Verdict::DropFront(count) => {
                self.kept.drain(..count);
                false
            }
            Verdict::Spill { from, keep } => {
                self.spill(from)?;
                self.kept.truncate(keep);
                false
            }
        };
        Ok(Taken { pass_on, overrun })
    }

    fn spill(&mut self, from: usize) -> io::Result<()> {
        let file = match &mut self.spill {
            Some(file) => file,
            None => self.spill.insert(tempfile::tempfile()?),
        };
        file.write_all(&self.kept[from..])
    }

    /// The targets of a tee.
    pub(super) fn targets(&self) -> &[Arc<OwnedFd>] {
        &self.targets
    }

    /// What there is at the end: (kept, received, spilled).
    pub(super) fn into_parts(mut self) -> (Vec<u8>, u64, Option<File>) {
        let surplus = match self.spill {
            Some(_) => 0,
            None if self.failed => 0,
            None => self.limit.surplus(self.kept.len()),
        };
        self.kept.drain(..surplus);
        if self.kept.capacity() - self.kept.len() > LARGE {
            self.kept.shrink_to_fit();
        }
        if let Some(file) = &mut self.spill {
            // Rewinding an unnamed file of ours cannot fail.
            let _ = file.seek(SeekFrom::Start(0));
        }
        (self.kept, self.received, self.spill)
    }

    /// How many bytes have arrived, kept or not.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether there was too much, whenever it was read: (descriptor, limit).
    pub(super) fn overrun(&self) -> Option<(u32, usize)> {
        self.failed.then(|| (self.index, self.limit()))
    }

    /// The limit in bytes.
    pub(super) fn limit(&self) -> usize {
        self.limit.bytes()
    }
}

/// Writes to all targets of a tee, in order, whatever blocks.
pub(super) fn write_to_all(targets: &[Arc<OwnedFd>], bytes: &[u8]) -> io::Result<()> {
    for target in targets {
        let mut rest = bytes;
        while !rest.is_empty() {
            match procession_sys::write(target, rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Somebody made the shared descriptor non-blocking; wait for room.
                    use std::os::fd::AsFd;
                    let mut fds = [procession_sys::PollFd::writable(target.as_fd())];
                    procession_sys::poll(&mut fds, None)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
