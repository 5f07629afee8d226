//! Children that find their listening sockets open.

use std::ffi::{CStr, CString, OsStr};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::command::Command;
use super::fork::ChannelSpec;

/// The first descriptor that is passed so (`SD_LISTEN_FDS_START`).
const FIRST: u32 = 3;
/// What such a child has of its own, whatever we were started with.
pub(super) const LISTEN_VARIABLES: [&CStr; 3] = [c"LISTEN_PID", c"LISTEN_FDS", c"LISTEN_FDNAMES"];
/// What systemd calls a socket without a name.
const NO_NAME: &str = "unknown";
/// The longest name that systemd takes, in bytes.
const LONGEST_NAME: usize = 255;

/// A socket that a child finds open.
#[derive(Clone, Debug)]
pub(super) struct ListenFd {
    name: Option<String>,
    pub(super) fd: Arc<OwnedFd>,
}

impl ListenFd {
    fn has_valid_name(&self) -> bool {
        self.name.as_ref().is_none_or(|name| {
            let printable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b':';
            (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(printable)
        })
    }
}

impl Command {
    /// Passes a listening socket to a program of any language, as systemd does:
    /// the sockets are the descriptors from 3 on, in the order of the calls, and
    /// `LISTEN_FDS` (how many) and `LISTEN_PID` (the child's own process id) say so.
    ///
    /// A channel ([`Command::ipc`]) comes after them unless
    /// [`Command::ipc_at`] gives it another place. A descriptor that
    /// [`Command::stdio`] or `ipc_at` connects to something else is a mistake
    /// that the spawn reports.
    ///
    /// # Node
    ///
    /// Not there; `stdio` passes descriptors, but nobody knows the child's
    /// process id before it runs. A Node program listens by `listen({ fd: 3 })`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::net::TcpListener;
    /// use procession::child_process::Command;
    ///
    /// let port = TcpListener::bind("127.0.0.1:0")?;
    /// let told = Command::shell("echo $LISTEN_FDS; test $LISTEN_PID = $$ && echo mine")
    ///     .listen_fd(port)
    ///     .output()
    ///     .await?;
    /// assert_eq!(told.stdout_str()?, "1\nmine");
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_fd(&mut self, fd: impl Into<OwnedFd>) -> &mut Self {
        self.add_listen_fd(None, fd.into())
    }

    /// As [`Command::listen_fd`], with a name for `LISTEN_FDNAMES`: 1 to 255
    /// printable ASCII characters without a colon. Where one socket has a name,
    /// those without are called `unknown`.
    pub fn listen_fd_named(
        &mut self,
        name: impl Into<String>,
        fd: impl Into<OwnedFd>,
    ) -> &mut Self {
        self.add_listen_fd(Some(name.into()), fd.into())
    }

    fn add_listen_fd(&mut self, name: Option<String>, fd: OwnedFd) -> &mut Self {
        self.listen.push(ListenFd {
            name,
            fd: Arc::new(fd),
        });
        self
    }

    /// The descriptors of the sockets.
    pub(super) fn listen_indexes(&self) -> Range<u32> {
        let count = u32::try_from(self.listen.len()).unwrap_or(u32::MAX);
        FIRST..FIRST.saturating_add(count)
    }

    /// Where the channel is: after the sockets, unless it was given another place.
    pub(super) fn channel_index(&self, channel: &ChannelSpec) -> u32 {
        match channel.index {
            FIRST => self.listen_indexes().end,
            index => index,
        }
    }

    /// What is wrong with the sockets, if anything is.
    pub(super) fn listen_problem(&self, highest: u32) -> Option<&'static str> {
        let mut indexes = self.listen_indexes();
        if indexes.end > highest {
            Some("there are too many")
        } else if !self.listen.iter().all(ListenFd::has_valid_name) {
            Some("a name is empty, too long, or holds a colon or what cannot be printed")
        } else if indexes.any(|index| self.stdio.contains_key(&index)) {
            Some("its descriptor is connected to something else")
        } else {
            None
        }
    }

    /// The variables but `LISTEN_PID`, which the child writes.
    pub(super) fn listen_variables(&self) -> Vec<CString> {
        if self.listen.is_empty() {
            return Vec::new();
        }
        let mut entries = vec![format!("LISTEN_FDS={}", self.listen.len())];
        if self.listen.iter().any(|socket| socket.name.is_some()) {
            let names = self.listen.iter().map(|socket| &socket.name);
            let names: Vec<_> = names
                .map(|name| name.as_deref().unwrap_or(NO_NAME))
                .collect();
            entries.push(format!("LISTEN_FDNAMES={}", names.join(":")));
        }
        // A NUL in a name was refused before.
        entries
            .into_iter()
            .filter_map(|it| CString::new(it).ok())
            .collect()
    }

    /// Whether a variable is set by the sockets, so that the command's own does not count.
    pub(super) fn is_of_listen(&self, name: &OsStr) -> bool {
        let mut own = LISTEN_VARIABLES.iter();
        !self.listen.is_empty() && own.any(|own| own.to_bytes() == name.as_bytes())
    }
}
