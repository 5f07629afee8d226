//! Which Node versions does this machine have?
//!
//! # Examples
//!
//! ```
//! for node in procession::node::find_all() {
//!     println!("{}: Node {}", node.path.display(), node.version);
//! }
//! ```

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::child_process::{Command, MaxBuffer, RunError};

/// How long `node --version` may take; it takes some 10 ms on an idle machine.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it may live on after the polite signal.
const GRACE: Duration = Duration::from_millis(500);
/// How many are asked at the same time.
const AT_ONCE: usize = 8;
/// A version is a short line; whatever says more is not Node.
const LONGEST_ANSWER: usize = 4096;

/// A Node that was found and has said its version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInstall {
    /// Where it was found, as `PATH` names it: links are not resolved.
    pub path: PathBuf,
    /// What it says it is, without the `v`: `24.3.0`.
    pub version: String,
}

impl NodeInstall {
    /// The first number of the version: 24 of `24.3.0`.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}

/// Something called `node` that did not say a version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// It could not be run, failed, or took too long.
    #[error("`{}` did not say its version", path.display())]
    Failed {
        /// Where it was found.
        path: PathBuf,
        /// What became of `node --version`.
        source: RunError,
    },
    /// It said something that is no version.
    #[error("`{}` said {said:?} when asked for its version", path.display())]
    NoVersion {
        /// Where it was found.
        path: PathBuf,
        /// The first line of its answer.
        said: String,
    },
}

impl NodeError {
    /// Where it was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Failed { path, .. } | Self::NoVersion { path, .. } => path,
        }
    }
}

/// Finds every Node on `PATH` that works, in the order of `PATH`.
///
/// Each is asked for its version, several at a time, for 10 s at most. A file
/// that is reached by several names counts once; entries of `PATH` that are not
/// absolute are skipped, since what they hold depends on where one stands.
///
/// Blocks; within a runtime call it by `spawn_blocking`.
///
/// # Examples
///
/// ```
/// use procession::node;
///
/// let recent = node::find_all().into_iter().find(|node| node.major() >= Some(20));
/// match recent {
///     Some(node) => println!("{} will do", node.path.display()),
///     None => println!("no Node 20 or later here"),
/// }
/// ```
#[must_use]
pub fn find_all() -> Vec<NodeInstall> {
    probe_all().into_iter().filter_map(Result::ok).collect()
}

/// As [`find_all`], but says also what is called `node` and does not work.
///
/// Blocks; within a runtime call it by `spawn_blocking`.
#[must_use]
pub fn probe_all() -> Vec<Result<NodeInstall, NodeError>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ask_all(&candidates(&path))
}

/// The executables called `node`, each file once.
fn candidates(path: &OsStr) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut found = Vec::new();
    for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
        let node = dir.join("node");
        let Ok(file) = fs::canonicalize(&node) else {
            continue;
        };
        if is_executable(&file) && !files.contains(&file) {
            files.push(file);
            found.push(node);
        }
    }
    found
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn ask_all(nodes: &[PathBuf]) -> Vec<Result<NodeInstall, NodeError>> {
    let mut answers = Vec::with_capacity(nodes.len());
    for some in nodes.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let asked: Vec<_> = some
                .iter()
                .map(|node| {
                    let ask = move || ask(node, LIMIT);
                    (node, thread::Builder::new().spawn_scoped(scope, ask))
                })
                .collect();
            answers.extend(asked.into_iter().map(|(node, thread)| {
                // No thread to be had, or a lost one: ask here.
                let answer = thread.ok().and_then(|thread| thread.join().ok());
                answer.unwrap_or_else(|| ask(node, LIMIT))
            }));
        });
    }
    answers
}

fn ask(node: &Path, limit: Duration) -> Result<NodeInstall, NodeError> {
    let outcome = Command::new(node)
        .arg("--version")
        // An option there that this version does not know would be its only answer.
        .env_remove("NODE_OPTIONS")
        .timeout(limit)
        .grace(GRACE)
        .max_buffer(MaxBuffer::fail(LONGEST_ANSWER))
        .output_blocking()
        .map_err(|source| NodeError::Failed {
            path: node.to_owned(),
            source,
        })?;
    let said = outcome.lines().next().unwrap_or_default();
    let said = String::from_utf8_lossy(said);
    match version(&said) {
        Some(version) => Ok(NodeInstall {
            path: node.to_owned(),
            version: version.to_owned(),
        }),
        None => Err(NodeError::NoVersion {
            path: node.to_owned(),
            said: said.into_owned(),
        }),
    }
}

