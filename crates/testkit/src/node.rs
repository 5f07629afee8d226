//! Finds Node.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Node that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The program.
    pub path: PathBuf,
    /// Major, minor and patch version.
    pub version: (u32, u32, u32),
}

/// Finds the first `node` on `PATH` that runs and says its version.
#[must_use]
pub fn find() -> Option<Node> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find_map(|folder| ask(&folder.join("node")))
}

/// Finds Node for the named test, or says on stderr that the test is skipped.
///
/// ```
/// let Some(node) = procession_testkit::node::or_skip("frames match Node's") else { return };
/// assert!(node.version.0 > 0);
/// ```
#[must_use]
pub fn or_skip(test: &str) -> Option<Node> {
    let node = find();
    if node.is_none() {
        // Written past the capture of the test harness, so that it is always
        // seen; with stderr gone there is nobody left to tell.
        let _ = writeln!(io::stderr(), "skipped: no node: {test}");
    }
    node
}

fn ask(program: &Path) -> Option<Node> {
    if !program.is_file() {
        return None;
    }
    let output = Command::new(program).arg("--version").output().ok()?;
    let version = parse(std::str::from_utf8(&output.stdout).ok()?)?;
    Some(Node {
        path: program.to_owned(),
        version,
    })
}

/// Reads `v20.20.2`, also with a suffix such as `-nightly20261127`.
fn parse(text: &str) -> Option<(u32, u32, u32)> {
    let plain = text.trim().strip_prefix('v')?.split(['-', '+']).next()?;
    let mut numbers = plain.split('.').map(str::parse);
    let version = (
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    );
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse("v20.20.2\n"), Some((20, 20, 2)));
        assert_eq!(parse("v27.0.0-nightly2026112700ff\n"), Some((27, 0, 0)));
        for not_node in ["20.20.2", "v20", "v20.1", "v1.2.3.4", "vx.y.z", ""] {
            assert_eq!(parse(not_node), None, "{not_node:?}");
        }
    }

    #[test]
    fn a_missing_program_is_no_node() {
        assert_eq!(ask(Path::new("/nonexistent/node")), None);
    }

    #[test]
    fn a_program_that_is_not_node_is_no_node() {
        assert_eq!(ask(Path::new("/bin/true")), None);
    }
}
