//! Signals that ask for the end.

use std::io;
use std::time::Duration;

use procession::child_process::Signal;
use procession::platform::Signals;
use tokio::time::Instant;

use crate::commands::run::is_ignored;

/// Two signals within this time are one: the terminal and `npm` both send it.
const TWICE: Duration = Duration::from_millis(200);

/// The signals that end a load.
#[derive(Debug)]
pub(super) struct Interrupts {
    taken: Signals,
    last: Option<Instant>,
}

impl Interrupts {
    /// Takes them for the rest of this program's life, before there are other threads.
    pub(super) fn take() -> io::Result<Self> {
        let mut signals = vec![Signal::INT, Signal::TERM, Signal::QUIT];
        // With `nohup` in front it stays so.
        if !is_ignored(Signal::HUP) {
            signals.push(Signal::HUP);
        }
        Ok(Self {
            taken: Signals::take(&signals)?,
            last: None,
        })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            let signal = self.taken.next().await.signal;
            let now = Instant::now();
            if self.last.is_none_or(|last| now - last >= TWICE) {
                self.last = Some(now);
                return signal;
            }
        }
    }
}
