#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects"
)]

mod ahead;
mod intake;
mod model;
mod rules;
mod simulation;

use std::time::{Duration, Instant};

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Any instant will do: the machine only compares and adds.
#[expect(clippy::disallowed_methods, reason = "a base for virtual time")]
fn start() -> Instant {
    Instant::now()
}

/// All that is to be done now.
fn orders(pool: &mut Dispatcher<u32>, now: Instant) -> Vec<Order<u32>> {
    std::iter::from_fn(|| pool.poll(now)).collect()
}

/// A pool whose workers are all ready.
fn ready(plan: Plan, now: Instant) -> (Dispatcher<u32>, Vec<WorkerId>) {
    let plan = Plan {
        min: plan.max,
        ..plan
    };
    let mut pool = Dispatcher::new(plan).unwrap();
    let workers: Vec<WorkerId> = orders(&mut pool, now)
        .into_iter()
        .map(|order| match order {
            Order::Start { worker } => worker,
            other => panic!("{other:?}"),
        })
        .collect();
    for worker in &workers {
        pool.started(*worker, now);
    }
    (pool, workers)
}

fn submit(pool: &mut Dispatcher<u32>, task: u32, now: Instant) -> TaskId {
    pool.submit(task, Terms::default(), now).unwrap()
}

/// The tasks that are given out now, with who gets them.
fn given(orders: &[Order<u32>]) -> Vec<u32> {
    let tasks = orders.iter().filter_map(|order| {
        if let Order::Run { task, .. } = order {
            Some(*task)
        } else {
            None
        }
    });
    tasks.collect()
}

/// Runs one task after the other on one worker; in which order?
fn order_of(pool: &mut Dispatcher<u32>, now: Instant) -> Vec<u32> {
    let mut order = Vec::new();
    while let Some(next) = pool.poll(now) {
        if let Order::Run { worker, id, task } = next {
            order.push(task);
            pool.finished(worker, id, now);
        }
    }
    order
}
