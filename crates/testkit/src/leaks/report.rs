//! A leak in words.

use std::fmt;
use std::path::PathBuf;

/// Something that was not there before and is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leak {
    /// An open descriptor of this process.
    Descriptor {
        /// Its number.
        number: u32,
        /// What it is, as `/proc` tells: `pipe:[4711]`, a path.
        target: String,
    },
    /// A thread of this process.
    Thread {
        /// Its number.
        tid: u32,
        /// Its name, of which the kernel keeps 15 bytes. A nameless thread of
        /// Rust has the name of the thread that started it.
        name: String,
    },
    /// A process that a test started, or that one of those started.
    Process {
        /// Its number.
        pid: u32,
        /// Its parent now.
        parent: u32,
        /// `R`unning, `S`leeping, s`T`opped and so on.
        state: char,
        /// Its command line.
        command: String,
        /// How it was found.
        found: Found,
    },
    /// A child of this process that ended and was not reaped.
    Zombie {
        /// Its number.
        pid: u32,
        /// What it was called.
        name: String,
    },
    /// A listening socket of this process.
    Listener {
        /// Where it listens.
        address: String,
    },
    /// A file or folder in a watched folder.
    File {
        /// Its path.
        path: PathBuf,
    },
    /// A control group.
    ControlGroup {
        /// Its folder.
        path: PathBuf,
        /// Who lives in it.
        inhabitants: Vec<u32>,
    },
}

/// The ways in which a process was found to be the test's; at least one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// By the tag in its environment.
    pub by_tag: bool,
    /// By its ancestors, or because the test named it.
    pub by_descent: bool,
    /// By its control group.
    pub by_group: bool,
}

impl Found {
    pub(super) fn at_all(self) -> bool {
        self.by_tag || self.by_descent || self.by_group
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor { number, target } => write!(f, "descriptor {number} -> {target}"),
            Self::Thread { tid, name } => write!(f, "thread {tid} `{name}`"),
            Self::Process {
                pid,
                parent,
                state,
                command,
                found,
            } => write!(
                f,
                "process {pid} `{command}` (state {state}, child of {parent}, found by {found})"
            ),
            Self::Zombie { pid, name } => write!(f, "zombie {pid} `{name}`, never reaped"),
            Self::Listener { address } => write!(f, "listening socket, {address}"),
            Self::File { path } => write!(f, "file {}", path.display()),
            Self::ControlGroup { path, inhabitants } => {
                write!(
                    f,
                    "control group {} (inhabitants: {inhabitants:?})",
                    path.display()
                )
            }
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ways = [
            (self.by_tag, "tag"),
            (self.by_descent, "descent"),
            (self.by_group, "control group"),
        ];
        let words: Vec<&str> = ways
            .iter()
            .filter(|(way, _)| *way)
            .map(|(_, word)| *word)
            .collect();
        f.write_str(&words.join(", "))
    }
}
