//! The limit: `vfork`, `execve` and `waitpid` in a loop, and `read` in a loop,
//! as a C program would, with no check that the start went well.
//!
//! `raw-pidfd` is the same loop by a C program that cannot signal or wait for a
//! reused number: it has a pidfd from the kernel, polls it and waits by it.
#![expect(unsafe_code, reason = "it is written as in C")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::time::Instant;

use crate::Run;
use crate::measure::{
    CAPTURED, Feature, Job, Ops, READ_SIZE, STREAMED, TRUE, Task, WAYS, all_there, flood, user,
};

/// What the child needs, made before.
struct Start {
    program: CString,
    argv: Vec<*const c_char>,
    /// Keeps what `argv` points to.
    _args: Vec<CString>,
    null: RawFd,
    stdout: RawFd,
    feature: Feature,
    user: (u32, u32),
}

impl Start {
    fn new(words: &[String], feature: Feature) -> io::Result<Self> {
        let args: Result<Vec<CString>, _> = words.iter().map(|it| CString::new(&**it)).collect();
        let args = args?;
        let argv = args
            .iter()
            .map(|it| it.as_ptr())
            .chain([ptr::null()])
            .collect();
        // SAFETY: a terminated string.
        let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        Ok(Self {
            program: args.first().cloned().unwrap_or_default(),
            argv,
            _args: args,
            null: check(null)?,
            stdout: null,
            feature,
            user: user(),
        })
    }

    /// Becomes the program. The child shares our memory: system calls only.
    fn become_program(&self) -> ! {
        for (source, target) in [(self.null, 0), (self.stdout, 1), (self.null, 2)] {
            // SAFETY: plain numbers.
            unsafe { libc::dup2(source, target) };
        }
        self.dress();
        // SAFETY: an environment that nobody changes meanwhile: there is one thread.
        let environment = unsafe { environ };
        // SAFETY: terminated strings and null-terminated arrays.
        unsafe { libc::execve(self.program.as_ptr(), self.argv.as_ptr(), environment) };
        // SAFETY: ends the child only.
        unsafe { libc::_exit(127) }
    }

    fn dress(&self) {
        match self.feature {
            Feature::Plain => {}
            Feature::User => {
                let (uid, gid) = self.user;
                // SAFETY: no groups, so nothing is read.
                unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u32>()) };
                // SAFETY: plain numbers.
                unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
                // SAFETY: plain numbers.
                unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
            }
            Feature::Descriptor => {
                // SAFETY: plain numbers.
                unsafe { libc::dup2(self.null, 3) };
            }
            Feature::Session => {
                // SAFETY: takes nothing.
                unsafe { libc::setsid() };
            }
            Feature::ParentDeath => {
                // SAFETY: an option that takes one number.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            }
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, known to nobody else.
        unsafe { libc::close(self.null) };
    }
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

extern "C" fn child(start: *mut c_void) -> c_int {
    // SAFETY: the parent passes a `Start` and is suspended until the `execve`.
    let start = unsafe { &*start.cast::<Start>() };
    start.become_program()
}

/// `vfork` with a stack for the child, as Rust must not return twice.
struct Forker {
    stack: Box<[u128]>,
}

impl Forker {
    fn new() -> Self {
        Self {
            stack: vec![0; 2048].into_boxed_slice(),
        }
    }

    fn spawn(&mut self, start: &Start) -> io::Result<c_int> {
        self.clone(start, 0, ptr::null_mut())
    }

    fn spawn_with_pidfd(&mut self, start: &Start) -> io::Result<OwnedFd> {
        let mut pidfd = -1;
        self.clone(start, libc::CLONE_PIDFD, &raw mut pidfd)?;
        // SAFETY: just made by the kernel, known to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
    }

    fn clone(&mut self, start: &Start, more: c_int, pidfd: *mut c_int) -> io::Result<c_int> {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | more;
        let top: *mut c_void = self.stack.as_mut_ptr_range().end.cast();
        let argument: *mut c_void = (&raw const *start).cast_mut().cast();
        // SAFETY: the stack is the child's until its `execve`, which CLONE_VFORK
        // waits for; `start` and `pidfd` outlive that, too.
        check(unsafe { libc::clone(child, top, flags, argument, pidfd) })
    }
}

fn wait_for(pid: c_int) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: a local that outlives the call.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "the child ended with status {status:#x}"
        )))
    }
}

