//! A private socket that says how things stand.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as Listening, UnixStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::exit::Exit;
use crate::failure::Failure;

/// Answers those of the same user; its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file's identity and its owner, who is us.
    file: (u64, u64),
    uid: u32,
}

impl StatusSocket {
    /// Listens there, within a runtime. A file of a socket where nobody answers any more is replaced.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        clear(path)?;
        Self::bind(path).map_err(|error| {
            let message = format!("cannot listen on `{}`", path.display());
            let hint = "does its folder exist, and is it yours?";
            Failure::new(Exit::Failure, message, hint).caused_by(&error)
        })
    }

    fn bind(path: &Path) -> io::Result<Self> {
        let listener = Listening::bind(path)?;
        listener.set_nonblocking(true)?;
        let data = fs::metadata(path)?;
        let socket = Self {
            listener: UnixListener::from_std(listener)?,
            // Also where the folder is entered in another way later.
            path: std::path::absolute(path)?,
            file: (data.dev(), data.ino()),
            uid: data.uid(),
        };
        // Who came in before is asked who it is all the same.
        fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// The next of this user, or root, who wants to know. Others are hung up on.
    ///
    /// Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?.uid();
            if peer == self.uid || peer == 0 {
                return Ok(stream);
            }
        }
    }
}

/// Removes a file that a dead process has left.
fn clear(path: &Path) -> Result<(), Failure> {
    let refused = |what: &str, hint: &str| {
        let message = format!("`--status {}`: {what}", path.display());
        Failure::new(Exit::Usage, message, hint)
    };
    let Ok(data) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !data.file_type().is_socket() {
        return Err(refused(
            "that is no socket",
            "name a file that is not there yet",
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // If it cannot be removed, the bind says why.
            let _ = fs::remove_file(path);
            Ok(())
        }
        _ => Err(refused(
            "another program listens there",
            "name another file",
        )),
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|data| (data.dev(), data.ino()) == self.file);
        if is_ours {
            // A file that stays is replaced by the next run.
            let _ = fs::remove_file(&self.path);
        }
    }
}
