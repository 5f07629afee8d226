//! `cargo xtask deps`: the shape of the workspace, which `docs/design` describes, holds.
//!
//! * No package depends on another of the workspace but by the edges below.
//! * core names no runtime and nothing of the system: it decides without I/O.
//! * `unsafe` and `target_os` stand in procession-sys alone, `unsafe` in few lines.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cargo::{metadata, root};
use crate::code_only::{code_only, has_word};
use crate::outcome::Outcome;

/// Who may depend on whom.
const EDGES: &[(&str, &[&str])] = &[
    ("procession-core", &[]),
    ("procession-sys", &[]),
    ("procession", &["procession-core", "procession-sys"]),
    ("procession-load", &["procession-sys"]),
    ("procession-cli", &["procession", "procession-load"]),
    ("procession-testkit", &[]),
    ("xtask", &[]),
];

/// What the tests of every package may use.
const FOR_TESTS: &str = "procession-testkit";

/// The package that decides, and the beginnings of the names it must not know.
const CORE: &str = "procession-core";
const NOT_IN_CORE: &[&str] = &[
    "async-",
    "crossbeam",
    "futures",
    "io-uring",
    "libc",
    "mio",
    "nix",
    "polling",
    "rayon",
    "rustix",
    "signal-hook",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "winapi",
    "windows",
];

/// The folder of procession-sys.
const SYS: &str = "crates/sys";

/// Lines of procession-sys that may say `unsafe`; a rise needs a page in `docs/design`.
const UNSAFE_LINES: usize = 300;

/// Checks all of it and tells everything that is wrong.
pub(crate) fn run(_: &[String]) -> Outcome {
    check().into()
}

