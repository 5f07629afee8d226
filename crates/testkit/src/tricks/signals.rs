//! Children and signals.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::low_level::{emulate_default_handler, pipe, raise, signal_name};

use super::{Ended, LONGEST_SLEEP, Trick, argument, misused, parsed, rest, say};

pub(super) const TRICKS: &[Trick] = &[
    Trick {
        name: "die",
        arguments: "SIGNAL",
        does: "ends by that signal (`TERM`, `SIGTERM`, `15`), even if it was ignored",
        run: die,
    },
    Trick {
        name: "ignore-term",
        arguments: "",
        does: "prints `ready`, does nothing on SIGTERM, sleeps",
        run: ignore_term,
    },
    Trick {
        name: "term-exit",
        arguments: "CODE",
        does: "prints `ready`; on SIGTERM prints `bye` and exits with CODE",
        run: term_exit,
    },
    Trick {
        name: "signals",
        arguments: "",
        does: "prints `ready`, then each signal it gets; ends with stdin",
        run: signals,
    },
    Trick {
        name: "stop-self",
        arguments: "",
        does: "prints `ready`, stops itself; prints `continued` later",
        run: stop_self,
    },
];

/// What `signals` listens for.
const CAUGHT: &[i32] = &[
    SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCONT, SIGWINCH,
];

fn die(arguments: &[OsString]) -> Ended {
    let signal = number(argument(arguments, 0, "SIGNAL")?)?;
    // Signals without a name here (the real-time ones) are raised as they are.
    emulate_default_handler(signal).or_else(|_| raise(signal))?;
    Err(io::Error::other(format!("outlived signal {signal}")))
}

/// Reads `TERM`, `SIGTERM` or `15`.
fn number(name: &OsStr) -> io::Result<i32> {
    let name = name.to_string_lossy().to_uppercase();
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let full = if name.starts_with("SIG") {
        name
    } else {
        format!("SIG{name}")
    };
    (1..=31)
        .find(|number| signal_name(*number) == Some(full.as_str()))
        .ok_or_else(|| misused(format!("no signal is called `{full}`")))
}

fn ignore_term(_: &[OsString]) -> Ended {
    // A handler that does nothing; ignoring would need unsafe code and would be inherited.
    signal_hook::flag::register(SIGTERM, Arc::new(AtomicBool::new(false)))?;
    say("ready")?;
    rest(LONGEST_SLEEP);
    Ok(ExitCode::SUCCESS)
}

fn term_exit(arguments: &[OsString]) -> Ended {
    let code: u8 = parsed(arguments, 0, "CODE")?;
    let (mut wake, waker) = UnixStream::pair()?;
    pipe::register(SIGTERM, waker)?;
    say("ready")?;
    wake.read_exact(&mut [0])?;
    say("bye")?;
    Ok(code.into())
}

fn signals(_: &[OsString]) -> Ended {
    let (mut wake, waker) = UnixStream::pair()?;
    let mut flags = Vec::new();
    for signal in CAUGHT {
        let caught = Arc::new(AtomicBool::new(false));
        // Handlers run in this order: whoever is woken finds the flag set.
        signal_hook::flag::register(*signal, Arc::clone(&caught))?;
        pipe::register(*signal, waker.try_clone()?)?;
        flags.push((*signal, caught));
    }
    say("ready")?;
    let stdin_ended = Arc::new(AtomicBool::new(false));
    wake_at_eof(waker, Arc::clone(&stdin_ended));
    while !stdin_ended.load(Ordering::Acquire) {
        wake.read_exact(&mut [0])?;
        for (signal, caught) in &flags {
            if caught.swap(false, Ordering::AcqRel) {
                say(signal_name(*signal).unwrap_or("?"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn wake_at_eof(mut waker: UnixStream, ended: Arc<AtomicBool>) {
    thread::spawn(move || {
        // Unreadable counts as ended.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        ended.store(true, Ordering::Release);
        // It fails when nobody is left to wake.
        let _ = io::Write::write_all(&mut waker, b"e");
    });
}

fn stop_self(_: &[OsString]) -> Ended {
    // A stopped program cannot end by itself: it must not outlive who started it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    say("ready")?;
    kill_process(getpid(), Signal::STOP)?;
    say("continued")?;
    Ok(ExitCode::SUCCESS)
}
