//! The loop: what happens, what signals and sockets ask, what is written.

use std::io;
use std::time::Duration;

use procession::child_process::Signal;
use procession::cluster::{Control, Event, Output, Primary, Status, WorkerExit, WorkerId};
use procession::platform;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::outlet::Outlets;
use super::signals::{Ask, Signals};
use super::socket::StatusSocket;
use super::verdict::{App, verdict};
use super::witness::{Note, Witness};
use crate::failure::Failure;
use crate::render::Tone;
use crate::render::run::{ERASE, Form, Lines, Live, json, seconds};

/// Between two looks at how things stand, on a terminal: when something
/// happens, and when nothing does.
const SOON: Duration = Duration::from_millis(250);
const LATER: Duration = Duration::from_secs(1);
/// Two signals within this time are one request to stop.
const TWICE: Duration = Duration::from_secs(1);
/// When a child that is just being started cannot be told from a stranger yet.
const AGAIN: Duration = Duration::from_millis(10);
/// Questions that are answered at the same time; others wait.
const QUESTIONS: usize = 16;
/// How long somebody who asks at the socket may take to read.
const ANSWER: Duration = Duration::from_secs(5);

/// All that a run needs.
#[derive(Debug)]
pub(super) struct Drive<'o> {
    pub(super) primary: Primary,
    pub(super) signals: Signals,
    pub(super) socket: Option<StatusSocket>,
    pub(super) outlets: &'o Outlets,
    pub(super) lines: Lines,
    /// How wide the line at the bottom may be, if there is to be one.
    pub(super) width: Option<usize>,
    pub(super) app: App,
}

/// What a question to the cluster was for. Asked aside: a cluster that is
/// busy telling us must never wait for us to ask.
#[derive(Debug)]
enum Answer {
    /// For the screen.
    Shown(Status),
    /// For standard error.
    Said(Status),
    /// For the first lines.
    Looked(Status),
    /// For nobody here.
    Done,
}

impl Drive<'_> {
    /// Runs until nobody is left.
    pub(super) async fn go(self) -> Result<u8, Failure> {
        let Self {
            mut primary,
            mut signals,
            socket,
            outlets,
            lines,
            width,
            app,
        } = self;
        let mut desk = Desk {
            control: primary.control(),
            answers: JoinSet::new(),
            screen: Screen {
                outlets,
                lines,
                live: width.map(Bottom::new),
            },
            seen: Witness::default(),
            stopped_by: None,
            patience: app.patience,
            restarts: app.restarts,
            is_hopeless: false,
            dropped: 0,
            lost: 0,
        };
        loop {
            let next_look = desk.screen.next_look();
            let may_ask = desk.answers.len() < QUESTIONS;
            tokio::select! {
                event = primary.next_event() => match event {
                    Some(event) => desk.happened(event),
                    None => break,
                },
                (signal, ask) = signals.next() => desk.asked(signal, ask),
                Some(answer) = desk.answers.join_next() => desk.answered(answer.ok()),
                Some(peer) = knock(socket.as_ref()), if may_ask => desk.answer(peer),
                () = sleep_until(next_look.unwrap_or_else(Instant::now)), if next_look.is_some() => {
                    desk.look();
                }
            }
        }
        desk.screen.leave();
        verdict(&app, &desk.seen, desk.stopped_by.map(|(signal, _)| signal))
    }
}

async fn knock(socket: Option<&StatusSocket>) -> Option<UnixStream> {
    match socket {
        // What is wrong with one who asks is no concern of ours.
        Some(socket) => socket.accept().await.ok(),
        None => std::future::pending().await,
    }
}

struct Desk<'o> {
    control: Control,
    answers: JoinSet<Answer>,
    screen: Screen<'o>,
    seen: Witness,
    /// The first signal that asked for the end, and when.
    stopped_by: Option<(Signal, Instant)>,
    patience: Duration,
    /// Whether dead workers are replaced.
    restarts: bool,
    /// No replacement would do better, and all are being killed.
    is_hopeless: bool,
    /// Bytes that the cluster dropped because we were too slow.
    dropped: u64,
    /// What was dropped, there or later, when somebody last died.
    lost: u64,
}

