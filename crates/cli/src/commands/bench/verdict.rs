//! What a load comes to: the words when it could not begin, or is a failure.

use std::io;

use procession_load::{Class, ProbeError, Report, Seen, Spec, StartError, Target, probe};

use crate::args::FailOn;
use crate::exit::Exit;
use crate::failure::Failure;

/// Why nobody could be asked.
pub(super) fn not_reached(spec: &Spec, error: &ProbeError) -> Failure {
    let failed = |hint: &str| {
        let failure = Failure::new(Exit::NoAnswer, error.to_string(), hint);
        match std::error::Error::source(error) {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    };
    match error {
        ProbeError::Spec(error) => not_started(error),
        ProbeError::Refused { .. } => {
            failed("does the server run, and is that its port? `-- node server.js` starts it")
        }
        ProbeError::Tls { .. } => failed(no_tls(spec)),
        // Who speaks something else may wait for more than a greeting.
        ProbeError::Unreachable { target, source }
            if source.kind() == io::ErrorKind::TimedOut && target.starts_with("https:") =>
        {
            failed(no_tls(spec))
        }
        ProbeError::Unreachable { .. } | _ => {
            failed("is the address right, and is there a way to it?")
        }
    }
}

fn no_tls(spec: &Spec) -> &'static str {
    match spec.tls.ca {
        None => "does it speak TLS there? `http://` asks without",
        Some(_) => "does it speak TLS there? without --ca no certificate is too bad",
    }
}

/// Why a load did not begin.
pub(super) fn not_started(error: &StartError) -> Failure {
    let (exit, hint) = match error {
        StartError::Unresolvable { .. } => (Exit::NoAnswer, "is the name right?"),
        StartError::Threads(_) => (Exit::Failure, "fewer threads: `-w 1`"),
        StartError::Tls(_) => (Exit::Usage, "--cert, --key and --ca are files in PEM"),
        StartError::Nothing { .. } | StartError::Rate { .. } | StartError::Request(_) | _ => (
            Exit::Usage,
            "`procession bench --help` says what each flag is for",
        ),
    };
    let failure = Failure::new(exit, error.to_string(), hint);
    match std::error::Error::source(error) {
        Some(source) => failure.caused_by(source),
        None => failure,
    }
}

/// It ended without a report: a thread of it is gone.
pub(super) fn no_report() -> Failure {
    Failure::new(
        Exit::Failure,
        "the load ended without a report",
        "this is a mistake of procession",
    )
}

/// Whether what was found is a failure.
pub(super) fn verdict(
    spec: &Spec,
    report: &Report,
    fail_on: Option<&FailOn>,
) -> Result<(), Failure> {
    if report.answers == 0 {
        return Err(no_answer(spec, report));
    }
    match fail_on {
        Some(fail_on) => happened(report, fail_on),
        None => Ok(()),
    }
}

fn happened(report: &Report, fail_on: &FailOn) -> Result<(), Failure> {
    let is_asked = |class: &Class| fail_on.classes.contains(class);
    let failures = report.failures.iter();
    let found: Vec<(&Class, &Seen)> = failures.filter(|(class, _)| is_asked(class)).collect();
    if found.is_empty() {
        return Ok(());
    }
    let count: u64 = found.iter().map(|(_, seen)| seen.count).sum();
    let what = if count == 1 { "failure" } else { "failures" };
    let message = format!("{count} {what} of `--fail-on {}`", fail_on.words);
    let hint = "the table of failures says when; docs/bench.md says what each class means";
    let failure = Failure::new(Exit::Happened, message, hint);
    Err(found.into_iter().fold(failure, |failure, (class, seen)| {
        failure.because(told(*class, seen))
    }))
}

fn told(class: Class, seen: &Seen) -> String {
    let Seen {
        count,
        first,
        last,
        example,
    } = seen;
    let (first, last) = (first.as_secs_f64(), last.as_secs_f64());
    let when = if *count == 1 {
        format!("after {first:.2} s")
    } else {
        format!("from {first:.2} s to {last:.2} s")
    };
    format!("{count} {}, {when}: {example}", class.name())
}

