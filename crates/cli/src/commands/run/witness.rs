//! What has happened so far: what to say about it, and what it comes to.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use procession::child_process::SpawnError;
use procession::cluster::{Address, AddressType, End, Event, GaveUp, Status, WorkerExit, WorkerId};

use super::mistake::{Mistake, telling};
use crate::failure::one_line;
use crate::render::Tone;
use crate::render::run::{address, seconds, url, workers};

/// So much of a line that names an error is kept.
const LONGEST: usize = 200;

/// A line of ours.
pub(super) type Note = (Tone, String);

/// A worker that could not listen.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) address: String,
    pub(super) place: Place,
    pub(super) code: String,
    pub(super) holder: Option<(u32, String)>,
}

/// What kind of address somebody wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp,
    Udp,
    Path,
}

/// How the cluster ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    pub(super) end: End,
    pub(super) killed: u32,
}

/// So many addresses are known, the latest: one that is forgotten is new again. A program that
/// asks for port 0 again and again has always others.
const KNOWN: usize = 64;

/// Keeps what the last lines will need.
#[derive(Debug, Default)]
pub(super) struct Witness {
    ready: BTreeSet<WorkerId>,
    /// Where workers listen, and whether that was said.
    addresses: Vec<(String, bool)>,
    was_all_ready: bool,
    /// Somebody died since all were ready.
    was_hurt: bool,
    pub(super) was_ready: bool,
    pub(super) refusal: Option<Refusal>,
    pub(super) not_ready: Option<Duration>,
    pub(super) start_error: Option<SpawnError>,
    pub(super) last_crash: Option<WorkerExit>,
    /// How the last crash called itself.
    pub(super) last_error: Option<String>,
    /// The last error that each living worker has named: its last lines may be
    /// all stack.
    named: HashMap<WorkerId, String>,
    pub(super) first_bad_code: Option<i32>,
    pub(super) gave_up: Option<GaveUp>,
    pub(super) over: Option<Over>,
}

impl Witness {
    /// Takes note; gives what a reader should know.
    pub(super) fn see(&mut self, event: Event) -> Vec<Note> {
        match event {
            Event::Fork { worker, pid, restarts, .. } => vec![forked(worker, pid, restarts)],
            Event::StartFailed { worker, error } => self.not_started(worker, error),
            Event::Listening { worker, at, self_bound } => self.listening(worker, url(&at), self_bound),
            Event::ListenFailed { worker, at, code, holder } => {
                let refusal = Refusal {
                    address: address(&at),
                    place: Place::of(&at),
                    code: code.to_owned(),
                    holder,
                };
                let note = refusal.note(worker);
                self.refusal = Some(refusal);
                vec![(Tone::Bad, note)]
            }
            Event::Ready { worker } => {
                self.ready.insert(worker);
                self.was_ready = true;
                Vec::new()
            }
            Event::AllReady => self.all_ready(),
            Event::NotReady { worker, waited } => {
                self.not_ready = Some(waited);
                let waited = seconds(waited);
                vec![(Tone::Bad, format!("worker {worker} was not ready after {waited} and is stopped"))]
            }
            Event::ChannelError { worker, error } => {
                let why = one_line(&error);
                vec![(Tone::Bad, format!("worker {worker}: {why}; its channel is closed"))]
            }
            Event::ClusterError { worker, error } => {
                let why = one_line(&error);
                vec![(Tone::Weak, format!("worker {worker}: {why}"))]
            }
            Event::Stuck { worker, waited } => {
                let waited = seconds(waited);
                let note = format!("worker {worker} left a connection unanswered for {waited} and is killed");
                vec![(Tone::Bad, note)]
            }
            Event::Exit { worker, exit } => vec![self.ended(worker, exit)],
            Event::Restarting { after, .. } if after.is_zero() => Vec::new(),
            Event::Restarting { after, .. } => {
                vec![(Tone::Weak, format!("another takes its place in {}", seconds(after)))]
            }
            Event::GaveUp(why) => {
                self.gave_up = Some(why);
                self.giving_up(why)
            }
            Event::Over { end, signalled, killed } => {
                self.over = Some(Over { end, killed });
                over(end, signalled, killed)
            }
            Event::Online { .. }
            | Event::Message { .. }
            | Event::Output { .. }
            | Event::Disconnect { .. }
            // The library may tell more one day.
            | _ => Vec::new(),
        }
    }

    fn not_started(&mut self, worker: WorkerId, error: SpawnError) -> Vec<Note> {
        let mut notes = Vec::new();
        // One that no other try helps is the last thing that is said.
        if error.is_temporary() {
            let why = one_line(&error);
            notes.push((
                Tone::Bad,
                format!("worker {worker} cannot be started: {why}"),
            ));
        }
        self.start_error = Some(error);
        notes
    }

    /// Hears what a worker writes to standard error.
    pub(super) fn hear(&mut self, worker: WorkerId, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if let Some(line) = telling(text.lines()) {
            let line = line.chars().take(LONGEST).collect();
            self.named.insert(worker, line);
        }
    }

    fn listening(&mut self, worker: WorkerId, at: String, self_bound: bool) -> Vec<Note> {
        if self.addresses.iter().any(|(known, _)| *known == at) {
            return Vec::new();
        }
        let mut notes = Vec::new();
        if self_bound {
            let note =
                format!("worker {worker} bound {at} itself: its connections are not balanced");
            notes.push((Tone::Weak, note));
        }
        // The first are told together, with how many serve them.
        let tell = self.was_all_ready;
        if self.addresses.len() == KNOWN {
            self.addresses.remove(0);
        }
        if tell {
            notes.push((Tone::Good, format!("listening on {at}")));
        }
        self.addresses.push((at, tell));
        notes
    }

