//! Getting between: what is done before the program begins.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::parent_id;
use std::{env, io};

use procession_core::ipc::Serialization;
use procession_sys::{
    FdAssignment, FdKind, SpawnPlan, channel_pair_like, duplicate, fd_kind, fork_detached,
    replace_inherited,
};

/// Whose channel a relay is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The process id of the parent.
    pub parent: u32,
    /// Ours, which is going to be the child's.
    pub child: u32,
    /// How the messages are written.
    pub serialization: Serialization,
}

/// Puts a relay into the channel that our parent gave us, if it gave one.
///
/// This program, called with the arguments that `helper` names, becomes the
/// relay: a process in a session of its own that is nobody's child. It has the
/// parent's end as its standard input and the child's end as its standard
/// output, both to be given to [`carry`](super::carry), and no other
/// descriptor. The environment stays as it is: who becomes another program now
/// gives it a channel at the same number.
///
/// `false`: there is no channel, and nothing was done.
///
/// # Errors
///
/// What kept it from starting. The channel is then the parent's own, as before.
pub fn insert(helper: impl FnOnce(&Place) -> Vec<OsString>) -> io::Result<bool> {
    let Some((number, parents)) = channel() else {
        return Ok(false);
    };
    let place = Place {
        parent: parent_id(),
        child: std::process::id(),
        serialization: serialization(),
    };
    let (ours, childs) = channel_pair_like(parents.as_fd())?;
    let program = c_string(env::current_exe()?.into_os_string())?;
    let mut args = vec![program.clone()];
    for arg in helper(&place) {
        args.push(c_string(arg)?);
    }
    let fd = |index, source| FdAssignment { index, source };
    let plan = SpawnPlan {
        programs: vec![program],
        args,
        inherit_env: true,
        // A relay is no Node; what it was started for is in its arguments.
        env_without: vec![
            c"NODE_CHANNEL_FD".into(),
            c"NODE_CHANNEL_SERIALIZATION_MODE".into(),
            c"NODE_OPTIONS".into(),
        ],
        // No folder is kept from being unmounted.
        cwd: Some(c"/".to_owned()),
        fds: vec![fd(0, parents.as_fd()), fd(1, ours.as_fd())],
        null_fds: vec![2],
        ..SpawnPlan::default()
    };
    fork_detached(&plan).map_err(|error| error.source)?;
    replace_inherited(number, childs.as_fd())?;
    Ok(true)
}

/// The channel's number and a duplicate of it; what is no channel is not ours to touch.
fn channel() -> Option<(u32, OwnedFd)> {
    let number = env::var("NODE_CHANNEL_FD").ok()?.parse().ok()?;
    let fd = duplicate(number).ok()?;
    let kind = fd_kind(fd.as_fd()).ok()?;
    (kind == FdKind::UnixStream).then_some((number, fd))
}

fn serialization() -> Serialization {
    let name = env::var("NODE_CHANNEL_SERIALIZATION_MODE").ok();
    name.and_then(|name| Serialization::from_name(&name))
        .unwrap_or_default()
}

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}
