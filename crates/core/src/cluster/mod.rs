//! Node's cluster: one program that listens, many that serve.
//!
//! A primary owns the listeners and hands connections to its workers, which
//! are unmodified Node servers, Rust servers, or anything that can take a
//! socket. The machines:
//!
//! * [`protocol`]: what primaries and workers say to each other, in Node's words;
//! * [`primary`]: who listens on what, and which worker gets what;
//! * [`balance`]: whom a policy chooses;
//! * [`spread`]: how the kernel is told to choose, and when that is put right;
//! * [`restart`]: how soon what died is started again, and when it is given up;
//! * [`supervise`]: how many workers there are, and what each of them is at;
//! * [`worker`]: the worker's side.

pub mod balance;
pub mod primary;
pub mod protocol;
pub mod restart;
pub mod spread;
pub mod supervise;
pub mod worker;

/// A worker, by a number from 1 that is never used again.
///
/// # Node
///
/// `worker.id`, and `NODE_UNIQUE_ID` in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// A worker's place, from 0: who replaces a dead worker has its place, and
/// with it the sockets of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
