//! The threads that run tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, Scope};

use procession_core::pool::TaskId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::far::Far;
use super::{Desk, Job};
use crate::pool::line::Letter;
use crate::pool::threads::{Running, words};
use crate::pool::trace;
use crate::pool::wire::FromWorker;
use crate::pool::worker::{Hooks, ServeError};

/// Serves until the pool wants no more.
pub(in crate::pool) fn serve<T, R, P, S>(
    desk: &Desk<T>,
    hooks: &Hooks<S>,
    run: &(impl Fn(T, &mut Running<'_, S, P>) -> Result<R, String> + Sync),
) -> Result<(), ServeError>
where
    T: DeserializeOwned + Send,
    R: Serialize,
    P: Serialize + Send,
{
    let _entered = desk.runtime.as_ref().map(tokio::runtime::Handle::enter);
    let state = hooks.make(desk.slot)?;
    if desk.line.takes_ahead() {
        desk.line.say(&FromWorker::Claims);
    }
    desk.line.say(&FromWorker::Shares);
    desk.line.say(&FromWorker::Ready);
    std::thread::scope(|scope| {
        let crew = Crew {
            desk,
            hooks,
            run,
            scope,
        };
        crew.work(state);
    });
    desk.lock().failure.take().map_or(Ok(()), Err)
}

struct Crew<'scope, 'env, T, S, F> {
    desk: &'scope Desk<T>,
    hooks: &'scope Hooks<S>,
    run: &'scope F,
    scope: &'scope Scope<'scope, 'env>,
}

impl<T, S, F> Clone for Crew<'_, '_, T, S, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, S, F> Copy for Crew<'_, '_, T, S, F> {}

impl<T, S, F> Crew<'_, '_, T, S, F>
where
    T: DeserializeOwned + Send,
{
    fn work<R, P>(self, mut state: S)
    where
        R: Serialize,
        P: Serialize + Send,
        F: Fn(T, &mut Running<'_, S, P>) -> Result<R, String> + Sync,
    {
        let desk = self.desk;
        let mut letter = Letter::default();
        while let Some(job) = desk.next() {
            if desk.most > 1 {
                self.grow::<R, P>();
            }
            let (id, asked) = (job.id, Arc::clone(&job.asked));
            self.answer::<R, P>(job, &mut state, &mut letter);
            let mut shared = desk.lock();
            shared.tokens -= usize::from(asked.has_token());
            shared.asked.retain(|(own, _)| *own != id);
            shared.free += 1;
            drop(shared);
            // Sent last: the pool may give us the next task at once.
            if desk.line.send(&mut letter).is_err() {
                letter.clear();
            }
        }
        self.hooks.unmake(state);
    }

    /// One thread more, if all that there are have something to do.
    fn grow<R, P>(self)
    where
        R: Serialize,
        P: Serialize + Send,
        F: Fn(T, &mut Running<'_, S, P>) -> Result<R, String> + Sync,
    {
        let mut state = self.desk.lock();
        if state.free > 0 || state.crew >= self.desk.most || state.is_over {
            return;
        }
        state.crew += 1;
        state.free += 1;
        drop(state);
        let thread = Builder::new().name(format!("{}-{}", self.desk.name, self.desk.slot));
        let spawned = thread.spawn_scoped(self.scope, move || {
            let desk = self.desk;
            let _entered = desk.runtime.as_ref().map(tokio::runtime::Handle::enter);
            match self.hooks.make(desk.slot) {
                Ok(state) => self.work::<R, P>(state),
                Err(failure) => desk.fail(failure),
            }
        });
        if spawned.is_err() {
            // The threads that there are run the tasks in turn.
            let mut state = self.desk.lock();
            state.crew -= 1;
            state.free -= 1;
        }
    }

    /// Runs a task, and writes what is to be said of it.
    fn answer<R, P>(self, job: Job<T>, state: &mut S, letter: &mut Letter)
    where
        R: Serialize,
        P: Serialize + Send,
        F: Fn(T, &mut Running<'_, S, P>) -> Result<R, String> + Sync,
    {
        let (id, line) = (job.id, &self.desk.line);
        let failed = match job.task {
            Ok(task) => {
                let link = Far::new(id, &job.asked, self.desk, self.scope);
                let mut running = Running {
                    state,
                    link: &link,
                    slot: self.desk.slot,
                    id: TaskId(id),
                };
                // What a panic leaves half changed is not seen again: the pool
                // replaces this worker.
                let ran = catch_unwind(AssertUnwindSafe(|| {
                    let ran = trace::within(TaskId(id), self.desk.slot, || {
                        (self.run)(task, &mut running)
                    });
                    let done = FromWorker::<R, ()>::Done { id, value: ran? };
                    line.encode_result(id, &done, letter)
                        .map_err(|reason| format!("its result cannot be sent: {reason}"))
                }));
                match ran {
                    Ok(Ok(())) => return,
                    Ok(Err(message)) => FromWorker::<(), ()>::Failed { id, message },
                    Err(panic) => {
                        self.desk.lock().is_broken = true;
                        let message = words(&*panic);
                        FromWorker::Panicked { id, message }
                    }
                }
            }
            Err(message) => FromWorker::Failed { id, message },
        };
        letter.clear();
        // Text can always be written.
        let _ = line.encode(&failed, letter);
    }
}
