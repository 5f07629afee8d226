//! Children that nobody here has started: orphans that the kernel gave to us
//! because we are the first process of a container, or a subreaper.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

use super::proc_files::{all_processes, children_of, kernel_lists_children};

static OURS: Mutex<Option<Ours>> = Mutex::new(None);

/// The children that this engine has started and not reaped.
#[derive(Debug, Default)]
struct Ours {
    /// How many starts are under way: their children have no number here yet.
    starting: usize,
    /// The number of each: twice for a moment when one is used again before the
    /// end of its former owner was noted. The last one started is, as a rule, the
    /// first to end; and a list is cheaper to every start than a set.
    children: Vec<u32>,
}

fn change<T>(change: impl FnOnce(&mut Ours) -> T) -> T {
    let mut ours = lock();
    change(ours.get_or_insert_default())
}

fn lock() -> MutexGuard<'static, Option<Ours>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A start that is under way: from before the child is there until it is noted.
pub(super) struct Starting(());

impl Starting {
    pub(super) fn new() -> Self {
        change(|ours| ours.starting += 1);
        Self(())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        change(|ours| ours.starting -= 1);
    }
}

/// Notes a child of ours, whose start is still under way.
pub(super) fn note_ours(pid: u32) {
    change(|ours| ours.children.push(pid));
}

/// A child of ours was reaped, or is left to whoever reaps strangers.
pub(super) fn forget_ours(pid: u32) {
    change(|ours| {
        if let Some(place) = ours.children.iter().rposition(|own| *own == pid) {
            ours.children.swap_remove(place);
        }
    });
}

/// Reaps the children that have ended and that this crate did not start; gives
/// how many there were. Never waits, and is for whoever handles `SIGCHLD`.
///
/// Children of [`fork_and_exec`](crate::fork_and_exec) are left alone; those that
/// other code of this program has started must be named by `spare`, or that code
/// never learns how they ended.
///
/// # Errors
///
/// `WouldBlock` while another thread is just starting a child, which could not
/// be told from a stranger: ask again in a moment. `Unsupported` on the portable side.
pub fn reap_strangers(spare: impl Fn(u32) -> bool) -> io::Result<usize> {
    // One by one: `waitid` for any child would name one that is spared again and
    // again, and never those behind it.
    let mut candidates = if kernel_lists_children() {
        children_of(std::process::id())
    } else {
        all_processes()
    };
    candidates.retain(|pid| !spare(*pid));
    // Held over the reaping, so that no number becomes one of ours meanwhile.
    let mut ours = lock();
    let ours = ours.get_or_insert_default();
    if ours.starting > 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let children: HashSet<u32> = ours.children.iter().copied().collect();
    candidates.retain(|pid| !children.contains(pid));
    Ok(candidates.into_iter().filter(|pid| reap(*pid)).count())
}

/// Whether it was a child that had ended.
fn reap(pid: u32) -> bool {
    let Some(pid) = Pid::from_raw(pid.cast_signed()) else {
        return false;
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    // An error: it is no child of ours (any more).
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// Makes this process adopt the orphans among its descendants, which else go to
/// the first process. Who does so reaps them: [`reap_strangers`].
///
/// # Errors
///
/// `Unsupported` on the portable side.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_reaped_while_a_child_is_being_started() {
        let starting = Starting::new();
        let error = reap_strangers(|_| true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(starting);
    }

    #[test]
    fn a_number_that_is_used_again_stays_ours() {
        let number = u32::MAX;
        let is_ours = || change(|ours| ours.children.contains(&number));
        note_ours(number);
        note_ours(number);
        forget_ours(number);
        assert!(is_ours());
        forget_ours(number);
        assert!(!is_ours());
        forget_ours(number);
        assert!(!is_ours());
    }
}
