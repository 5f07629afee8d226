//! Linux: pidfd, `clone(CLONE_VM | CLONE_VFORK)`, control groups.

mod cgroup;
mod futex;
mod immortal;
mod memory;
mod pipes;
mod port_owner;
mod probe;
mod proc_files;
mod process;
pub(crate) mod raw;
mod reaper;
mod shared_memory;
mod sockets;
mod spawn;
mod strangers;
mod tree;

pub(crate) use futex::{NOTIFIES_ARE_COUNTED, notify, wait, wait_while};
pub(crate) use memory::prefer_huge_pages;
pub(crate) use pipes::{
    RECEIVE_WAITS, duplex_pair, forbid_handles, is_listening, pipe_pair, receive, send_quietly,
};
pub use port_owner::{listeners_of, port_owner, program_name};
pub use probe::{oom_kills, platform, thread_waited};
pub use proc_files::process_load;
pub use process::Process;
pub(crate) use shared_memory::{
    ReadOnly, SIZES_ARE_SEALED, check_sealed, check_shared, memory_file, seal_bytes, seal_size,
};
pub(crate) use sockets::{
    PORTS_ARE_SHARED, abstract_name, accept, accept_queue, bind_long, reuse_udp_address, select_by,
    socket,
};
pub use spawn::fork_and_exec;
pub use strangers::{become_subreaper, reap_strangers};
pub use tree::Tree;
