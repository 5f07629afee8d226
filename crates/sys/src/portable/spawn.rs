//! Starting a process by `fork` and `execve`.
#![expect(unsafe_code, reason = "fork")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::PoisonError;

use super::pipes::{CLOEXEC_GAP, pipe_pair};
use super::process::{Process, Waiter};
use super::raw;
use crate::child;
use crate::io::read;
use crate::plan::{RawPlan, Session, SpawnPlan};
use crate::start_error::{StartError, Step};

/// Starts the process of the plan.
///
/// Blocks the calling thread until the child's `execve`.
///
/// # Errors
///
/// [`StartError`] with the step that failed; nothing is left of the attempt.
/// Attributes that only Linux has are refused with `ENOTSUP`.
pub fn fork_and_exec(plan: &SpawnPlan<'_>) -> Result<Process, StartError> {
    if plan.parent_death_signal.is_some() || plan.no_new_privs {
        return Err(StartError::errno(Step::Attributes, libc::ENOTSUP));
    }
    if plan.memory_max.is_some() {
        return Err(StartError::errno(Step::Memory, libc::ENOTSUP));
    }
    let waiter = Waiter::start().map_err(StartError::prepare)?;
    let (reason, report) = pipe_pair().map_err(StartError::prepare)?;
    let mut raw = RawPlan::new(plan);
    if plan.contain && plan.session == Session::Inherit {
        // A process group is all there is to hold a tree with.
        raw.session = Session::Group(0);
    }
    let pid = fork(&mut raw, &report)?;
    drop(report);
    if let Some(failure) = read_failure(&reason) {
        waiter.discard(pid);
        return Err(failure);
    }
    let grouped = match raw.session {
        Session::New | Session::Group(0) => true,
        Session::Group(_) | Session::Inherit => false,
    };
    Ok(waiter.adopt(pid, grouped))
}

fn fork(raw: &mut RawPlan<'_>, report: &OwnedFd) -> Result<i32, StartError> {
    // Nobody of ours is between `pipe` and close-on-exec while the table is copied.
    let gap = CLOEXEC_GAP.write().unwrap_or_else(PoisonError::into_inner);
    let mask = raw::block_signals();
    // SAFETY: the child calls only async-signal-safe functions and never returns.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: we are the new child, with all signals blocked.
        let failure = unsafe { child::become_program(raw) };
        let words = [failure.step as u32, failure.errno.cast_unsigned()];
        // SAFETY: eight bytes of a local array; a pipe takes them whole.
        unsafe {
            libc::write(
                report.as_raw_fd(),
                words.as_ptr().cast(),
                size_of::<[u32; 2]>(),
            )
        };
        child::leave();
    }
    let error = io::Error::last_os_error();
    raw::restore_signals(&mask);
    drop(gap);
    if pid == -1 {
        Err(StartError {
            step: Step::Clone,
            source: error,
        })
    } else {
        Ok(pid)
    }
}

/// Reads the child's report; the end of the pipe without one is its `execve`.
fn read_failure(reason: &OwnedFd) -> Option<StartError> {
    let mut words = [0_u8; 8];
    match read(reason, &mut words) {
        Ok(8) => {
            let [a, b, c, d, e, f, g, h] = words;
            let step = step(u32::from_ne_bytes([a, b, c, d]));
            Some(StartError::errno(step, i32::from_ne_bytes([e, f, g, h])))
        }
        _ => None,
    }
}

fn step(number: u32) -> Step {
    const ALL: [Step; 15] = [
        Step::Prepare,
        Step::Memory,
        Step::Clone,
        Step::Signals,
        Step::Session,
        Step::Cgroup,
        Step::Descriptors,
        Step::Limits,
        Step::Nice,
        Step::Chdir,
        Step::Groups,
        Step::Gid,
        Step::Uid,
        Step::Attributes,
        Step::Exec,
    ];
    ALL.into_iter()
        .find(|step| *step as u32 == number)
        .unwrap_or(Step::Prepare)
}
