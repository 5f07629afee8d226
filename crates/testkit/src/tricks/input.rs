//! Children that read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::process::ExitCode;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::{Ended, Trick, parsed, raw_stderr, raw_stdout, say};

pub(super) const TRICKS: &[Trick] = &[
    Trick {
        name: "cat",
        arguments: "",
        does: "copies stdin to stdout",
        run: cat,
    },
    Trick {
        name: "count",
        arguments: "",
        does: "prints how many bytes stdin had",
        run: count,
    },
    Trick {
        name: "echo-lines",
        arguments: "",
        does: "answers each line of stdin with itself, at once",
        run: echo_lines,
    },
    Trick {
        name: "exit-on-eof",
        arguments: "CODE",
        does: "prints `ready`, exits with CODE when stdin ends",
        run: exit_on_eof,
    },
    Trick {
        name: "close-stdout-live",
        arguments: "",
        does: "closes stdout, says `ready` on stderr, lives until stdin ends",
        run: close_stdout_live,
    },
    Trick {
        name: "fd-echo",
        arguments: "FD",
        does: "sends back what comes in on descriptor FD",
        run: fd_echo,
    },
];

fn cat(_: &[OsString]) -> Ended {
    io::copy(&mut io::stdin().lock(), &mut raw_stdout()?)?;
    Ok(ExitCode::SUCCESS)
}

fn count(_: &[OsString]) -> Ended {
    say(swallow_stdin()?.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn echo_lines(_: &[OsString]) -> Ended {
    let (mut stdin, mut stdout) = (io::stdin().lock(), raw_stdout()?);
    let mut line = Vec::new();
    while stdin.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        line.clear();
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_on_eof(arguments: &[OsString]) -> Ended {
    let code: u8 = parsed(arguments, 0, "CODE")?;
    say("ready")?;
    swallow_stdin()?;
    Ok(code.into())
}

fn close_stdout_live(_: &[OsString]) -> Ended {
    // Stdout must stay an open descriptor; the other end sees it closed all the same.
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    raw_stderr()?.write_all(b"ready\n")?;
    swallow_stdin()?;
    Ok(ExitCode::SUCCESS)
}

fn fd_echo(arguments: &[OsString]) -> Ended {
    let number: u32 = parsed(arguments, 0, "FD")?;
    let mut reader = inherited(number)?;
    let mut writer = reader.try_clone()?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(ExitCode::SUCCESS),
            length => writer.write_all(&buffer[..length])?,
        }
    }
}

/// A duplicate of an inherited descriptor, made from its number without a promise
/// that the number is open: this program asks for it as any other program would.
fn inherited(number: u32) -> io::Result<File> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    let number = i32::try_from(number).map_err(io::Error::other)?;
    Ok(pidfd_getfd(&this, number, PidfdGetfdFlags::empty())?.into())
}

fn swallow_stdin() -> io::Result<u64> {
    io::copy(&mut io::stdin().lock(), &mut io::sink())
}
