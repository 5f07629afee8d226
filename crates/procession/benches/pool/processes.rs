//! 100 bytes to one worker process and back: this program again, or Node with a module.

use std::collections::VecDeque;

use procession::child_process::{Command, Stdio};
use procession::ipc::Serialization;
use procession::pool::{Limits, Payload, Pool, Running, Submitted, Worker, node_task};

use super::Failure;
use super::executor::runtime;
use super::measure::{Clock, Job, Round, cpu_of};

/// Bytes of a task, and of its result.
const SIZE: usize = 100;

/// The module that Node runs.
const MODULE: &str = "BENCH_MODULE";

pub(crate) fn round(job: &Job) -> Result<Round, Failure> {
    let mut command = match job.contender.as_str() {
        "ours" => this_as("worker")?,
        "ours-node" => node_task(std::env::var(MODULE)?),
        other => return Err(format!("{other} has no processes").into()),
    };
    command.stderr(Stdio::inherit());
    let runtime = runtime(1)?;
    runtime.block_on(async {
        let limits = Limits::new(job.workers..=job.workers);
        let pool = Pool::<String, String>::processes(limits, &command)?;
        let pid: u32 = pool.run("pid".to_owned()).await?.parse()?;
        echo(&pool, job.warm_up(), job.ahead).await?;
        let (clock, child) = (Clock::start(), cpu_of(pid)?);
        echo(&pool, job.count, job.ahead).await?;
        let round = clock.stop(job.count);
        let child_cpu = cpu_of(pid)?.saturating_sub(child);
        pool.close().await;
        Ok(Round { child_cpu, ..round })
    })
}

/// This program as a worker.
pub(crate) fn this_as(role: &str) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(role)
        .ipc(Serialization::Json)
        .stdin(Stdio::ignore())
        .stdout(Stdio::ignore());
    Ok(command)
}

/// What a payload weighs.
const PAYLOAD: usize = 64 * 1024 * 1024;

/// 64 MiB to one worker process and back. The worker makes new bytes of them.
pub(crate) fn share(job: &Job) -> Result<Round, Failure> {
    let runtime = runtime(1)?;
    runtime.block_on(async {
        let limits = Limits::new(job.workers..=job.workers);
        let pool = Pool::<Payload, Payload>::processes(limits, &this_as("sharer")?)?;
        let pid = u32::from_le_bytes(pool.run(Payload::default()).await?[..].try_into()?);
        let payload = Payload::from(vec![7; PAYLOAD]);
        send(&pool, &payload, job.warm_up()).await?;
        let (clock, child) = (Clock::start(), cpu_of(pid)?);
        send(&pool, &payload, job.count).await?;
        let round = clock.stop(job.count);
        let child_cpu = cpu_of(pid)?.saturating_sub(child);
        pool.close().await;
        Ok(Round { child_cpu, ..round })
    })
}

async fn send(pool: &Pool<Payload, Payload>, payload: &Payload, count: u32) -> Result<(), Failure> {
    for _ in 0..count {
        let back = pool.run(payload.clone()).await?;
        if back.len() != PAYLOAD || (back[0], back[1]) != (8, 7) {
            return Err("the payload is another".into());
        }
    }
    Ok(())
}

/// The child of [`share`].
pub(crate) fn sharer() -> Result<(), Failure> {
    let worker = Worker::from_env()?.ok_or("start me from a pool")?;
    worker.serve_blocking(|task: Payload, _: &mut Running<'_, (), ()>| {
        if task.is_empty() {
            return Payload::from(std::process::id().to_le_bytes().to_vec());
        }
        let mut bytes = task.to_vec();
        bytes[0] = bytes[0].wrapping_add(1);
        Payload::from(bytes)
    })?;
    Ok(())
}

async fn echo(pool: &Pool<String, String>, count: u32, ahead: usize) -> Result<(), Failure> {
    let text: String = ('a'..='z').cycle().take(SIZE).collect();
    let mut answers: VecDeque<Submitted<String, String>> = VecDeque::with_capacity(ahead);
    for _ in 0..count {
        if answers.len() == ahead
            && let Some(first) = answers.pop_front()
        {
            is_same(&first.await?, &text)?;
        }
        answers.push_back(pool.try_run(text.clone())?);
    }
    for answer in answers {
        is_same(&answer.await?, &text)?;
    }
    Ok(())
}

fn is_same(seen: &str, sent: &str) -> Result<(), Failure> {
    if seen == sent {
        Ok(())
    } else {
        Err("a task came back as another".into())
    }
}

/// The child.
pub(crate) fn worker() -> Result<(), Failure> {
    runtime(1)?.block_on(async {
        let worker = Worker::from_env()?.ok_or("start me from a pool")?;
        let run = |task: String, _: &mut Running<'_, (), ()>| {
            if task == "pid" {
                std::process::id().to_string()
            } else {
                task
            }
        };
        Ok(worker.serve(run).await?)
    })
}
