//! Plain data about processes and the platform.

use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowEnded {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core was written.
        core_dumped: bool,
    },
}

/// What a process and its waited-for descendants used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Largest resident set in bytes.
    pub max_rss: u64,
    /// Page faults that needed input.
    pub major_faults: u64,
    /// Times it gave the processor up while waiting.
    pub voluntary_switches: u64,
    /// Times the processor was taken away.
    pub involuntary_switches: u64,
}

/// The end of a process, read once and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub how: HowEnded,
    /// What it used.
    pub usage: Usage,
}

/// How completely the descendants of a process can be found, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeLevel {
    /// A control group of its own: nothing escapes, forks that race the kill included.
    Cgroup,
    /// The process is the subreaper of its descendants, and they carry a mark in
    /// their environment: only one that wiped it and outlived its root escapes.
    Subreaper,
    /// Found by descent at the moment of the kill: what was re-parented before escapes.
    Walk,
    /// The process group: what left it (`setsid`) escapes.
    Group,
    /// The process alone.
    Process,
}

/// Who listens at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    /// The process.
    pub pid: u32,
    /// The file name of its program: `node`, `nginx`.
    pub name: String,
}

/// What a process uses at the moment of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessLoad {
    /// CPU time of all its threads since its start, in user and kernel mode; in
    /// steps of the kernel's clock, 10 ms as a rule.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
}

/// What this machine offers, as far as starting and ending processes goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Which side of procession-sys was built: `linux` or `portable`.
    pub side: &'static str,
    /// The kernel's name and release.
    pub kernel: String,
    /// `pidfd_open`, `pidfd_send_signal`, `waitid(P_PIDFD)`.
    pub pidfd: bool,
    /// `close_range` with `CLOSE_RANGE_CLOEXEC`.
    pub close_range: bool,
    /// Where control groups for trees are made, with `cgroup.kill`.
    pub cgroup_kill: Option<std::path::PathBuf>,
    /// Why there is none.
    pub cgroup_problem: Option<String>,
    /// `PR_SET_CHILD_SUBREAPER`.
    pub subreaper: bool,
    /// `PR_SET_PDEATHSIG`.
    pub parent_death_signal: bool,
    /// The best level at which a tree can be ended.
    pub tree_level: TreeLevel,
    /// Processors this process may use: the smaller of affinity and control group quota, rounded up.
    pub cpus: usize,
    /// Soft and hard limit of open descriptors.
    pub open_files: (Option<u64>, Option<u64>),
    /// Soft and hard limit of processes.
    pub processes: (Option<u64>, Option<u64>),
}
