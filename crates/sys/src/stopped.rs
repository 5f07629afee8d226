//! Whether a child is stopped.

use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Asks the kernel, which is asked the same again later; what is no child is not stopped.
pub(crate) fn is_stopped(child: WaitId<'_>) -> bool {
    let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(child, look).is_ok_and(|status| status.is_some())
}
