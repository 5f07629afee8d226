//! Children that say how they were started.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use rustix::process::parent_process_death_signal;

use super::{Ended, Trick, say};

pub(super) const TRICKS: &[Trick] = &[
    Trick {
        name: "env",
        arguments: "",
        does: "prints the environment, sorted",
        run: environment,
    },
    Trick {
        name: "fds",
        arguments: "",
        does: "prints each open descriptor and what it is",
        run: descriptors,
    },
    Trick {
        name: "ids",
        arguments: "",
        does: "prints user, groups, signals, session, folder and more",
        run: ids,
    },
];

/// The lines of `/proc/self/status` that `ids` repeats. Rust itself ignores
/// SIGPIPE (bit `1000` of `SigIgn`) and catches SIGSEGV and SIGBUS.
const STATUS: &[&str] = &[
    "Uid",
    "Gid",
    "Groups",
    "CapEff",
    "NoNewPrivs",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Umask",
];

fn environment(_: &[OsString]) -> Ended {
    let mut variables: Vec<_> = env::vars_os().collect();
    variables.sort();
    let mut stdout = io::stdout().lock();
    for (name, value) in variables {
        stdout.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat())?;
    }
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Rust opens `/dev/null` for those of 0, 1 and 2 that were closed, so these are always there.
fn descriptors(_: &[OsString]) -> Ended {
    let folder = Path::new("/proc/self/fd");
    let entries = fs::read_dir(folder)?;
    let mut numbers: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    for number in numbers {
        // The one that read the folder is closed by now and has no link.
        if let Ok(target) = fs::read_link(folder.join(number.to_string())) {
            say([
                number.to_string().as_bytes(),
                b" ",
                target.as_os_str().as_bytes(),
            ]
            .concat())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The parent, group and session. A leader outside our PID namespace is 0, which
/// `rustix` takes for a broken kernel: a container may begin in its host's session.
fn family() -> io::Result<[i32; 3]> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let mut numbers = after_name.split_whitespace().skip(1);
    Ok([(); 3].map(|()| {
        numbers
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(-1)
    }))
}

fn ids(_: &[OsString]) -> Ended {
    let status = fs::read_to_string("/proc/self/status")?;
    for line in status.lines() {
        let Some((name, values)) = line.split_once(':') else {
            continue;
        };
        if STATUS.contains(&name) {
            let values: Vec<&str> = values.split_whitespace().collect();
            say(format!("{name}: {}", values.join(" ")))?;
        }
    }
    say(format!("pid: {}", std::process::id()))?;
    for (name, number) in ["ppid", "pgid", "sid"].iter().zip(family()?) {
        say(format!("{name}: {number}"))?;
    }
    say(format!(
        "pdeathsig: {}",
        parent_process_death_signal()?.map_or(0, |s| s.as_raw())
    ))?;
    say([b"cwd: ", env::current_dir()?.as_os_str().as_bytes()].concat())?;
    say([
        b"argv0: ",
        env::args_os().next().unwrap_or_default().as_bytes(),
    ]
    .concat())?;
    Ok(ExitCode::SUCCESS)
}
