//! `cargo xtask docs`: the documentation builds without a warning.

use crate::cargo::{cargo, run as run_cargo};
use crate::outcome::Outcome;

/// Builds the documentation of the libraries. (The program `procession` has the
/// name of the library and would be written to the same place.)
pub(crate) fn run(_: &[String]) -> Outcome {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--lib"]);
    run_cargo(command.env("RUSTDOCFLAGS", "-D warnings")).into()
}
