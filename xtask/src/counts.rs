//! How many tests passed and failed, read from what the runners print.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// Adds what a line tells if it is the closing line of a test run:
    /// of `cargo test` (one for each file of tests) or of nextest (one for all).
    pub(crate) fn add_line(&mut self, line: &str) {
        if let Some(counts) = of_cargo_test(line).or_else(|| of_nextest(line)) {
            *self += counts;
        }
    }
}

/// `test result: FAILED. 19 passed; 2 failed; 0 ignored; …`
fn of_cargo_test(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    Some(sum(numbers.split(';')))
}

/// `Summary [   9.9s] 20/53 tests run: 17 passed (1 slow), 1 failed, 1 timed out, 0 skipped`
fn of_nextest(line: &str) -> Option<Counts> {
    let (_, run) = line
        .trim_start()
        .strip_prefix("Summary [")?
        .split_once("] ")?;
    let (head, numbers) = run.split_once(" run: ")?;
    (head.ends_with("test") || head.ends_with("tests")).then_some(())?;
    Some(sum(without_brackets(numbers).split(',')))
}

fn sum(parts: std::str::Split<'_, char>) -> Counts {
    let mut counts = Counts::default();
    for part in parts {
        let Some((number, what)) = part.trim().split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        match what.trim() {
            "passed" => counts.passed += number,
            "failed" | "timed out" | "exec failed" => counts.failed += number,
            _ => {} // ignored, skipped, measured, filtered out
        }
    }
    counts
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let outside = |character: &char| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(outside).collect()
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u64, u64) {
        let mut counts = Counts::default();
        text.lines().for_each(|line| counts.add_line(line));
        (counts.passed, counts.failed)
    }

    #[test]
    fn cargo_test_has_a_line_for_each_file() {
        let text = "running 2 tests\ntest a ... ok\n\
            test result: ok. 16 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.63s\n\
            test result: FAILED. 19 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 29.99s\n";
        assert_eq!(read(text), (35, 2));
    }

    #[test]
    fn nextest_has_one_line() {
        assert_eq!(
            read("     Summary [  10.049s] 53 tests run: 53 passed, 0 skipped"),
            (53, 0)
        );
        assert_eq!(
            read("     Summary [   1.1s] 1 test run: 1 passed, 52 skipped"),
            (1, 0)
        );
        assert_eq!(
            read("Summary [ 6.1s] 18/53 tests run: 17 passed, 1 failed, 0 skipped"),
            (17, 1)
        );
        let much = "Summary [ 9.9s] 9 tests run: 5 passed (1 slow, 1 leaky), 1 failed (1 due to \
            being leaky), 2 timed out, 1 exec failed, 4 skipped";
        assert_eq!(read(much), (5, 4));
    }

    #[test]
    fn what_tests_print_is_not_counted() {
        let noise = "5 passed, 3 failed\nthe test result: ok. 1 passed; 0 failed\n\
                     Summary [x] of the day\ntest result: unknown\n";
        assert_eq!(read(noise), (0, 0));
    }

    #[test]
    fn the_closing_line_is_plain() {
        assert_eq!(
            Counts {
                passed: 3,
                failed: 1
            }
            .to_string(),
            "3 passed, 1 failed"
        );
    }
}
