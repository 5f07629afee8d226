//! Orders in which the threads around what we synchronise by hand can run.
//!
//! Each model runs the module itself, over shuttle's locks and atomics. shuttle
//! takes all operations for sequentially consistent; a module that has less says
//! why that is enough.
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(
    dead_code,
    unreachable_pub,
    reason = "much of what the modules offer is for others"
)]

mod pool;
mod stepwise;
#[cfg(feature = "worker-threads")]
mod worker_threads;

use procession::ipc;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Far more orders than there are places to be interrupted at.
fn many_orders(test: impl Fn() + Clone + Send + Sync + 'static) {
    orders(600, test);
}

/// So many by chance alone, and as many in which few threads are interrupted, but for long.
fn orders(count: usize, test: impl Fn() + Clone + Send + Sync + 'static) {
    run(RandomScheduler::new(count), test.clone());
    run(PctScheduler::new(3, count), test);
}

fn run(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // For messages that are too large for the memory of a ring.
    config.stack_size = 1 << 20;
    // Where an order is less than sequentially consistent, that is on purpose.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(test);
}
