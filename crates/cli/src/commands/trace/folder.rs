//! The folder of a running trace: the preload script and the socket.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What a Node runs before its program.
const PRELOAD: &str = include_str!("../../../assets/preload.cjs");

/// The longest path of a socket that every system takes.
const LONGEST_SOCKET: usize = 100;

/// How often, and when, it is looked whether the last program has gone: children of
/// one that was killed need a moment.
const LOOKS: u32 = 40;
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// How many names are tried for the folder.
const TRIES: u32 = 100;

/// Removed when it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it, with the script in it, and listens.
    ///
    /// Others may pass through it to the script, because a program that has
    /// changed its user still has the option that names it. The socket is ours alone.
    pub(super) fn make() -> io::Result<(Self, UnixListener)> {
        let folder = Self::fresh(&base())?;
        let listener = UnixListener::bind(folder.socket())?;
        fs::set_permissions(folder.socket(), Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        folder.write_preload()?;
        fs::set_permissions(&folder.path, Permissions::from_mode(0o711))?;
        Ok((folder, listener))
    }

    fn fresh(base: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..TRIES {
            let path = base.join(format!("procession-trace-{pid}-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn socket(&self) -> PathBuf {
        self.path.join("socket")
    }

    fn preload(&self) -> PathBuf {
        self.path.join("preload.cjs")
    }

    /// The option of Node that brings the script in.
    fn option(&self) -> String {
        let path = self.preload().to_string_lossy().into_owned();
        if path.contains([' ', '"', '\\']) {
            let escaped = path.replace('\\', "\\\\").replace('"', "\\\"");
            return format!("\"--require={escaped}\"");
        }
        format!("--require={path}")
    }

    fn write_preload(&self) -> io::Result<()> {
        let trace = serde_json::json!({
            "relay": std::env::current_exe()?.to_string_lossy(),
            "socket": self.socket().to_string_lossy(),
            "uid": fs::metadata(&self.path)?.uid(),
            "option": self.option(),
        });
        let script = format!("const TRACE = {trace};\n{PRELOAD}");
        fs::write(self.preload(), script)?;
        fs::set_permissions(self.preload(), Permissions::from_mode(0o644))
    }

    /// `NODE_OPTIONS` for the traced program: ours after what there was.
    pub(super) fn node_options(&self, before: Option<OsString>) -> OsString {
        let mut options = before.unwrap_or_default();
        if !options.is_empty() {
            options.push(" ");
        }
        options.push(self.option());
        options
    }

    /// Whether any process still has the option, and would not start a Node without the script.
    fn is_needed(&self) -> bool {
        let Ok(processes) = fs::read_dir("/proc") else {
            return false;
        };
        let wanted = self.preload();
        let wanted = wanted.as_os_str().as_bytes();
        let own = std::process::id().to_string();
        processes.flatten().any(|process| {
            process.file_name() != *OsStr::new(&own)
                && fs::read(process.path().join("environ"))
                    .is_ok_and(|environ| environ.windows(wanted.len()).any(|part| part == wanted))
        })
    }
}

/// A folder with a short enough name.
fn base() -> PathBuf {
    let base = std::env::temp_dir();
    if base.as_os_str().len() + 40 > LONGEST_SOCKET {
        return "/tmp".into();
    }
    base
}

impl Drop for Folder {
    /// What cannot be removed is left to who clears the folder for temporary files.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        for _ in 0..LOOKS {
            if !self.is_needed() {
                let _ = fs::remove_dir_all(&self.path);
                return;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }
}
