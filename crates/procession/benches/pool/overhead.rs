//! What is added to a task of some length: blocks of tasks in place and through the contender in
//! turn, in one process, so that both meet the same machine.
//!
//! Who waits for each task in turn is woken for each, which costs more than the rest. So there is
//! also a submitter who hands over a whole block and waits for its last task first.

use tokio::runtime::Runtime;

use super::Failure;
use super::executor::{Executor, Scene, play};
use super::flow::{drive, spin_and_tell};
use super::measure::{Clock, Job, Round, Task, spin, steps_in};

/// Tasks of a block.
const BLOCK: u32 = 500;

pub(crate) fn round(job: &Job) -> Result<Round, Failure> {
    let Task::Overhead { micros } = job.task else {
        return Err("no overhead".into());
    };
    let steps = steps_in(micros);
    play(job, spin_and_tell, Blocks { job, steps })
}

struct Blocks<'a> {
    job: &'a Job,
    steps: u64,
}

impl Scene<(u64, u64), u64> for Blocks<'_> {
    fn play<E>(self, runtime: &Runtime, executor: &E) -> Result<Round, Failure>
    where
        E: Executor<(u64, u64), u64>,
    {
        let Self { job, steps } = self;
        let blocks = (job.count / BLOCK).max(1);
        runtime.block_on(async {
            block(executor, steps, job.ahead).await?;
            let mut all = Round::default();
            let mut ratios = Vec::new();
            for _ in 0..blocks {
                let clock = Clock::start();
                for _ in 0..BLOCK {
                    spin(steps);
                }
                let in_place = clock.stop(BLOCK);
                let clock = Clock::start();
                block(executor, steps, job.ahead).await?;
                let through = clock.stop(BLOCK);
                ratios.push(through.cpu.as_secs_f64() / in_place.cpu.as_secs_f64());
                all.ops += through.ops;
                all.wall += through.wall;
                all.cpu += through.cpu;
            }
            ratios.sort_by(f64::total_cmp);
            all.ratio = ratios[ratios.len() / 2];
            Ok(all)
        })
    }
}

async fn block<E>(executor: &E, steps: u64, ahead: usize) -> Result<(), Failure>
where
    E: Executor<(u64, u64), u64>,
{
    if ahead < BLOCK as usize {
        return drive(executor, steps, BLOCK, ahead).await;
    }
    let mut answers = Vec::new();
    for number in 0..u64::from(BLOCK) {
        answers.push((number, executor.submit((number, steps))?));
    }
    for (number, answer) in answers.into_iter().rev() {
        if answer.await? != number {
            return Err("a task was answered by another".into());
        }
    }
    Ok(())
}
