//! What our API answers, in the words in which Node's answers are printed.

use procession::child_process::{Command, Exit, RunError, SpawnError, Step};

/// `CODE [SYSCALL] [path=PATH]`: who is to blame for a failed start.
///
/// Node's system call is the name of its function and the program; ours is the
/// step, and for the step that runs the program, the same as Node's.
pub(crate) fn described(error: &SpawnError, function: &str, command: &Command) -> String {
    let code = error.node_code().unwrap_or("(no code)");
    match error {
        SpawnError::Start { step, culprit, .. } => {
            let call = match step {
                Step::Exec => format!("{function} {}", command.get_program().display()),
                step => step.to_string(),
            };
            match culprit {
                Some(path) => format!("{code} {call} path={}", path.display()),
                None => format!("{code} {call}"),
            }
        }
        SpawnError::Open { what, .. } => format!("{code} open {what}"),
        _ => code.to_owned(),
    }
}

/// `CODE SIGNAL`, one of which is `null`.
pub(crate) fn ended(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("{code} null"),
        Exit::Signal { signal, .. } => format!("null {signal}"),
    }
}

/// Node's close code after a failed start: the negative number of the error.
pub(crate) fn ended_unstarted(error: &SpawnError) -> String {
    match error {
        SpawnError::Start { source, .. } | SpawnError::Open { source, .. } => {
            let number = source.raw_os_error().unwrap();
            format!("{} null", -number)
        }
        // Nobody asked the system.
        _ => "null null".into(),
    }
}

/// The first words of `exec`'s callback: the fields of its error.
pub(crate) fn verdict(error: &RunError, command: &Command) -> String {
    let code = error.node_code().unwrap_or("null");
    match error {
        RunError::Failed { outcome } => {
            let code = outcome.exit.code().map_or("null".into(), |c| c.to_string());
            let signal = outcome
                .exit
                .signal()
                .map_or("null".into(), |s| s.to_string());
            format!("error code={code} killed=false signal={signal}")
        }
        RunError::TimedOut { outcome, .. } => {
            let signal = outcome
                .exit
                .signal()
                .map_or("null".into(), |s| s.to_string());
            format!("error code={code} killed=true signal={signal}")
        }
        RunError::Spawn(error) => {
            let described = described(error, "spawn", command);
            let subject = described.strip_prefix(code).unwrap_or_default();
            format!("error code={code} killed=undefined signal=undefined{subject}")
        }
        RunError::Canceled { .. } | RunError::OutputTooLong { .. } => {
            format!("error code={code} killed=undefined signal=undefined")
        }
        other => panic!("{other}"),
    }
}