impl Desk<'_> {
    fn happened(&mut self, event: Event) {
        let line = self.screen.lines.event(&event);
        self.screen.write(Output::Stderr, &line);
        if self.is_hopeless {
            // Everybody would say the same again.
            self.seen.see(event);
            return;
        }
        if let Event::Output {
            worker,
            output,
            bytes,
            dropped,
        } = event
        {
            self.output(worker, output, &bytes, dropped);
            return;
        }
        let mut last_lines = Vec::new();
        if let Event::Exit { worker, exit } = &event {
            self.screen.finish(*worker);
            last_lines = self.unread(exit);
        }
        self.see(event);
        for line in last_lines {
            self.screen.note(&(Tone::Plain, format!("    {line}")));
        }
        self.screen.look_soon();
        if self.seen.is_hopeless() && self.restarts {
            self.is_hopeless = true;
            self.kill();
        }
    }

    /// A worker's last words, if some of them may be among those that were dropped.
    fn unread(&mut self, exit: &WorkerExit) -> Vec<String> {
        let lost = self.screen.outlets.lost() + self.dropped;
        if lost == std::mem::replace(&mut self.lost, lost) || exit.expected {
            return Vec::new();
        }
        exit.last_lines.clone()
    }

    fn output(&mut self, worker: WorkerId, output: Output, bytes: &[u8], dropped: u64) {
        if dropped > 0 {
            self.dropped += dropped;
            let note = format!("{dropped} bytes of worker {worker} were dropped here");
            self.screen.note(&(Tone::Weak, note));
            let line = self.screen.lines.dropped(worker, dropped);
            self.screen.write(output, &line);
        }
        if output == Output::Stderr {
            self.seen.hear(worker, bytes);
        }
        let lines = self.screen.lines.output(worker, output, bytes);
        self.screen.write(output, &lines);
    }

    fn see(&mut self, event: Event) {
        for note in self.seen.see(event) {
            self.screen.note(&note);
        }
        if self.seen.wants_addresses() {
            self.ask(Answer::Looked);
        }
    }

    /// What a signal asks.
    fn asked(&mut self, signal: Signal, ask: Ask) {
        if self.screen.lines.form() == Form::Json && ask != Ask::Reap {
            let line = json::signal(&signal.to_string());
            self.screen.write(Output::Stdout, &line);
        }
        match ask {
            Ask::Stop => self.stop(signal),
            Ask::More => self.add(1),
            Ask::Fewer => self.add(-1),
            Ask::Status => self.ask(Answer::Said),
            Ask::Pass => self.pass(signal),
            Ask::Reap => self.reap(),
        }
    }

    fn stop(&mut self, signal: Signal) {
        let Some((_, since)) = self.stopped_by else {
            self.stopped_by = Some((signal, Instant::now()));
            let patience = seconds(self.patience);
            let note =
                format!("stopping ({signal}): workers have {patience}; once more kills them");
            self.screen.note(&(Tone::Plain, note));
            let control = self.control.clone();
            self.answers.spawn(async move {
                // A cluster that is over has stopped.
                let _ = control.stop().await;
                Answer::Done
            });
            return;
        };
        // Who started us often passes on what the terminal has sent already.
        if since.elapsed() >= TWICE {
            self.screen
                .note(&(Tone::Bad, format!("killing ({signal})")));
            self.kill();
        }
    }

    fn kill(&mut self) {
        let control = self.control.clone();
        self.answers.spawn(async move {
            let _ = control.kill().await;
            Answer::Done
        });
    }

    fn add(&mut self, workers: i64) {
        let word = if workers > 0 { "more" } else { "fewer" };
        self.screen
            .note(&(Tone::Plain, format!("one worker {word} (at least 1)")));
        let control = self.control.clone();
        self.answers.spawn(async move {
            let _ = control.add(workers).await;
            Answer::Done
        });
    }

    /// What is left of processes whose parents have ended: ours as the first process.
    fn reap(&mut self) {
        self.answers.spawn(async {
            while platform::reap_strangers().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
                sleep(AGAIN).await;
            }
            Answer::Done
        });
    }

    fn pass(&mut self, signal: Signal) {
        let control = self.control.clone();
        self.answers.spawn(async move {
            if let Ok(status) = control.status().await {
                for worker in status.workers {
                    let _ = control.signal(worker.worker, signal).await;
                }
            }
            Answer::Done
        });
    }

    fn ask(&mut self, answer: fn(Status) -> Answer) {
        let control = self.control.clone();
        self.answers
            .spawn(async move { control.status().await.map_or(Answer::Done, answer) });
    }

    /// Answers one who asks at the socket.
    fn answer(&mut self, mut peer: UnixStream) {
        let control = self.control.clone();
        let name = self.screen.lines.name().map(str::to_owned);
        self.answers.spawn(async move {
            if let Ok(status) = control.status().await {
                let line = json::status(name.as_deref(), &status);
                // Whoever does not read is hung up on.
                let _ = timeout(ANSWER, peer.write_all(&line)).await;
            }
            Answer::Done
        });
    }

    fn look(&mut self) {
        self.screen.looked_at(Instant::now() + LATER);
        self.ask(Answer::Shown);
    }

    fn answered(&mut self, answer: Option<Answer>) {
        match answer {
            Some(Answer::Shown(status)) => self.screen.show(&status),
            Some(Answer::Said(status)) => {
                let line = json::status(self.screen.lines.name(), &status);
                self.screen.outlets.err.push(&line);
            }
            Some(Answer::Looked(status)) => {
                for note in self.seen.look(&status) {
                    self.screen.note(&note);
                }
            }
            Some(Answer::Done) | None => {}
        }
    }
}

