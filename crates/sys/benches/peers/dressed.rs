//! `std`'s command with the features of a job, by the nearest means it has.
#![expect(unsafe_code, reason = "pre_exec is std's only means for these")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::measure::{Feature, TRUE, user};

/// `/bin/true` with all three streams at `/dev/null`.
pub(crate) fn true_command(feature: Feature) -> Command {
    let mut command = Command::new(TRUE);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    dress(&mut command, feature);
    command
}

pub(crate) fn dress(command: &mut Command, feature: Feature) {
    match feature {
        Feature::Plain => {}
        Feature::User => {
            let (uid, gid) = user();
            command.uid(uid).gid(gid);
        }
        Feature::Descriptor => {
            let null = File::open("/dev/null");
            in_child(command, move || {
                let null = null
                    .as_ref()
                    .map_err(|error| io::Error::from(error.kind()))?;
                // SAFETY: plain numbers; the file is open as long as the closure lives.
                check(unsafe { libc::dup2(null.as_raw_fd(), 3) })
            });
        }
        Feature::Session => in_child(command, || {
            // SAFETY: takes nothing.
            check(unsafe { libc::setsid() })
        }),
        Feature::ParentDeath => in_child(command, || {
            // SAFETY: an option that takes one number.
            check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
        }),
    }
}

fn in_child(command: &mut Command, call: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: each of the closures above makes one system call and allocates nothing.
    unsafe { command.pre_exec(call) };
}

fn check(result: i32) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
