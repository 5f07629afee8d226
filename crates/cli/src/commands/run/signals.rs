//! What signals ask of us.

use std::io;

use procession::child_process::Signal;
use procession::platform::{Caught, Signals as Taken};

/// What a signal asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// To stop; again, to kill.
    Stop,
    /// To have a worker more.
    More,
    /// To have one fewer.
    Fewer,
    /// To say how things stand.
    Status,
    /// To tell the workers.
    Pass,
    /// To look for children that have ended.
    Reap,
}

const ASKS: [(&str, Ask); 8] = [
    ("SIGTERM", Ask::Stop),
    ("SIGINT", Ask::Stop),
    ("SIGHUP", Ask::Stop),
    ("SIGQUIT", Ask::Stop),
    ("SIGTTIN", Ask::More),
    ("SIGTTOU", Ask::Fewer),
    ("SIGUSR1", Ask::Status),
    ("SIGUSR2", Ask::Pass),
];

/// The signals that are asked of us.
#[derive(Debug)]
pub(super) struct Signals {
    asks: Vec<(Signal, Ask)>,
    taken: Taken,
}

impl Signals {
    /// Takes them for the rest of this program's life, before there are other
    /// threads. With `nohup` in front, SIGHUP stays ignored. The first process of
    /// a container takes also the one that tells of ended children.
    pub(super) fn take() -> io::Result<Self> {
        let ignores_hangup = is_ignored(Signal::HUP);
        let reaps = (std::process::id() == 1).then_some(("SIGCHLD", Ask::Reap));
        let mut asks = Vec::with_capacity(ASKS.len() + 1);
        for (name, ask) in ASKS.into_iter().chain(reaps) {
            let signal: Signal = name.parse().map_err(io::Error::other)?;
            if signal != Signal::HUP || !ignores_hangup {
                asks.push((signal, ask));
            }
        }
        let signals: Vec<Signal> = asks.iter().map(|(signal, _)| *signal).collect();
        let taken = Taken::take(&signals)?;
        Ok(Self { asks, taken })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> (Signal, Ask) {
        loop {
            let Caught { signal, by_process } = self.taken.next().await;
            let ask = self.asks.iter().find(|(asked, _)| *asked == signal);
            match ask {
                // The kernel's, to one in the background that writes to the terminal.
                Some((_, Ask::More | Ask::Fewer)) if !by_process => {}
                Some((_, ask)) => return (signal, *ask),
                None => {}
            }
        }
    }
}

/// Whether we were started with it ignored, where the kernel tells.
pub(in crate::commands) fn is_ignored(signal: Signal) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return false;
    };
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_ignores_sigpipe_and_the_kernel_tells() {
        assert!(is_ignored(Signal::PIPE));
        assert!(!is_ignored(Signal::TERM));
    }
}
