//! One thread that never ends, for children with a parent-death signal.
#![expect(
    unsafe_code,
    reason = "a borrowed plan crosses to another thread and back"
)]
//!
//! The kernel sends that signal when the *thread* that made the child ends, and
//! the threads of a runtime come and go. So these children are made here.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::plan::RawPlan;
use crate::start_error::StartError;

type Started = Result<(u32, OwnedFd), StartError>;
type Start = fn(&mut RawPlan<'_>) -> Started;

/// Starts that may wait for the thread; further callers wait for a place.
const QUEUE: usize = 64;

static THREAD: Mutex<Option<SyncSender<Job>>> = Mutex::new(None);

/// A start to carry out. Whoever sent it is blocked until `answer` is used or dropped.
struct Job {
    plan: *mut RawPlan<'static>,
    start: Start,
    answer: SyncSender<Started>,
}

// SAFETY: the plan is used by one thread at a time: its owner is blocked in
// `run` from the sending of the job until the job is gone.
unsafe impl Send for Job {}

/// Whether this thread ends only with the program, so that nothing is gained by
/// another one. (A main thread that leaves by `pthread_exit` breaks that.)
pub(super) fn is_main_thread() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}

/// Runs `start` with the plan on the thread that never ends.
pub(super) fn run(plan: &mut RawPlan<'_>, start: Start) -> Started {
    let jobs = sender().map_err(StartError::prepare)?;
    let (answer, answered) = sync_channel(1);
    let job = Job {
        plan: (&raw mut *plan).cast(),
        start,
        answer,
    };
    if jobs.send(job).is_err() {
        return Err(StartError::prepare(io::Error::other(
            "the spawning thread is gone",
        )));
    }
    // An error means that the job was dropped; either way nobody uses the plan now.
    answered.recv().unwrap_or_else(|_| {
        Err(StartError::prepare(io::Error::other(
            "the spawning thread dropped the start",
        )))
    })
}

fn sender() -> io::Result<SyncSender<Job>> {
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = &*thread {
        return Ok(sender.clone());
    }
    let (sender, jobs) = sync_channel(QUEUE);
    thread::Builder::new()
        .name("procession-pds".into())
        .stack_size(128 * 1024)
        .spawn(move || serve(&jobs))?;
    *thread = Some(sender.clone());
    Ok(sender)
}

fn serve(jobs: &Receiver<Job>) {
    // The static keeps one sender for ever, so this ends with the program only.
    while let Ok(job) = jobs.recv() {
        // SAFETY: the owner of the plan waits in `run` until `answer` is gone.
        let plan = unsafe { &mut *job.plan };
        let started = (job.start)(plan);
        // The receiver waits in `run`; it cannot be gone.
        let _ = job.answer.send(started);
    }
}
