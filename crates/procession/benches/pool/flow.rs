//! Tasks one after the other, so many ahead of what is waited for.

use std::collections::VecDeque;

use tokio::runtime::Runtime;

use super::Failure;
use super::executor::{Executor, Scene, play};
use super::measure::{Clock, Job, Round, Task, spin, steps_in};

/// What a payload weighs.
const PAYLOAD: usize = 64 * 1024 * 1024;

/// Empty tasks, or those that compute.
pub(crate) fn spins(job: &Job) -> Result<Round, Failure> {
    let micros = match job.task {
        Task::Spin { micros } => micros,
        Task::Overhead { .. }
        | Task::Waits
        | Task::Payload
        | Task::Storm
        | Task::PortPair
        | Task::PortAlone
        | Task::Echo
        | Task::Share
        | Task::StormOfProcesses => return Err("no flow".into()),
    };
    let steps = if micros > 0 { steps_in(micros) } else { 0 };
    if job.contender == "inline" {
        let clock = Clock::start();
        for _ in 0..job.count {
            spin(steps);
        }
        return Ok(clock.stop(job.count));
    }
    let flow = Flow { job, steps };
    play(job, spin_and_tell, flow)
}

/// Says which task it was: one that is lost or answered twice is found.
pub(crate) fn spin_and_tell((number, steps): (u64, u64)) -> u64 {
    if steps > 0 {
        spin(steps);
    }
    number
}

struct Flow<'a> {
    job: &'a Job,
    steps: u64,
}

impl Scene<(u64, u64), u64> for Flow<'_> {
    fn play<E>(self, runtime: &Runtime, executor: &E) -> Result<Round, Failure>
    where
        E: Executor<(u64, u64), u64>,
    {
        let Self { job, steps } = self;
        runtime.block_on(async {
            drive(executor, steps, job.warm_up(), job.ahead).await?;
            let clock = Clock::start();
            drive(executor, steps, job.count, job.ahead).await?;
            Ok(clock.stop(job.count))
        })
    }
}

pub(crate) async fn drive<E>(
    executor: &E,
    steps: u64,
    count: u32,
    ahead: usize,
) -> Result<(), Failure>
where
    E: Executor<(u64, u64), u64>,
{
    let mut answers = VecDeque::with_capacity(ahead);
    let mut expected = 0;
    for number in 0..u64::from(count) {
        if answers.len() == ahead
            && let Some(first) = answers.pop_front()
        {
            is_answer(first, &mut expected).await?;
        }
        answers.push_back(executor.submit((number, steps))?);
    }
    for answer in answers {
        is_answer(answer, &mut expected).await?;
    }
    Ok(())
}

async fn is_answer<E: std::error::Error + 'static>(
    answer: impl Future<Output = Result<u64, E>>,
    expected: &mut u64,
) -> Result<(), Failure> {
    if answer.await? != *expected {
        return Err("a task was answered by another".into());
    }
    *expected += 1;
    Ok(())
}

/// 64 MiB there and back: moved, whoever does it.
pub(crate) fn payload(job: &Job) -> Result<Round, Failure> {
    let touch = |mut payload: Vec<u8>| {
        if let Some(first) = payload.first_mut() {
            *first = first.wrapping_add(1);
        }
        payload
    };
    play(job, touch, Payload { job })
}

struct Payload<'a> {
    job: &'a Job,
}

impl Scene<Vec<u8>, Vec<u8>> for Payload<'_> {
    fn play<E>(self, runtime: &Runtime, executor: &E) -> Result<Round, Failure>
    where
        E: Executor<Vec<u8>, Vec<u8>>,
    {
        let job = self.job;
        runtime.block_on(async {
            let mut payload = vec![7; PAYLOAD];
            for _ in 0..job.warm_up() {
                payload = executor.submit(payload)?.await?;
            }
            let clock = Clock::start();
            for _ in 0..job.count {
                payload = executor.submit(payload)?.await?;
            }
            let round = clock.stop(job.count);
            let touched = (job.warm_up() + job.count + 7) % 256;
            if payload.len() != PAYLOAD || u32::from(payload[0]) != touched {
                return Err("the payload is another".into());
            }
            Ok(round)
        })
    }
}