fn check() -> Result<(), String> {
    let root = root();
    let mut problems = edges(&metadata()?);
    let sources = sources(&root)?;
    problems.extend(sources.iter().flat_map(|(path, text)| places(path, text)));
    let lines = unsafe_lines(&sources);
    println!("procession-sys: {lines} lines say `unsafe`, {UNSAFE_LINES} may");
    if lines > UNSAFE_LINES {
        problems.push(format!(
            "{SYS}: {lines} lines say `unsafe`, {UNSAFE_LINES} may"
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    Err(format!(
        "the shape of the workspace: {} problems",
        problems.len()
    ))
}

/// The edges that are not allowed.
fn edges(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut problems = Vec::new();
    if packages.is_empty() {
        problems.push("cargo metadata lists no package".to_owned());
    }
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            problems.push(format!("{name}: not in the table of xtask/src/deps.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let is_ours = dependency["path"].is_string();
            let is_for_tests = dependency["kind"] == "dev";
            if is_ours && !allowed.contains(&other) && !(is_for_tests && other == FOR_TESTS) {
                problems.push(format!(
                    "{name} depends on {other}: not an edge of the design"
                ));
            }
            if name == CORE && NOT_IN_CORE.iter().any(|prefix| other.starts_with(prefix)) {
                problems.push(format!(
                    "{name} depends on {other}: core decides without I/O"
                ));
            }
        }
    }
    problems
}

/// Lines outside procession-sys that say `unsafe` or `target_os`.
fn places(path: &Path, text: &str) -> Vec<String> {
    if path.starts_with(SYS) {
        return Vec::new();
    }
    let code = code_only(text);
    let mut problems = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for word in ["unsafe", "target_os"] {
            if has_word(line, word) {
                let place = format!("{}:{}", path.display(), number + 1);
                problems.push(format!("{place}: `{word}` outside {SYS}"));
            }
        }
    }
    problems
}

fn unsafe_lines(sources: &[(PathBuf, String)]) -> usize {
    let of_sys = sources
        .iter()
        .filter(|(path, _)| path.starts_with(Path::new(SYS).join("src")));
    of_sys
        .map(|(_, text)| {
            code_only(text)
                .lines()
                .filter(|line| has_word(line, "unsafe"))
                .count()
        })
        .sum()
}

/// Every Rust file of the workspace: its path in it, and its text.
fn sources(root: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().map_err(failed)?.is_dir() {
                if !name.starts_with('.') && !name.starts_with("target") && name != "node_modules" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).map_err(failed)?;
                sources.push((path.strip_prefix(root).unwrap_or(&path).to_owned(), text));
            }
        }
    }
    if sources.is_empty() {
        Err(format!("no source in {}", root.display()))
    } else {
        Ok(sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace in which `package` has one dependency.
    fn workspace(package: &str, dependency: &str) -> Value {
        let text = format!(
            r#"{{ "packages": [{{ "name": "{package}", "dependencies": [{dependency}] }}] }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn ours(name: &str, kind: &str) -> String {
        format!(r#"{{ "name": "{name}", "path": "/w/{name}", "kind": {kind} }}"#)
    }

    #[test]
    fn the_edges_of_the_design_are_allowed() {
        for (package, other) in [
            ("procession", "procession-core"),
            ("procession", "procession-sys"),
            ("procession-cli", "procession"),
        ] {
            let workspace = workspace(package, &ours(other, "null"));
            assert_eq!(edges(&workspace), [""; 0], "{package} -> {other}");
        }
        let for_tests = ours("procession-testkit", r#""dev""#);
        assert_eq!(edges(&workspace("procession-core", &for_tests)), [""; 0]);
    }

    #[test]
    fn a_planted_edge_is_reported() {
        for (package, other, kind) in [
            ("procession-core", "procession-sys", "null"),
            ("procession-sys", "procession-core", "null"),
            ("procession-cli", "procession-sys", "null"),
            ("procession-sys", "procession", r#""dev""#),
            ("procession-sys", "procession", r#""build""#),
            ("procession-testkit", "procession", r#""dev""#),
            ("procession", "procession-testkit", "null"),
            ("xtask", "procession", "null"),
        ] {
            let problems = edges(&workspace(package, &ours(other, kind)));
            assert_eq!(
                problems,
                [format!(
                    "{package} depends on {other}: not an edge of the design"
                )]
            );
        }
    }

    #[test]
    fn core_may_not_know_a_runtime_or_the_system() {
        for name in [
            "tokio",
            "tokio-util",
            "libc",
            "rustix",
            "mio",
            "nix",
            "windows-sys",
        ] {
            let dependency = format!(r#"{{ "name": "{name}", "kind": null }}"#);
            let problems = edges(&workspace("procession-core", &dependency));
            let expected = format!("procession-core depends on {name}: core decides without I/O");
            assert_eq!(problems, [expected]);
            assert_eq!(edges(&workspace("procession-sys", &dependency)), [""; 0]);
        }
        let bytes = r#"{ "name": "bytes", "kind": null }"#;
        assert_eq!(edges(&workspace("procession-core", bytes)), [""; 0]);
    }

    #[test]
    fn an_unknown_package_and_an_empty_workspace_are_reported() {
        assert_eq!(edges(&workspace("extra", "")).len(), 1);
        assert_eq!(edges(&Value::Null).len(), 1);
    }

    #[test]
    fn unsafe_and_system_names_are_found_where_they_should_not_be() {
        let text =
            "//! unsafe\nfn f() {\n    unsafe { g() }\n}\n#[cfg(any(target_os = \"macos\"))]\n";
        assert_eq!(
            places(Path::new("crates/procession/src/a.rs"), text),
            [
                "crates/procession/src/a.rs:3: `unsafe` outside crates/sys",
                "crates/procession/src/a.rs:5: `target_os` outside crates/sys",
            ]
        );
        assert_eq!(places(Path::new("crates/sys/src/a.rs"), text), [""; 0]);
    }

    #[test]
    fn lines_are_counted_not_words_and_only_those_of_sys() {
        let text = "unsafe fn f() { unsafe {} }\n// unsafe\nlet x = \"unsafe\";\nunsafe {}\n";
        let sources = [
            "crates/sys/src/a.rs",
            "crates/sys/tests/b.rs",
            "crates/core/src/a.rs",
        ]
        .map(|path| (PathBuf::from(path), text.to_owned()));
        assert_eq!(unsafe_lines(&sources), 2);
    }

    #[test]
    fn this_workspace_has_sources() {
        let sources = sources(&root()).unwrap();
        assert!(
            sources
                .iter()
                .any(|(path, _)| path == Path::new("xtask/src/deps.rs"))
        );
    }
}
