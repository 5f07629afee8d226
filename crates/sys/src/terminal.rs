//! What a terminal is like.
#![expect(unsafe_code, reason = "a call that fills a struct")]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// How many characters a line of that terminal holds; `None` if it is no
/// terminal, or does not know.
#[must_use]
pub fn terminal_width(terminal: impl AsFd) -> Option<u16> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: an open descriptor and a struct of the kind that the request fills.
    let done = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, size.as_mut_ptr()) };
    // SAFETY: zeroed is valid, filled or not.
    let size = unsafe { size.assume_init() };
    (done == 0 && size.ws_col > 0).then_some(size.ws_col)
}
