//! What is known when a child has ended, put together.

use std::collections::BTreeMap;
use std::time::Instant;

use procession_core::lifecycle::Reason;

use super::collect::Overrun;
use super::command::Command;
use super::outcome::{Outcome, Verdict};
use super::sink::Sink;
use super::supervise::Supervised;
use super::{Exit, oom};

/// What the drivers, async and blocking, know about an end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) supervised: Supervised,
    pub(super) leaked: Vec<u32>,
    pub(super) overrun: Option<Overrun>,
}

/// Puts an outcome together.
pub(super) fn assemble(
    command: &Command,
    pid: u32,
    started: Instant,
    end: End,
    sinks: impl Iterator<Item = Sink>,
) -> Outcome {
    let End {
        supervised,
        leaked,
        overrun,
    } = end;
    let exit = Exit::from_how(supervised.ended.how);
    let mut outcome = Outcome {
        command: command.to_string(),
        current_dir: command.current_dir.clone(),
        pid,
        exit,
        verdict: verdict(command, supervised.reason, overrun),
        forced: supervised.forced,
        out_of_memory: oom::struck(exit, &supervised),
        stdout: Vec::new(),
        stderr: Vec::new(),
        all: None,
        stdio: BTreeMap::new(),
        received: BTreeMap::new(),
        spilled: BTreeMap::new(),
        leaked,
        duration: supervised.at.saturating_duration_since(started),
        usage: supervised.ended.usage,
    };
    for sink in sinks {
        let index = sink.index;
        let (kept, received, spilled) = sink.into_parts();
        outcome.received.insert(index, received);
        outcome.spilled.extend(spilled.map(|file| (index, file)));
        match index {
            1 => outcome.stdout = kept,
            2 => outcome.stderr = kept,
            index => drop(outcome.stdio.insert(index, kept)),
        }
    }
    outcome
}

fn verdict(command: &Command, reason: Option<Reason>, overrun: Option<Overrun>) -> Verdict {
    if let Some((index, limit)) = overrun {
        return Verdict::TooMuchOutput { index, limit };
    }
    match reason {
        None => Verdict::Finished,
        Some(Reason::TimedOut) => Verdict::TimedOut(command.timeout.unwrap_or_default()),
        Some(Reason::Canceled) => Verdict::Canceled,
        Some(Reason::Stopped | Reason::TooMuchOutput) => Verdict::Stopped,
    }
}
