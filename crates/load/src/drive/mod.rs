//! Threads and sockets: what the decisions of the other modules are carried out with.
//!
//! Each thread has a runtime with one future, the [`worker`](mod@worker), which
//! polls its connections as they are woken. One request costs one write and one
//! read; there is no timer for it: a sweep looks for what is overdue.

mod collect;
mod connection;
mod core;
mod events;
mod limits;
mod open;
mod plan;
mod reading;
mod stream;
mod wake;
mod why;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime};

use procession_sys::process_cpu;
use tokio::runtime::Builder;

use self::collect::Collect;
use self::core::Shared;
pub use self::events::Event;
pub(crate) use self::events::Events;
pub(crate) use self::limits::Halt;
use self::limits::Limits;
pub(crate) use self::plan::Plan;
use self::worker::{Job, work};
use crate::tally::Ran;
use crate::{Client, Report};

/// The threads of a load: started once, for the warm-up and for what counts.
#[derive(Debug)]
pub(crate) struct Threads {
    jobs: Vec<SyncSender<Job>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut threads = Self {
            jobs: Vec::new(),
            handles: Vec::new(),
        };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (give, jobs) = sync_channel(1);
            let thread = thread::Builder::new().name(format!("load-{number}"));
            let handle = thread.spawn(move || jobs.iter().for_each(|job| work(job, &runtime)))?;
            threads.jobs.push(give);
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    /// Loads as planned, to the end.
    pub(crate) fn run(&self, plan: Plan, halt: &Arc<Halt>, events: &Events) -> Report {
        let (parts, arrive) = sync_channel(2 * self.jobs.len());
        let (start, cpu) = (SystemTime::now(), process_cpu());
        let shared = Shared {
            limits: Arc::new(Limits::of(&plan.spec)),
            plan: Arc::new(plan),
            halt: Arc::clone(halt),
            events: events.clone(),
            epoch: Instant::now(),
        };
        for (thread, jobs) in self.jobs.iter().enumerate() {
            let job = Job {
                shared: shared.clone(),
                thread,
                writers: shared
                    .plan
                    .writers()
                    .expect("a plan has seen that they can be made"),
                parts: parts.clone(),
            };
            // An error: the thread has panicked, which `Drop` passes on.
            let _ = jobs.send(job);
        }
        drop(parts);
        let mut collect = Collect::new(&shared.plan.spec);
        for part in arrive {
            collect.add(part, &shared);
        }
        halt.forget();
        let ran = Ran {
            start,
            duration: collect.duration(),
        };
        let client = Client {
            cpu: process_cpu().saturating_sub(cpu),
            latest: collect.latest(),
            limits: collect.limits(&shared.plan.spec),
        };
        let report = collect
            .total
            .report(&shared.plan.spec, ran, collect.samples, client);
        debug_assert_eq!(
            report.sent,
            report.answers + report.lost() + report.unfinished,
            "each request has one end"
        );
        report
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.jobs.clear();
        for handle in self.handles.drain(..) {
            if let Err(panic) = handle.join()
                && !thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
