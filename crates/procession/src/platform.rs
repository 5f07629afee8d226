//! What this machine offers for starting and ending processes.

pub use procession_sys::{Platform, TreeLevel};

/// Looks at the machine by trying; nothing is left behind.
///
/// # Examples
///
/// ```
/// let platform = procession::platform::probe();
/// println!("trees are ended by {:?}", platform.tree_level);
/// ```
#[must_use]
pub fn probe() -> Platform {
    procession_sys::platform()
}
