//! With which code, and which last words, it ends.

use std::io;
use std::path::Path;
use std::time::Duration;

use procession::child_process::{Signal, SpawnError, Step};
use procession::cluster::{End, GaveUp, Ready, StartError, WorkerExit};

use super::mistake::Mistake;
use super::witness::{Over, Place, Refusal, Witness};
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::render::run::seconds;

/// What the last words are about.
#[derive(Debug)]
pub(super) struct App {
    /// The program and its arguments.
    pub(super) title: String,
    pub(super) program: String,
    pub(super) runner: Runner,
    pub(super) ready: Ready,
    /// How long workers have to leave.
    pub(super) patience: Duration,
    /// Whether dead workers are replaced.
    pub(super) restarts: bool,
}

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runner {
    /// The Node on PATH.
    Node,
    /// Who was named.
    Named,
    Itself,
}

/// The code, or why it is none of the workers'.
pub(super) fn verdict(app: &App, seen: &Witness, signal: Option<Signal>) -> Result<u8, Failure> {
    let Some(Over { end, killed }) = seen.over else {
        let hint = "this is a mistake of procession";
        return Err(Failure::new(Exit::Failure, "the cluster broke off", hint));
    };
    match end {
        // What we stopped because nothing else helps.
        End::Stopped if signal.is_none() => Err(gave_up(app, seen)),
        End::Stopped if killed > 0 => Ok(signal.map_or(1, |signal| low(128 + signal.as_raw()))),
        End::Stopped => Ok(0),
        End::Finished if !seen.was_ready && seen.not_ready.is_some() => Err(never_ready(app, seen)),
        End::Finished => Ok(low(seen.first_bad_code.unwrap_or(0))),
        End::GaveUp => Err(gave_up(app, seen)),
    }
}

