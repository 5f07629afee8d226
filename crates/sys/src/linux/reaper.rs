//! The thread behind everybody: it reaps what nobody else has reaped.
//!
//! A short-lived child is reaped by whoever waits for it and never meets this
//! thread: a new child is only noted down, and the notes are looked through
//! 100 ms later. Whatever still lives then is watched here until it ends. A
//! child whose last handle is dropped comes here at once.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::process::Shared;
use crate::io::{read, write};

/// How long a new child is left to its owner.
const INFANCY: Duration = Duration::from_millis(100);

/// The eventfd's key; a child's key is its address, which is never 0.
const WAKE: u64 = 0;

static REAPER: OnceLock<Reaper> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

#[derive(Debug)]
struct Reaper {
    notes: Mutex<Notes>,
    wake: OwnedFd,
}

#[derive(Debug, Default)]
struct Notes {
    newborn: Vec<Weak<Shared>>,
    inherited: Vec<Arc<Shared>>,
    /// Whether the thread knows that there is something to look through.
    woken: bool,
}

/// Starts the thread if it is not there yet: a start without it could leave a zombie.
pub(super) fn ensure_running() -> io::Result<()> {
    if REAPER.get().is_some() {
        return Ok(());
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if REAPER.get().is_some() {
        return Ok(());
    }
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let children = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &children,
        &wake,
        epoll::EventData::new_u64(WAKE),
        epoll::EventFlags::IN,
    )?;
    // The thread begins by waiting, so it may start before the static is filled.
    thread::Builder::new()
        .name("procession-reap".into())
        .stack_size(128 * 1024)
        .spawn(move || serve(&children))?;
    REAPER.get_or_init(|| Reaper {
        notes: Mutex::default(),
        wake,
    });
    Ok(())
}

/// Notes a new child down.
pub(super) fn watch(child: &Arc<Shared>) {
    note(|notes| notes.newborn.push(Arc::downgrade(child)));
}

/// Forgets a child that was reaped by its owner: the note would keep its memory
/// from being used again for the next child.
pub(super) fn forget(child: &Shared) {
    let Some(reaper) = REAPER.get() else { return };
    let mut notes = reaper.notes.lock().unwrap_or_else(PoisonError::into_inner);
    // The last ones noted are the first to end.
    let is_its = |note: &Weak<Shared>| ptr::eq(note.as_ptr(), child);
    if let Some(place) = notes.newborn.iter().rposition(is_its) {
        notes.newborn.swap_remove(place);
    }
}

#[cfg(test)]
pub(super) fn has_note_of(child: *const Shared) -> bool {
    let notes = REAPER.get().map(|reaper| reaper.notes.lock().unwrap());
    notes.is_some_and(|notes| notes.newborn.iter().any(|note| note.as_ptr() == child))
}

/// Takes over a child whose last handle is gone.
pub(super) fn inherit(child: Arc<Shared>) {
    note(|notes| notes.inherited.push(child));
}

fn note(add: impl FnOnce(&mut Notes)) {
    let Some(reaper) = REAPER.get() else { return };
    let mut notes = reaper.notes.lock().unwrap_or_else(PoisonError::into_inner);
    let asleep = !std::mem::replace(&mut notes.woken, true);
    add(&mut notes);
    drop(notes);
    if asleep {
        // Full means that a wake-up is under way already.
        let _ = write(&reaper.wake, &1_u64.to_ne_bytes());
    }
}

fn serve(children: &OwnedFd) {
    let mut watched: HashMap<u64, Arc<Shared>> = HashMap::new();
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        // The only errors are EINTR and ones that a valid epoll does not give.
        let _ = epoll::wait(children, rustix::buffer::spare_capacity(&mut events), None);
        let mut noted = false;
        for event in &events {
            match event.data.u64() {
                WAKE => noted = true,
                key => end(children, &mut watched, key),
            }
        }
        if noted {
            thread::sleep(INFANCY);
            for child in take_notes() {
                begin(children, &mut watched, child);
            }
        }
    }
}

/// Empties the notes; the eventfd is read first, so a later note wakes us again.
fn take_notes() -> Vec<Arc<Shared>> {
    let Some(reaper) = REAPER.get() else {
        return Vec::new();
    };
    let _ = read(&reaper.wake, &mut [0; 8]);
    let mut notes = reaper.notes.lock().unwrap_or_else(PoisonError::into_inner);
    let Notes {
        newborn,
        mut inherited,
        ..
    } = std::mem::take(&mut *notes);
    drop(notes);
    inherited.extend(newborn.iter().filter_map(Weak::upgrade));
    inherited
}

fn begin(children: &OwnedFd, watched: &mut HashMap<u64, Arc<Shared>>, child: Arc<Shared>) {
    let key = Arc::as_ptr(&child).addr() as u64;
    if gone(&child) {
        return;
    }
    let data = epoll::EventData::new_u64(key);
    if epoll::add(children, child.pidfd(), data, epoll::EventFlags::IN).is_ok() {
        watched.insert(key, child);
    } else {
        // Out of memory for watches (`max_user_watches`): look again with the next notes.
        note(|notes| notes.inherited.push(child));
    }
}

fn end(children: &OwnedFd, watched: &mut HashMap<u64, Arc<Shared>>, key: u64) {
    let Some(child) = watched.get(&key) else {
        return;
    };
    if gone(child) {
        // Another descriptor of the same pidfd may live on, so it is taken out by hand.
        let _ = epoll::delete(children, child.pidfd());
        watched.remove(&key);
    }
}

/// Reaps the child if it has ended, and what a contained tree has left behind.
fn gone(child: &Arc<Shared>) -> bool {
    let ended = match child.try_wait() {
        Ok(ended) => ended.is_some(),
        // Taken by somebody else is gone; anything else is tried again.
        Err(error) => error.raw_os_error() == Some(libc::ECHILD),
    };
    if ended && let Some(tree) = child.tree() {
        tree.end_in_background();
    }
    ended
}
