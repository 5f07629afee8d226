//! What a pool costs: CPU time for each of 100,000 empty tasks, beside std's channel
//! (crossbeam's) with a oneshot for each answer, and tokio's `spawn_blocking`. Run it with `--release`; the number of tasks may follow.
#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::collections::VecDeque;
use std::error::Error;
use std::time::{Duration, Instant};

use procession::pool::{Limits, Pool};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

/// Tasks at a time.
const AHEAD: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let tasks: u64 = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for workers in [1, 2] {
        let pool = Pool::threads(Limits::new(1..=workers), |n: u64| n)?;
        let name = format!("pool, {workers} workers");
        measure(&name, tasks, || {
            runtime.block_on(through_pool(&pool, tasks))
        })?;
        pool.close_blocking();
    }
    measure("channel, 1 worker", tasks, || {
        runtime.block_on(through_channel(tasks))
    })?;
    measure("spawn_blocking", tasks, || {
        runtime.block_on(through_tokio(tasks))
    })
}

async fn through_pool(pool: &Pool<u64, u64>, tasks: u64) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    let mut ahead = VecDeque::with_capacity(AHEAD);
    for n in 0..tasks {
        if ahead.len() == AHEAD
            && let Some(first) = ahead.pop_front()
        {
            sum += first.await?;
        }
        ahead.push_back(pool.try_run(n)?);
    }
    for task in ahead {
        sum += task.await?;
    }
    Ok(sum)
}

/// The least that a pool of one thread could be.
async fn through_channel(tasks: u64) -> Result<u64, Box<dyn Error>> {
    let (tx, rx) = std::sync::mpsc::sync_channel::<(u64, oneshot::Sender<u64>)>(1000);
    let worker = std::thread::spawn(move || {
        for (n, answer) in rx {
            // Nobody has stopped waiting.
            let _ = answer.send(n);
        }
    });
    let mut sum = 0;
    let mut ahead = VecDeque::with_capacity(AHEAD);
    for n in 0..tasks {
        if ahead.len() == AHEAD
            && let Some(first) = ahead.pop_front()
        {
            let first: oneshot::Receiver<u64> = first;
            sum += first.await?;
        }
        let (answer, result) = oneshot::channel();
        tx.send((n, answer))?;
        ahead.push_back(result);
    }
    for task in ahead {
        sum += task.await?;
    }
    drop(tx);
    worker.join().map_err(|_panic| "the worker panicked")?;
    Ok(sum)
}

async fn through_tokio(tasks: u64) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    let mut ahead = VecDeque::with_capacity(AHEAD);
    for n in 0..tasks {
        if ahead.len() == AHEAD
            && let Some(first) = ahead.pop_front()
        {
            sum += first.await?;
        }
        ahead.push_back(tokio::task::spawn_blocking(move || n));
    }
    for task in ahead {
        sum += task.await?;
    }
    Ok(sum)
}

fn measure(
    name: &str,
    tasks: u64,
    run: impl FnOnce() -> Result<u64, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (cpu, wall) = (cpu_time(), Instant::now());
    let sum = run()?;
    let (cpu, wall) = (cpu_time() - cpu, wall.elapsed());
    if sum != tasks * tasks.saturating_sub(1) / 2 {
        return Err("a task was lost".into());
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / tasks as f64;
    println!(
        "{name:17} {:6.2} µs of CPU, {:6.2} µs each",
        each(cpu),
        each(wall)
    );
    Ok(())
}

/// Of all threads of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs().try_into().unwrap_or(0),
    )
}
