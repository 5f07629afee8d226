//! Half of the tasks are cancelled at some time: before they run, while they run, or too late.
//! Every one has to end as done or as cancelled, and none that nobody cancelled as cancelled.

use std::error::Error;

use procession::pool::{Limits, Pool, Running, Submitted, TaskError, Threads, Worker};
use tokio::task::{JoinError, JoinHandle};

use super::Failure;
use super::executor::runtime;
use super::measure::{Clock, Draw, Job, Round, cpu_of_the_gone, spin, steps_in};
use super::processes::this_as;

/// How long a task computes, and how often it looks whether it is to end.
const MICROS: u64 = 20;
const LOOKS: u64 = 4;
/// A task is cancelled when so many before it, or after it, were waited for.
const BEFORE: u64 = 256;
const AFTER: u64 = 4;

pub(crate) fn round(job: &Job) -> Result<Round, Failure> {
    let runtime = runtime(job.workers)?;
    let steps = steps_in(MICROS) / LOOKS;
    match job.contender.as_str() {
        "ours" => {
            let mut limits = Limits::new(job.workers..=job.workers);
            limits.queue = job.count as usize;
            let pool = Threads::new(limits).start(move |number, running: &mut Running<'_>| {
                for _ in 0..LOOKS {
                    if running.is_canceled() {
                        break;
                    }
                    spin(steps);
                }
                number
            })?;
            runtime.block_on(storm(job.warm_up(), |n| Ok(pool.try_run(n)?)))?;
            let round = runtime.block_on(storm(job.count, |n| Ok(pool.try_run(n)?)))?;
            pool.close_blocking();
            Ok(round)
        }
        // It cannot stop what runs: that ends as done.
        "tokio" => {
            let submit = |number| {
                let handle = runtime.handle().spawn_blocking(move || {
                    spin(steps * LOOKS);
                    number
                });
                Ok(handle)
            };
            runtime.block_on(storm(job.warm_up(), submit))?;
            runtime.block_on(storm(job.count, submit))
        }
        other => Err(format!("{other} cannot cancel").into()),
    }
}

/// The same over processes; starting and closing the pool counts, since whoever
/// kills for a cancellation starts anew.
pub(crate) fn of_processes(job: &Job) -> Result<Round, Failure> {
    if job.contender != "ours" {
        return Err(format!("{} has no processes", job.contender).into());
    }
    let steps = steps_in(MICROS) / LOOKS;
    let runtime = runtime(1)?;
    let before = cpu_of_the_gone()?;
    let clock = Clock::start();
    let canceled = runtime.block_on(async {
        let mut limits = Limits::new(job.workers..=job.workers);
        limits.queue = job.count as usize;
        let pool = Pool::<(u64, u64), u64>::processes(limits, &this_as("spinner")?)?;
        let round = storm(job.count, |n| Ok(pool.try_run((n, steps))?)).await?;
        pool.close().await;
        Ok::<_, Failure>(round.canceled)
    })?;
    Ok(Round {
        canceled,
        child_cpu: cpu_of_the_gone()?.saturating_sub(before),
        ..clock.stop(job.count)
    })
}

/// The child.
pub(crate) fn spinner() -> Result<(), Failure> {
    let worker = Worker::from_env()?.ok_or("start me from a pool")?;
    let run = |(number, steps): (u64, u64), running: &mut Running<'_>| {
        for _ in 0..LOOKS {
            if running.is_canceled() {
                break;
            }
            spin(steps);
        }
        number
    };
    worker.serve_blocking(run)?;
    Ok(())
}

/// A task on its way that can be called back.
trait Cancel: Future<Output = Result<u64, Self::Error>> {
    type Error: Error + 'static;

    fn cancel(&self);
    fn is_canceled(error: &Self::Error) -> bool;
}

impl<T: 'static> Cancel for Submitted<T, u64> {
    type Error = TaskError<T>;

    fn cancel(&self) {
        Self::cancel(self);
    }

    fn is_canceled(error: &TaskError<T>) -> bool {
        matches!(
            error,
            TaskError::Canceled(_) | TaskError::CanceledInQueue(_)
        )
    }
}

impl Cancel for JoinHandle<u64> {
    type Error = JoinError;

    fn cancel(&self) {
        self.abort();
    }

    fn is_canceled(error: &JoinError) -> bool {
        error.is_cancelled()
    }
}

async fn storm<A: Cancel>(
    count: u32,
    submit: impl Fn(u64) -> Result<A, Failure>,
) -> Result<Round, Failure> {
    let mut draw = Draw(3);
    let count_wide = u64::from(count);
    // For each that is waited for: who is cancelled before.
    let mut doomed = Vec::new();
    let mut is_doomed = vec![false; count as usize];
    for number in 0..count_wide {
        if draw.below(2) == 0 {
            let at = (number + AFTER).saturating_sub(draw.below(BEFORE + AFTER));
            doomed.push((at, usize::try_from(number)?));
            is_doomed[usize::try_from(number)?] = true;
        }
    }
    doomed.sort_unstable();
    let mut doomed = doomed.into_iter().peekable();
    let clock = Clock::start();
    let submitted: Result<Vec<_>, Failure> = (0..count_wide).map(|n| submit(n).map(Some)).collect();
    let mut tasks = submitted?;
    let mut canceled = 0;
    for number in 0..count as usize {
        while let Some((_, it)) = doomed.next_if(|(at, _)| *at <= number as u64) {
            if let Some(task) = &tasks[it] {
                task.cancel();
            }
        }
        let task = tasks[number].take().ok_or("nobody took it before")?;
        match task.await {
            Ok(result) if result == number as u64 => {}
            Err(error) if is_doomed[number] && A::is_canceled(&error) => canceled += 1,
            other => return Err(format!("task {number} ended with {other:?}").into()),
        }
    }
    Ok(Round {
        canceled,
        ..clock.stop(count)
    })
}
