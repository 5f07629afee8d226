//! What runs in the child between its birth and `execve`.
#![expect(
    unsafe_code,
    reason = "system calls of the child, where std must not be used"
)]
//!
//! On Linux the child shares our memory while we are suspended (`CLONE_VM |
//! CLONE_VFORK`); elsewhere it is a fork of a program that may have threads. In
//! both cases: no allocation, no lock, no panic, no drop. All the data was made
//! by the parent; a failure is a step and an errno.

use std::ffi::c_int;

use crate::os::raw;
use crate::plan::{RawPlan, Resource, Session};
use crate::start_error::Step;

/// Why the child did not get to `execve`.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) errno: c_int,
}

/// Turns a result of -1 into the step's failure.
fn check(step: Step, result: c_int) -> Result<c_int, Failure> {
    if result == -1 {
        Err(Failure {
            step,
            errno: raw::errno(),
        })
    } else {
        Ok(result)
    }
}

/// Becomes the program of the plan; returns only when that failed.
///
/// # Safety
///
/// Must be called in a new child, all signals blocked, with a plan that
/// outlives the call.
pub(crate) unsafe fn become_program(raw: &mut RawPlan<'_>) -> Failure {
    // SAFETY: the caller's promise is the same.
    match unsafe { prepare(raw) } {
        Err(failure) => failure,
        // SAFETY: as above; the pointers in `raw` are the plan's own.
        Ok(()) => unsafe { exec(raw) },
    }
}

unsafe fn prepare(raw: &mut RawPlan<'_>) -> Result<(), Failure> {
    raw::reset_signals();
    enter_session(raw.session)?;
    if let Some(cgroup) = &raw.cgroup {
        check(Step::Cgroup, raw::write_zero(cgroup))?;
    }
    place_descriptors(raw)?;
    for (resource, soft, hard) in &raw.plan.limits {
        check(Step::Limits, set_limit(*resource, *soft, *hard))?;
    }
    check(Step::Nice, be_nice(raw.plan.nice))?;
    if let Some(cwd) = &raw.plan.cwd {
        // SAFETY: a terminated string that lives in the plan.
        check(Step::Chdir, unsafe { libc::chdir(cwd.as_ptr()) })?;
    }
    drop_privileges(raw)?;
    check(Step::Attributes, raw::attributes(raw))?;
    if let Some(entry) = &mut raw.listen_pid {
        entry.complete(raw::own_pid());
    }
    Ok(())
}

fn enter_session(session: Session) -> Result<(), Failure> {
    let result = match session {
        Session::Inherit => 0,
        // SAFETY: takes nothing; fails only for a group leader, which a new child is not.
        Session::New => unsafe { libc::setsid() },
        // SAFETY: plain numbers; the kernel checks them.
        Session::Group(group) => unsafe { libc::setpgid(0, group) },
    };
    check(Step::Session, result).map(|_| ())
}

fn set_limit(resource: Resource, soft: u64, hard: u64) -> c_int {
    let resource = match resource {
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::Processes => libc::RLIMIT_NPROC,
        Resource::Stack => libc::RLIMIT_STACK,
    };
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: a local struct that outlives the call.
    unsafe { libc::setrlimit(resource, &raw const limit) }
}

/// Adds to the nice value; the kernel keeps the sum within its range.
fn be_nice(increment: i32) -> c_int {
    if increment == 0 {
        return 0;
    }
    // SAFETY: plain numbers. 0 is the caller, who exists: -1 is a value, no error.
    let current = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // SAFETY: as above.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, current.saturating_add(increment)) }
}

/// Gives every declared descriptor its number and every other one close-on-exec.
///
/// First all is marked, in a table that is the child's own from then on; then
/// each source is lifted above all targets, so that no `dup2` can destroy a
/// source that is still needed; then `dup2`, whose copies are not marked.
fn place_descriptors(raw: &mut RawPlan<'_>) -> Result<(), Failure> {
    check(Step::Descriptors, raw::mark_close_on_exec())?;
    for (source, _) in &mut raw.fds {
        if *source < raw.above {
            // SAFETY: plain numbers; a closed source is answered with EBADF.
            let lifted = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, raw.above) };
            *source = check(Step::Descriptors, lifted)?;
        }
    }
    for (source, index) in &raw.fds {
        // SAFETY: plain numbers in a descriptor table that is the child's own.
        check(Step::Descriptors, unsafe { libc::dup2(*source, *index) })?;
    }
    place_null(&raw.plan.null_fds)
}

/// Opens `/dev/null` for those that want it.
fn place_null(indices: &[c_int]) -> Result<(), Failure> {
    if indices.is_empty() {
        return Ok(());
    }
    let flags = libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: a static terminated string.
    let null = check(Step::Descriptors, unsafe {
        libc::open(c"/dev/null".as_ptr(), flags)
    })?;
    for index in indices {
        let placed = if *index == null {
            // It has the number already, if ours was closed; only the mark has to go.
            // SAFETY: a descriptor that was just opened.
            unsafe { libc::fcntl(null, libc::F_SETFD, 0) }
        } else {
            // SAFETY: plain numbers in a descriptor table that is the child's own.
            unsafe { libc::dup2(null, *index) }
        };
        check(Step::Descriptors, placed)?;
    }
    Ok(())
}

/// Groups, then gid, then uid, then the proof that there is no way back.
fn drop_privileges(raw: &RawPlan<'_>) -> Result<(), Failure> {
    let credentials = &raw.plan.credentials;
    if let Some(groups) = credentials.groups_to_set() {
        match check(Step::Groups, raw::setgroups(groups)) {
            // Node drops the groups when it can: without the right to, it keeps them.
            Err(failure) if credentials.groups.is_none() && failure.errno == libc::EPERM => {}
            result => drop(result?),
        }
    }
    if let Some(gid) = credentials.gid {
        check(Step::Gid, raw::setgid(gid))?;
    }
    if let Some(uid) = credentials.uid {
        check(Step::Uid, raw::setuid(uid))?;
        if uid != 0 && raw::setuid(0) != -1 {
            return Err(Failure {
                step: Step::Uid,
                errno: libc::EPERM,
            });
        }
    }
    Ok(())
}

/// Tries the candidates as `execvp` does, but for `ENOEXEC`: no shell is tried.
unsafe fn exec(raw: &RawPlan<'_>) -> Failure {
    raw::unblock_signals();
    let mut worst = libc::ENOENT;
    for program in &raw.plan.programs {
        // SAFETY: terminated strings and null-terminated arrays, all alive in the plan.
        unsafe { libc::execve(program.as_ptr(), raw.argv.as_ptr(), raw.envp.as_ptr()) };
        match raw::errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            // Another directory may hold one that may be run; else this is the answer.
            libc::EACCES => worst = libc::EACCES,
            errno => {
                return Failure {
                    step: Step::Exec,
                    errno,
                };
            }
        }
    }
    Failure {
        step: Step::Exec,
        errno: worst,
    }
}

/// Leaves without running anything that belongs to the parent.
pub(crate) fn leave() -> ! {
    // SAFETY: ends the child only; no destructor, no exit handler.
    unsafe { libc::_exit(127) }
}

/// Marks every descriptor from 3 on, one by one: where `close_range` is missing.
pub(crate) fn mark_each() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a local struct that outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    // A limit without end is no table without end; nobody has more than this.
    let end = limit.rlim_cur.clamp(256, 1 << 20);
    let end = c_int::try_from(end).unwrap_or(c_int::MAX);
    for fd in 3..end {
        // SAFETY: a closed number is answered with EBADF.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
