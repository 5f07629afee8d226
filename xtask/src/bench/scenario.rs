//! What is measured, and who takes part.

mod ipc;
mod spawn;

use super::Bench;

/// How a scenario's numbers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Microseconds for an operation, and how long the caller was blocked.
    Spawn,
    /// Microseconds for an operation.
    SpawnParallel,
    /// Milliseconds for an operation, and the growth of memory.
    Transfer,
    /// Microseconds for a message, and what of it is the child's.
    Message,
    /// The same in milliseconds.
    BigMessage,
    /// As a message, and how many a second.
    Handles,
    /// KiB for an end of a channel.
    Memory,
}

/// One table.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    /// The words of the benchmark programs: task, feature, MiB of touched heap; or
    /// task, size, serialization.
    pub(super) words: [&'static str; 3],
    pub(super) count: u32,
    pub(super) contenders: &'static [&'static str],
}

/// All of a benchmark, in the order of the tables.
pub(super) fn of(bench: Bench) -> &'static [Scenario] {
    match bench {
        Bench::Spawn => spawn::SCENARIOS,
        Bench::Ipc => ipc::SCENARIOS,
    }
}
