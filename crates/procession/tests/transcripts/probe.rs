//! One child by `Command::events`, and the reactions of its case.

use std::collections::VecDeque;

use procession::child_process::{ChildStdin, Command, Event, Events, Signal, SpawnError};
use procession_testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::cases::{Abort, Action, Case, Rule};
use super::transcript::{Kind, Transcript};
use super::words;

/// The child and what is known of it.
pub(crate) struct Probe<'c> {
    case: &'c Case,
    command: Command,
    transcript: Transcript,
    rules: Vec<Rule>,
    token: CancellationToken,
    /// `None` once it was disposed of.
    events: Option<Events>,
    stdin: Option<ChildStdin>,
    fd3: Option<OwnedWriteHalf>,
    failed: Option<SpawnError>,
}

impl<'c> Probe<'c> {
    /// Runs a case of `spawn` to its end.
    pub(crate) async fn run(case: &'c Case, mut command: Command) -> Transcript {
        let mut transcript = Transcript::default();
        let token = CancellationToken::new();
        if case.abort() != Abort::Never {
            command.cancel_on(token.clone());
        }
        if case.abort() == Abort::Before {
            transcript.add(Kind::Action, "abort");
            token.cancel();
        }
        let mut events = command.events();
        let stdin = events.stdin.take();
        let (mut reading, writing) = match events.take_stdio(3) {
            Some(duplex) => {
                let (read, write) = duplex.into_socket().into_split();
                (Some(read), Some(write))
            }
            None => (None, None),
        };
        let mut probe = Self {
            case,
            command,
            transcript,
            rules: case.rules(),
            token,
            events: Some(events),
            stdin,
            fd3: writing,
            failed: None,
        };
        probe.react("start").await;
        while let Some(events) = &mut probe.events {
            let mut buffer = [0; 4096];
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => probe.tell(event).await,
                    None => break,
                },
                count = read(reading.as_mut(), &mut buffer) => {
                    probe.tell_fd3(&buffer[..count], &mut reading).await;
                }
            }
        }
        while reading.is_some() {
            let mut buffer = [0; 4096];
            let count = read(reading.as_mut(), &mut buffer).await;
            probe.tell_fd3(&buffer[..count], &mut reading).await;
        }
        probe.transcript
    }

    async fn tell(&mut self, event: Event) {
        let streams = !self.case.hears_process_only();
        match event {
            Event::Spawn { .. } => self.note(Kind::Spawn, "spawn", "spawn".into()).await,
            Event::Error(error) => {
                let words = words::described(&error, "spawn", &self.command);
                self.compare_with_spawn(&words);
                self.note(Kind::Error, "error", format!("error {words}"))
                    .await;
                self.failed = Some(error);
            }
            Event::Aborted => {
                self.note(Kind::Error, "error", "error ABORT_ERR".into())
                    .await
            }
            Event::Stdout(bytes) if streams => self.chunk(Kind::Stdout, &bytes).await,
            Event::Stderr(bytes) if streams => self.chunk(Kind::Stderr, &bytes).await,
            Event::StdoutEnd if streams => self.stream_end(Kind::Stdout).await,
            Event::StderrEnd if streams => self.stream_end(Kind::Stderr).await,
            Event::Stdout(_) | Event::Stderr(_) | Event::StdoutEnd | Event::StderrEnd => {}
            Event::Exit(exit) => {
                let line = format!("exit {}", words::ended(exit));
                self.note(Kind::Exit, "exit", line).await;
            }
            Event::Close(exit) => {
                let how = match (exit, &self.failed) {
                    (Some(exit), _) => words::ended(exit),
                    (None, Some(error)) => words::ended_unstarted(error),
                    (None, None) => "without an exit or an error".into(),
                };
                self.note(Kind::End, "close", format!("close {how}")).await;
            }
            other => panic!("no words for {other:?}"),
        }
    }

    /// What is an event here is the error of `Command::spawn`.
    fn compare_with_spawn(&self, words: &str) {
        match self.command.spawn() {
            Ok(_) => panic!("{}: started after all", self.case.name),
            Err(error) => assert_eq!(words::described(&error, "spawn", &self.command), words),
        }
    }

    async fn tell_fd3(&mut self, bytes: &[u8], reading: &mut Option<OwnedReadHalf>) {
        if bytes.is_empty() {
            *reading = None;
            self.stream_end(Kind::Fd3).await;
        } else {
            self.chunk(Kind::Fd3, bytes).await;
        }
    }

    async fn chunk(&mut self, stream: Kind, bytes: &[u8]) {
        self.transcript.chunk(stream, bytes);
        self.react(stream.stream()).await;
    }

    async fn stream_end(&mut self, stream: Kind) {
        let event = format!("{} end", stream.stream());
        self.note(stream, &event, event.clone()).await;
    }

    async fn note(&mut self, kind: Kind, event: &str, line: String) {
        self.transcript.add(kind, line);
        self.react(event).await;
    }

    /// Does what the rules say about the event, and about what comes of that.
    async fn react(&mut self, event: &str) {
        let mut happened = VecDeque::from([event.to_owned()]);
        while let Some(event) = happened.pop_front() {
            let mut due = Vec::new();
            for rule in &mut self.rules {
                if rule.on == event && rule.left > 0 {
                    rule.left -= 1;
                    if rule.left == 0 {
                        due.push(rule.action.clone());
                    }
                }
            }
            for action in due {
                happened.extend(self.act(action).await);
            }
        }
    }

    /// The event that comes of it at once, if there is one.
    async fn act(&mut self, action: Action) -> Option<String> {
        match action {
            Action::Kill(signal) => self.kill(&signal),
            Action::Write(fd, text) => return self.write(fd, &text).await,
            Action::End(fd) => {
                self.transcript.add(Kind::Action, format!("end({fd})"));
                match fd {
                    0 => self.stdin = None,
                    _ => self.fd3 = None,
                }
            }
            Action::Abort => {
                self.transcript.add(Kind::Action, "abort");
                self.token.cancel();
            }
            Action::Dispose => self.dispose().await,
            Action::AwaitEnd => await_state(self.pid(), &[None, Some('Z'), Some('X')]),
        }
        None
    }

    fn kill(&mut self, name: &str) {
        let signal = match name.parse() {
            Ok(number) => Signal::from_raw(number),
            Err(_) => name.parse(),
        };
        let events = self.events.as_ref().unwrap();
        let answer = match signal {
            Err(_) => "throws ERR_UNKNOWN_SIGNAL".into(),
            Ok(signal) => match events.signal(signal) {
                Ok(sent) => sent.to_string(),
                Err(error) => format!("throws {}", error.node_code().unwrap_or("(no code)")),
            },
        };
        self.transcript
            .add(Kind::Action, format!("kill({name}) {answer}"));
        if signal == Ok(Signal::STOP) {
            // The next signal is to find it stopped.
            await_state(self.pid(), &[Some('T')]);
        }
    }

    async fn write(&mut self, fd: u32, text: &str) -> Option<String> {
        self.transcript.add(Kind::Action, format!("write({fd})"));
        let written = match fd {
            0 => {
                self.stdin
                    .as_mut()
                    .unwrap()
                    .write_all(text.as_bytes())
                    .await
            }
            _ => self.fd3.as_mut().unwrap().write_all(text.as_bytes()).await,
        };
        let error = written.err()?;
        let is_gone = error.kind() == std::io::ErrorKind::BrokenPipe;
        let code = if is_gone {
            "EPIPE".into()
        } else {
            format!("({error})")
        };
        self.transcript
            .add(Kind::Stdin, format!("stdin error {code} write"));
        Some("stdin error".into())
    }

    /// Lets go of the child, looks whether it lives on, and ends it.
    async fn dispose(&mut self) {
        let pid = self.pid();
        self.transcript.add(Kind::Action, "dispose");
        self.events = None;
        // The task that told the events is to see that nobody listens.
        tokio::task::yield_now().await;
        if state(pid).is_some_and(|state| !"ZX".contains(state)) {
            self.transcript.add(Kind::End, "lives on");
        }
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    fn pid(&self) -> u32 {
        self.events.as_ref().and_then(Events::id).unwrap()
    }
}

/// The number of bytes read; 0 is the end.
async fn read(reading: Option<&mut OwnedReadHalf>, buffer: &mut [u8]) -> usize {
    match reading {
        // A child that ended with our bytes unread resets its socket: the end.
        Some(half) => half.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

fn await_state(pid: u32, states: &[Option<char>]) {
    wait::until("another state of the process", || {
        states.contains(&state(pid)).then_some(())
    });
}

/// The letter of its state; `None` when there is no such process.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
