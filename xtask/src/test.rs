//! `cargo xtask test`: all tests of the workspace.

use std::process::Command;

use serde_json::Value;

use crate::cargo::{cargo, is_installed, metadata, run as run_cargo, run_counting};
use crate::counts::Counts;
use crate::outcome::Outcome;

/// Runs all tests; `arguments` go to the runner.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    run_with(&["--workspace"], arguments, &|_| {})
}

/// Runs the tests of `selection` (arguments of cargo that name packages),
/// which the arguments may replace by their own. `prepare` sets up every cargo.
pub(crate) fn run_with(
    selection: &[&str],
    arguments: &[String],
    prepare: &dyn Fn(&mut Command),
) -> Outcome {
    say_what_is_missing();
    let counted = Plan::new(selection, arguments).and_then(|plan| {
        build(&plan, prepare)?;
        run_and_count(&plan, prepare)
    });
    match counted {
        Err(failure) => Outcome {
            counts: Some(Counts::default()),
            failure: Some(failure),
        },
        Ok((counts, went_well)) => {
            let failure = if !went_well || counts.failed > 0 {
                Some("not every test passed".to_owned())
            } else if counts.passed == 0 {
                Some("no test ran".to_owned())
            } else {
                None
            };
            Outcome {
                counts: Some(counts),
                failure,
            }
        }
    }
}

fn say_what_is_missing() {
    if !is_installed("node") {
        println!("note: Node is missing: comparisons with Node are skipped");
    }
    if !is_installed("strace") {
        println!("note: strace is missing: tests with injected errors of system calls are skipped");
    }
    if !is_installed("cargo-nextest") {
        println!("note: cargo-nextest is missing: `cargo test` runs the tests instead");
    }
}

/// The programs that tests start: cargo builds those of the tested package only.
fn build(plan: &Plan, prepare: &dyn Fn(&mut Command)) -> Result<(), String> {
    let mut command = cargo(&["build", "--quiet", "--bins", "--examples"]);
    command.args(&plan.selection);
    if !plan.selection.iter().any(|word| word == "--workspace") {
        command.args(["-p", "procession-testkit"]);
    }
    if plan
        .rest
        .iter()
        .any(|argument| argument == "--release" || argument == "-r")
    {
        command.arg("--release");
    }
    prepare(&mut command);
    run_cargo(&mut command)
}

fn run_and_count(plan: &Plan, prepare: &dyn Fn(&mut Command)) -> Result<(Counts, bool), String> {
    let mut total = Counts::default();
    let mut all_went_well = true;
    for words in plan.commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = cargo(&words);
        prepare(&mut command);
        let (counts, went_well) = run_counting(&mut command)?;
        total += counts;
        all_went_well &= went_well;
    }
    Ok((total, all_went_well))
}

/// What is to be run, and by which runner.
#[derive(Debug)]
struct Plan {
    has_nextest: bool,
    /// Whether a package with a library is among the tested ones.
    has_library: bool,
    /// The arguments of cargo that name the packages.
    selection: Vec<String>,
    /// The other arguments.
    rest: Vec<String>,
}

impl Plan {
    fn new(selection: &[&str], arguments: &[String]) -> Result<Self, String> {
        let (named, rest) = split(arguments);
        let selection: Vec<String> = if named.is_empty() {
            selection.iter().map(ToString::to_string).collect()
        } else {
            named
        };
        let has_library = has_library(&metadata()?, &selection);
        Ok(Self {
            has_nextest: is_installed("cargo-nextest"),
            has_library,
            selection,
            rest,
        })
    }

    fn commands(&self) -> Vec<Vec<String>> {
        let mut commands = Vec::new();
        if !self.has_nextest {
            // It runs the examples in the documentation by itself.
            commands.push(self.command(&["test"]));
            return commands;
        }
        // A filter that fits an example in the documentation only is no error.
        commands.push(self.command(&["nextest", "run", "--no-tests=pass"]));
        if let Some(foreign) = self.rest.iter().find(|argument| !is_of_both(argument)) {
            println!(
                "note: examples in the documentation are left out: `{foreign}` is for nextest"
            );
        } else if self.has_library {
            commands.push(self.command(&["test", "--doc"]));
        }
        commands
    }