fn no_answer(spec: &Spec, report: &Report) -> Failure {
    let places: Vec<&str> = report.urls.iter().map(String::as_str).collect();
    let places = places.join(", ");
    let most = report.failures.iter().max_by_key(|(_, seen)| seen.count);
    let Some((class, seen)) = most else {
        let message = format!("{places} answered nothing");
        return Failure::new(Exit::NoAnswer, message, "a longer time: `-d 10s`");
    };
    let message = format!("{places} answered nothing");
    let hint = hint(spec, *class);
    Failure::new(Exit::NoAnswer, message, hint).because(told(*class, seen))
}

fn hint(spec: &Spec, class: Class) -> String {
    let is_cut = matches!(class, Class::Malformed | Class::Reset | Class::Half);
    if is_cut && let Some(target) = spec.targets.iter().find(|target| speaks_tls(spec, target)) {
        return format!("it speaks TLS: `https://{}`", target.host);
    }
    match class {
        Class::Malformed => "HTTP/1.1 is spoken here; `--echo` is for servers that send back",
        Class::Refused => "the server has ended, or its queue is full",
        Class::Hung | Class::TimedOut => {
            "it takes connections and is silent; `-t` says how long is waited"
        }
        Class::Tls => "`http://` asks without TLS",
        Class::Reset | Class::Half => "it hangs up; does it want another path, or headers?",
        Class::Unreachable | Class::Non2xx | Class::Mismatch | _ => "what went wrong is above",
    }
    .to_owned()
}

/// Whether somebody who is asked without TLS would speak it.
fn speaks_tls(spec: &Spec, target: &Target) -> bool {
    if target.tls {
        return false;
    }
    let mut tls = target.clone();
    tls.tls = true;
    let mut asked = spec.clone();
    asked.targets = vec![tls];
    probe(&asked).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn report(failures: &[(Class, u64)], answers: u64) -> (Spec, Report) {
        let spec = Spec::new(Target::parse("http://127.0.0.1:1").unwrap());
        let mut report = Report::new(&spec, SystemTime::UNIX_EPOCH);
        report.answers = answers;
        for (class, count) in failures {
            let seen = Seen {
                count: *count,
                first: Duration::from_millis(1200),
                last: Duration::from_millis(3400),
                example: "reset by peer".into(),
            };
            report.failures.insert(*class, seen);
        }
        (spec, report)
    }

    #[test]
    fn only_what_is_named_fails_it() {
        let (spec, report) = report(&[(Class::Reset, 2), (Class::Non2xx, 1)], 5);
        let judged = |words: &str| {
            let fail_on: FailOn = words.parse().unwrap();
            verdict(&spec, &report, Some(&fail_on)).map_err(|failure| failure.to_string())
        };
        assert_eq!(judged("hung,half"), Ok(()));
        assert_eq!(
            verdict(&spec, &report, None).map_err(|failure| failure.exit()),
            Ok(())
        );
        let hint =
            "\nhint: the table of failures says when; docs/bench.md says what each class means\n";
        assert_eq!(
            judged("lost"),
            Err(format!(
                "error: 2 failures of `--fail-on lost`\n  \
                 cause: 2 reset, from 1.20 s to 3.40 s: reset by peer\n{hint}"
            ))
        );
        assert_eq!(
            judged("non2xx"),
            Err(format!(
                "error: 1 failure of `--fail-on non2xx`\n  \
                 cause: 1 non2xx, after 1.20 s: reset by peer\n{hint}"
            ))
        );
        assert!(judged("any").unwrap_err().starts_with("error: 3 failures"));
    }

    #[test]
    fn no_answer_at_all_is_a_failure_without_being_asked_for() {
        for failures in [&[][..], &[(Class::Hung, 9)]] {
            let (spec, report) = report(failures, 0);
            let failure = verdict(&spec, &report, None).unwrap_err();
            assert_eq!(failure.exit(), Exit::NoAnswer);
            let text = failure.to_string();
            assert!(
                text.starts_with("error: http://127.0.0.1:1/ answered nothing\n"),
                "{text}"
            );
        }
    }
}
