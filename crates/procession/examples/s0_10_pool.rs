//! Tutorial 000, row S0-10: "piscina and workerpool manage workers".
//!
//! So does [`Pool`]: two threads, at most so many tasks at a time as keep them
//! busy, results in the order of the tasks.
#![expect(clippy::print_stdout, reason = "as the Node program beside it")]

use std::error::Error;

use procession::pool::{Limits, Pool};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::threads(Limits::new(2..=2), |n: u64| (n, fib(n)))?;
    let mut results = pool.map(20..=25);
    while let Some(result) = results.next().await {
        let (n, fib) = result?;
        println!("fib({n}) = {fib}");
    }
    pool.close().await;
    Ok(())
}

fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}
