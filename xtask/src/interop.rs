//! `cargo xtask interop`: Node and Rust over the channel, each as either side, and
//! as workers of one cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::cargo::{cargo, root, run as run_cargo};
use crate::outcome::Outcome;

const USAGE: &str = "usage: cargo xtask interop [--all-nodes]";

/// The major versions that `--all-nodes` installs, by npm.
const MAJORS: [u32; 5] = [18, 20, 22, 24, 26];

/// Other runtimes: the npm package and program, and its arguments.
const OTHERS: [(&str, &[&str]); 2] = [("deno", &["run", "-A"]), ("bun", &[])];

/// Of procession: over the channel, and in a cluster.
const TESTS: [&str; 3] = ["interop", "cluster_handles", "cluster_mixed"];

/// Runs the tests of procession for each Node, and prints what went well over the channel.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => interop(&[None], &[]).into(),
        ["--all-nodes"] => all_nodes().into(),
        _ => Err(USAGE.to_owned()).into(),
    }
}

fn all_nodes() -> Result<(), String> {
    let mut nodes = Vec::new();
    for major in MAJORS {
        let package = format!("node-{}", platform()?);
        nodes.push(Some(install(&package, &major.to_string(), "node")?));
    }
    let mut others = Vec::new();
    for (name, words) in OTHERS {
        // Some registries do not have them, and some systems cannot run them.
        match install(name, "latest", name) {
            Ok(path) => others.push((name, path, words)),
            Err(failure) => println!("note: {name} is left out: {failure}"),
        }
    }
    interop(&nodes, &others)
}

/// As npm has it in the names of its packages.
pub(crate) fn platform() -> Result<&'static str, String> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (os, arch) => Err(format!("npm has no Node for {os} on {arch}")),
    }
}

/// Where the programs go, and the report.
fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(target).join("interop")
}

/// Installs a package of npm, unless it is there already, and finds its program.
pub(crate) fn install(package: &str, version: &str, program: &str) -> Result<PathBuf, String> {
    let places = [
        format!("{package}/bin/{program}"),
        format!(".bin/{program}"),
    ];
    install_file(package, version, &places)
}

/// The same for a package without programs: finds one of these files in `node_modules`.
pub(crate) fn install_file(
    package: &str,
    version: &str,
    places: &[String],
) -> Result<PathBuf, String> {
    let folder = folder().join(format!("{package}-{version}"));
    let modules = folder.join("node_modules");
    let places = places.iter().map(|place| modules.join(place));
    let installed = || places.clone().find(|place| place.is_file());
    if installed().is_none() {
        println!("$ npm install {package}@{version}");
        let failed = |why: String| format!("npm install {package}@{version}: {why}");
        fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
        let status = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .arg(format!("{package}@{version}"))
            .stdin(Stdio::null())
            .status()
            .map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(status.to_string()));
        }
    }
    installed().ok_or_else(|| format!("{package}@{version} brings nothing that was expected"))
}

fn interop(nodes: &[Option<PathBuf>], others: &[(&str, PathBuf, &[&str])]) -> Result<(), String> {
    run_cargo(&mut cargo(&[
        "build",
        "--quiet",
        "-p",
        "procession",
        "--examples",
    ]))?;
    let report = folder().join("report.jsonl");
    let unwritten = |error| format!("{}: {error}", report.display());
    fs::create_dir_all(folder()).map_err(unwritten)?;
    fs::write(&report, "").map_err(unwritten)?;
    let mut failed = Vec::new();
    for node in nodes {
        let mut test = test_of(&report, &TESTS, "");
        if let Some(node) = node {
            test.env("PROCESSION_NODE", node);
        }
        failed.extend(run_cargo(&mut test).err());
    }
    for (name, program, words) in others {
        let mut test = test_of(&report, &TESTS, "another_runtime");
        let program = program.to_string_lossy();
        let words: Vec<&str> = std::iter::once(&*program)
            .chain(words.iter().copied())
            .collect();
        test.env("PROCESSION_OTHER_NAME", name);
        test.env("PROCESSION_OTHER", Value::from(words).to_string());
        failed.extend(run_cargo(&mut test).err());
    }
    let mixed = mixed(nodes, others);
    if !mixed.is_empty() {
        let mut test = test_of(&report, &["cluster_mixed"], "several_programs");
        test.env("PROCESSION_MIXED", Value::from(mixed).to_string());
        failed.extend(run_cargo(&mut test).err());
    }
    let lines = fs::read_to_string(&report).map_err(unwritten)?;
    println!("\n{}", Matrix::read(&lines)?);
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("; "))
    }
}

/// What shares one address, by name: all that was installed but Bun, which takes
/// no connection from a primary.
fn mixed(nodes: &[Option<PathBuf>], others: &[(&str, PathBuf, &[&str])]) -> Map<String, Value> {
    let words = |path: &Path, rest: &[&str]| -> Value {
        let path = path.to_string_lossy();
        let words = std::iter::once(&*path).chain(rest.iter().copied());
        words.collect::<Vec<_>>().into()
    };
    let nodes = MAJORS.iter().zip(nodes.iter().flatten());
    let nodes = nodes.map(|(major, path)| (format!("Node {major}"), words(path, &[])));
    let deno = others.iter().filter(|(name, ..)| *name == "deno");
    let deno = deno.map(|(_, path, rest)| ("Deno".to_owned(), words(path, rest)));
    nodes.chain(deno).collect()
}

