//! Running cargo, and finding programs.

use std::env;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::counts::Counts;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map(Path::to_owned).unwrap_or(xtask)
}

/// `cargo` with these arguments, to be run in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null());
    command
}

/// Runs the command and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    println!("$ {}", shown(command));
    let status = command
        .status()
        .map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}`: {status}", shown(command)))
    }
}

/// Runs a command that runs tests: shows what it says, counts the tests, and
/// says whether it went well.
pub(crate) fn run_counting(command: &mut Command) -> Result<(Counts, bool), String> {
    let name = shown(command);
    println!("$ {name}");
    let failed = |error| format!("{name}: {error}");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (lines, shown) = sync_channel(LINES_IN_FLIGHT);
    read_lines(child.stdout.take(), Line::Stdout, lines.clone());
    read_lines(child.stderr.take(), Line::Stderr, lines);
    let mut counts = Counts::default();
    loop {
        match shown.recv_timeout(SILENCE) {
            Ok(line) => counts.add_line(line.show()),
            Err(RecvTimeoutError::Disconnected) => break,
            // A process that a test left behind may hold the pipes open.
            Err(RecvTimeoutError::Timeout) => {
                if child.try_wait().map_err(failed)?.is_some() {
                    break;
                }
            }
        }
    }
    let status = child.wait().map_err(failed)?;
    Ok((counts, status.success()))
}

/// The readers wait when so many lines are not yet shown.
const LINES_IN_FLIGHT: usize = 1024;

/// After so long without a line it is looked whether the command has ended.
const SILENCE: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Line {
    Stdout(String),
    Stderr(String),
}

impl Line {
    fn show(&self) -> &str {
        match self {
            Self::Stdout(line) => {
                println!("{line}");
                line
            }
            Self::Stderr(line) => {
                eprintln!("{line}");
                line
            }
        }
    }
}

/// Tests may print what is no UTF-8; that is shown as well as it can be.
fn read_lines(
    stream: Option<impl Read + Send + 'static>,
    which: fn(String) -> Line,
    lines: SyncSender<Line>,
) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        // A stream that cannot be read any more has ended.
        while stream
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches('\n')
                .to_owned();
            if lines.send(which(text)).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// What `cargo metadata` says about the packages of the workspace.
pub(crate) fn metadata() -> Result<Value, String> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// Whether a program of this name is on `PATH`.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn shown(command: &Command) -> String {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    format!("cargo {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tests_are_counted_on_both_streams() {
        let script = "echo 'test result: ok. 2 passed; 1 failed; 0 ignored'; \
                      echo 'Summary [ 1s] 3 tests run: 3 passed, 0 skipped' >&2; exit 1";
        let (counts, went_well) = run_counting(&mut shell(script)).unwrap();
        assert_eq!(
            counts,
            Counts {
                passed: 5,
                failed: 1
            }
        );
        assert!(!went_well);
    }

    #[test]
    fn a_process_left_behind_does_not_hold_us_up() {
        let note = env::temp_dir().join(format!("xtask-test-{}", std::process::id()));
        let script = "echo 'test result: ok. 1 passed; 0 failed'; sleep 60 & echo $! >\"$0\"";
        let (counts, went_well) = run_counting(shell(script).arg(&note)).unwrap();
        assert_eq!(
            (counts, went_well),
            (
                Counts {
                    passed: 1,
                    failed: 0
                },
                true
            )
        );
        let sleeper = std::fs::read_to_string(&note).unwrap();
        std::fs::remove_file(note).unwrap();
        let killed = Command::new("kill").arg(sleeper.trim()).status().unwrap();
        assert!(killed.success(), "it waited until the sleeper had gone");
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("xtask/src/cargo.rs").is_file());
        assert!(is_installed("sh") && !is_installed("no-such-program"));
    }
}
