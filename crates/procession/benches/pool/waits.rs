//! How long tasks wait for a worker when they come at times of their own.
//!
//! The arrivals are drawn once, the same for every contender, and nobody waits
//! for an answer before the next is due: a contender that falls behind does not
//! get fewer tasks. A task has waited from when it was due until it began.

use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::Failure;
use super::executor::{Executor, Scene, play};
use super::measure::{Clock, Draw, Job, Round, spin, steps_in};

/// How long a task computes.
const SERVICE: u64 = 100;

/// What part of their time the workers are busy.
const LOAD: f64 = 0.8;

pub(crate) fn round(job: &Job) -> Result<Round, Failure> {
    let steps = steps_in(SERVICE);
    // The submitter shall not be late by the kernel's habit of waking sleepers together.
    rustix::thread::set_current_timer_slack(std::num::NonZero::new(1_000))?;
    let run = |(epoch, steps): (Instant, u64)| {
        let began = epoch.elapsed();
        spin(steps);
        began
    };
    play(job, run, Arrivals { job, steps })
}

struct Arrivals<'a> {
    job: &'a Job,
    steps: u64,
}

impl Scene<(Instant, u64), Duration> for Arrivals<'_> {
    fn play<E>(self, runtime: &Runtime, executor: &E) -> Result<Round, Failure>
    where
        E: Executor<(Instant, u64), Duration>,
    {
        let Self { job, steps } = self;
        measure(runtime, executor, job, (job.warm_up(), steps))?;
        let clock = Clock::start();
        let waits = measure(runtime, executor, job, (job.count, steps))?;
        Ok(Round {
            waits,
            ..clock.stop(job.count)
        })
    }
}

fn measure<E>(
    runtime: &Runtime,
    executor: &E,
    job: &Job,
    (count, steps): (u32, u64),
) -> Result<Vec<Duration>, Failure>
where
    E: Executor<(Instant, u64), Duration>,
{
    let due = schedule(count, job.workers);
    let mut answers = Vec::with_capacity(due.len());
    let epoch = Instant::now();
    for at in &due {
        let early = at.saturating_sub(epoch.elapsed());
        if !early.is_zero() {
            thread::sleep(early);
        }
        answers.push(executor.submit((epoch, steps))?);
    }
    runtime.block_on(async {
        let mut waits = Vec::with_capacity(due.len());
        for (at, answer) in due.iter().zip(answers) {
            waits.push(answer.await?.saturating_sub(*at));
        }
        Ok(waits)
    })
}

/// When tasks are due: at random, on average as often as the load says.
fn schedule(count: u32, workers: u32) -> Vec<Duration> {
    let mean = SERVICE as f64 / 1e6 / LOAD / f64::from(workers);
    let mut draw = Draw(6);
    let mut at = 0.0;
    let next = |_| {
        at -= (1.0 - draw.part()).ln() * mean;
        Duration::from_secs_f64(at)
    };
    (0..count).map(next).collect()
}