fn test_of(report: &Path, tests: &[&str], filter: &str) -> Command {
    let mut command = cargo(&["test", "--quiet", "-p", "procession"]);
    for test in tests {
        command.args(["--test", test]);
    }
    if !filter.is_empty() {
        command.arg(filter);
    }
    command.env("PROCESSION_INTEROP_REPORT", report);
    command
}

/// Scenarios down, pairs across.
#[derive(Debug, Default)]
struct Matrix {
    scenarios: Vec<String>,
    pairs: BTreeSet<(String, String)>,
    /// By scenario and pair: what went well in which serialization.
    cells: BTreeMap<(String, (String, String)), BTreeMap<String, bool>>,
}

impl Matrix {
    /// Of lines that the test has written.
    fn read(lines: &str) -> Result<Self, String> {
        let mut matrix = Self::default();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let pair = (word("parent"), word("child"));
            let name = word("name");
            if !matrix.scenarios.contains(&name) {
                matrix.scenarios.push(name.clone());
            }
            matrix.pairs.insert(pair.clone());
            let cell = matrix.cells.entry((name, pair)).or_default();
            cell.insert(word("serialization"), word("outcome") == "ok");
        }
        matrix.scenarios.sort();
        Ok(matrix)
    }

    fn cell(&self, scenario: &str, pair: &(String, String)) -> String {
        let Some(cell) = self.cells.get(&(scenario.to_owned(), pair.clone())) else {
            return "–".into();
        };
        let failed: Vec<&str> = cell
            .iter()
            .filter_map(|(serialization, went_well)| (!went_well).then_some(&**serialization))
            .collect();
        let run: Vec<&str> = cell.keys().map(String::as_str).collect();
        match (failed.is_empty(), run.len()) {
            (true, 1) => run.concat(),
            (true, _) => "both".into(),
            (false, _) => format!("**{} failed**", failed.join(", ")),
        }
    }
}

/// Pairs, and a cell for each scenario.
type Column<'a> = (Vec<&'a (String, String)>, Vec<String>);

/// Columns that say the same of one kind of pair are one.
impl std::fmt::Display for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut columns: Vec<Column<'_>> = Vec::new();
        for pair in &self.pairs {
            let cells: Vec<_> = self
                .scenarios
                .iter()
                .map(|name| self.cell(name, pair))
                .collect();
            let alike = columns
                .iter_mut()
                .find(|(pairs, others)| kinds(pairs[0]) == kinds(pair) && *others == cells);
            match alike {
                Some((pairs, _)) => pairs.push(pair),
                None => columns.push((vec![pair], cells)),
            }
        }
        write!(f, "| scenario |")?;
        for (pairs, _) in &columns {
            write!(f, " {} |", heading(pairs))?;
        }
        writeln!(f, "\n| --- |{}", " --- |".repeat(columns.len()))?;
        for (row, scenario) in self.scenarios.iter().enumerate() {
            write!(f, "| {scenario} |")?;
            for (_, cells) in &columns {
                write!(f, " {} |", cells[row])?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Without versions.
fn kinds((parent, child): &(String, String)) -> (&str, &str) {
    (kind(parent), kind(child))
}

fn kind(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

/// `Node 18, 20 over Rust`.
fn heading(pairs: &[&(String, String)]) -> String {
    let (parent, child) = kinds(pairs[0]);
    let majors: Vec<&str> = pairs
        .iter()
        .filter_map(|(parent, child)| major(parent).or_else(|| major(child)))
        .collect();
    let majors = majors.join(", ");
    match (parent, child) {
        ("Node", "Node") => format!("Node {majors} over itself"),
        ("Node", child) => format!("Node {majors} over {child}"),
        (parent, "Node") => format!("{parent} over Node {majors}"),
        (parent, child) => format!("{parent} over {child}"),
    }
}

/// 20 of `Node v20.20.2`.
fn major(name: &str) -> Option<&str> {
    name.split_once(" v")?.1.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_bun_share_an_address() {
        let nodes: Vec<_> = MAJORS
            .iter()
            .map(|major| Some(format!("/{major}").into()))
            .collect();
        let others = [
            ("deno", "/deno".into(), &["run"][..]),
            ("bun", "/bun".into(), &[]),
        ];
        let mixed = mixed(&nodes, &others);
        assert_eq!(mixed.len(), MAJORS.len() + 1);
        assert_eq!(mixed["Node 26"], serde_json::json!(["/26"]));
        assert_eq!(mixed["Deno"], serde_json::json!(["/deno", "run"]));
        assert!(super::mixed(&[None], &[]).is_empty());
    }

    #[test]
    fn the_matrix_tells_what_failed_and_what_was_not_run() {
        let lines = r#"
            {"parent":"Rust","child":"Node v1","serialization":"json","name":"b","outcome":"ok"}
            {"parent":"Rust","child":"Node v1","serialization":"advanced","name":"b","outcome":"ok"}
            {"parent":"Rust","child":"Node v1","serialization":"json","name":"a","outcome":"child: no"}
            {"parent":"Node v1.2","child":"Rust","serialization":"json","name":"b","outcome":"ok"}
            {"parent":"Node v3.4","child":"Rust","serialization":"json","name":"b","outcome":"ok"}"#;
        let shown = Matrix::read(lines.trim()).unwrap().to_string();
        let expected = "\
            | scenario | Node 1, 3 over Rust | Rust over Node 1 |\n\
            | --- | --- | --- |\n\
            | a | – | **json failed** |\n\
            | b | json | both |\n";
        assert_eq!(shown, expected);
    }
}
