//! A process group as a tree: what POSIX can find again.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::process::Shared;
use crate::status::TreeLevel;

/// A child with its process group, if it leads one.
#[derive(Debug)]
pub struct Tree {
    root: Arc<Shared>,
}

impl Tree {
    pub(super) fn of(root: Arc<Shared>) -> Self {
        Self { root }
    }

    /// How completely this tree can be found.
    #[must_use]
    pub fn level(&self) -> TreeLevel {
        if self.root.group().is_some() {
            TreeLevel::Group
        } else {
            TreeLevel::Process
        }
    }

    /// There is no such counter here.
    #[must_use]
    pub fn oom_killed(&self) -> Option<bool> {
        None
    }

    /// Sends a signal to everybody in the tree, then `SIGCONT`. Gives 1 if anybody was reached.
    pub fn signal(&self, number: i32) -> usize {
        let reached = self.send(number);
        if number != libc::SIGSTOP && number != libc::SIGTSTP {
            self.send(libc::SIGCONT);
        }
        usize::from(reached)
    }

    /// Whether nobody is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.send(0)
    }

    /// Kills everybody in the tree and waits until they are gone; `false` when
    /// somebody is left after `limit`.
    pub fn end(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.send(libc::SIGKILL);
        while !self.is_empty() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Kills everybody in the tree without waiting for it: the thread that waits
    /// for the child is there already.
    pub fn end_in_background(self: &Arc<Self>) {
        self.send(libc::SIGKILL);
    }

    fn send(&self, number: i32) -> bool {
        let target = self.root.group().unwrap_or_else(|| self.root.pid());
        self.root.signal(number, target).unwrap_or(false)
    }
}
