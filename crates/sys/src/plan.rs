//! Everything about a start that is known before the process exists.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use crate::inherited;

/// A process to be: strings with their terminators, descriptors open, ids numeric.
///
/// Nothing is allocated, looked up or converted between `clone` and `execve`;
/// whatever could fail in the parent has failed before.
#[derive(Debug, Default)]
pub struct SpawnPlan<'a> {
    /// The paths to try in turn (`PATH` already joined); the first that exists is run.
    pub programs: Vec<CString>,
    /// `argv`, with `argv[0]`.
    pub args: Vec<CString>,
    /// Whether the child begins with our environment.
    ///
    /// It is not copied: the entries of `environ` are handed to `execve` as they
    /// are, as C programs and `std` do. (Who changes the environment by the
    /// unsafe `std::env::set_var` has promised that nobody reads it meanwhile.)
    pub inherit_env: bool,
    /// Names that the child does not inherit.
    pub env_without: Vec<Cow<'a, CStr>>,
    /// Further variables, `NAME=value`.
    pub env: Vec<CString>,
    /// One more, `LISTEN_PID` with the child's own process id: as systemd says
    /// for whom the descriptors from 3 on are. What is inherited by that name is
    /// to be in `env_without`.
    pub listen_pid: bool,
    /// The working directory.
    pub cwd: Option<CString>,
    /// The child's descriptors; every other one is closed by the `execve`.
    pub fds: Vec<FdAssignment<'a>>,
    /// Descriptors that are `/dev/null`: opened by the child, at its expense.
    pub null_fds: Vec<i32>,
    /// User, group and supplementary groups.
    pub credentials: Credentials,
    /// Session and process group.
    pub session: Session,
    /// Resource limits.
    pub limits: Vec<(Resource, u64, u64)>,
    /// Added to our nice value.
    pub nice: i32,
    /// Forbid gaining privileges by `execve`.
    pub no_new_privs: bool,
    /// Sent to the child when this process is gone.
    pub parent_death_signal: Option<i32>,
    /// How the descendants are to be found again.
    pub contain: bool,
    /// Bytes that the process and all that descends from it may use together;
    /// contains them as well.
    pub memory_max: Option<u64>,
}

/// One descriptor of the child.
#[derive(Clone, Copy, Debug)]
pub struct FdAssignment<'a> {
    /// Its number in the child.
    pub index: i32,
    /// What it is a duplicate of.
    pub source: BorrowedFd<'a>,
}

/// Whom the child runs as; `None` keeps what we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Supplementary groups; dropped when a uid or gid is given without them.
    pub groups: Option<Vec<u32>>,
}

impl Credentials {
    /// The groups to set, if any: given ones, or none at all on a change of user.
    pub(crate) fn groups_to_set(&self) -> Option<&[u32]> {
        match (&self.groups, self.uid, self.gid) {
            (Some(groups), _, _) => Some(groups),
            (None, None, None) => None,
            (None, _, _) => Some(&[]),
        }
    }
}

/// Session and process group of the child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Session {
    /// Ours.
    #[default]
    Inherit,
    /// `setsid`: a session and a group of its own (Node's `detached`).
    New,
    /// `setpgid`: this group; 0 is a new one with the child's own number.
    Group(i32),
}

/// A limit that `setrlimit` knows on every POSIX system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Address space in bytes.
    AddressSpace,
    /// Core file size in bytes.
    Core,
    /// CPU seconds.
    Cpu,
    /// Data segment in bytes.
    Data,
    /// File size in bytes.
    FileSize,
    /// Open descriptors.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// Stack in bytes.
    Stack,
}

/// The raw form of a plan that the child reads: pointers into the plan, alive as long as it.
pub(crate) struct RawPlan<'a> {
    pub(crate) plan: &'a SpawnPlan<'a>,
    pub(crate) argv: Vec<*const c_char>,
    pub(crate) envp: Vec<*const c_char>,
    /// The entry of the environment that the child completes.
    pub(crate) listen_pid: Option<Box<PidEntry>>,
    /// (source, index); the sources are rewritten when they must move out of the way.
    pub(crate) fds: Vec<(i32, i32)>,
    /// First number above every index: where sources are lifted to.
    pub(crate) above: i32,
    /// The plan's session, or a process group where that is all that holds a tree.
    pub(crate) session: Session,
    /// `cgroup.procs` of the control group to join.
    pub(crate) cgroup: Option<OwnedFd>,
    /// Whether the child is to adopt its orphaned descendants.
    pub(crate) subreaper: bool,
    /// Our own process id, if the child is to be told of our death: to see
    /// whether we died before it asked.
    pub(crate) parent: i32,
}

impl<'a> RawPlan<'a> {
    pub(crate) fn new(plan: &'a SpawnPlan<'a>) -> Self {
        let indices = plan.fds.iter().map(|fd| fd.index);
        let highest = indices
            .chain(plan.null_fds.iter().copied())
            .max()
            .unwrap_or(2)
            .max(2);
        let listen_pid = plan.listen_pid.then(|| Box::new(PidEntry::new()));
        Self {
            plan,
            argv: pointers(&plan.args),
            envp: environment(plan, listen_pid.as_deref()),
            listen_pid,
            fds: plan
                .fds
                .iter()
                .map(|fd| (fd.source.as_raw_fd(), fd.index))
                .collect(),
            above: highest + 1,
            session: plan.session,
            cgroup: None,
            subreaper: false,
            parent: match plan.parent_death_signal {
                Some(_) => std::process::id().cast_signed(),
                None => 0,
            },
        }
    }
}

/// `LISTEN_PID=` with room for a number, which only the child knows.
pub(crate) struct PidEntry([u8; Self::SIZE]);

impl PidEntry {
    const NAME: &[u8] = b"LISTEN_PID=";
    const DIGITS: usize = 10;
    const SIZE: usize = Self::NAME.len() + Self::DIGITS + 1;

    fn new() -> Self {
        let mut entry = [0; Self::SIZE];
        entry[..Self::NAME.len()].copy_from_slice(Self::NAME);
        Self(entry)
    }

    /// Runs in the child: nothing is allocated, nothing can panic.
    pub(crate) fn complete(&mut self, mut pid: u32) {
        let mut digits = [0; Self::DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (pid % 10) as u8;
            pid /= 10;
        }
        let digits = digits.iter().skip_while(|digit| **digit == b'0');
        let room = self.0.iter_mut().skip(Self::NAME.len());
        for (place, digit) in room.zip(digits) {
            *place = *digit;
        }
    }
}

/// Our variables without the unwanted ones, then the plan's.
fn environment(plan: &SpawnPlan<'_>, listen_pid: Option<&PidEntry>) -> Vec<*const c_char> {
    let mut variables = Vec::with_capacity(64);
    if plan.inherit_env {
        inherited::environment(&plan.env_without, &mut variables);
    }
    variables.extend(plan.env.iter().map(|entry| entry.as_ptr()));
    variables.extend(listen_pid.map(|entry| entry.0.as_ptr().cast::<c_char>()));
    variables.push(ptr::null());
    variables
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| CStr::as_ptr(s))
        .chain([ptr::null()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_every_number() {
        for pid in [1, 10, 4_194_304, u32::MAX] {
            let mut entry = PidEntry::new();
            entry.complete(pid);
            let text = CStr::from_bytes_until_nul(&entry.0).unwrap();
            assert_eq!(text.to_str().unwrap(), format!("LISTEN_PID={pid}"));
        }
    }
}
