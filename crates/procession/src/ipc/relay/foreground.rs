//! Standing in for a program in front of a terminal.

use std::io;
use std::os::fd::AsFd;

use crate::child_process::{Child, Exit, Signal};
use crate::platform::{Caught, Signals};

/// Signals that are meant for the program and not for who runs it.
const PASSED_ON: [Signal; 6] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
];

/// Stands in for one program that this one runs: what is sent to us reaches it.
#[derive(Debug)]
pub struct Foreground {
    signals: Signals,
}

impl Foreground {
    /// Takes the signals that end or order programs about, for the rest of our
    /// life. To be called before there are other threads.
    ///
    /// # Errors
    ///
    /// The thread that waits for them could not be started.
    pub fn take() -> io::Result<Self> {
        let signals = Signals::take(&PASSED_ON)?;
        Ok(Self { signals })
    }

    /// Waits for the child's end, and passes on what is sent to us meanwhile.
    ///
    /// A key at the terminal reaches the whole group, so also the child, and is
    /// not passed on: it would come twice.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a later call goes on.
    pub async fn wait(&mut self, child: &mut Child) -> io::Result<Exit> {
        loop {
            tokio::select! {
                exit = child.wait() => return exit,
                caught = self.signals.next() => pass_on(child, caught),
            }
        }
    }
}

fn pass_on(child: &Child, caught: Caught) {
    if caught.by_process {
        // A child that has ended or changed its user cannot be told.
        let _ = child.signal(caught.signal);
    }
}

/// How many characters a line of that terminal holds; `None` if it is no terminal.
#[must_use]
pub fn screen_width(terminal: impl AsFd) -> Option<u16> {
    procession_sys::terminal_width(terminal)
}
