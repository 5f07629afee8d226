//! What this process itself uses, and how much it may.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// User and system time of this process, all its threads together.
#[must_use]
pub fn process_cpu() -> Duration {
    to_duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// User and system time of the thread that asks.
#[must_use]
pub fn thread_cpu() -> Duration {
    to_duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// Raises the soft limit of open descriptors to `wanted` or as near as the hard
/// one lets it, and says what it is now; never lowers it.
///
/// # Errors
///
/// From `setrlimit`; the limit is as it was then.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit, on both sides.
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let soft = limit.current.unwrap_or(u64::MAX);
    let raised = wanted.min(hard);
    if raised <= soft {
        return Ok(soft);
    }
    let limit = Rlimit {
        current: Some(raised),
        ..limit
    };
    setrlimit(Resource::Nofile, limit)?;
    Ok(raised)
}

/// Whether an error says that the process (`EMFILE`) or the system (`ENFILE`) has
/// as many open descriptors as it may.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
}

fn to_duration(time: Timespec) -> Duration {
    // Neither clock was ever set back or below zero.
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn burn(time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_thread_counts_its_own_time_only_and_the_process_all() {
        let (process, thread) = (process_cpu(), thread_cpu());
        let other = std::thread::spawn(|| {
            burn(Duration::from_millis(100));
            thread_cpu()
        });
        let other = other.join().unwrap();
        assert!(other > Duration::from_millis(10), "{other:?}");
        assert!(thread_cpu() - thread < other);
        assert!(process_cpu() - process >= other);
    }

    #[test]
    fn who_shares_a_core_waits_for_it() {
        let Some(before) = crate::thread_waited() else {
            return;
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let busy = || burn(Duration::from_millis(200));
        let others: Vec<_> = (0..2 * cores).map(|_| std::thread::spawn(busy)).collect();
        busy();
        others.into_iter().for_each(|other| other.join().unwrap());
        let waited = crate::thread_waited().unwrap() - before;
        assert!(waited > Duration::from_millis(10), "{waited:?}");
    }

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(raise_open_files(1).unwrap(), before);
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise_open_files(u64::MAX).unwrap(), most);
        assert_eq!(
            getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            most
        );
    }

    #[test]
    fn which_error_it_is() {
        let full = |errno: Errno| is_out_of_descriptors(&errno.into());
        assert!(full(Errno::MFILE) && full(Errno::NFILE) && !full(Errno::CONNREFUSED));
        assert!(!is_out_of_descriptors(&io::ErrorKind::NotFound.into()));
    }
}
