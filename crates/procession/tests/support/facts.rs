//! Facts about this machine and about processes on it.

use std::fs;
use std::io::Write as _;

/// Which side of procession-sys was built.
pub(crate) fn is_linux_side() -> bool {
    procession::platform::probe().side == "linux"
}

/// Says on stderr, past the capture of the test harness, what is not tested here.
pub(crate) fn skip(test: &str, why: &str) {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The letter of its state; `None` when there is no such process.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
