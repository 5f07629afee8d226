//! Threads with ports, and what threads share, each from async code and from plain threads.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "worker_threads/ports.rs"]
mod ports;
#[path = "worker_threads/shared.rs"]
mod shared;
#[path = "worker_threads/workers.rs"]
mod workers;

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use procession_testkit::leaks::Oracle;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs it on both kinds of runtime, with nothing enabled but time, and looks for leaks.
fn on_every_runtime<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let oracle = Oracle::start();
    let mut multi = tokio::runtime::Builder::new_multi_thread();
    multi.worker_threads(2);
    for mut builder in [tokio::runtime::Builder::new_current_thread(), multi] {
        let runtime = builder.enable_time().build().unwrap();
        let ended = runtime.block_on(async { tokio::time::timeout(LIMIT, test()).await });
        ended.expect("it hangs");
    }
    oracle.check();
}

/// Runs it on a thread without a runtime, and looks for leaks.
fn without_a_runtime(test: impl FnOnce() + Send + 'static) {
    let oracle = Oracle::start();
    let (end, ended) = sync_channel::<()>(0);
    let thread = thread::spawn(move || {
        let _end = end;
        test();
    });
    // Nothing is sent; it is dropped at the end.
    let over = ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Disconnected);
    assert!(over, "it hangs");
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
    oracle.check();
}

/// What the future says without waiting.
fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The words that nobody else here reads.
#[test]
fn errors_say_what_happened() {
    use procession::worker_threads::{AlreadyListening, Lagged, ThreadId};
    use procession::worker_threads::{PostError, PostToThreadError, RecvTimedOut, TryRecvError};

    let (thread, limit) = (ThreadId::from(3), Duration::from_secs(2));
    let words = [
        PostError::Closed(()).to_string(),
        PostError::Full(()).to_string(),
        format!("{:?}", PostError::Full(())),
        TryRecvError::Empty.to_string(),
        TryRecvError::Closed.to_string(),
        RecvTimedOut { limit }.to_string(),
        Lagged { missed: 2 }.to_string(),
        AlreadyListening { thread }.to_string(),
        PostToThreadError::TimedOut {
            thread,
            limit,
            message: (),
        }
        .to_string(),
        format!(
            "{:?}",
            PostToThreadError::SameThread {
                thread,
                message: ()
            }
        ),
    ];
    let expected = [
        "the message port is closed",
        "the message port is full",
        "Full(..)",
        "no message has come",
        "the message port is closed",
        "no message came within 2s",
        "2 broadcast messages were missed",
        "thread 3 listens already",
        "thread 3 did not receive the message within 2s",
        "ERR_WORKER_MESSAGING_SAME_THREAD(thread 3 posts to itself)",
    ];
    assert_eq!(words, expected);
}