/// What is written where.
struct Screen<'o> {
    outlets: &'o Outlets,
    lines: Lines,
    live: Option<Bottom>,
}

/// The line at the bottom.
struct Bottom {
    width: usize,
    live: Live,
    shown: String,
    last: Instant,
    next: Instant,
}

impl Bottom {
    fn new(width: usize) -> Self {
        let now = Instant::now();
        Self {
            width,
            live: Live::default(),
            shown: String::new(),
            last: now,
            next: now + SOON,
        }
    }
}

impl Screen<'_> {
    /// Writes whole lines, the line at the bottom below them.
    fn write(&mut self, output: Output, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let is_json = self.lines.form() == Form::Json;
        let to_stderr = output == Output::Stderr && !is_json;
        let outlet = if to_stderr {
            &self.outlets.err
        } else {
            &self.outlets.out
        };
        match &self.live {
            Some(bottom) if to_stderr || self.outlets.are_one => {
                let mut all = ERASE.as_bytes().to_vec();
                all.extend(lines);
                all.extend(bottom.shown.as_bytes());
                outlet.push(&all);
            }
            Some(_) | None => {
                outlet.push(lines);
            }
        }
    }

    /// Writes a line of ours; programs are told by events.
    fn note(&mut self, (tone, text): &Note) {
        if self.lines.form() != Form::Json {
            let line = self.lines.note(*tone, text);
            self.write(Output::Stderr, &line);
        }
    }

    /// A worker writes no more.
    fn finish(&mut self, worker: WorkerId) {
        for output in [Output::Stdout, Output::Stderr] {
            let rest = self.lines.rest(worker, output);
            self.write(output, &rest);
        }
    }

    fn next_look(&self) -> Option<Instant> {
        self.live.as_ref().map(|bottom| bottom.next)
    }

    fn looked_at(&mut self, next: Instant) {
        if let Some(bottom) = &mut self.live {
            bottom.last = Instant::now();
            bottom.next = next;
        }
    }

    fn look_soon(&mut self) {
        if let Some(bottom) = &mut self.live {
            bottom.next = bottom.next.min(bottom.last + SOON);
        }
    }

    fn show(&mut self, status: &Status) {
        if let Some(bottom) = &mut self.live {
            bottom.shown = bottom.live.line(status, bottom.width);
            let drawn = format!("{ERASE}{}", bottom.shown);
            self.outlets.err.push(drawn.as_bytes());
        }
    }

    /// Leaves the terminal as it was.
    fn leave(&mut self) {
        if self.live.take().is_some() {
            self.outlets.err.push(ERASE.as_bytes());
        }
    }
}
