//! What a worker program does: threads that take turns at the channel.
//!
//! Who reads a task runs it. While it runs, nobody reads, unless there are
//! other threads (for a worker with several tasks at a time) or the task looks
//! whether it was cancelled: then it reads itself, or, if it wants a token, has
//! a thread that listens.

mod crew;
mod ear;
mod far;

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::de::DeserializeOwned;

pub(super) use crew::serve;
use ear::{Ear, Order};
use far::Asked;

use super::claims::Claims;
use super::line::{Line, Wait};
use super::worker::ServeError;

/// What the threads of a worker share.
pub(super) struct Desk<T> {
    line: Line,
    name: String,
    slot: u32,
    /// Threads that run tasks, at most.
    most: u32,
    born: Instant,
    runtime: Option<tokio::runtime::Handle>,
    state: Mutex<State<T>>,
    /// For threads of the crew that wait for their turn.
    turn: Condvar,
    /// For the listener, while nobody needs it.
    wanted: Condvar,
}

struct State<T> {
    /// `None` while somebody reads.
    ear: Option<Ear>,
    jobs: VecDeque<Job<T>>,
    claims: Option<Claims>,
    /// A task has panicked: nothing that came ahead begins any more.
    is_broken: bool,
    /// The tasks that are here and can be asked to end.
    asked: Vec<(u64, Arc<Asked>)>,
    /// Running tasks that have a token, which has to be cancelled in time.
    tokens: usize,
    has_listener: bool,
    /// The listener waits until it is wanted.
    is_unwanted: bool,
    /// Threads that run tasks, those of them that have none, and those of these
    /// that do not read.
    crew: u32,
    free: u32,
    asleep: u32,
    is_over: bool,
    failure: Option<ServeError>,
}

/// A task, or why it is none.
struct Job<T> {
    id: u64,
    task: Result<T, String>,
    /// By what it has to be claimed.
    claim: Option<u32>,
    asked: Arc<Asked>,
}

/// Foreign code that is to run when the lock is released.
struct After<T> {
    ask: Vec<Arc<Asked>>,
    forget: VecDeque<Job<T>>,
}

impl<T> Default for After<T> {
    fn default() -> Self {
        Self {
            ask: Vec::new(),
            forget: VecDeque::new(),
        }
    }
}

impl<T> Desk<T> {
    pub(super) fn new(line: Line, name: String, slot: u32, most: NonZero<u32>) -> Self {
        let state = State::new(Some(Ear::new(&line)));
        Self {
            line,
            name,
            slot,
            most: most.get(),
            born: Instant::now(),
            runtime: tokio::runtime::Handle::try_current().ok(),
            state: Mutex::new(state),
            turn: Condvar::new(),
            wanted: Condvar::new(),
        }
    }

    /// No foreign code runs under this lock.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep<'a>(&self, mut state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        state.asleep += 1;
        let woken = self.turn.wait(state);
        let mut state = woken.unwrap_or_else(PoisonError::into_inner);
        state.asleep -= 1;
        state
    }

    /// There is something to read or to run, or nothing ever again.
    fn wake(&self, state: &State<T>) {
        if state.asleep > 0 {
            self.turn.notify_all();
        }
        if state.is_unwanted && (state.tokens > 0 || state.is_over) {
            self.wanted.notify_all();
        }
    }
}

impl<T> Desk<T> {
    /// No worker is better than one that is smaller than the pool believes.
    fn fail(&self, failure: ServeError) {
        let mut state = self.lock();
        state.failure.get_or_insert(failure);
        state.is_over = true;
        self.wake(&state);
        drop(state);
        self.line.shut();
    }
}

impl<T: DeserializeOwned> Desk<T> {
    /// Waits for a task; `None` when the pool wants no more.
    fn next(&self) -> Option<Job<T>> {
        let mut state = self.lock();
        loop {
            // Who begins what came ahead has told of all before it.
            let begins = |job: &mut Job<T>| job.claim.is_none() || self.line.is_written();
            if let Some(job) = state.jobs.pop_front_if(begins) {
                if !state.claims(&job) {
                    state.forget(job.id);
                    drop(state);
                    drop(job);
                    state = self.lock();
                    continue;
                }
                state.free -= 1;
                // Somebody has to read meanwhile.
                self.wake(&state);
                return Some(job);
            }
            if state.is_over {
                return None;
            }
            state = match state.ear.take() {
                Some(ear) => {
                    drop(state);
                    self.read(ear, Wait::Yes)
                }
                None => self.sleep(state),
            };
        }
    }