/// Codes and signals are small; what is not is no success.
fn low(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn gave_up(app: &App, seen: &Witness) -> Failure {
    if let Some(error) = &seen.start_error
        && matches!(seen.gave_up, Some(GaveUp::CannotStart { .. }))
    {
        return cannot_start(app, error);
    }
    if !seen.was_ready {
        if let Some(refusal) = &seen.refusal {
            return cannot_listen(refusal);
        }
        if seen.not_ready.is_some() {
            return never_ready(app, seen);
        }
    }
    let title = &app.title;
    let message = match seen.gave_up {
        Some(GaveUp::TooManyRestarts { starts, within }) => {
            let within = seconds(within);
            format!("gave up on `{title}`: {starts} restarts within {within}")
        }
        _ => format!("gave up on `{title}`: no worker was ever ready"),
    };
    let Some(crash) = &seen.last_crash else {
        return Failure::new(Exit::GaveUp, message, "what workers wrote is above");
    };
    let failure = Failure::new(Exit::GaveUp, message, hint(app, crash))
        .because(format!("the last one {crash}"));
    match &seen.last_error {
        Some(line) => failure.because(line),
        None => failure,
    }
}

/// What helps against it.
fn hint(app: &App, crash: &WorkerExit) -> String {
    if let Some(mistake) = Mistake::in_lines(&crash.last_lines) {
        return mistake.hint(&app.title);
    }
    if crash.exit.success() {
        return "a program that ends by itself runs with `--no-restart`".into();
    }
    "what it wrote is above; `procession run -i 1 --no-restart` runs it once".into()
}

fn never_ready(app: &App, seen: &Witness) -> Failure {
    let waited = seconds(seen.not_ready.unwrap_or_default());
    let title = &app.title;
    let (did_not, hint) = match &app.ready {
        Ready::Listening => (
            "listened".to_owned(),
            "`--ready started` runs what does not listen; a program of another language \
             gets its socket by `--listen 127.0.0.1:8000`",
        ),
        Ready::Message(text) => (
            format!("sent the message `{text}`"),
            "a worker says it by `process.send`; `--ready-timeout` gives it longer",
        ),
        Ready::Started | Ready::After(_) => {
            ("was ready".to_owned(), "`--ready-timeout` gives it longer")
        }
    };
    let message = format!("no worker of `{title}` {did_not} within {waited}");
    Failure::new(Exit::NeverReady, message, hint)
}

fn cannot_listen(refusal: &Refusal) -> Failure {
    let refused = |exit, why: &str, hint: &str| {
        let address = &refusal.address;
        Failure::new(exit, format!("cannot listen on {address}: {why}"), hint)
    };
    let code = &*refusal.code;
    match (refusal.place, code, &refusal.holder) {
        (Place::Tcp | Place::Udp, "EADDRINUSE", Some((pid, name))) => refused(
            Exit::PortTaken,
            &format!("{name} (pid {pid}) has it"),
            &format!("take another port, or end that one: `kill {pid}`"),
        ),
        (Place::Tcp, "EADDRINUSE", None) => refused(
            Exit::PortTaken,
            "somebody else has it",
            "take another port; `ss -ltnp` as root names who has this one",
        ),
        (Place::Udp, "EADDRINUSE", None) => refused(
            Exit::PortTaken,
            "somebody else has it",
            "take another port; `ss -lunp` as root names who has this one",
        ),
        (Place::Path, "EADDRINUSE", _) => refused(
            Exit::PortTaken,
            "a file is there",
            "if nobody listens at it (`ss -lxp`), remove it; else take another path",
        ),
        (Place::Tcp | Place::Udp, "EACCES" | "EPERM", _) => refused(
            Exit::CannotListen,
            "no permission",
            "ports below 1024 need root or CAP_NET_BIND_SERVICE: take one above",
        ),
        (Place::Path, "EACCES" | "EPERM", _) => refused(
            Exit::CannotListen,
            "no permission",
            "who listens must be allowed to write to its folder",
        ),
        (Place::Path, "ENOENT", _) => refused(
            Exit::CannotListen,
            "its folder is not there",
            "make the folder first, or take another path",
        ),
        (Place::Path, other, _) => refused(Exit::CannotListen, other, "is the path right?"),
        (Place::Tcp | Place::Udp, "EADDRNOTAVAIL", _) => refused(
            Exit::CannotListen,
            "this machine has no such address",
            "`ip address` shows those that it has",
        ),
        (Place::Tcp | Place::Udp, other, _) => refused(
            Exit::CannotListen,
            other,
            "is that an address of this machine?",
        ),
    }
}

fn cannot_start(app: &App, error: &SpawnError) -> Failure {
    let failed = |exit, hint: String| {
        let failure = Failure::new(exit, error.to_string(), hint);
        match std::error::Error::source(error) {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    };
    match (error.step(), error.node_code()) {
        (Some(Step::Exec), Some("ENOENT")) => failed(Exit::NotFound, missing(app)),
        (Some(Step::Exec), Some("EACCES" | "ENOEXEC")) => {
            let hint = "`chmod +x` makes it executable; `--interpreter python3` names who runs it";
            failed(Exit::NotRun, hint.into())
        }
        _ => failed(Exit::NotRun, "nothing was started".into()),
    }
}

/// What is missing when a program is.
fn missing(app: &App) -> String {
    let program = &app.program;
    let is_path = program.contains('/');
    match (app.runner, Path::new(program).exists()) {
        (Runner::Node, _) => "Node is looked for on PATH; `--interpreter` names another".into(),
        (Runner::Named, _) => "is what `--interpreter` names on PATH?".into(),
        (Runner::Itself, true) if is_path => {
            "who is to run it (its first line, `#!`) is missing".into()
        }
        (Runner::Itself, true) => format!("`./{program}` is in this folder"),
        (Runner::Itself, false) if is_path => "is the path right?".into(),
        (Runner::Itself, false) => "it is looked for on PATH".into(),
    }
}

/// The primary itself could not start.
pub(super) fn not_started(error: &StartError) -> Failure {
    let StartError::Listen {
        address,
        holder,
        source,
    } = error
    else {
        let hint = "this is a mistake of procession";
        return Failure::new(Exit::Failure, one_line(error), hint);
    };
    let code = [
        (io::ErrorKind::AddrInUse, "EADDRINUSE"),
        (io::ErrorKind::PermissionDenied, "EACCES"),
        (io::ErrorKind::AddrNotAvailable, "EADDRNOTAVAIL"),
        (io::ErrorKind::NotFound, "ENOENT"),
    ];
    let code = code.into_iter().find(|(kind, _)| *kind == source.kind());
    let code = code.map_or_else(|| source.to_string(), |(_, code)| code.to_owned());
    cannot_listen(&Refusal {
        address: address.clone(),
        // A path is told from a port by its slash.
        place: if address.contains('/') {
            Place::Path
        } else {
            Place::Tcp
        },
        code,
        holder: holder.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(place: Place, address: &str, code: &str) -> Refusal {
        Refusal {
            address: address.to_owned(),
            place,
            code: code.to_owned(),
            holder: None,
        }
    }

    #[test]
    fn who_holds_a_port_is_named() {
        let taken = Refusal {
            holder: Some((77, "node".to_owned())),
            ..refusal(Place::Tcp, "*:8000", "EADDRINUSE")
        };
        let failure = cannot_listen(&taken);
        assert_eq!(failure.exit(), Exit::PortTaken);
        assert_eq!(
            failure.to_string(),
            "error: cannot listen on *:8000: node (pid 77) has it\n\n\
             hint: take another port, or end that one: `kill 77`\n"
        );
        let failure = cannot_listen(&refusal(Place::Tcp, "*:80", "EACCES"));
        assert_eq!(failure.exit(), Exit::CannotListen);
    }

    #[test]
    fn a_hint_fits_what_was_to_be_listened_on() {
        let said = |place, address, code| cannot_listen(&refusal(place, address, code)).to_string();
        let udp = said(Place::Udp, "*:53", "EADDRINUSE");
        assert!(udp.contains("`ss -lunp`"), "{udp}");
        for code in [
            "EADDRINUSE",
            "EACCES",
            "EPERM",
            "ENOENT",
            "EADDRNOTAVAIL",
            "EROFS",
        ] {
            let path = said(Place::Path, "app.sock", code);
            assert!(
                !path.contains("port") && !path.contains("machine"),
                "{path}"
            );
        }
    }
}
