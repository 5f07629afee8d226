//! `testkit TRICK [ARGUMENTS]`: a child with one trick, for tests.
//!
//! Without arguments it lists the tricks. Every trick ends by itself: the
//! sleeping ones after at most 60 s, the waiting ones are killed a second
//! later. A program whose reader has gone dies of SIGPIPE, as one in C does.
#![forbid(unsafe_code)]

mod tricks;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;

use tricks::Trick;

/// The code for a wrong command line, `EX_USAGE`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let name = words.next().unwrap_or_default();
    let arguments: Vec<OsString> = words.collect();
    let Some(trick) = tricks::all().find(|trick| name == trick.name) else {
        list(&name);
        return ExitCode::from(USAGE);
    };
    end_by_itself();
    match (trick.run)(&arguments) {
        Ok(code) => code,
        Err(error) => fail(trick, &error),
    }
}

/// Kills this program should it still be there when the longest sleep has ended.
fn end_by_itself() {
    let life = tricks::LONGEST_SLEEP + Duration::from_secs(1);
    let watchdog = move || {
        thread::sleep(life);
        // It cannot be refused: the target is this program.
        let _ = kill_process(getpid(), Signal::KILL);
    };
    // At the limit of threads the trick goes on without it.
    let _ = thread::Builder::new()
        .name("watchdog".into())
        .stack_size(32 * 1024)
        .spawn(watchdog);
}

fn fail(trick: &Trick, error: &io::Error) -> ExitCode {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // It does not return; if it did, the code below would say the same.
        let _ = emulate_default_handler(SIGPIPE);
    }
    // With stderr gone the exit code alone has to do.
    let _ = writeln!(io::stderr(), "testkit {}: {error}", trick.name);
    if error.kind() == io::ErrorKind::InvalidInput {
        ExitCode::from(USAGE)
    } else {
        ExitCode::FAILURE
    }
}

fn list(unknown: &OsString) {
    let mut text = String::new();
    if !unknown.is_empty() {
        text += &format!(
            "testkit: no trick `{}` (old program? cargo build -p procession-testkit)\n\n",
            unknown.display()
        );
    }
    text += "usage: testkit TRICK [ARGUMENTS]\n\n";
    for trick in tricks::all() {
        text += &format!(
            "  {:<34} {}\n",
            format!("{} {}", trick.name, trick.arguments),
            trick.does
        );
    }
    // With stderr gone there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}
