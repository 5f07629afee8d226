//! A load that runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use procession_sys::raise_open_files;
use tokio::sync::{mpsc, oneshot};

use crate::drive::{Events, Halt, Plan, Threads};
use crate::{Event, Report, Spec, StartError};

/// Descriptors beside those of connections: of the threads, and whatever the program has open.
const OTHER_DESCRIPTORS: u64 = 128;

/// Begins a load, on threads of its own: to be used with and without a runtime.
///
/// Names are resolved and certificates read first; this call blocks for that. If the soft limit
/// of open descriptors is too low for the connections, it is raised as far as the hard one allows,
/// and stays so.
///
/// # Errors
///
/// [`StartError`]; nothing was sent then.
pub fn start(spec: Spec) -> Result<Running, StartError> {
    let plan = Plan::new(spec)?;
    let wanted = plan.connections() as u64 + OTHER_DESCRIPTORS;
    // What is still too low for shows in the report, by `Limit::Descriptors`.
    let _ = raise_open_files(wanted);
    let threads = Threads::start(plan.threads()).map_err(StartError::Threads)?;
    let halt = Arc::new(Halt::default());
    let (events, taken) = Events::channel();
    let (dropped, answered) = (events.dropped(), events.answered());
    let (reports, report) = oneshot::channel();
    let coordinator = {
        let halt = Arc::clone(&halt);
        let coordinate = move || {
            let report = coordinate(plan, &threads, &halt, &events);
            drop(threads);
            // An error: nobody wants it any more.
            let _ = reports.send(Box::new(report));
        };
        thread::Builder::new().name("load".into()).spawn(coordinate)
    };
    Ok(Running {
        halt,
        events: taken,
        dropped,
        answered,
        report: Some(report),
        coordinator: Some(coordinator.map_err(StartError::Threads)?),
    })
}

fn coordinate(plan: Plan, threads: &Threads, halt: &Arc<Halt>, events: &Events) -> Report {
    if let Some(warmup) = plan.warmup() {
        threads.run(warmup, halt, &Events::silent());
        events.tell(Event::Warmed);
    }
    threads.run(plan, halt, events)
}

/// A load that runs. Dropped, it ends, and its threads with it: that is waited for, and takes
/// some milliseconds.
#[derive(Debug)]
pub struct Running {
    halt: Arc<Halt>,
    events: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    /// None once it was taken.
    report: Option<oneshot::Receiver<Box<Report>>>,
    coordinator: Option<JoinHandle<()>>,
}

impl Running {
    /// What happens next; `None` after [`Event::Done`].
    ///
    /// Up to 1024 events wait to be taken; further ones are dropped and counted, failures first,
    /// `Done` never. The report has them all.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses nothing.
    ///
    /// # Node
    ///
    /// autocannon's events `tick`, `reqError` and `done`.
    pub async fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.recv().await {
            return Some(event);
        }
        let report = (&mut *self.report.as_mut()?).await;
        self.report = None;
        Some(Event::Done(report.unwrap_or_else(|_| self.panic())))
    }

    /// How many events were dropped because nobody took them.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many requests were answered so far, by whatever status: [`Report::answers`] as it
    /// grows. Costs a load of an atomic, and may be some milliseconds behind.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it early, with a report: what is under way is unfinished.
    pub fn stop(&self) {
        self.halt.now();
    }

    /// Begins no further request, and ends with a report when those that are under way were answered
    /// or have failed, by their time-out at the latest: none is unfinished, so the report says of
    /// every request what became of it. An end that the spec sets still holds.
    ///
    /// A connection that is being made for a request counts as one that is under way; others are
    /// closed at once.
    pub fn drain(&self) {
        self.halt.drain();
    }

    /// The report, when it is over; the events that were not taken are dropped.
    ///
    /// # Panics
    ///
    /// When [`Event::Done`] was taken: that was the report.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped, it ends the load.
    pub async fn report(mut self) -> Report {
        let report = self.report.take().expect(TAKEN).await;
        *report.unwrap_or_else(|_| self.panic())
    }

    /// As [`Running::report`], by blocking this thread.
    ///
    /// # Panics
    ///
    /// When [`Event::Done`] was taken, and in a thread that runs a runtime.
    #[must_use]
    pub fn report_blocking(mut self) -> Report {
        let report = self.report.take().expect(TAKEN).blocking_recv();
        *report.unwrap_or_else(|_| self.panic())
    }

    /// There is no report because a thread has panicked: so does whoever waits for it.
    fn panic(&mut self) -> ! {
        let panic = self.coordinator.take().map(JoinHandle::join);
        match panic {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(())) | None => unreachable!("a load ends with a report or by a panic"),
        }
    }
}

const TAKEN: &str = "the report was taken with `Event::Done`";

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(coordinator) = self.coordinator.take() {
            // Its panic was told where the report was waited for, if it was.
            let _ = coordinator.join();
        }
    }
}
