//! What this machine offers for starting and ending processes, and what it asks of this one.

mod signals;

pub use procession_sys::{Platform, TreeLevel};
pub use signals::{Caught, Signals};

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

/// Reaps children that are not ours to watch: processes whose parents have ended
/// and that the kernel gave to us, as it does to process 1. Says how many there were.
///
/// Children that this library started are left alone. To be called on `SIGCHLD`.
///
/// # Errors
///
/// [`WouldBlock`](std::io::ErrorKind::WouldBlock) while a child is being started: ask again.
///
/// # Platform
///
/// Linux; [`Unsupported`](std::io::ErrorKind::Unsupported) elsewhere.
pub fn reap_strangers() -> std::io::Result<usize> {
    procession_sys::reap_strangers(|_| false)
}

/// Finds out where a process and all that descend from it listen by TCP; sorted, and an
/// address that several sockets share is told once.
///
/// Nothing about a process that is gone, and nothing about daemons that have left its
/// family. Blocks for the time of reading the descriptors of these processes, well below
/// a millisecond each.
///
/// # Errors
///
/// [`Unsupported`](std::io::ErrorKind::Unsupported), see below.
///
/// # Platform
///
/// Linux; [`Unsupported`](std::io::ErrorKind::Unsupported) elsewhere.
pub fn listeners_of(pid: u32) -> std::io::Result<Vec<std::net::SocketAddr>> {
    procession_sys::listeners_of(pid)
}
