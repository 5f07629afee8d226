//! A web server with work to do that takes whole cores, and answers all the same.
//!
//! ```sh
//! cargo run --release --example axum_pool 127.0.0.1:8000
//! ```
//!
//! `/` answers at once. `/compute?n=1000000` counts the primes below n on a pool; when its queue
//! is full the answer is 503, at once; when the client leaves, its task is cancelled. With
//! `--inline` behind the address the handler computes by itself, as one is told not to: then
//! nobody is answered meanwhile.
#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::error::Error;
use std::num::NonZero;
use std::thread::available_parallelism;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use procession::pool::{Limits, Pool, Running, TaskError, Threads};
use tokio::net::TcpListener;

type Answer = (StatusCode, String);

/// Tasks that may wait: who comes later is better told than kept.
const QUEUE: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (at, pool) = match words[..] {
        [] => ("127.0.0.1:8000", Some(pool()?)),
        [at] => (at, Some(pool()?)),
        [at, "--inline"] => (at, None),
        _ => return Err("usage: axum_pool [ADDRESS [--inline]]".into()),
    };
    let app = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/compute", get(compute))
        .with_state(pool);
    let listener = TcpListener::bind(at).await?;
    println!("listening at {}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

fn pool() -> Result<Pool<u64, u64>, Box<dyn Error>> {
    // One core is for those who are answered at once.
    let cores = available_parallelism().map_or(1, NonZero::get);
    let workers = u32::try_from(cores)?.saturating_sub(1).max(1);
    let mut limits = Limits::new(1..=workers);
    limits.queue = QUEUE;
    let run = |n, running: &mut Running<'_>| primes_below(n, || running.is_canceled());
    Ok(Threads::new(limits).start(run)?)
}

async fn compute(State(pool): State<Option<Pool<u64, u64>>>, RawQuery(query): RawQuery) -> Answer {
    let n = query.as_deref().and_then(|query| query.strip_prefix("n="));
    let Some(n) = n.and_then(|n| n.parse().ok()) else {
        return (StatusCode::BAD_REQUEST, "`n` is no number".into());
    };
    let Some(pool) = pool else {
        return (StatusCode::OK, primes_below(n, || false).to_string());
    };
    match pool.run(n).await {
        Ok(count) => (StatusCode::OK, count.to_string()),
        Err(error @ TaskError::QueueFull(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Counts them one by one, as nobody should, until it is to end.
fn primes_below(n: u64, is_canceled: impl Fn() -> bool) -> u64 {
    let is_prime = |n: u64| {
        (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
    };
    let mut count = 0;
    for (looked_at, candidate) in (2..n).enumerate() {
        if looked_at.is_multiple_of(1024) && is_canceled() {
            break;
        }
        count += u64::from(is_prime(candidate));
    }
    count
}
