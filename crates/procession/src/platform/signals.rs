//! Signals that are sent to this program.

use std::io;
use std::thread;

use procession_core::signal::Signal;
use tokio::sync::mpsc;

/// Signals that wait to be asked for; above it the kernel keeps one of each kind.
const QUEUE: usize = 8;

/// A signal that was sent to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Which one.
    pub signal: Signal,
    /// Whether a process sent it, and not the kernel: a key at the terminal is the
    /// kernel's, and the whole foreground group has got it. `true` where the
    /// system does not tell.
    pub by_process: bool,
}

/// Signals that are taken one by one instead of interrupting.
#[derive(Debug)]
pub struct Signals {
    caught: mpsc::Receiver<Caught>,
}

impl Signals {
    /// Takes these signals for the rest of this program's life. To be called
    /// before there are other threads. Children do not inherit that.
    ///
    /// # Errors
    ///
    /// The thread that waits for them could not be started.
    ///
    /// # Node
    ///
    /// `process.on('SIGTERM', …)`.
    pub fn take(signals: &[Signal]) -> io::Result<Self> {
        let numbers: Vec<i32> = signals.iter().map(|signal| signal.as_raw()).collect();
        let signals = procession_sys::Signals::take(&numbers);
        let (tell, caught) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("procession-sig".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                while let Ok(taken) = signals.wait() {
                    let Ok(signal) = Signal::from_raw(taken.number) else {
                        continue;
                    };
                    let by_process = taken.by_process;
                    if tell.blocking_send(Caught { signal, by_process }).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { caught })
    }

    /// The next one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no signal is lost.
    pub async fn next(&mut self) -> Caught {
        match self.caught.recv().await {
            Some(caught) => caught,
            // The thread waits for a set of real signals, which does not fail.
            None => std::future::pending().await,
        }
    }
}
