//! One child by the `_blocking` methods.

use procession::child_process::{Command, Outcome, RunError, SpawnError};

use super::cases::Case;
use super::transcript::{Kind, Transcript, quoted};
use super::words;

/// Runs a case of `spawnSync`, `execSync` or `execFileSync`.
pub(crate) fn run(case: &Case, command: &Command) -> Transcript {
    let mut transcript = Transcript::default();
    for line in lines(case, command) {
        transcript.add(Kind::End, line);
    }
    transcript
}

fn lines(case: &Case, command: &Command) -> Vec<String> {
    if case.call() == "spawnSync" {
        // Never an error for what the child did: the verdict is in the outcome.
        return match command.outcome_blocking() {
            Ok(outcome) => result("returns", outcome.check(), command),
            // Wrong arguments are the caller's mistake, which Node throws.
            Err(RunError::Spawn(SpawnError::Invalid { .. })) => {
                vec!["throws ERR_INVALID_ARG_VALUE".into()]
            }
            Err(error) => result("returns", Err(error), command),
        };
    }
    match command.output_blocking() {
        Ok(outcome) => vec![format!("returns {}", quoted(&outcome.stdout))],
        Err(error) => result("throws", Err(error), command),
    }
}

fn result(how: &str, result: Result<Outcome, RunError>, command: &Command) -> Vec<String> {
    let (error, outcome) = match &result {
        Ok(outcome) => (None, Some(outcome)),
        Err(error) => (Some(error), error.outcome()),
    };
    let mut lines = Vec::new();
    let ended = outcome.map_or("null null".into(), |outcome| words::ended(outcome.exit));
    let (status, signal) = ended.split_once(' ').unwrap();
    lines.push(format!("{how} status={status} signal={signal}"));
    lines.extend(error.and_then(|error| described(error, command)));
    let outputs = outcome.map(|outcome| (quoted(&outcome.stdout), quoted(&outcome.stderr)));
    let (stdout, stderr) = outputs.unwrap_or(("null".into(), "null".into()));
    lines.push(format!("stdout {stdout}"));
    lines.push(format!("stderr {stderr}"));
    lines
}

/// Node's error of a run that was ended names the program; ours does by its outcome.
fn described(error: &RunError, command: &Command) -> Option<String> {
    let code = error.node_code()?;
    let subject = match error {
        RunError::Spawn(error) => words::described(error, "spawnSync", command),
        _ => {
            let program = command.get_program().display();
            format!("{code} spawnSync {program} path={program}")
        }
    };
    Some(format!("error {subject}"))
}
