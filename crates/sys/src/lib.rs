//! What procession asks of the kernel: start a process, see it end, signal it,
//! find and end its descendants, and pass descriptors over a socket.
//!
//! This is the only crate with `unsafe` code and the only one that looks at
//! the operating system's name. It acts when told and decides nothing. Two
//! sides have the same names: `linux` and `portable` (plain POSIX: what macOS
//! uses; built and tested on Linux with `--cfg procession_portable`).
//!
//! Service threads: `procession-reap` (Linux; one for the life of the program,
//! asleep unless a child outlives its first 100 ms), `procession-pds` (Linux;
//! one, only once a parent-death signal was asked for), `procession-wait`
//! (portable; one for each living child) and `procession-kill` (one for each
//! tree that is being ended, gone with it).

mod channel;
mod child;
mod detached;
mod fd_kind;
mod inherited;
mod io;
mod mapping;
mod own;
mod plan;
mod reactor;
mod shared_memory;
mod signals;
mod sigpipe;
mod sockets;
mod start_error;
mod status;
mod stopped;
mod terminal;

#[cfg(all(target_os = "linux", not(procession_portable)))]
#[path = "linux/mod.rs"]
mod os;

#[cfg(not(all(target_os = "linux", not(procession_portable))))]
#[path = "portable/mod.rs"]
mod os;

pub use channel::{
    Received, SendAgain, channel_pair, forbid_handles, receive, receive_plain, receive_waiting,
    send, send_again, send_vectored, send_waiting, small_channel_pair,
};
pub use detached::{channel_pair_like, fork_detached, replace_inherited};
pub use fd_kind::{FdKind, fd_kind};
pub use inherited::{InheritedChannel, InheritedError};
pub use io::{
    PollFd, dev_null, duplex_pair, duplicate, end_both, end_input, pipe_pair, poll,
    prefer_huge_pages, read, read_to_vec, set_nonblocking, write,
};
pub use os::{
    Process, Tree, become_subreaper, fork_and_exec, listeners_of, oom_kills, platform, port_owner,
    process_load, program_name, reap_strangers, thread_waited,
};
pub use own::{is_out_of_descriptors, process_cpu, raise_open_files, thread_cpu};
pub use plan::{Credentials, FdAssignment, Resource, Session, SpawnPlan};
pub use reactor::{ExitWatch, watch, watch_readable};
pub use shared_memory::{
    ForeignMemoryError, NOTIFIES_ARE_COUNTED, SIZES_ARE_SEALED, SealedBytes, SealedBytesWriter,
    SharedCells, Waited, WithdrawableWait, notify, wait,
};
pub use signals::{Caught, Signals};
pub use sockets::{
    AcceptQueue, MOST_SHARES, PORTS_ARE_SHARED, Share, TcpOptions, UdpOptions, UnixAccess, accept,
    accept_queue, bind_tcp, bind_udp, bind_unix, inherited_socket, listen, local_address,
    open_to_all, peek, select_by,
};
pub use start_error::{StartError, Step};
pub use status::{Ended, HowEnded, Platform, PortOwner, ProcessLoad, TreeLevel, Usage};
pub use terminal::terminal_width;
