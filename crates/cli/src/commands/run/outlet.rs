//! Where lines go. A reader that does not read holds up nobody.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many bytes wait for a reader; what comes above that is dropped and counted.
const MOST: usize = 256 * 1024;
/// How long to wait where somebody else made the file non-blocking, and it is full.
const FULL: Duration = Duration::from_millis(10);

/// Makes the line that tells of dropped lines.
pub(super) type Tell = fn(lines: u64) -> Vec<u8>;

/// A file and the thread that writes to it.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: VecDeque<u8>,
    /// Lines that came after those bytes and found no room.
    dropped: u64,
    /// All that were dropped.
    lost: u64,
    is_writing: bool,
    /// The reader went away, so that nobody is left to be told.
    is_closed: bool,
}

impl Outlet {
    /// Starts the thread.
    pub(super) fn new(file: File, tell: Tell) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let outlet = Self {
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("procession-out".into())
            .stack_size(64 * 1024)
            .spawn(move || shared.write(file, tell))?;
        Ok(outlet)
    }

    /// Writes whole lines later; `false` if there is no room, and they are dropped.
    pub(super) fn push(&self, lines: &[u8]) -> bool {
        let mut queue = self.shared.lock();
        if queue.is_closed {
            return true;
        }
        // What follows dropped lines has to wait for the remark about them.
        if queue.dropped > 0 || queue.bytes.len() + lines.len() > MOST {
            let count = count(lines);
            queue.dropped += count;
            queue.lost += count;
            return false;
        }
        queue.bytes.extend(lines);
        self.shared.filled.notify_one();
        true
    }

    /// How many lines were dropped so far.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Waits until all is written, but not for ever.
    pub(super) fn finish(&self, patience: Duration) {
        let queue = self.shared.lock();
        let waiting = |queue: &mut Queue| queue.is_writing || !queue.bytes.is_empty();
        drop(
            self.shared
                .emptied
                .wait_timeout_while(queue, patience, waiting),
        );
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut file: File, tell: Tell) {
        loop {
            let (bytes, dropped) = self.take();
            let (first, second) = bytes.as_slices();
            let mut written = write_all(&mut file, first);
            if written.is_ok() {
                written = write_all(&mut file, second);
            }
            if written.is_ok() && dropped > 0 {
                written = write_all(&mut file, &tell(dropped));
            }
            if let Err(error) = written {
                self.failed(&error, count(first) + count(second) + dropped);
            }
        }
    }

    /// The bytes to write, and how many lines were dropped after them.
    fn take(&self) -> (VecDeque<u8>, u64) {
        let mut queue = self.lock();
        queue.is_writing = false;
        while queue.bytes.is_empty() && queue.dropped == 0 {
            self.emptied.notify_all();
            let woken = self.filled.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_writing = true;
        let taken = std::mem::take(&mut queue.bytes);
        (taken, std::mem::take(&mut queue.dropped))
    }

    fn failed(&self, error: &io::Error, lines: u64) {
        let mut queue = self.lock();
        if error.kind() == io::ErrorKind::BrokenPipe {
            queue.is_closed = true;
            queue.bytes.clear();
            queue.dropped = 0;
        } else {
            // No room on the disk: told with the next lines that have some.
            queue.lost += lines;
        }
    }
}

/// As `Write::write_all`, also where somebody has made the file non-blocking.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Standard output and error. One outlet where both are the same file, so that
/// lines stay in order.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) out: Outlet,
    pub(super) err: Outlet,
    pub(super) are_one: bool,
}

impl Outlets {
    pub(super) fn open(tell: Tell) -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let place = |file: &File| file.metadata().map(|data| (data.dev(), data.ino()));
        let are_one = place(&out)? == place(&err)?;
        let out = Outlet::new(out, tell)?;
        let err = if are_one {
            out.clone()
        } else {
            Outlet::new(err, tell)?
        };
        Ok(Self { out, err, are_one })
    }

    pub(super) fn lost(&self) -> u64 {
        self.out.lost() + self.err.lost()
    }

    pub(super) fn finish(&self, patience: Duration) {
        self.out.finish(patience);
        self.err.finish(patience);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader};
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;

    fn tell(lines: u64) -> Vec<u8> {
        format!("{lines} dropped\n").into_bytes()
    }

    fn outlet() -> (PipeReader, Outlet) {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        (reader, Outlet::new(file, tell).unwrap())
    }

    /// Pushes it until there is room, while somebody reads.
    fn push_last(outlet: &Outlet, line: &[u8]) {
        let end = Instant::now() + Duration::from_secs(30);
        while !outlet.push(line) {
            assert!(Instant::now() < end, "there is never room");
            thread::yield_now();
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_up_nobody_and_is_told_what_it_missed() {
        let (reader, outlet) = outlet();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let all: u64 = 20_000;
        let pushed = (0..all).filter(|_| outlet.push(&line)).count();
        let pushed = u64::try_from(pushed).unwrap();
        assert!(pushed < all, "everything found room");
        assert_eq!(outlet.lost(), all - pushed);

        let reading = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(Result::unwrap);
            let lines = lines.take_while(|line| line != "last");
            lines.fold((0, 0), |(whole, missed), line| {
                match line.strip_suffix(" dropped") {
                    Some(count) => (whole, missed + count.parse::<u64>().unwrap()),
                    None => (whole + u64::from(line.len() == 99), missed),
                }
            })
        });
        push_last(&outlet, b"last\n");
        let (whole, missed) = reading.join().unwrap();
        assert_eq!(whole, pushed);
        assert!(missed >= all - pushed, "{missed} of {}", all - pushed);
    }

    #[test]
    fn what_follows_dropped_lines_waits_for_the_remark() {
        // Nobody writes: the test takes.
        let outlet = Outlet {
            shared: Arc::default(),
        };
        let line = [b"x".repeat(9_999), b"\n".to_vec()].concat();
        let pushed = (0..100).filter(|_| outlet.push(&line)).count();
        assert!(!outlet.push(b"small\n"), "goes before the remark");
        let (bytes, dropped) = outlet.shared.take();
        assert_eq!(bytes.len(), pushed * line.len());
        assert_eq!(dropped, 101 - u64::try_from(pushed).unwrap());
        assert!(outlet.push(b"small\n"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let (reader, outlet) = outlet();
        drop(reader);
        outlet.push(b"one\n");
        outlet.finish(Duration::from_secs(30));
        for _ in 0..10_000 {
            assert!(outlet.push(&[b'\n'; 100]));
        }
        assert_eq!(outlet.lost(), 0);
    }
}