    fn command(&self, head: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = head.iter().map(ToString::to_string).collect();
        words.extend_from_slice(&self.selection);
        let stops = ["--no-fail-fast", "--fail-fast", "--max-fail"];
        if !self
            .rest
            .iter()
            .any(|argument| stops.iter().any(|stop| argument.starts_with(stop)))
        {
            words.push("--no-fail-fast".into());
        }
        words.extend_from_slice(&self.rest);
        words
    }
}

/// Whether `cargo test` understands what was meant for nextest.
fn is_of_both(argument: &str) -> bool {
    let flags = [
        "--release",
        "-r",
        "--no-fail-fast",
        "--all-features",
        "--no-default-features",
    ];
    !argument.starts_with('-') || flags.contains(&argument)
}

/// Takes the arguments that name packages out of the others.
fn split(arguments: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut named, mut rest) = (Vec::new(), Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let word = argument.as_str();
        if matches!(word, "-p" | "--package") {
            named.push("-p".into());
            named.extend(arguments.next().cloned());
        } else if let Some(package) = word
            .strip_prefix("--package=")
            .or_else(|| word.strip_prefix("-p"))
        {
            named.extend(["-p".into(), package.into()]);
        } else if word == "--workspace" {
            named.push(argument.clone());
        } else {
            rest.push(argument.clone());
        }
    }
    (named, rest)
}

fn has_library(metadata: &Value, selection: &[String]) -> bool {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let is_library = |target: &Value| target["kind"][0] == "lib";
    let is_selected = |name: &str| selection.iter().any(|it| it == name || it == "--workspace");
    packages
        .filter(|package| package["name"].as_str().is_some_and(is_selected))
        .any(|package| {
            package["targets"]
                .as_array()
                .into_iter()
                .flatten()
                .any(is_library)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn plan(has_nextest: bool, arguments: &str) -> Vec<String> {
        let (named, rest) = split(&words(arguments));
        let selection = if named.is_empty() {
            words("--workspace")
        } else {
            named
        };
        let plan = Plan {
            has_nextest,
            has_library: true,
            selection,
            rest,
        };
        plan.commands()
            .iter()
            .map(|command| command.join(" "))
            .collect()
    }

    #[test]
    fn everything_by_default() {
        let nextest = "nextest run --no-tests=pass --workspace --no-fail-fast";
        assert_eq!(
            plan(true, ""),
            [nextest, "test --doc --workspace --no-fail-fast"]
        );
        assert_eq!(plan(false, ""), ["test --workspace --no-fail-fast"]);
    }

    #[test]
    fn arguments_are_forwarded() {
        assert_eq!(
            plan(true, "-p procession --release spawn"),
            [
                "nextest run --no-tests=pass -p procession --no-fail-fast --release spawn",
                "test --doc -p procession --no-fail-fast --release spawn",
            ]
        );
        assert_eq!(
            plan(true, "--max-fail=1 -E all()"),
            ["nextest run --no-tests=pass --workspace --max-fail=1 -E all()"]
        );
        assert_eq!(
            split(&words("-pa --package=b -p c d")).0,
            words("-p a -p b -p c")
        );
    }

    #[test]
    fn documentation_is_tested_where_there_is_a_library() {
        let metadata: Value = serde_json::from_str(
            r#"{ "packages": [
                { "name": "tool", "targets": [{ "kind": ["bin"] }] },
                { "name": "core", "targets": [{ "kind": ["test"] }, { "kind": ["lib"] }] } ] }"#,
        )
        .unwrap();
        assert!(has_library(&metadata, &words("--workspace")));
        assert!(has_library(&metadata, &words("-p core")));
        assert!(!has_library(&metadata, &words("-p tool")));
    }
}
