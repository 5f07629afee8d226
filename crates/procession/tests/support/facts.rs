//! Facts about this machine.

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
