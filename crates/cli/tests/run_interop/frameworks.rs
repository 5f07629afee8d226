//! Servers of npm's frameworks, as they come.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::Command;
use procession_testkit::node;

use crate::load::requests;
use crate::stage::{Stage, program};

/// npm may be slow where everything else is quick.
const INSTALLING: Duration = Duration::from_secs(120);

/// Installs a package once for all runs; `None`, and a line on stderr, without npm's registry.
pub(crate) fn install(package: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("npm")
        .join(package);
    let done = folder.join("done");
    if done.is_file() {
        return Some(folder);
    }
    fs::create_dir_all(&folder).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(&folder);
    npm.arg(package).timeout(INSTALLING);
    match npm.output_blocking() {
        Ok(_) => {
            fs::write(done, "").unwrap();
            Some(folder)
        }
        Err(error) => {
            eprintln!("skipped: npm cannot install {package}: {error}");
            None
        }
    }
}

fn serves(framework: &str) {
    let Some(_) = node::or_skip(framework) else {
        return;
    };
    let Some(folder) = install(framework) else {
        return;
    };
    // `require` looks beside the program.
    let name = format!("{framework}.js");
    let copy = folder.join(format!("server-{}.js", std::process::id()));
    fs::copy(program(&name), &copy).unwrap();
    for policy in ["auto", "spread", "round-robin"] {
        let stage = Stage::new();
        let server = stage.two(&["--balance", policy], &[copy.to_str().unwrap()]);
        let report = requests(&server.load(), 400);
        assert_eq!(
            (report.good(), report.by_pid.len()),
            (400, 2),
            "{policy}: {report}"
        );
        assert!(server.stop().success(), "{policy}");
        stage.end();
    }
    fs::remove_file(copy).unwrap();
}

#[test]
fn express_serves() {
    serves("express");
}

#[test]
fn fastify_serves() {
    serves("fastify");
}