    fn all_ready(&mut self) -> Vec<Note> {
        let count = workers(self.ready.len());
        if !self.was_all_ready {
            self.was_all_ready = true;
            return self.tell_addresses();
        }
        let word = if std::mem::take(&mut self.was_hurt) {
            "all is well again: "
        } else {
            ""
        };
        vec![(Tone::Good, format!("{word}{count} ready"))]
    }

    fn tell_addresses(&mut self) -> Vec<Note> {
        let count = workers(self.ready.len());
        let untold = self.addresses.iter_mut().filter(|(_, told)| !told);
        let notes = untold.map(|(at, told)| {
            *told = true;
            (Tone::Good, format!("listening on {at} ({count})"))
        });
        notes.collect()
    }

    /// Whether where to look is still to be found out: workers that were given
    /// their sockets do not say that they listen.
    pub(super) fn wants_addresses(&self) -> bool {
        self.was_all_ready && self.addresses.is_empty()
    }

    /// Tells where to look by what the primary holds.
    pub(super) fn look(&mut self, status: &Status) -> Vec<Note> {
        if !self.wants_addresses() {
            return Vec::new();
        }
        let held = status
            .listeners
            .iter()
            .map(|listener| (url(&listener.at), false));
        self.addresses.extend(held);
        if self.addresses.is_empty() {
            let count = workers(self.ready.len());
            self.addresses.push((String::new(), true));
            return vec![(Tone::Good, format!("running ({count})"))];
        }
        self.tell_addresses()
    }

    fn ended(&mut self, worker: WorkerId, exit: WorkerExit) -> Note {
        self.ready.remove(&worker);
        let named = self.named.remove(&worker);
        if exit.expected {
            return (
                Tone::Plain,
                format!("worker {worker} left, pid {}", exit.pid),
            );
        }
        self.was_hurt = true;
        let note = format!("worker {worker} (pid {}) {exit}", exit.pid);
        let code = exit.exit.shell_code();
        if code != 0 {
            self.first_bad_code.get_or_insert(code);
        }
        self.last_error = named;
        self.last_crash = Some(exit);
        (Tone::Bad, note)
    }

    /// When nobody is left, the last words say it.
    fn giving_up(&self, why: GaveUp) -> Vec<Note> {
        let why = match why {
            GaveUp::TooManyRestarts { starts, within } => {
                format!("{starts} restarts within {}", seconds(within))
            }
            GaveUp::NeverReady { .. } => "nobody was ever ready".to_owned(),
            GaveUp::CannotStart { .. } => "the program cannot be started".to_owned(),
        };
        match self.ready.len() {
            0 => Vec::new(),
            left => {
                let left = workers(left);
                vec![(Tone::Bad, format!("giving up: {why}; {left} left to serve"))]
            }
        }
    }

    /// Whether no other try can help: nobody was ever ready, and somebody died
    /// of what restarts do not heal.
    pub(super) fn is_hopeless(&self) -> bool {
        let Some(crash) = self.last_crash.as_ref().filter(|_| !self.was_ready) else {
            return false;
        };
        self.refusal.is_some() || Mistake::in_lines(&crash.last_lines).is_some()
    }
}

impl Place {
    fn of(at: &Address) -> Self {
        match at.address_type {
            Some(AddressType::Udp4 | AddressType::Udp6) => Self::Udp,
            Some(AddressType::Path) => Self::Path,
            Some(AddressType::V4 | AddressType::V6) | None => Self::Tcp,
        }
    }
}

impl Refusal {
    fn note(&self, worker: WorkerId) -> String {
        let held = match &self.holder {
            Some((pid, name)) => format!(", {name} (pid {pid}) has it"),
            None => String::new(),
        };
        format!(
            "worker {worker} cannot listen on {}: {}{held}",
            self.address, self.code
        )
    }
}

fn forked(worker: WorkerId, pid: u32, restarts: u32) -> Note {
    let restart = match restarts {
        0 => String::new(),
        nth => format!(", restart {nth} of its place"),
    };
    (
        Tone::Plain,
        format!("worker {worker} started, pid {pid}{restart}"),
    )
}

fn over(end: End, signalled: u32, killed: u32) -> Vec<Note> {
    let mut note = match end {
        End::Stopped => "stopped".to_owned(),
        End::Finished => "all workers have ended".to_owned(),
        End::GaveUp => return Vec::new(),
    };
    let counted = |count: u32, what: &str| match count {
        0 => None,
        1 => Some(format!("1 worker {what}")),
        many => Some(format!("{many} workers {what}")),
    };
    let cut = [
        counted(signalled, "needed SIGTERM"),
        counted(killed, "had to be killed"),
    ];
    let cut: Vec<String> = cut.into_iter().flatten().collect();
    if !cut.is_empty() {
        note = format!("{note}; {}", cut.join(", "));
    }
    let tone = if killed > 0 { Tone::Bad } else { Tone::Plain };
    vec![(tone, note)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_listens_anew_for_ever_fills_up_nothing() {
        let mut witness = Witness::default();
        let mut notes = |port: u32| {
            let at = format!("http://127.0.0.1:{port}");
            witness.listening(WorkerId(1), at, true).len()
        };
        for port in 1..=10_000 {
            assert_eq!(notes(port), 1);
        }
        assert_eq!(notes(10_000), 0, "it is known");
        assert_eq!(notes(1), 1, "it is new again");
        assert_eq!(witness.addresses.len(), KNOWN);
    }
}
