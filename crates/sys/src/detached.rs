//! A process that is nobody's child, and a program that keeps its own place.
#![expect(unsafe_code, reason = "fork, and descriptors known by number")]
//!
//! A relay stands between a program and its parent, and neither may notice it:
//! the program keeps the process id that its parent knows, and gets no child
//! that it did not start. So the helper is forked twice, and its parent is gone
//! before the program begins.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt;

use crate::child;
use crate::io::{duplex_pair, pipe_pair, read, write};
use crate::os::raw;
use crate::plan::{RawPlan, SpawnPlan};
use crate::signals::Blocked;
use crate::start_error::{StartError, Step};

/// The steps that can fail in the second child.
const STEPS: [Step; 9] = [
    Step::Clone,
    Step::Descriptors,
    Step::Limits,
    Step::Nice,
    Step::Chdir,
    Step::Groups,
    Step::Gid,
    Step::Uid,
    Step::Exec,
];

/// Starts the process of the plan in a session of its own, as a child of
/// nobody: whoever adopts orphans reaps it.
///
/// Waits until it runs its program. The plan's session and everything about
/// trees and the parent's death is not looked at.
///
/// # Errors
///
/// [`StartError`] with the step that failed. Nothing is left of the attempt.
pub fn fork_detached(plan: &SpawnPlan<'_>) -> Result<(), StartError> {
    let mut raw = RawPlan::new(plan);
    let (told, tells) = pipe_pair().map_err(StartError::prepare)?;
    let blocked = Blocked::all();
    // SAFETY: the child calls only what may be called after a fork: it makes a
    // session, forks, reports, becomes a program or leaves.
    match unsafe { libc::fork() } {
        -1 => return Err(failed(Step::Clone)),
        0 => leave_behind(&mut raw, tells, &told),
        between => {
            drop(blocked);
            drop(tells);
            reap(between);
        }
    }
    what_was_told(&told)
}

fn failed(step: Step) -> StartError {
    StartError {
        step,
        source: io::Error::last_os_error(),
    }
}

/// In the first child: makes the second one and goes when that is a program, an orphan then.
fn leave_behind(raw: &mut RawPlan<'_>, tells: OwnedFd, told: &OwnedFd) -> ! {
    // SAFETY: takes nothing; a new child leads no group, so it cannot fail.
    unsafe { libc::setsid() };
    // SAFETY: as for the first.
    match unsafe { libc::fork() } {
        -1 => tell(&tells, Step::Clone, raw::errno()),
        0 => {
            // SAFETY: takes nothing. The first child stays until there is a program.
            raw.parent = unsafe { libc::getppid() };
            // SAFETY: a new child with all signals blocked; the plan is its own copy.
            let failure = unsafe { child::become_program(raw) };
            tell(&tells, failure.step, failure.errno);
        }
        _ => {
            drop(tells);
            wait_for_news(told);
        }
    }
    child::leave()
}

/// Waits for a word in the pipe, which is left for the parent, or for its end.
fn wait_for_news(told: &OwnedFd) {
    let mut waited = libc::pollfd {
        fd: told.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one local struct. No signal comes, and an early return does no harm
    // but where the second child looks for its parent.
    unsafe { libc::poll(&raw mut waited, 1, -1) };
}

fn tell(tells: &OwnedFd, step: Step, errno: c_int) {
    let mut words = [0_u8; 8];
    words[..4].copy_from_slice(&(step as u32).to_ne_bytes());
    words[4..].copy_from_slice(&errno.to_ne_bytes());
    // A reader that is gone is gone with everything that waits for us.
    let _ = write(tells, &words);
}

/// Takes the first child away, which goes at once.
fn reap(pid: c_int) {
    loop {
        // SAFETY: our own child, which nobody else knows; no status is asked for.
        let done = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        // ECHILD: the program ignores SIGCHLD, so the kernel has done it.
        if done != -1 || raw::errno() != libc::EINTR {
            return;
        }
    }
}

/// Reads to the end, which is the second child's `execve`.
fn what_was_told(told: &OwnedFd) -> Result<(), StartError> {
    let mut words = [0_u8; 8];
    let mut length = 0;
    loop {
        match read(told, &mut words[length..]).map_err(StartError::prepare)? {
            0 => break,
            more => length += more,
        }
    }
    if length < words.len() {
        return Ok(());
    }
    let [s0, s1, s2, s3, e0, e1, e2, e3] = words;
    let step = u32::from_ne_bytes([s0, s1, s2, s3]);
    let errno = c_int::from_ne_bytes([e0, e1, e2, e3]);
    let step = STEPS.into_iter().find(|one| *one as u32 == step);
    Err(StartError::errno(step.unwrap_or(Step::Prepare), errno))
}

/// Puts a duplicate of `fd` at the number of a descriptor that this program has
/// inherited, for the program that it is going to become.
///
/// # Errors
///
/// `EBADF` when the number is not open, or was not inherited: what this program
/// has opened itself is close-on-exec and belongs to somebody.
pub fn replace_inherited(number: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `fcntl` accepts any number; a closed one is answered with EBADF.
    let flags = unsafe { libc::fcntl(number.cast_signed(), libc::F_GETFD) };
    // A closed number has all flags: -1.
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    loop {
        // SAFETY: the number came through our `execve` and nobody here has made
        // it his own: that would have marked it.
        let done = unsafe { libc::dup2(fd.as_raw_fd(), number.cast_signed()) };
        if done != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // Linux answers EBUSY while another thread opens a file at that number.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) {
            return Err(error);
        }
    }
}