/// The version in Node's answer: `v`, three numbers, and in a pre-release a word.
fn version(said: &str) -> Option<&str> {
    let version = said.trim_end().strip_prefix('v')?;
    let numbers = version.split(['-', '+']).next()?;
    let mut parts = numbers.split('.');
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    let three = parts
        .by_ref()
        .take(3)
        .filter(|part| is_number(part))
        .count()
        == 3;
    (three && parts.next().is_none()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an executable `dir/node`. A child writes it: no fork of another
    /// test can inherit a descriptor that keeps it from being run.
    fn make_node(dir: &Path, script: &str) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        Command::shell("cat > node && chmod +x node")
            .current_dir(dir)
            .input(format!("#!/bin/sh\n{script}\n"))
            .output_blocking()
            .unwrap();
        dir.join("node")
    }

    fn path_of(dirs: &[&Path]) -> std::ffi::OsString {
        std::env::join_paths(dirs).unwrap()
    }

    #[test]
    fn a_version_is_told_from_other_answers() {
        assert_eq!(version("v24.3.0"), Some("24.3.0"));
        assert_eq!(version("v0.12.18\r"), Some("0.12.18"));
        assert_eq!(version("v25.0.0-nightly2025"), Some("25.0.0-nightly2025"));
        for other in [
            "",
            "v",
            "24.3.0",
            "v24.3",
            "v24.3.x",
            "v1.2.3.4",
            "vim 9.0.1",
        ] {
            assert_eq!(version(other), None, "{other:?}");
        }
    }

    #[test]
    fn each_file_is_found_once_and_in_the_order_of_path() {
        let home = tempfile::tempdir().unwrap();
        let (new, old) = (home.path().join("new"), home.path().join("old"));
        let node = make_node(&new, "echo v24.3.0");
        make_node(&old, "echo v18.0.1");
        let (link, plain) = (home.path().join("link"), home.path().join("plain"));
        fs::create_dir(&link).unwrap();
        std::os::unix::fs::symlink(&node, link.join("node")).unwrap();
        fs::create_dir(&plain).unwrap();
        fs::write(plain.join("node"), "not executable").unwrap();

        let relative = Path::new(".");
        let found = candidates(&path_of(&[relative, &plain, &link, &old, &new]));
        assert_eq!(found, [link.join("node"), old.join("node")]);
        let versions: Vec<_> = ask_all(&found)
            .into_iter()
            .map(|node| node.unwrap())
            .map(|node| (node.major(), node.version))
            .collect();
        let expected = [(Some(24), "24.3.0".to_owned()), (Some(18), "18.0.1".into())];
        assert_eq!(versions, expected);
    }

    #[test]
    fn what_does_not_answer_as_node_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        let make = |name: &str, script| make_node(&home.path().join(name), script);

        let other = make("other", "echo 'Usage: node [-h]'");
        let error = ask(&other, LIMIT).unwrap_err();
        assert!(matches!(&error, NodeError::NoVersion { said, .. } if said == "Usage: node [-h]"));
        assert_eq!(error.path(), other);

        let broken = make("broken", "echo 'libuv.so.1: not found' >&2; exit 127");
        let error = ask(&broken, LIMIT).unwrap_err();
        assert!(matches!(
            &error,
            NodeError::Failed {
                source: RunError::Failed { .. },
                ..
            }
        ));

        let hangs = make("hangs", "exec sleep 60");
        let error = ask(&hangs, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(
            &error,
            NodeError::Failed {
                source: RunError::TimedOut { .. },
                ..
            }
        ));

        let floods = make("floods", "exec yes");
        let error = ask(&floods, LIMIT).unwrap_err();
        assert!(matches!(
            &error,
            NodeError::Failed {
                source: RunError::OutputTooLong { .. },
                ..
            }
        ));
    }
}
