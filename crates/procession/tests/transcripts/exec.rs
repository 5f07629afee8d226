//! One child by `Command::spawn`, seen both ways: its output as it comes, by a
//! tee, and the outcome with all of it, which is where Node has the callback.

use std::io::PipeReader;
use std::sync::Arc;

use procession::child_process::{
    ChildStdin, Command, Outcome, RunError, SpawnError, Stdio, Target,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;

use super::cases::{Abort, Action, Case, Rule};
use super::transcript::{Kind, Transcript, quoted};
use super::words;

/// Runs a case of `exec` or `execFile` to its end.
pub(crate) async fn run(case: &Case, command: Command) -> Transcript {
    let token = CancellationToken::new();
    let mut teed = command.clone();
    let mut stdout = tee(&mut teed, 1, Kind::Stdout);
    let mut stderr = tee(&mut teed, 2, Kind::Stderr);
    if case.abort() != Abort::Never {
        teed.cancel_on(token.clone());
    }
    let mut view = View {
        transcript: Transcript::default(),
        rules: case.rules(),
        stdin: None,
        token,
    };
    let mut child = match teed.spawn() {
        Ok(child) => child,
        Err(error) => return view.unstarted(error, &command),
    };
    // Its tees are ours too: without this the ends would never come.
    drop(teed);
    view.transcript.add(Kind::Spawn, "spawn");
    view.stdin = child.stdin.take();
    let mut outcome = None;
    {
        let mut running = std::pin::pin!(child.outcome());
        while outcome.is_none() || stdout.is_open() || stderr.is_open() {
            tokio::select! {
                bytes = stdout.read(), if stdout.is_open() => view.tell(Kind::Stdout, &bytes),
                bytes = stderr.read(), if stderr.is_open() => view.tell(Kind::Stderr, &bytes),
                result = &mut running, if outcome.is_none() => outcome = Some(result),
            }
        }
    }
    view.ended(outcome.unwrap(), &command)
}

/// Keeps an output and shows it to us as well.
fn tee(command: &mut Command, index: u32, kind: Kind) -> Stream {
    let (ours, theirs) = std::io::pipe().unwrap();
    command.stdio(
        index,
        Stdio::tee([Target::Capture, Target::Fd(Arc::new(theirs.into()))]),
    );
    Stream::new(ours, kind)
}

/// One of the views on an output.
struct Stream {
    pipe: Option<Receiver>,
    kind: Kind,
}

impl Stream {
    fn new(pipe: PipeReader, kind: Kind) -> Self {
        let pipe = Receiver::from_owned_fd(pipe.into()).unwrap();
        Self {
            pipe: Some(pipe),
            kind,
        }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    async fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4096);
        let pipe = self.pipe.as_mut().expect("only open streams are read");
        let read = pipe.read_buf(&mut bytes).await;
        let count = read.unwrap_or_else(|error| panic!("{}: {error}", self.kind.stream()));
        if count == 0 {
            self.pipe = None;
        }
        bytes
    }
}

struct View {
    transcript: Transcript,
    rules: Vec<Rule>,
    stdin: Option<ChildStdin>,
    token: CancellationToken,
}

impl View {
    fn tell(&mut self, stream: Kind, bytes: &[u8]) {
        if bytes.is_empty() {
            self.transcript
                .add(stream, format!("{} end", stream.stream()));
        } else {
            self.transcript.chunk(stream, bytes);
            self.react(stream.stream());
        }
    }

    /// A failed start is one answer: Node's error, callback and close.
    fn unstarted(mut self, error: SpawnError, command: &Command) -> Transcript {
        let line = format!("error {}", words::described(&error, "spawn", command));
        let close = format!("close {}", words::ended_unstarted(&error));
        let verdict = words::verdict(&error.into(), command);
        let add = &mut self.transcript;
        add.add(Kind::Error, line);
        add.add(
            Kind::End,
            format!("callback {verdict} stdout \"\" stderr \"\""),
        );
        add.add(Kind::End, close);
        self.transcript
    }

    /// So is the end: exit, callback and close.
    fn ended(mut self, result: Result<Outcome, RunError>, command: &Command) -> Transcript {
        let checked = result.and_then(Outcome::check);
        let (verdict, outcome) = match &checked {
            Ok(outcome) => ("ok".into(), outcome),
            Err(error) => {
                let outcome = error.outcome().unwrap_or_else(|| panic!("{error}"));
                (words::verdict(error, command), outcome)
            }
        };
        let how = words::ended(outcome.exit);
        self.transcript.add(Kind::Exit, format!("exit {how}"));
        let (stdout, stderr) = (quoted(&outcome.stdout), quoted(&outcome.stderr));
        let callback = format!("callback {verdict} stdout {stdout} stderr {stderr}");
        self.transcript.add(Kind::End, callback);
        self.react("callback");
        self.transcript.add(Kind::End, format!("close {how}"));
        self.transcript
    }

    fn react(&mut self, event: &str) {
        for rule in &mut self.rules {
            if rule.on != event || rule.left != 1 {
                continue;
            }
            rule.left = 0;
            match &rule.action {
                Action::Abort => {
                    self.transcript.add(Kind::Action, "abort");
                    self.token.cancel();
                }
                Action::End(0) => {
                    self.transcript.add(Kind::Action, "end(0)");
                    self.stdin = None;
                }
                other => panic!("not for exec: {other:?}"),
            }
        }
    }
}
