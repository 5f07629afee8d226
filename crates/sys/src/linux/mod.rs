//! Linux: pidfd, `clone(CLONE_VM | CLONE_VFORK)`, control groups.

mod cgroup;
mod immortal;
mod memory;
mod pipes;
mod probe;
mod proc_files;
mod process;
pub(crate) mod raw;
mod reaper;
mod spawn;
mod tree;

pub(crate) use memory::prefer_huge_pages;
pub(crate) use pipes::{
    RECEIVE_WAITS, duplex_pair, forbid_handles, is_listening, pipe_pair, receive, send_quietly,
};
pub use probe::{oom_kills, platform};
pub use process::Process;
pub use spawn::fork_and_exec;
pub use tree::Tree;
