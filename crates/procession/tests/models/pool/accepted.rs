//! The machine and its intake: what was accepted ends, wherever it waits.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use procession_core::pool::{Dispatcher, Plan, TaskId, Terms, WorkerId};
use shuttle::future::block_on;
use shuttle::thread;

use super::error::TaskError;
use super::inbox::{Assignment, Bell, Inbox};
use super::shared::Shared;
use super::state::{Force, Job, State};
use super::ticket::{Link as _, Slip, Ticket};
use crate::orders;

/// A task that runs until it is asked to end.
const ENDLESS: u32 = 0;

type Pool = Arc<Shared<u32, u32, ()>>;

/// A worker that is there from the first, and its keeper.
fn pool(queue: usize) -> (Pool, thread::JoinHandle<()>) {
    let mut plan = Plan::new(1);
    (plan.min, plan.queue) = (1, queue);
    let machine = Dispatcher::new(plan).unwrap();
    let pool = Arc::new(Shared::new(machine, Force::Abandon(1), Bell::thread()));
    let kept = Arc::clone(&pool);
    (pool, thread::spawn(move || keep(&kept)))
}

fn keep(pool: &Pool) {
    let mut threads = Vec::new();
    while let Some(chores) = pool.next_chores_blocking() {
        for (worker, inbox) in chores.start {
            let pool = Arc::clone(pool);
            threads.push(thread::spawn(move || work(&pool, worker, &inbox)));
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    pool.keeper_left();
}

fn work(pool: &Pool, worker: WorkerId, inbox: &Inbox<u32, u32, ()>) {
    pool.started(worker, None);
    let mut next = None;
    while let Some(Assignment { id, task, ticket }) = next.or_else(|| inbox.next_task_blocking()) {
        if task == ENDLESS {
            block_on(ticket.token().cancelled());
        }
        next = pool.finished_next(worker, id, &ticket, Ok(task));
    }
    pool.left(worker, None);
}

type Accepted = (TaskId, Slip<u32, u32, ()>);

fn submit(pool: &Pool, task: u32) -> Option<Accepted> {
    submit_with(pool, task, Terms::default())
}

fn submit_with(pool: &Pool, task: u32, terms: Terms) -> Option<Accepted> {
    let ticket = Arc::new(Ticket::new(None));
    let job = Job {
        task,
        ticket: Arc::clone(&ticket),
    };
    let id = pool.submit(job, terms).ok()?;
    Some((id, ticket))
}

fn result(ticket: &Slip<u32, u32, ()>) -> Result<u32, TaskError<u32>> {
    block_on(poll_fn(|cx| ticket.poll_result(cx)))
}

fn end(pool: &Pool, keeper: thread::JoinHandle<()>) {
    pool.close(None);
    block_on(pool.until(State::is_done));
    keeper.join().unwrap();
}

/// One may not wait for ever and goes past the intake; the other can be left there.
fn submit_two(pool: &Pool, task: u32) -> [TaskId; 2] {
    let limited = Terms {
        queue_timeout: Some(Duration::from_secs(3600)),
        ..Terms::default()
    };
    let (first, one) = submit_with(pool, task, limited).unwrap();
    let (second, other) = submit(pool, task + 2).unwrap();
    let results = [one, other].map(|ticket| result(&ticket).ok());
    assert_eq!(results, [Some(task), Some(task + 2)]);
    [first, second]
}

#[test]
fn no_task_is_left_at_the_intake_nor_shares_its_number() {
    orders(250, || {
        let (pool, keeper) = pool(10);
        let submitters = [1, 2].map(|task| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || submit_two(&pool, task))
        });
        let mut ids = submitters
            .map(|submitter| submitter.join().unwrap())
            .concat();
        ids.sort_unstable();
        assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
        end(&pool, keeper);
    });
}

#[test]
fn nor_when_the_pool_closes() {
    orders(250, || {
        let (pool, keeper) = pool(10);
        let submitters = [1, 2].map(|task| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                if let Some((_, ticket)) = submit(&pool, task) {
                    assert_eq!(result(&ticket).ok(), Some(task));
                }
            })
        });
        end(&pool, keeper);
        submitters
            .into_iter()
            .for_each(|submitter| submitter.join().unwrap());
        assert!(submit(&pool, 3).is_none(), "nobody looks there any more");
    });
}

#[test]
fn a_task_at_the_intake_can_be_cancelled() {
    orders(250, || {
        let (pool, keeper) = pool(10);
        let (running, first) = submit(&pool, ENDLESS).unwrap();
        let (waiting, second) = submit(&pool, 1).unwrap();
        for id in [waiting, running] {
            pool.with(None, |state, now| state.machine.cancel(id, now));
        }
        assert!(matches!(
            result(&second),
            Err(TaskError::CanceledInQueue(1))
        ));
        assert!(matches!(
            result(&first),
            Err(TaskError::Canceled(_) | TaskError::CanceledInQueue(ENDLESS))
        ));
        end(&pool, keeper);
    });
}

#[test]
fn who_waits_for_room_or_for_the_last_task_is_told() {
    orders(250, || {
        let (pool, keeper) = pool(1);
        let submitters = [1, 2].map(|task| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let ticket = loop {
                    match submit(&pool, task) {
                        Some((_, ticket)) => break ticket,
                        None => block_on(pool.until(State::has_room)),
                    }
                };
                assert_eq!(result(&ticket).ok(), Some(task));
            })
        });
        submit(&pool, 3);
        block_on(pool.until(|state| state.machine.is_drained()));
        submitters
            .into_iter()
            .for_each(|submitter| submitter.join().unwrap());
        end(&pool, keeper);
    });
}
