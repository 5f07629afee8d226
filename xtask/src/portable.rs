//! `cargo xtask portable`: the plain-POSIX side of procession-sys, tested on this machine.
//!
//! No other system is at hand, so its code is built here by
//! `--cfg procession_portable`, in a target folder of its own.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo::root;
use crate::outcome::Outcome;
use crate::test;

/// Runs the tests of procession-sys and procession; `arguments` go to the runner.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let target = root().join(target).join("portable");
    test::run_with(
        &["-p", "procession-sys", "-p", "procession"],
        arguments,
        &|command: &mut Command| {
            command.env("CARGO_TARGET_DIR", &target);
            for flags in ["RUSTFLAGS", "RUSTDOCFLAGS"] {
                command.env(flags, with_cfg(&env::var(flags).unwrap_or_default()));
            }
        },
    )
}

fn with_cfg(flags: &str) -> String {
    format!("{flags} --cfg procession_portable")
        .trim_start()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_added_to_those_there_are() {
        assert_eq!(with_cfg(""), "--cfg procession_portable");
        assert_eq!(
            with_cfg("-D warnings"),
            "-D warnings --cfg procession_portable"
        );
    }
}
