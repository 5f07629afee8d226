//! The contenders behind one face, so that what drives them is the same code.

use std::error::Error;
use std::thread::{self, JoinHandle};

use procession::pool::{Limits, Pool, Submitted, TaskError};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use super::Failure;
use super::measure::{Job, Round, Task};

/// What waits at most, for those who have a bound.
const QUEUE: usize = 1000;

/// On a machine that others use, arrivals may pile up.
fn queue(job: &Job) -> usize {
    if job.task == Task::Waits {
        QUEUE.max(job.count as usize)
    } else {
        QUEUE
    }
}

/// Takes a task and gives a future of its result.
pub(crate) trait Executor<T, R> {
    type Error: Error + 'static;
    type Answer: Future<Output = Result<R, Self::Error>>;

    fn submit(&self, task: T) -> Result<Self::Answer, Failure>;
}

/// What is done with whichever it is.
pub(crate) trait Scene<T, R> {
    fn play<E: Executor<T, R>>(self, runtime: &Runtime, executor: &E) -> Result<Round, Failure>;
}

/// Where the submitter is; for `spawn_blocking` also whence the threads come.
pub(crate) fn runtime(workers: u32) -> std::io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(workers as usize)
        .build()
}

/// Plays the scene with the job's contender, whose workers all do `run`.
pub(crate) fn play<T, R, F>(job: &Job, run: F, scene: impl Scene<T, R>) -> Result<Round, Failure>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T) -> R + Copy + Send + Sync + 'static,
{
    let (runtime, workers) = (runtime(job.workers)?, job.workers);
    match job.contender.as_str() {
        "ours" => {
            let mut limits = Limits::new(workers..=workers);
            limits.queue = queue(job);
            let ours = Ours(Pool::threads(limits, run)?);
            let round = scene.play(&runtime, &ours)?;
            ours.0.close_blocking();
            Ok(round)
        }
        "channel" => {
            let (channel, threads) = Channel::start(workers, queue(job), run);
            let round = scene.play(&runtime, &channel)?;
            drop(channel);
            for thread in threads {
                thread.join().map_err(|_panic| "a worker panicked")?;
            }
            Ok(round)
        }
        "rayon" => scene.play(&runtime, &Rayon::start(workers, run)?),
        "tokio" => {
            let handle = runtime.handle().clone();
            scene.play(&runtime, &Tokio { handle, run })
        }
        other => Err(format!("{other} does not do that").into()),
    }
}

struct Ours<T, R>(Pool<T, R>);

impl<T: 'static, R> Executor<T, R> for Ours<T, R> {
    type Error = TaskError<T>;
    type Answer = Submitted<T, R>;

    fn submit(&self, task: T) -> Result<Submitted<T, R>, Failure> {
        Ok(self.0.try_run(task)?)
    }
}

/// The least that a pool can be: crossbeam's bounded channel, a oneshot for each answer.
struct Channel<T, R>(crossbeam_channel::Sender<(T, oneshot::Sender<R>)>);

impl<T: Send + 'static, R: Send + 'static> Channel<T, R> {
    fn start(
        workers: u32,
        queue: usize,
        run: impl Fn(T) -> R + Copy + Send + 'static,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let (tx, rx) = crossbeam_channel::bounded::<(T, oneshot::Sender<R>)>(queue);
        let start = |_| {
            let rx = rx.clone();
            thread::spawn(move || {
                for (task, answer) in rx {
                    // Nobody has stopped waiting.
                    let _ = answer.send(run(task));
                }
            })
        };
        (Self(tx), (0..workers).map(start).collect())
    }
}

impl<T: 'static, R> Executor<T, R> for Channel<T, R> {
    type Error = oneshot::error::RecvError;
    type Answer = oneshot::Receiver<R>;

    fn submit(&self, task: T) -> Result<oneshot::Receiver<R>, Failure> {
        let (tx, rx) = oneshot::channel();
        self.0
            .send((task, tx))
            .map_err(|_back| "the workers are gone")?;
        Ok(rx)
    }
}

struct Rayon<F> {
    pool: rayon::ThreadPool,
    run: F,
}

impl<F> Rayon<F> {
    fn start(workers: u32, run: F) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers as usize);
        Ok(Self {
            pool: pool.build()?,
            run,
        })
    }
}

impl<T, R, F> Executor<T, R> for Rayon<F>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T) -> R + Copy + Send + Sync + 'static,
{
    type Error = oneshot::error::RecvError;
    type Answer = oneshot::Receiver<R>;

    fn submit(&self, task: T) -> Result<oneshot::Receiver<R>, Failure> {
        let (tx, rx) = oneshot::channel();
        let run = self.run;
        self.pool.spawn(move || {
            // Nobody has stopped waiting.
            let _ = tx.send(run(task));
        });
        Ok(rx)
    }
}

struct Tokio<F> {
    handle: Handle,
    run: F,
}

impl<T, R, F> Executor<T, R> for Tokio<F>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T) -> R + Copy + Send + 'static,
{
    type Error = tokio::task::JoinError;
    type Answer = tokio::task::JoinHandle<R>;

    fn submit(&self, task: T) -> Result<Self::Answer, Failure> {
        let run = self.run;
        Ok(self.handle.spawn_blocking(move || run(task)))
    }
}
