//! Waiting for a fact.

use std::thread;
use std::time::{Duration, Instant};

/// How long a fact may take: generous, because a busy machine is no bug.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `fact` again and again until it says `Some`, and returns that.
///
/// Blocks the thread: in an async test, only ask for facts that need no task
/// of the same thread to come true.
///
/// # Panics
///
/// When `what` is not a fact after [`LIMIT`].
///
/// # Examples
///
/// ```
/// let mut left = 3;
/// let answer = procession_testkit::wait::until("the count to end", || {
///     left -= 1;
///     (left == 0).then_some("ended")
/// });
/// assert_eq!(answer, "ended");
/// ```
#[track_caller]
pub fn until<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    match within(LIMIT, fact) {
        Some(found) => found,
        None => panic!("waited {} s in vain for {what}", LIMIT.as_secs()),
    }
}

fn within<T>(limit: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = fact() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_true_ends_at_the_limit() {
        let mut looks = 0;
        let found: Option<()> = within(Duration::from_millis(20), || {
            looks += 1;
            None
        });
        assert_eq!(found, None);
        assert!(looks > 1, "looked {looks} times");
    }

    #[test]
    fn a_fact_is_looked_for_even_with_no_time_left() {
        assert_eq!(within(Duration::ZERO, || Some(1)), Some(1));
    }
}
