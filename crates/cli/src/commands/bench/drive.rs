//! One load from its start to its report: what happens, what signals ask, what is drawn.

use std::io::{self, Write};
use std::time::Duration;

use procession::child_process::Signal;
use procession_load::{Class, Event, Report, Running, Sample, Spec, Until};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::interrupts::Interrupts;
use super::program::Program;
use crate::failure::Failure;
use crate::render::bench::{Progress, Screen};
use crate::render::run::ERASE;

/// Between two drawings of the line.
const DRAW: Duration = Duration::from_millis(200);
/// So many answers that are no HTTP, and not one that is, will be followed by others.
const HOPELESS: u64 = 10;
/// A number of requests that are never answered is given up after so many time-outs.
const PATIENCE: u32 = 3;

/// How a load ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With a report.
    Reported(Box<Outcome>),
    /// At once.
    Killed(Signal),
}

/// A report, and what ended the load early.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) report: Report,
    /// This signal asked for the end.
    pub(super) interrupted: Option<Signal>,
    /// The program that was loaded had ended.
    pub(super) program: Option<Failure>,
}

impl Outcome {
    /// Nothing has happened yet.
    pub(super) fn is_empty(&self) -> bool {
        self.report.answers == 0 && self.report.failures.is_empty()
    }
}

/// A load that runs, and who watches.
#[derive(Debug)]
pub(super) struct Drive<'a> {
    pub(super) spec: &'a Spec,
    pub(super) running: Running,
    pub(super) program: Option<&'a mut Program>,
    pub(super) interrupts: &'a mut Interrupts,
    /// Where the line at the bottom is drawn, if there is one.
    pub(super) bottom: Option<&'a Screen>,
    /// Failures are told as they happen.
    pub(super) debug: bool,
}

impl Drive<'_> {
    /// Sees it to its end. `None`: it ended without a report.
    pub(super) async fn go(self) -> Option<Ended> {
        let Self {
            spec,
            mut running,
            mut program,
            interrupts,
            bottom,
            debug,
        } = self;
        let mut watch = Watch::new(spec, bottom, debug);
        let mut ticks = interval(DRAW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut interrupted = None;
        let mut gone = None;
        let report = loop {
            tokio::select! {
                event = running.next_event() => match event {
                    Some(Event::Done(report)) => break Some(report),
                    Some(event) => {
                        if watch.happened(event) {
                            running.stop();
                        }
                    }
                    None => break None,
                },
                signal = interrupts.next() => {
                    if interrupted.is_some() {
                        watch.leave();
                        return Some(Ended::Killed(signal));
                    }
                    interrupted = Some(signal);
                    running.stop();
                }
                failure = ended(program.as_deref_mut()), if gone.is_none() => {
                    gone = Some(failure);
                    running.stop();
                }
                _ = ticks.tick(), if bottom.is_some() => watch.draw(),
            }
        };
        watch.leave();
        report.map(|report| {
            Ended::Reported(Box::new(Outcome {
                report: *report,
                interrupted,
                program: gone,
            }))
        })
    }
}

async fn ended(program: Option<&mut Program>) -> Failure {
    match program {
        Some(program) => program.ended().await,
        None => std::future::pending().await,
    }
}

/// What is known while it runs.
#[derive(Debug)]
struct Watch<'a> {
    spec: &'a Spec,
    bottom: Option<&'a Screen>,
    debug: bool,
    progress: Progress,
    /// When what counts began.
    start: Instant,
    is_warming: bool,
    answers: u64,
    malformed: u64,
}

impl<'a> Watch<'a> {
    fn new(spec: &'a Spec, bottom: Option<&'a Screen>, debug: bool) -> Self {
        Self {
            spec,
            bottom,
            debug,
            progress: Progress::new(spec.until),
            start: Instant::now(),
            is_warming: spec.warmup.is_some(),
            answers: 0,
            malformed: 0,
        }
    }

    /// Takes note; whether there is no hope of anything else.
    fn happened(&mut self, event: Event) -> bool {
        match event {
            Event::Warmed => {
                self.start = Instant::now();
                self.is_warming = false;
            }
            Event::Sample(sample) => {
                self.progress.add(&sample);
                self.draw();
                return self.is_hopeless(&sample);
            }
            Event::Failed { class, at, example } if self.debug => {
                let seconds = at.as_secs_f64();
                self.write(&format!("{seconds:.3} s  {}: {example}\n", class.name()));
            }
            // The library may tell more one day.
            Event::Failed { .. } | Event::Done(_) | _ => {}
        }
        false
    }

    fn is_hopeless(&mut self, sample: &Sample) -> bool {
        self.answers += sample.answers;
        self.malformed += sample
            .failures
            .get(&Class::Malformed)
            .copied()
            .unwrap_or_default();
        if self.answers > 0 {
            return false;
        }
        let is_counted = matches!(self.spec.until, Until::Requests(_) | Until::Stopped);
        let is_late = sample.at > self.spec.timeout.saturating_mul(PATIENCE);
        self.malformed >= HOPELESS || (is_counted && is_late)
    }

    fn draw(&mut self) {
        let Some(screen) = self.bottom else { return };
        let line = if self.is_warming {
            "warming up".to_owned()
        } else {
            self.progress.line(self.start.elapsed(), screen)
        };
        self.put(&format!("{ERASE}{line}"));
    }

    /// Writes a whole line above the one at the bottom.
    fn write(&mut self, line: &str) {
        if self.bottom.is_some() {
            self.put(&format!("{ERASE}{line}"));
            self.draw();
        } else {
            self.put(line);
        }
    }

    fn leave(&mut self) {
        if self.bottom.take().is_some() {
            self.put(ERASE);
        }
    }

    #[expect(clippy::unused_self, reason = "only one that watches writes")]
    fn put(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // Nobody is left to be told.
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }
}
