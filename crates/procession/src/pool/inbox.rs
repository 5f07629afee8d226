//! What a worker is told, and bells that threads and tasks can wait for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use procession_core::pool::TaskId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ticket::Slip;

/// An inbox, held at both ends.
pub(super) type Post<T, R, P> = Arc<Inbox<T, R, P>>;

pub(super) enum Mail<T, R, P> {
    Run {
        id: TaskId,
        task: T,
        ticket: Slip<T, R, P>,
    },
    /// Ask this task to end. Threads see it in their ticket.
    Cancel { id: TaskId },
    /// Leave.
    Stop,
}

/// Never holds more than one worker's tasks, a request to end for each, and a
/// word of farewell.
pub(super) struct Inbox<T, R, P> {
    mail: Mutex<VecDeque<Mail<T, R, P>>>,
    bell: Bell,
    /// Ends a process by force.
    pub(super) kill: CancellationToken,
}

/// How often a thread looks before it falls asleep, which costs more than a look.
const LOOKS: u32 = 4;

impl<T, R, P> Inbox<T, R, P> {
    pub(super) fn new(bell: Bell) -> Self {
        Self {
            mail: Mutex::new(VecDeque::with_capacity(2)),
            bell,
            kill: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Mail<T, R, P>>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, mail: Mail<T, R, P>) {
        self.lock().push_back(mail);
    }

    /// After [`Self::put`], when no other lock is held.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Waits for the next, on a thread.
    pub(super) fn next_blocking(&self) -> Mail<T, R, P> {
        for _ in 0..LOOKS {
            if let Some(mail) = self.lock().pop_front() {
                return mail;
            }
            std::thread::yield_now();
        }
        let mut mail = self.lock();
        loop {
            if let Some(mail) = mail.pop_front() {
                return mail;
            }
            mail = self.bell.wait_blocking(mail, None);
        }
    }

    /// Waits for the next, in a task. Nothing is lost when it is dropped.
    pub(super) async fn next(&self) -> Mail<T, R, P> {
        loop {
            if let Some(mail) = self.lock().pop_front() {
                return mail;
            }
            self.bell.wait(None).await;
        }
    }
}

/// Wakes one waiter, of the kind that it was made for.
pub(super) enum Bell {
    Thread(Condvar),
    Task(Notify),
}

impl Bell {
    pub(super) fn thread() -> Self {
        Self::Thread(Condvar::new())
    }

    pub(super) fn task() -> Self {
        Self::Task(Notify::new())
    }

    /// Another of the same kind.
    pub(super) fn another(&self) -> Self {
        match self {
            Self::Thread(_) => Self::thread(),
            Self::Task(_) => Self::task(),
        }
    }

    pub(super) fn ring(&self) {
        match self {
            Self::Thread(bell) => bell.notify_one(),
            Self::Task(bell) => bell.notify_one(),
        }
    }

    /// Sleeps until it is rung, or the time has come, or for no reason.
    pub(super) fn wait_blocking<'a, S>(
        &self,
        guard: MutexGuard<'a, S>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, S> {
        match (self, deadline) {
            (Self::Thread(bell), Some(at)) => {
                let time = at.saturating_duration_since(Instant::now());
                let woken = bell.wait_timeout(guard, time);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            (Self::Thread(bell), None) => bell.wait(guard).unwrap_or_else(PoisonError::into_inner),
            (Self::Task(_), _) => guard,
        }
    }

    /// A ring that nobody waited for is not lost.
    pub(super) async fn wait(&self, deadline: Option<Instant>) {
        match (self, deadline) {
            (Self::Task(bell), Some(at)) => {
                // Either way somebody looks what there is to do.
                let _ = tokio::time::timeout_at(at.into(), bell.notified()).await;
            }
            (Self::Task(bell), None) => bell.notified().await,
            (Self::Thread(_), _) => {}
        }
    }
}
