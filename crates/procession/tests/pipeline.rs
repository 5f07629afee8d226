//! Commands joined by pipes.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/processes.rs"]
mod processes;
mod support;

use std::fs;
use std::time::Duration;

use processes::is_alive;
use procession::child_process::{Command, From, Pipeline, Verdict};
use procession::{Exit, RunError, Signal};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use support::{scene, tagged, testkit};

fn shell(oracle: &Oracle, line: &str) -> Command {
    tagged(oracle, Command::shell(line), &[])
}

#[test]
fn the_output_of_one_is_the_input_of_the_next() {
    scene(async |oracle| {
        let echo = testkit(oracle, &["echo", "hello world"]);
        let upper = tagged(oracle, Command::new("tr"), &["a-z", "A-Z"]);
        let pipeline = echo.pipe(&upper).pipe(&testkit(oracle, &["cat"]));
        // More than once, and from a copy.
        for pipeline in [&pipeline, &pipeline.clone()] {
            let outcomes = pipeline.output().await.unwrap();
            assert_eq!(outcomes.len(), 3);
            assert_eq!(outcomes[2].stdout_str().unwrap(), "HELLO WORLD");
            assert!(outcomes[0].stdout.is_empty(), "the kernel moved it");
            assert!(outcomes.iter().all(|outcome| outcome.leaked.is_empty()));
        }
    });
}

#[test]
fn much_flows_through() {
    scene(async |oracle| {
        let flood = testkit(oracle, &["flood", "stdout", "20000000"]);
        let cat = testkit(oracle, &["cat"]);
        let count = testkit(oracle, &["count"]);
        let pipeline = flood.pipe(&cat).pipe(&cat).pipe(&count);
        let outcomes = pipeline.output().await.unwrap();
        assert_eq!(outcomes[3].stdout_str().unwrap(), "20000000");
    });
}

#[test]
fn any_that_fails_is_an_error() {
    scene(async |oracle| {
        let fails = shell(oracle, "echo from the first; echo why >&2; exit 5");
        let pipeline = fails.pipe(&testkit(oracle, &["count"]));
        let error = pipeline.output().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`echo from the first; echo why >&2; exit 5` exited with code 5: why"
        );
        // All of them, when that is no error.
        let outcomes = pipeline.outcome().await.unwrap();
        assert_eq!(outcomes[0].exit, Exit::Code(5));
        assert_eq!(outcomes[1].stdout_str().unwrap(), "15");
    });
}

#[test]
fn a_writer_whose_reader_is_gone_ends() {
    scene(async |oracle| {
        let yes = tagged(oracle, Command::new("yes"), &[]);
        let head = tagged(oracle, Command::new("head"), &["-n", "1"]);
        let outcomes = yes.pipe(&head).outcome().await.unwrap();
        let broken = Exit::Signal {
            signal: Signal::PIPE,
            core_dumped: false,
        };
        assert_eq!(outcomes[0].exit, broken);
        assert_eq!(outcomes[1].stdout_str().unwrap(), "y");
    });
}

#[test]
fn errors_or_both_can_be_passed_on() {
    scene(async |oracle| {
        let both = shell(oracle, "echo out; echo err >&2");
        let cat = testkit(oracle, &["cat"]);
        let pipeline = Pipeline::merge(&[&both]).pipe_from(From::Stderr, &cat, 0);
        let outcomes = pipeline.output().await.unwrap();
        assert_eq!(outcomes[1].stdout_str().unwrap(), "err");
        assert_eq!(outcomes[0].stdout_str().unwrap(), "out");

        let pipeline = Pipeline::merge(&[&both]).pipe_from(From::All, &cat, 0);
        let outcomes = pipeline.output().await.unwrap();
        assert_eq!(outcomes[1].stdout_str().unwrap(), "out\nerr");
        assert!(outcomes[0].stdout.is_empty() && outcomes[0].stderr.is_empty());
    });
}

#[test]
fn several_can_write_into_one_pipe() {
    scene(async |oracle| {
        let one = testkit(oracle, &["lines", "1000"]);
        let other = testkit(oracle, &["lines", "500"]);
        let count = tagged(oracle, Command::new("wc"), &["-l"]);
        let pipeline = Pipeline::merge(&[&one, &other]).pipe(&count);
        let outcomes = pipeline.output().await.unwrap();
        assert_eq!(outcomes.len(), 3);
        assert_eq!(outcomes[2].stdout_str().unwrap().trim(), "1500");
    });
}

#[test]
fn further_descriptors_can_be_joined() {
    scene(async |oracle| {
        let writer = shell(oracle, "echo by three >&3; echo by one");
        let reader = shell(oracle, "cat <&5; echo end");
        let pipeline = Pipeline::merge(&[&writer]).pipe_from(From::Fd(3), &reader, 5);
        let outcomes = pipeline.output().await.unwrap();
        assert_eq!(outcomes[0].stdout_str().unwrap(), "by one");
        assert_eq!(outcomes[1].stdout_str().unwrap(), "by three\nend");
    });
}

/// What was started before it is killed, and nothing of it stays.
#[test]
fn a_stage_that_does_not_exist_ends_the_others() {
    scene(async |oracle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let line = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 60",
            path.display()
        );
        let first = shell(oracle, &line);
        let missing = tagged(oracle, Command::new("/nonexistent"), &[]);
        let last = testkit(oracle, &["sleep", "60"]);
        let pipeline = first.pipe(&missing).pipe(&last);
        let error = pipeline.outcome().await.unwrap_err();
        assert!(matches!(error, RunError::Spawn(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "failed to start `/nonexistent`: cannot run `/nonexistent`"
        );
        assert_eq!(error.node_code(), Some("ENOENT"));
        // It may have been killed before it could say its number.
        if let Ok(pid) = fs::read_to_string(&path) {
            let pid = pid.trim().parse().unwrap();
            wait::until("its end", || (!is_alive(pid)).then_some(()));
        }
    });
}

#[test]
fn a_dropped_pipeline_is_killed() {
    scene(async |oracle| {
        let sleep = testkit(oracle, &["sleep", "60"]);
        let pipeline = sleep.pipe(&sleep).pipe(&sleep);
        let limit = Duration::from_millis(100);
        let result = tokio::time::timeout(limit, pipeline.outcome()).await;
        assert!(result.is_err());
        // The oracle looks for the rest of them.
    });
}

#[test]
fn a_timeout_of_one_ends_that_one() {
    scene(async |oracle| {
        let limit = Duration::from_millis(50);
        let mut sleep = testkit(oracle, &["sleep", "60"]);
        sleep.timeout(limit);
        let outcomes = sleep.pipe(&testkit(oracle, &["count"])).outcome().await;
        let outcomes = outcomes.unwrap();
        assert_eq!(outcomes[0].verdict, Verdict::TimedOut(limit));
        assert_eq!(outcomes[1].stdout_str().unwrap(), "0");
        assert!(outcomes[1].success());
    });
}