    /// Reads once, by whoever has the ear, and gives it back.
    fn read(&self, mut ear: Ear, wait: Wait) -> MutexGuard<'_, State<T>> {
        let mut orders = Vec::new();
        let read = ear.read(&self.line, wait, &mut orders);
        let mut after = After::default();
        let mut state = self.lock();
        state.ear = Some(ear);
        for order in orders {
            match order {
                Order::Expect { id } => drop(state.know(id)),
                Order::Run { id, task, claim } => {
                    let asked = state.know(id);
                    let job = Job {
                        id,
                        task,
                        claim,
                        asked,
                    };
                    state.jobs.push_back(job);
                }
                Order::Claims(claims) => state.claims = Some(claims),
                Order::Cancel { id } => {
                    let asked = state.asked.iter().find(|(own, _)| *own == id);
                    after.ask.extend(asked.map(|(_, asked)| Arc::clone(asked)));
                }
            }
        }
        match read {
            Ok(true) => {}
            Ok(false) => state.end(None, &mut after),
            Err(failure) => state.end(Some(failure), &mut after),
        }
        self.wake(&state);
        if after.ask.is_empty() && after.forget.is_empty() {
            return state;
        }
        drop(state);
        after.ask.iter().for_each(|asked| asked.ask());
        drop(after);
        self.lock()
    }

    /// Looks at the channel if nobody listens.
    fn look(&self) {
        self.line.tell_again();
        let ear = self.lock().ear.take();
        if let Some(ear) = ear {
            drop(self.read(ear, Wait::No));
        }
    }

    /// Reads while a task has a token.
    fn listen(&self) {
        let mut state = self.lock();
        while !state.is_over {
            let ear = if state.tokens > 0 {
                state.ear.take()
            } else {
                None
            };
            state = match ear {
                Some(ear) => {
                    drop(state);
                    self.read(ear, Wait::Yes)
                }
                None => {
                    state.is_unwanted = true;
                    let woken = self.wanted.wait(state);
                    let mut state = woken.unwrap_or_else(PoisonError::into_inner);
                    state.is_unwanted = false;
                    state
                }
            };
        }
    }
}

impl<T> State<T> {
    fn new(ear: Option<Ear>) -> Self {
        Self {
            ear,
            jobs: VecDeque::new(),
            claims: None,
            is_broken: false,
            asked: Vec::new(),
            tokens: 0,
            has_listener: false,
            is_unwanted: false,
            crew: 1,
            free: 1,
            asleep: 0,
            is_over: false,
            failure: None,
        }
    }

    /// How a task that is here is asked to end.
    fn know(&mut self, id: u64) -> Arc<Asked> {
        if let Some((_, asked)) = self.asked.iter().find(|(own, _)| *own == id) {
            return Arc::clone(asked);
        }
        let asked = Arc::new(Asked::default());
        self.asked.push((id, Arc::clone(&asked)));
        asked
    }

    /// Whether this one may begin here.
    fn claims(&self, job: &Job<T>) -> bool {
        job.claim.is_none_or(|claim| {
            let claims = self.claims.as_ref().filter(|_| !self.is_broken);
            claims.is_some_and(|claims| claims.take(claim))
        })
    }

    /// The pool has this one again, which may have sent it anew.
    fn forget(&mut self, id: u64) {
        if !self.jobs.iter().any(|job| job.id == id) {
            self.asked.retain(|(own, _)| *own != id);
        }
    }

    fn end(&mut self, failure: Option<ServeError>, after: &mut After<T>) {
        self.is_over = true;
        self.failure = failure;
        // Nobody waits for what has not begun.
        after.forget = std::mem::take(&mut self.jobs);
        let asked = self.asked.iter().map(|(_, asked)| Arc::clone(asked));
        after.ask.extend(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken back and sent anew before the worker came to it.
    #[test]
    fn a_task_that_was_sent_twice_can_still_be_asked() {
        let mut state = State::new(None);
        for claim in [Some(1), None] {
            let asked = state.know(1);
            let task = Ok(());
            state.jobs.push_back(Job {
                id: 1,
                task,
                claim,
                asked,
            });
        }
        let taken_back = state.jobs.pop_front().unwrap();
        assert!(!state.claims(&taken_back));
        state.forget(1);
        assert_eq!(state.asked.len(), 1);
        let anew = state.jobs.pop_front().unwrap();
        assert!(state.claims(&anew));
        state.forget(1);
        assert_eq!(state.asked.len(), 0);
    }
}
