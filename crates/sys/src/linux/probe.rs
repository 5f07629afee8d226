//! What this machine offers, by trying it.

use std::fs;
use std::time::Duration;

use rustix::process::{PidfdFlags, Resource, child_subreaper, getpid, getrlimit, pidfd_open};

use super::{cgroup, raw};
use crate::status::{Platform, TreeLevel};

/// Looks at the machine. Nothing is left behind by the tries.
#[must_use]
pub fn platform() -> Platform {
    let place = cgroup::place();
    let subreaper = child_subreaper().is_ok();
    let open_files = getrlimit(Resource::Nofile);
    let processes = getrlimit(Resource::Nproc);
    Platform {
        side: "linux",
        kernel: kernel(),
        pidfd: pidfd_open(getpid(), PidfdFlags::empty()).is_ok(),
        close_range: raw::has_close_range(),
        tree_level: match (&place, subreaper) {
            (Ok(_), _) => TreeLevel::Cgroup,
            (Err(_), true) => TreeLevel::Subreaper,
            (Err(_), false) => TreeLevel::Walk,
        },
        cgroup_problem: place.as_ref().err().cloned(),
        cgroup_kill: place.ok(),
        subreaper,
        parent_death_signal: true,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        open_files: (open_files.current, open_files.maximum),
        processes: (processes.current, processes.maximum),
    }
}

fn kernel() -> String {
    let name = rustix::system::uname();
    format!(
        "{} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy()
    )
}

/// How long the thread that asks was ready to run and had no core; `None` where the
/// kernel does not count that.
#[must_use]
pub fn thread_waited() -> Option<Duration> {
    let counts = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = counts.split_ascii_whitespace().nth(1)?;
    nanos.parse().ok().map(Duration::from_nanos)
}

/// How often the out-of-memory killer has struck on this machine since it started.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    let vmstat = fs::read_to_string("/proc/vmstat").ok()?;
    vmstat
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}
