//! A small HTTP/1.1 client that loads a server and keeps every failure apart.
//!
//! A thread for each connection, each with one request at a time. Every
//! request has a limit, so a run is bounded whatever the server does. The
//! server tells who answered: the first number in the body is its pid.
//!
//! ```
//! use std::io::{Read as _, Write as _};
//! use procession_testkit::load::Load;
//!
//! let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let at = server.local_addr()?;
//! let one_answer = std::thread::spawn(move || {
//!     let (mut client, _) = server.accept()?;
//!     client.read(&mut [0; 1024])?;
//!     client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npid: 7")
//! });
//! let mut load = Load::new(at);
//! load.connections = 1;
//! let report = load.requests(1);
//! assert_eq!((report.answers(), report.failures()), (1, 0));
//! assert!(report.by_pid.contains_key(&7));
//! one_answer.join().unwrap()?;
//! # std::io::Result::Ok(())
//! ```

mod answer;
mod histogram;
mod report;
mod request;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use histogram::Histogram;
pub use report::{Failure, Lost, Report};
use request::Client;

/// How long a request may take before it counts as hung.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Enough for a client, which has its buffer on the heap.
const STACK_BYTES: usize = 128 * 1024;

/// Whether a connection is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A new connection for each request, `Connection: close`.
    Close,
    /// As long as the server keeps it.
    KeepAlive,
}

/// What to ask of whom.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub at: SocketAddr,
    /// The path that is asked for; `/`.
    pub path: String,
    /// Requests at a time; 8.
    pub connections: usize,
    /// Whether connections are used again; not.
    pub connection: Connection,
    /// How long a request may take, from connecting to the last byte; [`LIMIT`].
    pub limit: Duration,
    /// How often each connection begins a request, at most; at once after the last by default.
    pub every: Duration,
}

impl Load {
    /// 8 connections at a time, a new one for each request.
    #[must_use]
    pub fn new(at: SocketAddr) -> Self {
        Self {
            at,
            path: "/".into(),
            connections: 8,
            connection: Connection::Close,
            limit: LIMIT,
            every: Duration::ZERO,
        }
    }

    /// Makes so many requests, and reports.
    ///
    /// # Panics
    ///
    /// When a thread cannot be started.
    #[must_use]
    pub fn requests(&self, count: u64) -> Report {
        self.begin(count).join()
    }

    /// Loads the server until [`Running::finish`].
    ///
    /// # Panics
    ///
    /// When a thread cannot be started.
    #[must_use = "dropped, it stops"]
    pub fn start(&self) -> Running {
        self.begin(u64::MAX)
    }

    fn begin(&self, count: u64) -> Running {
        let shared = Arc::new(Shared {
            left: AtomicU64::new(count),
            answered: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            began: Instant::now(),
        });
        let start = |number: usize| {
            let (load, shared) = (self.clone(), Arc::clone(&shared));
            thread::Builder::new()
                .name(format!("load-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || run(&load, &shared))
                .expect("a test needs fewer threads than the system has")
        };
        Running {
            threads: (0..self.connections).map(start).collect(),
            shared,
        }
    }
}

/// What the threads of a load have in common.
#[derive(Debug)]
struct Shared {
    /// Requests that nobody has taken yet.
    left: AtomicU64,
    answered: AtomicU64,
    stopped: AtomicBool,
    began: Instant,
}

impl Shared {
    /// Takes one of the requests that are left.
    fn take(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        !self.stopped.load(Ordering::Relaxed)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
    }
}

/// A load that goes on. Dropped, it stops without waiting.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<Report>>,
    shared: Arc<Shared>,
}

impl Running {
    /// How many requests were answered so far, by whatever status.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// How long it has run: the clock of [`Lost::at`].
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Begins no further request, waits for those that run, and reports.
    #[must_use]
    pub fn finish(self) -> Report {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(mut self) -> Report {
        let mut report = Report::default();
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(part) => report.add(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        report.took = self.shared.began.elapsed();
        report
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

/// The life of one connection after the other.
fn run(load: &Load, shared: &Shared) -> Report {
    let (mut client, mut report) = (Client::new(load), Report::default());
    while shared.take() {
        let began = Instant::now();
        match client.ask() {
            Ok(answer) => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                report.answered(answer.pid, answer.connected, began.elapsed());
            }
            Err((failure, pid)) => report.lost(Lost {
                failure,
                pid,
                at: began.duration_since(shared.began),
                after: began.elapsed(),
            }),
        }
        // The pace of an open system: not a wait for a fact.
        thread::sleep(load.every.saturating_sub(began.elapsed()));
    }
    report
}

#[cfg(test)]
mod tests;
