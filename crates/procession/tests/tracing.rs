//! What the feature `tracing` tells: starts, signals, ends, and no secrets.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::child_process::{Command, Signal};
use procession_testkit::leaks::Oracle;
use procession_testkit::program;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps each event as one line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("procession::")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        self.0
            .lock()
            .expect("no test panics with the lock")
            .push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_start_a_signal_and_an_end_are_told_without_the_environment() {
    let oracle = Oracle::start();
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let mut command = Command::new(program());
        command
            .arg("ignore-term")
            .envs([oracle.tag()])
            .env("TOKEN", "s3cret");
        command
            .timeout(Duration::from_millis(50))
            .grace(Duration::from_millis(50));
        let outcome = command.outcome_blocking().expect("it is started");
        assert_eq!(outcome.exit.signal(), Some(Signal::KILL));
        assert!(Command::new("/missing").outcome_blocking().is_err());
    });
    let told = lines
        .0
        .lock()
        .expect("no test panics with the lock")
        .clone();
    let targets: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let expected = ["spawn", "stop", "stop", "exit", "spawn"];
    assert_eq!(
        targets,
        expected.map(|target| format!("procession::{target}")),
        "{told:#?}"
    );
    let all = told.join("\n");
    assert!(
        all.contains("signal=SIGTERM") && all.contains("signal=SIGKILL"),
        "{all}"
    );
    assert!(all.contains("exit=was ended by SIGKILL (killed)"), "{all}");
    assert!(all.contains("error=failed to start `/missing`"), "{all}");
    assert!(!all.contains("s3cret"), "{all}");
    oracle.check();
}
