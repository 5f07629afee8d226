//! Children that end, sleep, or use something up.

use std::ffi::OsString;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use super::{Ended, LONGEST_SLEEP, Trick, misused, parsed, rest, say, seconds};

pub(super) const TRICKS: &[Trick] = &[
    Trick {
        name: "exit",
        arguments: "CODE",
        does: "exits with CODE",
        run: exit,
    },
    Trick {
        name: "sleep",
        arguments: "SECONDS",
        does: "sleeps, as all tricks for at most 60 s",
        run: sleep,
    },
    Trick {
        name: "ready-sleep",
        arguments: "",
        does: "prints `ready` and sleeps",
        run: ready_sleep,
    },
    Trick {
        name: "alloc",
        arguments: "MIB",
        does: "fills memory, prints `ready` and sleeps",
        run: alloc,
    },
    Trick {
        name: "spin",
        arguments: "SECONDS",
        does: "keeps a processor busy",
        run: spin,
    },
];

fn exit(arguments: &[OsString]) -> Ended {
    Ok(parsed::<u8>(arguments, 0, "CODE")?.into())
}

fn sleep(arguments: &[OsString]) -> Ended {
    rest(seconds(arguments, 0)?);
    Ok(ExitCode::SUCCESS)
}

fn ready_sleep(_: &[OsString]) -> Ended {
    say("ready")?;
    rest(LONGEST_SLEEP);
    Ok(ExitCode::SUCCESS)
}

fn alloc(arguments: &[OsString]) -> Ended {
    let mib: usize = parsed(arguments, 0, "MIB")?;
    let size = mib
        .checked_mul(1 << 20)
        .ok_or_else(|| misused("MIB is too large".into()))?;
    // Not zeros, which the system would give without memory behind them.
    let memory = vec![1_u8; size];
    black_box(&memory);
    ready_sleep(&[])
}

fn spin(arguments: &[OsString]) -> Ended {
    let duration = seconds(arguments, 0)?.min(LONGEST_SLEEP);
    let start = Instant::now();
    while start.elapsed() < duration {
        black_box(0);
    }
    Ok(ExitCode::SUCCESS)
}