pub(crate) fn prepare(job: &Job) -> io::Result<Run> {
    let mut forker = Forker::new();
    match job.task {
        Task::Sequential | Task::Parallel => {
            let start = Start::new(&[TRUE.to_owned()], job.feature)?;
            let ways = if job.task == Task::Parallel { WAYS } else { 1 };
            if job.contender == "raw-pidfd" {
                return Ok(Box::new(move |ops| by_pidfd(&ops, &mut forker, &start)));
            }
            Ok(Box::new(move |ops| {
                spawn_and_wait(&ops, ways, &mut forker, &start)
            }))
        }
        Task::Capture => Ok(Box::new(move |ops| {
            while ops.claim() {
                let mut kept: Vec<u8> = Vec::with_capacity(READ_SIZE);
                flooded(&mut forker, CAPTURED, |fd| {
                    kept.reserve(READ_SIZE);
                    let count = read(fd, kept.as_mut_ptr().wrapping_add(kept.len()), READ_SIZE)?;
                    // SAFETY: the kernel has written so many bytes behind the others.
                    unsafe { kept.set_len(kept.len() + count) };
                    Ok(count)
                })?;
                ops.done(all_there(kept.len() as u64, CAPTURED)?);
            }
            Ok(())
        })),
        Task::Stream => Ok(Box::new(move |ops| {
            while ops.claim() {
                let mut buffer = vec![0; READ_SIZE];
                let seen = flooded(&mut forker, STREAMED, |fd| {
                    read(fd, buffer.as_mut_ptr(), READ_SIZE)
                })?;
                ops.done(all_there(seen, STREAMED)?);
            }
            Ok(())
        })),
    }
}

/// Keeps so many children alive, as a shell's job loop: one thread, one `waitpid`.
fn spawn_and_wait(ops: &Ops, ways: u32, forker: &mut Forker, start: &Start) -> io::Result<()> {
    let mut alive = 0;
    loop {
        while alive < ways && ops.claim() {
            let before = Instant::now();
            forker.spawn(start)?;
            ops.done(before.elapsed());
            alive += 1;
        }
        if alive == 0 {
            return Ok(());
        }
        wait_for(-1)?;
        alive -= 1;
    }
}

/// One child after the other, each by its pidfd.
fn by_pidfd(ops: &Ops, forker: &mut Forker, start: &Start) -> io::Result<()> {
    while ops.claim() {
        let before = Instant::now();
        let pidfd = forker.spawn_with_pidfd(start)?;
        ops.done(before.elapsed());
        let mut ready = libc::pollfd {
            fd: pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one local struct, as is said.
        check(unsafe { libc::poll(&raw mut ready, 1, -1) })?;
        let id = pidfd.as_raw_fd().cast_unsigned();
        // SAFETY: a null pointer is no wish for the details.
        check(unsafe { libc::waitid(libc::P_PIDFD, id, ptr::null_mut(), libc::WEXITED) })?;
    }
    Ok(())
}

/// Starts the flooding child and reads its output to the end; gives the bytes.
fn flooded(
    forker: &mut Forker,
    bytes: u64,
    mut read_once: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
) -> io::Result<u64> {
    let (program, args) = flood(bytes)?;
    let mut start = Start::new(&[&[program], &args[..]].concat(), Feature::Plain)?;
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: just made, known to nobody else.
    let ours = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let theirs = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    start.stdout = theirs.as_raw_fd();
    let pid = forker.spawn(&start)?;
    drop(theirs);
    let mut seen = 0;
    loop {
        match read_once(std::os::fd::AsFd::as_fd(&ours))? {
            0 => break,
            count => seen += count as u64,
        }
    }
    wait_for(pid)?;
    Ok(seen)
}

fn read(fd: BorrowedFd<'_>, buffer: *mut u8, room: usize) -> io::Result<usize> {
    // SAFETY: the callers pass so much room.
    let count = unsafe { libc::read(fd.as_raw_fd(), buffer.cast(), room) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
