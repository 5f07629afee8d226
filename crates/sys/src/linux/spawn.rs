//! Starting a process by `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`.
#![expect(unsafe_code, reason = "clone with a stack of our own")]
//!
//! The child borrows our memory until its `execve`, so a start costs the same
//! from a parent of 1 MiB and of 100 GiB, whatever else is asked for: `std`
//! falls back to `fork` as soon as there is a uid, a gid or a `pre_exec`. A
//! failure in the child is written to our own stack: no pipe is needed.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::process::Process;
use super::strangers::Starting;
use super::tree::Tree;
use super::{cgroup, immortal, raw, reaper};
use crate::child::{self, Failure};
use crate::plan::{RawPlan, SpawnPlan};
use crate::start_error::{StartError, Step};

/// Room for the child's calls; they need less than 2 KiB.
const STACK_SIZE: usize = 32 * 1024;

/// Starts the process of the plan.
///
/// Blocks the calling thread until the child's `execve`, some 50 µs.
///
/// # Errors
///
/// [`StartError`] with the step that failed. Nothing is left of the attempt.
pub fn fork_and_exec(plan: &SpawnPlan<'_>) -> Result<Process, StartError> {
    reaper::ensure_running().map_err(StartError::prepare)?;
    if let Some(bytes) = plan.memory_max {
        return start_limited(plan, bytes);
    }
    if !plan.contain {
        return start(plan, None);
    }
    match start(plan, Some(Tree::prepare())) {
        // The group could be made but not joined: a rule of the machine that no probe can see.
        Err(StartError {
            step: Step::Cgroup,
            source,
        }) => {
            cgroup::forget_place(&source);
            start(plan, Some(Tree::prepare_marked()))
        }
        result => result,
    }
}

/// A limit cannot be kept without a group: there is nothing to fall back to.
fn start_limited(plan: &SpawnPlan<'_>, bytes: u64) -> Result<Process, StartError> {
    let tree = Tree::prepare_limited(bytes)
        .map_err(|reason| StartError::unsupported(Step::Memory, reason))?;
    start(plan, Some(tree)).map_err(|mut error| {
        if error.step == Step::Cgroup {
            error.step = Step::Memory;
        }
        error
    })
}

fn start(plan: &SpawnPlan<'_>, tree: Option<Tree>) -> Result<Process, StartError> {
    let mut raw = RawPlan::new(plan);
    let _starting = Starting::new();
    let started = attach(&mut raw, tree.as_ref()).and_then(|()| {
        if plan.parent_death_signal.is_some() && !immortal::is_main_thread() {
            immortal::run(&mut raw, clone_vfork)
        } else {
            clone_vfork(&mut raw)
        }
    });
    match started {
        Ok((pid, pidfd)) => {
            let tree = tree.map(|tree| Arc::new(tree.rooted(pid)));
            Ok(Process::running(pid, pidfd, tree))
        }
        Err(error) => {
            if let Some(tree) = tree {
                tree.discard();
            }
            Err(error)
        }
    }
}

/// Makes the child join the group of its tree, or carry its mark.
fn attach(raw: &mut RawPlan<'_>, tree: Option<&Tree>) -> Result<(), StartError> {
    let Some(tree) = tree else { return Ok(()) };
    raw.cgroup = tree.procs_file().map_err(StartError::prepare)?;
    if let Some(mark) = tree.mark() {
        raw.subreaper = true;
        // Before the null pointer that ends the list.
        raw.envp.insert(raw.envp.len() - 1, mark.as_ptr());
    }
    Ok(())
}

/// What the child finds at its one argument.
struct Handover<'a, 'p> {
    plan: &'a mut RawPlan<'p>,
    failure: Option<Failure>,
}

extern "C" fn child_main(argument: *mut c_void) -> c_int {
    // SAFETY: the parent passes a `Handover` and is suspended until we leave.
    let handover = unsafe { &mut *argument.cast::<Handover<'_, '_>>() };
    // SAFETY: we are the new child, with all signals blocked.
    handover.failure = Some(unsafe { child::become_program(handover.plan) });
    child::leave()
}

fn clone_vfork(plan: &mut RawPlan<'_>) -> Result<(u32, OwnedFd), StartError> {
    let mut handover = Handover {
        plan,
        failure: None,
    };
    let mut pidfd: c_int = -1;
    let argument: *mut c_void = (&raw mut handover).cast();
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    if raw::has_close_range() {
        // The child copies our table of descriptors when it marks them, before it changes any.
        flags |= libc::CLONE_FILES;
    }
    let pid = with_stack(|top| {
        let mask = raw::block_signals();
        // SAFETY: the stack is ours alone until the child has left it, which
        // CLONE_VFORK waits for; the handover outlives that too.
        let pid = unsafe {
            libc::clone(
                child_main,
                top,
                flags,
                argument,
                &raw mut pidfd,
                ptr::null_mut::<c_void>(),
                ptr::null_mut::<c_int>(),
            )
        };
        let error = io::Error::last_os_error();
        raw::restore_signals(mask);
        if pid == -1 {
            Err(StartError {
                step: Step::Clone,
                source: error,
            })
        } else {
            Ok(pid)
        }
    })?;
    // SAFETY: the kernel made this descriptor for us; nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: the child wrote it through a pointer the compiler did not follow.
    let failure = unsafe { ptr::read_volatile(&raw const handover.failure) };
    if let Some(failure) = failure {
        super::process::discard(&pidfd);
        return Err(StartError::errno(failure.step, failure.errno));
    }
    Ok((pid.cast_unsigned(), pidfd))
}

/// A mapped stack, unmapped with its thread.
struct Stack(NonNull<c_void>);

impl Stack {
    fn new() -> Result<Self, StartError> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                STACK_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(StartError::prepare(io::Error::last_os_error()));
        }
        NonNull::new(base)
            .map(Self)
            .ok_or_else(|| StartError::prepare(io::Error::other("the kernel mapped the null page")))
    }

    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping; it is aligned to a page.
        unsafe { self.0.as_ptr().byte_add(STACK_SIZE) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no child runs on it any more.
        unsafe { libc::munmap(self.0.as_ptr(), STACK_SIZE) };
    }
}

thread_local! {
    /// Kept between starts: mapping and faulting it anew costs as much as the clone.
    static STACK: RefCell<Option<Stack>> = const { RefCell::new(None) };
}

fn with_stack<T>(
    start: impl FnOnce(*mut c_void) -> Result<T, StartError>,
) -> Result<T, StartError> {
    STACK.with_borrow_mut(|slot| {
        let stack = match slot {
            Some(stack) => stack,
            None => slot.insert(Stack::new()?),
        };
        start(stack.top())
    })
}
