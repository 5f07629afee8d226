//! What plain POSIX offers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::status::{Platform, PortOwner, ProcessLoad, TreeLevel};

/// Looks at the machine.
#[must_use]
pub fn platform() -> Platform {
    let name = rustix::system::uname();
    let open_files = getrlimit(Resource::Nofile);
    let processes = getrlimit(Resource::Nproc);
    Platform {
        side: "portable",
        kernel: format!(
            "{} {}",
            name.sysname().to_string_lossy(),
            name.release().to_string_lossy()
        ),
        pidfd: false,
        close_range: false,
        cgroup_kill: None,
        cgroup_problem: Some("the portable side has no control groups".into()),
        subreaper: false,
        parent_death_signal: false,
        tree_level: TreeLevel::Group,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        open_files: (open_files.current, open_files.maximum),
        processes: (processes.current, processes.maximum),
    }
}

/// There is no such counter here.
#[must_use]
pub fn thread_waited() -> Option<Duration> {
    None
}

/// There is no such counter here.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    None
}

/// Nobody can be asked here.
#[must_use]
pub fn port_owner(_: SocketAddr) -> Option<PortOwner> {
    None
}

/// Nobody can be asked here.
///
/// # Errors
///
/// Always `Unsupported`.
pub fn listeners_of(_: u32) -> io::Result<Vec<SocketAddr>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nobody can be asked here.
#[must_use]
pub fn program_name(_: u32) -> Option<String> {
    None
}

/// Nobody can be asked here.
///
/// # Errors
///
/// Always `Unsupported`.
pub fn process_load(_: u32) -> io::Result<ProcessLoad> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Children cannot be listed here.
///
/// # Errors
///
/// Always `Unsupported`.
pub fn reap_strangers(_: impl Fn(u32) -> bool) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no such attribute here.
///
/// # Errors
///
/// Always `Unsupported`.
pub fn become_subreaper() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
