//! Which step of a start failed, and why.

use std::fmt;
use std::io;

/// The steps of starting a process, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// Our own side: the service thread, the descriptors of the start itself.
    Prepare = 1,
    /// Giving the tree a limit of memory.
    Memory = 2,
    /// `clone` or `fork`: the process could not be made.
    Clone = 3,
    /// Signal dispositions and mask.
    Signals = 4,
    /// `setsid` or `setpgid`.
    Session = 5,
    /// Joining the control group of the tree.
    Cgroup = 6,
    /// Putting the declared descriptors at their numbers.
    Descriptors = 7,
    /// `setrlimit`.
    Limits = 8,
    /// `setpriority`.
    Nice = 9,
    /// `chdir`.
    Chdir = 10,
    /// `setgroups`.
    Groups = 11,
    /// `setresgid`.
    Gid = 12,
    /// `setresuid`, and the check that there is no way back.
    Uid = 13,
    /// `PR_SET_NO_NEW_PRIVS`, the subreaper flag or the parent-death signal.
    Attributes = 14,
    /// `execve`.
    Exec = 15,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::Memory => "memory_max",
            Self::Clone => "clone",
            Self::Signals => "sigaction",
            Self::Session => "setsid",
            Self::Cgroup => "join cgroup",
            Self::Limits => "setrlimit",
            Self::Nice => "setpriority",
            Self::Descriptors => "dup2",
            Self::Chdir => "chdir",
            Self::Groups => "setgroups",
            Self::Gid => "setgid",
            Self::Uid => "setuid",
            Self::Attributes => "prctl",
            Self::Exec => "execve",
        })
    }
}

/// A process was not started; nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed")]
pub struct StartError {
    /// The step that failed.
    pub step: Step,
    /// The system's reason.
    pub source: io::Error,
}

impl StartError {
    pub(crate) fn prepare(source: impl Into<io::Error>) -> Self {
        Self {
            step: Step::Prepare,
            source: source.into(),
        }
    }

    /// The machine cannot do it, for this reason.
    #[cfg(all(target_os = "linux", not(procession_portable)))]
    pub(crate) fn unsupported(step: Step, reason: String) -> Self {
        Self {
            step,
            source: io::Error::new(io::ErrorKind::Unsupported, reason),
        }
    }

    pub(crate) fn errno(step: Step, errno: i32) -> Self {
        Self {
            step,
            source: io::Error::from_raw_os_error(errno),
        }
    }
}
