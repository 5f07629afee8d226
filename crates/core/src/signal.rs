//! Signals: names, numbers and what they mean, as data.

use std::fmt;
use std::str::FromStr;

/// A signal by its number on this platform.
///
/// # Node
///
/// The strings `'SIGTERM'` and friends, and `os.constants.signals`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

/// A name or a number that is no signal.
///
/// # Node
///
/// `ERR_UNKNOWN_SIGNAL`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal: {0}")]
pub struct UnknownSignal(pub String);

struct Entry {
    name: &'static str,
    linux: i32,
    darwin: i32,
    meaning: &'static str,
}

const fn entry(name: &'static str, linux: i32, darwin: i32, meaning: &'static str) -> Entry {
    Entry {
        name,
        linux,
        darwin,
        meaning,
    }
}

/// 0 stands for "not on that platform". Linux numbers are those of x86 and Arm.
const TABLE: [Entry; 33] = [
    entry("SIGHUP", 1, 1, "terminal closed"),
    entry("SIGINT", 2, 2, "interrupted with Ctrl-C"),
    entry("SIGQUIT", 3, 3, "quit with Ctrl-\\"),
    entry("SIGILL", 4, 4, "illegal instruction"),
    entry("SIGTRAP", 5, 5, "breakpoint"),
    entry("SIGABRT", 6, 6, "aborted"),
    entry("SIGBUS", 7, 10, "memory access out of its object"),
    entry("SIGFPE", 8, 8, "arithmetic error"),
    entry("SIGKILL", 9, 9, "killed"),
    entry("SIGUSR1", 10, 30, "user signal 1"),
    entry("SIGSEGV", 11, 11, "segmentation fault"),
    entry("SIGUSR2", 12, 31, "user signal 2"),
    entry("SIGPIPE", 13, 13, "wrote to a pipe that nobody reads"),
    entry("SIGALRM", 14, 14, "alarm"),
    entry("SIGTERM", 15, 15, "terminated"),
    entry("SIGSTKFLT", 16, 0, "stack fault"),
    entry("SIGCHLD", 17, 20, "child changed"),
    entry("SIGCONT", 18, 19, "continued"),
    entry("SIGSTOP", 19, 17, "stopped"),
    entry("SIGTSTP", 20, 18, "stopped with Ctrl-Z"),
    entry(
        "SIGTTIN",
        21,
        21,
        "read from the terminal in the background",
    ),
    entry("SIGTTOU", 22, 22, "wrote to the terminal in the background"),
    entry("SIGURG", 23, 16, "urgent data"),
    entry("SIGXCPU", 24, 24, "CPU time limit reached"),
    entry("SIGXFSZ", 25, 25, "file size limit reached"),
    entry("SIGVTALRM", 26, 26, "virtual alarm"),
    entry("SIGPROF", 27, 27, "profiling alarm"),
    entry("SIGWINCH", 28, 28, "window changed"),
    entry("SIGIO", 29, 23, "I/O possible"),
    entry("SIGPWR", 30, 0, "power failure"),
    entry("SIGSYS", 31, 12, "bad system call"),
    entry("SIGEMT", 0, 7, "emulator trap"),
    entry("SIGINFO", 0, 29, "status asked for with Ctrl-T"),
];

impl Entry {
    const fn number(&self) -> i32 {
        // Plain data about the target, not a system call.
        if cfg!(target_vendor = "apple") {
            self.darwin
        } else {
            self.linux
        }
    }
}

impl Signal {
    /// No signal: asks whether the process is there.
    pub const PROBE: Self = Self(0);
    /// Terminal closed; "read your configuration again" for many daemons.
    pub const HUP: Self = Self(1);
    /// Ctrl-C.
    pub const INT: Self = Self(2);
    /// Ctrl-\, with a core.
    pub const QUIT: Self = Self(3);
    /// `abort()`, with a core.
    pub const ABRT: Self = Self(6);
    /// The end, without a say.
    pub const KILL: Self = Self(9);
    /// For the program's own use.
    pub const USR1: Self = Self::named(9);
    /// Bad memory access.
    pub const SEGV: Self = Self(11);
    /// For the program's own use.
    pub const USR2: Self = Self::named(11);
    /// Wrote to a pipe that nobody reads.
    pub const PIPE: Self = Self(13);
    /// The polite request to end; the default everywhere here.
    pub const TERM: Self = Self(15);
    /// Goes on after a stop.
    pub const CONT: Self = Self::named(17);
    /// Stops, without a say.
    pub const STOP: Self = Self::named(18);

    const fn named(index: usize) -> Self {
        Self(TABLE[index].number())
    }

    /// Takes a number of this platform.
    ///
    /// # Errors
    ///
    /// [`UnknownSignal`] for a number that is no signal. 0 is [`Signal::PROBE`].
    pub fn from_raw(number: i32) -> Result<Self, UnknownSignal> {
        // 34 to 64 are the real-time signals of Linux.
        let real_time = !cfg!(target_vendor = "apple") && (32..=64).contains(&number);
        let known = number == 0 || real_time || TABLE.iter().any(|e| e.number() == number);
        if known {
            Ok(Self(number))
        } else {
            Err(UnknownSignal(number.to_string()))
        }
    }

    /// The number on this platform.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// The name, such as `SIGTERM`; `None` for real-time signals and the probe.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|entry| entry.name)
    }

    /// What it says about a process that it ended, such as `segmentation fault`.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        self.entry().map(|entry| entry.meaning)
    }

    fn entry(self) -> Option<&'static Entry> {
        TABLE
            .iter()
            .find(|entry| self.0 != 0 && entry.number() == self.0)
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    /// Reads `SIGTERM`, `TERM` or `15`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        if let Ok(number) = text.parse() {
            return Self::from_raw(number);
        }
        let upper = text.to_ascii_uppercase();
        let named = |entry: &&Entry| {
            entry.number() != 0 && (entry.name == upper || entry.name[3..] == *upper)
        };
        let found = TABLE.iter().find(named);
        found
            .map(|entry| Self(entry.number()))
            .ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_what_their_names_say() {
        for (signal, name) in [
            (Signal::HUP, "SIGHUP"),
            (Signal::INT, "SIGINT"),
            (Signal::QUIT, "SIGQUIT"),
            (Signal::ABRT, "SIGABRT"),
            (Signal::KILL, "SIGKILL"),
            (Signal::USR1, "SIGUSR1"),
            (Signal::SEGV, "SIGSEGV"),
            (Signal::USR2, "SIGUSR2"),
            (Signal::PIPE, "SIGPIPE"),
            (Signal::TERM, "SIGTERM"),
            (Signal::CONT, "SIGCONT"),
            (Signal::STOP, "SIGSTOP"),
        ] {
            assert_eq!(signal.name(), Some(name));
        }
    }

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        for entry in TABLE.iter().filter(|entry| entry.number() != 0) {
            let signal: Signal = entry.name.parse().unwrap();
            assert_eq!(signal.as_raw(), entry.number());
            assert_eq!(signal.to_string(), entry.name);
            assert_eq!(Signal::from_raw(entry.number()), Ok(signal));
        }
        assert_eq!("term".parse(), Ok(Signal::TERM));
        assert_eq!("9".parse(), Ok(Signal::KILL));
    }

    #[test]
    fn what_is_no_signal_is_refused_by_name() {
        for text in ["SIGFOO", "", "-1", "99", "SIG", "TERMX"] {
            assert_eq!(text.parse::<Signal>(), Err(UnknownSignal(text.to_owned())));
        }
    }
}
