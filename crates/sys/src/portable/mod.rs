//! Plain POSIX: `fork`, a pipe for the reason of a failure, a waiting thread for
//! each child. What macOS uses until it has a side of its own (`kqueue`).
//!
//! Weaker than Linux in three ways, all visible in [`platform`]: a start copies
//! page tables, a tree is a process group, and between `pipe` and
//! `FD_CLOEXEC` another thread of the program may start a child that inherits
//! the end (our own starts exclude that by a lock).

mod futex;
mod pipes;
mod probe;
mod process;
pub(crate) mod raw;
mod shared_memory;
mod sockets;
mod spawn;
mod tree;

pub(crate) use futex::{NOTIFIES_ARE_COUNTED, notify, wait, wait_while};
pub(crate) use pipes::{
    RECEIVE_WAITS, duplex_pair, forbid_handles, is_listening, pipe_pair, receive, send_quietly,
};
pub use probe::{
    become_subreaper, listeners_of, oom_kills, platform, port_owner, process_load, program_name,
    reap_strangers, thread_waited,
};
pub use process::Process;
pub(crate) use shared_memory::{
    ReadOnly, SIZES_ARE_SEALED, check_sealed, check_shared, memory_file, seal_bytes, seal_size,
};
pub(crate) use sockets::{
    PORTS_ARE_SHARED, abstract_name, accept, accept_queue, bind_long, reuse_udp_address, select_by,
    socket,
};
pub use spawn::fork_and_exec;
pub use tree::Tree;

/// There is no such hint here.
pub(crate) fn prefer_huge_pages(_: &mut [std::mem::MaybeUninit<u8>]) {}
