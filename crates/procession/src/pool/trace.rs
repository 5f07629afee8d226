//! What is told to `tracing`, if the feature of that name is on: the life of each
//! worker, and which task a process was given, within the span that was current
//! where the task was submitted. Never the task itself.

use procession_core::pool::{TaskId, WorkerId};

use super::death::Death;

/// A worker is being started.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn started(worker: WorkerId) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "procession::pool", slot = worker.slot, number = worker.number, "starting");
}

/// A worker is ready.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn ready(worker: WorkerId, pid: Option<u32>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "procession::pool", slot = worker.slot, number = worker.number, pid, "ready");
}

/// A worker has left.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn left(worker: WorkerId, death: Option<&Death>) {
    #[cfg(feature = "tracing")]
    {
        let death = death.map(tracing::field::display);
        tracing::debug!(target: "procession::pool", slot = worker.slot, number = worker.number, death, "gone");
    }
}

/// A process is given a task.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn given(id: TaskId, pid: u32) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "procession::pool", task = id.0, pid, "given to a process");
}

/// Runs a task in a worker, within a span that has the number by which the
/// pool's process knows it.
#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody is told")
)]
pub(super) fn within<X>(id: TaskId, slot: u32, run: impl FnOnce() -> X) -> X {
    #[cfg(feature = "tracing")]
    let _entered =
        tracing::debug_span!(target: "procession::pool", "task", task = id.0, slot).entered();
    run()
}
