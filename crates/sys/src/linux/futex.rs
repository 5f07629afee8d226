//! Waiting for a cell of memory that processes share.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::ClockId;

use crate::shared_memory::{WAITING, Waited};

pub(crate) const NOTIFIES_ARE_COUNTED: bool = true;

/// How often who cannot wait for two cells at once looks at the second.
const SLICE: Duration = Duration::from_millis(20);

/// A pause instead of a wait that the kernel cannot give us now.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn wait(cell: &AtomicU32, expected: u32, limit: Option<Duration>) -> Waited {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut has_waited = false;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        // Not `PRIVATE`: the key is the memory's place in its file, not in this process.
        match futex::wait(cell, Flags::empty(), expected, left.as_ref()) {
            Ok(()) => return Waited::Ok,
            Err(Errno::INTR) => has_waited = true,
            // It changed while a signal was handled; its notification may have been then too.
            Err(Errno::AGAIN) if has_waited => return Waited::Ok,
            Err(Errno::AGAIN) => return Waited::NotEqual,
            Err(Errno::TIMEDOUT) => return Waited::TimedOut,
            Err(_) => return for_no_reason(),
        }
    }
}

/// As `wait`, as long as `state` is `WAITING`.
pub(crate) fn wait_while(cell: &AtomicU32, expected: u32, state: &AtomicU32) -> Waited {
    static IS_OLD: AtomicBool = AtomicBool::new(false);
    let mut has_waited = false;
    while !IS_OLD.load(Ordering::Relaxed) {
        // The cell last: of several that were woken the kernel names the last, and
        // its notification is the one that must not be lost.
        let both = [one_of(state, WAITING), one_of(cell, expected)];
        match futex::waitv(&both, WaitvFlags::empty(), None, ClockId::Monotonic) {
            Ok(1) => return Waited::Ok,
            Ok(_) | Err(Errno::INTR) => has_waited = true,
            Err(Errno::AGAIN) if state.load(Ordering::SeqCst) != WAITING => {
                return Waited::Withdrawn;
            }
            Err(Errno::AGAIN) if has_waited => return Waited::Ok,
            Err(Errno::AGAIN) => return Waited::NotEqual,
            // Before Linux 5.16, or forbidden to this program.
            Err(Errno::NOSYS | Errno::PERM) => IS_OLD.store(true, Ordering::Relaxed),
            Err(_) => return for_no_reason(),
        }
    }
    wait_in_slices(cell, expected, state)
}

fn wait_in_slices(cell: &AtomicU32, expected: u32, state: &AtomicU32) -> Waited {
    let mut has_waited = false;
    while state.load(Ordering::SeqCst) == WAITING {
        match wait(cell, expected, Some(SLICE)) {
            Waited::NotEqual if has_waited => return Waited::Ok,
            Waited::TimedOut => has_waited = true,
            waited @ (Waited::Ok | Waited::NotEqual | Waited::Withdrawn) => return waited,
        }
    }
    Waited::Withdrawn
}

fn one_of(cell: &AtomicU32, expected: u32) -> Wait {
    let mut wait = Wait::new();
    wait.val = u64::from(expected);
    wait.uaddr = WaitPtr::new(ptr::from_ref(cell).cast_mut().cast());
    wait.flags = WaitFlags::SIZE_U32;
    wait
}

/// A shortage of the kernel: whoever waits looks at the cell again.
fn for_no_reason() -> Waited {
    thread::sleep(PAUSE);
    Waited::Ok
}

pub(crate) fn notify(cell: &AtomicU32, count: usize) -> usize {
    let count = u32::try_from(count)
        .unwrap_or(u32::MAX)
        .min(i32::MAX.cast_unsigned());
    // The memory is there: a cell is borrowed.
    futex::wake(cell, Flags::empty(), count).unwrap_or(0)
}
