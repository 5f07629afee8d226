//! Finds the `testkit` program.

use std::env;
use std::path::{Path, PathBuf};

/// The `testkit` program that was built with the calling test, example or bench.
///
/// It lies in the folder of the profile (`target/debug/testkit`); tests and
/// benches run from `deps/` below that, examples from `examples/`. A doctest
/// runs from somewhere else and cannot use this.
///
/// # Panics
///
/// When it has not been built; the message has the command that builds it.
/// (`cargo test` builds the programs of the tested package only.)
#[must_use]
#[track_caller]
pub fn program() -> PathBuf {
    let this = env::current_exe().expect("the system knows which program this is");
    match beside(&this) {
        Some(program) => program,
        None => panic!(
            "no `testkit` program near {}: build it with `cargo build -p procession-testkit{}`",
            this.display(),
            flags(&this)
        ),
    }
}

/// The path of an example of the tested package, built beside this test.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let this = env::current_exe().expect("the system knows which program this is");
    let target = this
        .ancestors()
        .nth(2)
        .expect("tests lie in a folder of it");
    let path = target.join("examples").join(name);
    assert!(
        path.is_file(),
        "no example {}: build it with `cargo build --examples -p procession{}`",
        path.display(),
        flags(&this)
    );
    path
}

fn beside(this: &Path) -> Option<PathBuf> {
    let folders = this.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("testkit"))
        .find(|program| program.is_file())
}

/// How cargo is told to build into the folder of `this`.
fn flags(this: &Path) -> String {
    let mut folders = this.ancestors().skip(1).filter_map(Path::file_name);
    let profile = folders.find(|name| *name != "deps" && *name != "examples");
    match profile.and_then(|name| name.to_str()) {
        Some("debug") | None => String::new(),
        Some("release") => " --release".into(),
        Some(other) => format!(" --profile {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_from_tests_examples_and_programs() {
        let target = tempfile::tempdir().unwrap();
        let profile = target.path().join("release");
        std::fs::create_dir_all(profile.join("deps")).unwrap();
        let callers = ["deps/child-0f3a", "examples/tour", "procession"];
        for caller in callers {
            assert_eq!(beside(&profile.join(caller)), None);
        }
        std::fs::write(profile.join("testkit"), "").unwrap();
        for caller in callers {
            assert_eq!(
                beside(&profile.join(caller)),
                Some(profile.join("testkit")),
                "{caller}"
            );
        }
    }

    #[test]
    fn the_advice_fits_the_profile() {
        assert_eq!(flags(Path::new("/t/debug/deps/x-1")), "");
        assert_eq!(flags(Path::new("/t/release/deps/x-1")), " --release");
        assert_eq!(flags(Path::new("/t/soak/examples/x")), " --profile soak");
    }
}