/// Two ends of a channel whose buffers are as large as those of `socket`.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`.
pub fn channel_pair_like(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = duplex_pair()?;
    let send = said(sockopt::socket_send_buffer_size(socket)?);
    let receive = said(sockopt::socket_recv_buffer_size(socket)?);
    for end in [&pair.0, &pair.1] {
        sockopt::set_socket_send_buffer_size(end.as_fd(), send)?;
        sockopt::set_socket_recv_buffer_size(end.as_fd(), receive)?;
    }
    Ok(pair)
}

/// Linux tells twice the size that it was asked for.
fn said(size: usize) -> usize {
    if cfg!(target_os = "linux") {
        size / 2
    } else {
        size
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::plan::FdAssignment;

    fn shell<'a>(line: &str, fds: &[(i32, BorrowedFd<'a>)]) -> SpawnPlan<'a> {
        let word = |text: &str| CString::new(text).unwrap();
        SpawnPlan {
            programs: vec![word("/bin/sh")],
            args: ["sh", "-c", line].map(word).to_vec(),
            inherit_env: true,
            fds: fds
                .iter()
                .map(|(index, source)| FdAssignment {
                    index: *index,
                    source: *source,
                })
                .collect(),
            null_fds: vec![0, 2],
            ..SpawnPlan::default()
        }
    }

    #[test]
    fn it_is_no_child_of_ours_and_has_its_own_session() {
        let (reader, writer) = pipe_pair().unwrap();
        fork_detached(&shell(
            "read -r line </proc/$$/stat; echo \"$line\"; ls /proc/$$/fd",
            &[(1, writer.as_fd())],
        ))
        .unwrap();
        drop(writer);
        let mut said = Vec::with_capacity(4096);
        while crate::io::read_to_vec(&reader, &mut said).unwrap() > 0 {
            said.reserve(4096);
        }
        let said = String::from_utf8(said).unwrap();
        let (stat, fds) = said.split_once('\n').unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let own = std::process::id().to_string();
        assert_ne!(fields[1], own, "its parent");
        assert_ne!(
            fields[3],
            std::fs::read_to_string("/proc/self/stat")
                .unwrap()
                .rsplit_once(") ")
                .unwrap()
                .1
                .split(' ')
                .nth(3)
                .unwrap(),
            "its session"
        );
        let fds: Vec<&str> = fds.split_whitespace().collect();
        assert!(
            fds.starts_with(&["0", "1", "2"]) && fds.len() <= 4,
            "{fds:?}"
        );
    }

    #[test]
    fn a_program_that_cannot_be_run_is_told() {
        let plan = SpawnPlan {
            programs: vec![c"/nonexistent/program".to_owned()],
            ..SpawnPlan::default()
        };
        let error = fork_detached(&plan).unwrap_err();
        assert_eq!(error.step, Step::Exec);
        assert_eq!(error.source.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn what_was_not_inherited_is_not_replaced() {
        let (one, other) = duplex_pair().unwrap();
        let number = one.as_raw_fd().cast_unsigned();
        let error = replace_inherited(number, other.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_buffers_are_as_large() {
        let (like, _other) = duplex_pair().unwrap();
        sockopt::set_socket_send_buffer_size(&like, 20_000).unwrap();
        sockopt::set_socket_recv_buffer_size(&like, 30_000).unwrap();
        let (one, _other) = channel_pair_like(like.as_fd()).unwrap();
        let sizes = |fd: BorrowedFd<'_>| {
            (
                sockopt::socket_send_buffer_size(fd).unwrap(),
                sockopt::socket_recv_buffer_size(fd).unwrap(),
            )
        };
        assert_eq!(sizes(one.as_fd()), sizes(like.as_fd()));
    }
}
