//! What a child's descriptors are connected to.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

/// What one descriptor of a child is connected to. Plain data: a [`Command`]
/// with its stdio can be cloned and spawned any number of times.
///
/// # Node
///
/// The entries of the option `stdio`. `'ipc'` is [`Command::ipc`], for there is
/// one channel at most; `'overlapped'` is Windows'.
///
/// [`Command::ipc`]: super::Command::ipc
///
/// [`Command`]: super::Command
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Stdio {
    /// Connected to us. 0, 1 and 2 are pipes in their direction; higher numbers
    /// are Unix sockets that go both ways, as in Node.
    Pipe,
    /// `/dev/null`.
    Ignore,
    /// Our own descriptor of the same number.
    Inherit,
    /// This descriptor.
    Fd(Arc<OwnedFd>),
    /// This file, opened at every spawn.
    File(PathBuf, FileMode),
    /// Input from memory: a pipe that is fed these bytes and then closed.
    Bytes(Bytes),
    /// Output to several places at once. Moved by [`Child::outcome`] and the
    /// methods that are built on it.
    ///
    /// [`Child::outcome`]: super::Child::outcome
    Tee(Vec<Target>),
}

/// How a file becomes a descriptor of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// For reading; it must be there.
    Read,
    /// For writing; made if it is not there, emptied if it is.
    Write,
    /// For writing at its end; made if it is not there.
    Append,
}

/// One of several places for the same output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target {
    /// Kept, as [`Outcome::stdout`](super::Outcome::stdout) or its like.
    Capture,
    /// Our own descriptor of the same number.
    Inherit,
    /// This descriptor.
    Fd(Arc<OwnedFd>),
    /// This file.
    File(PathBuf, FileMode),
}

impl Stdio {
    /// Connected to us.
    #[must_use]
    pub fn pipe() -> Self {
        Self::Pipe
    }

    /// `/dev/null`: nothing to read, nothing kept.
    #[must_use]
    pub fn ignore() -> Self {
        Self::Ignore
    }

    /// Our own descriptor of the same number.
    #[must_use]
    pub fn inherit() -> Self {
        Self::Inherit
    }

    /// A descriptor: a file, a socket, the end of a pipe.
    pub fn fd(fd: impl Into<OwnedFd>) -> Self {
        Self::Fd(Arc::new(fd.into()))
    }

    /// A file to read from.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into(), FileMode::Read)
    }

    /// A file to write to, emptied first.
    pub fn write(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into(), FileMode::Write)
    }

    /// A file to write to at its end.
    pub fn append(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into(), FileMode::Append)
    }

    /// Input from memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Several places at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::child_process::{Command, FileMode, Stdio, Target};
    ///
    /// let log = Target::File("/dev/null".into(), FileMode::Append);
    /// let outcome = Command::new("echo")
    ///     .arg("built")
    ///     .stdout(Stdio::tee([Target::Capture, log]))
    ///     .output_blocking()?;
    /// assert_eq!(outcome.stdout_str()?, "built");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tee(targets: impl IntoIterator<Item = Target>) -> Self {
        Self::Tee(targets.into_iter().collect())
    }
}

impl From<std::fs::File> for Stdio {
    fn from(file: std::fs::File) -> Self {
        Self::fd(file)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self::fd(fd)
    }
}
