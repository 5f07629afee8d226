//! What a worker is told, and bells that threads and tasks can wait for.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use procession_core::pool::TaskId;
use tokio_util::sync::CancellationToken;

use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Notify, Ordering};
use super::ticket::Slip;

/// An inbox, held at both ends.
pub(super) type Post<T, R, P> = Arc<Inbox<T, R, P>>;

pub(super) enum Mail<T, R, P> {
    Run(Assignment<T, R, P>),
    /// It may be sent tasks while it has one.
    Claims,
    /// To be run after what it has.
    Ahead(Assignment<T, R, P>),
    /// Get this task back, if it has not begun.
    Recall {
        id: TaskId,
    },
    /// Ask this task to end. Threads see it in their ticket.
    Cancel {
        id: TaskId,
    },
    /// Leave.
    Stop,
}

/// A task that a worker is to run.
pub(super) struct Assignment<T, R, P> {
    pub(super) id: TaskId,
    pub(super) task: T,
    pub(super) ticket: Slip<T, R, P>,
}

/// Never holds more than one worker's tasks, a request to end and one to come back
/// for each, and a word of farewell.
pub(super) struct Inbox<T, R, P> {
    inside: Mutex<Inside<T, R, P>>,
    /// How much mail there is, for who looks before he locks. Only a hint.
    hint: AtomicUsize,
    bell: Bell,
    /// Ends a process by force.
    pub(super) kill: CancellationToken,
}

struct Inside<T, R, P> {
    mail: VecDeque<Mail<T, R, P>>,
    /// Whether the bell has to be rung.
    is_awaited: bool,
}

/// A thread looks this often, in growing intervals, before it falls asleep,
/// which costs it and who wakes it more.
const SPINS: u32 = 8;
const YIELDS: u32 = 4;

impl<T, R, P> Inbox<T, R, P> {
    pub(super) fn new(bell: Bell) -> Self {
        Self {
            inside: Mutex::new(Inside {
                mail: VecDeque::with_capacity(2),
                is_awaited: false,
            }),
            hint: AtomicUsize::new(0),
            bell,
            kill: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside<T, R, P>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether [`Self::ring`] has to follow.
    #[must_use]
    pub(super) fn put(&self, mail: Mail<T, R, P>) -> bool {
        let mut inside = self.lock();
        inside.mail.push_back(mail);
        self.hint.store(inside.mail.len(), Ordering::Relaxed);
        std::mem::take(&mut inside.is_awaited)
    }

    /// After [`Self::put`], when no other lock is held.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    fn take(&self, inside: &mut Inside<T, R, P>) -> Option<Mail<T, R, P>> {
        let mail = inside.mail.pop_front();
        self.hint.store(inside.mail.len(), Ordering::Relaxed);
        inside.is_awaited = mail.is_none();
        mail
    }

    /// Waits on a thread for the next task; `None`: it is to leave.
    pub(super) fn next_task_blocking(&self) -> Option<Assignment<T, R, P>> {
        loop {
            match self.next_blocking() {
                Mail::Run(assignment) | Mail::Ahead(assignment) => return Some(assignment),
                // It sees that in its ticket. The rest is for processes.
                Mail::Cancel { .. } | Mail::Claims | Mail::Recall { .. } => {}
                Mail::Stop => return None,
            }
        }
    }

    fn next_blocking(&self) -> Mail<T, R, P> {
        for look in 0..SPINS + YIELDS {
            if self.hint.load(Ordering::Relaxed) > 0 {
                break;
            }
            if look < SPINS {
                (0..1 << look).for_each(|_| std::hint::spin_loop());
            } else {
                std::thread::yield_now();
            }
        }
        let mut inside = self.lock();
        loop {
            if let Some(mail) = self.take(&mut inside) {
                return mail;
            }
            inside = self.bell.wait_blocking(inside, None);
        }
    }

    /// What is there.
    pub(super) fn try_next(&self) -> Option<Mail<T, R, P>> {
        self.lock().mail.pop_front()
    }

    /// Waits for the next, in a task. Nothing is lost when it is dropped.
    pub(super) async fn next(&self) -> Mail<T, R, P> {
        loop {
            let mail = self.take(&mut self.lock());
            if let Some(mail) = mail {
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
