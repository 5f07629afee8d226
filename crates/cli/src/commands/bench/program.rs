//! The program that is loaded: started, watched until it listens, ended with all that it started.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use procession::child_process::{
    Child, Command, Exit as End, Signal, SpawnError, Stdio, Step, Stop, Tree,
};
use procession::platform;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use super::whom::Url;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// A program that runs. Dropping it kills it, and what it started.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    title: String,
}

impl Program {
    /// Starts it, within a runtime. What it writes goes to our standard error.
    pub(super) fn start(words: &[OsString]) -> Result<Self, Failure> {
        let title = title(words);
        let command = command(words).map_err(|error| {
            let hint = "are there too many open files?";
            Failure::new(Exit::Failure, format!("cannot start `{title}`"), hint).caused_by(&error)
        })?;
        match command.spawn() {
            Ok(child) => Ok(Self { child, title }),
            Err(error) => Err(not_started(&error)),
        }
    }

    /// Waits until it, or what it started, listens where the URLs want; says where.
    ///
    /// Cancel safe.
    pub(super) async fn listens(&mut self, urls: &[Url]) -> Result<SocketAddr, Failure> {
        let end = Instant::now() + PATIENCE;
        let mut elsewhere = Vec::new();
        loop {
            let found = platform::listeners_of(self.child.id()).map_err(|e| cannot_look(&e))?;
            if let Some(at) = wanted(urls, &found) {
                return Ok(at);
            }
            if !found.is_empty() {
                elsewhere = found;
            }
            if Instant::now() >= end {
                return Err(self.never_listened(&elsewhere));
            }
            tokio::select! {
                ended = self.child.wait() => return Err(self.gone(ended.ok())),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Waits until somebody answers at the socket.
    ///
    /// Cancel safe.
    pub(super) async fn accepts(&mut self, socket: &Path) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(socket).await.is_err() {
            if Instant::now() >= end {
                return Err(self.never_listened(&[]));
            }
            tokio::select! {
                ended = self.child.wait() => return Err(self.gone(ended.ok())),
                () = sleep(LOOK) => {}
            }
        }
        Ok(())
    }

    fn gone(&self, end: Option<End>) -> Failure {
        let message = format!("`{}` ended before it listened on a port", self.title);
        let hint = "what it wrote is above; does it run without `procession bench`?";
        let failure = Failure::new(Exit::NeverReady, message, hint);
        match end {
            Some(end) => failure.because(format!("it {end}")),
            None => failure,
        }
    }

    fn never_listened(&self, elsewhere: &[SocketAddr]) -> Failure {
        let waited = PATIENCE.as_secs();
        let message = format!(
            "`{}` did not listen where the URL says within {waited} s",
            self.title
        );
        let hint = "a URL without a port takes the one that is opened: `/path`";
        let failure = Failure::new(Exit::NeverReady, message, hint);
        if elsewhere.is_empty() {
            return failure.because("it listens nowhere");
        }
        let places: Vec<String> = elsewhere.iter().map(ToString::to_string).collect();
        failure.because(format!("it listens on {}", places.join(", ")))
    }

    /// Waits for its end, which nobody asked for.
    ///
    /// Cancel safe.
    pub(super) async fn ended(&mut self) -> Failure {
        let end = self.child.wait().await;
        let message = format!("`{}` ended while it was loaded", self.title);
        let hint = "what it wrote is above";
        let failure = Failure::new(Exit::Failure, message, hint);
        match end {
            Ok(end) => failure.because(format!("it {end}")),
            Err(error) => failure.caused_by(&error),
        }
    }

    /// Ends it and all that it started, politely; at once when `hurry` comes.
    pub(super) async fn stop(mut self, hurry: impl Future<Output = ()>) {
        tokio::select! {
            // What cannot be waited for is gone.
            _ = self.child.stop(Stop::default()) => {}
            () = hurry => {
                let now = Stop { signal: Signal::KILL, grace: Duration::ZERO };
                let _ = self.child.stop(now).await;
            }
        }
    }
}

fn title(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

fn command(words: &[OsString]) -> io::Result<Command> {
    let (program, args) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::ignore());
    // Standard output is for the result.
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    command.stdout(Stdio::fd(stderr)).stderr(Stdio::inherit());
    // A key at the terminal is for us, and whatever becomes of us, it ends.
    command.process_group(0).tree(Tree::Contain);
    command.kill_on_drop().parent_death_signal(Signal::TERM);
    Ok(command)
}

/// Where to go: once every URL's port is open, and any port if they name none.
fn wanted(urls: &[Url], found: &[SocketAddr]) -> Option<SocketAddr> {
    let mut ports = urls.iter().filter_map(Url::port);
    let is_open = |port| found.iter().any(|at| at.port() == port);
    let first = *found.first()?;
    ports.all(is_open).then_some(first)
}

fn cannot_look(error: &io::Error) -> Failure {
    let message = "this system does not tell on which ports a program listens";
    let hint = "start the program yourself, and give its URL";
    Failure::new(Exit::Unfit, message, hint).caused_by(error)
}

fn not_started(error: &SpawnError) -> Failure {
    let (exit, hint) = match (error.step(), error.node_code()) {
        (Some(Step::Exec), Some("ENOENT")) => (Exit::NotFound, "is it on PATH, or the path right?"),
        (Some(Step::Exec), Some("EACCES" | "ENOEXEC")) => (
            Exit::NotRun,
            "`chmod +x` makes it executable; `-- node server.js` names who runs it",
        ),
        _ => (Exit::NotRun, "nothing was started"),
    };
    let failure = Failure::new(exit, error.to_string(), hint);
    match std::error::Error::source(error) {
        Some(source) => failure.caused_by(source),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_waited_for_if_the_url_names_one() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let any = Url::Opened("/".into());
        let named = Url::Whole("http://localhost:82/".into());
        let (one, two) = (at("127.0.0.1:81"), at("0.0.0.0:82"));
        assert_eq!(wanted(std::slice::from_ref(&any), &[]), None);
        assert_eq!(wanted(std::slice::from_ref(&any), &[one, two]), Some(one));
        assert_eq!(wanted(&[named.clone(), any.clone()], &[one]), None);
        assert_eq!(wanted(&[named, any], &[one, two]), Some(one));
    }
}
