//! What was seen of one child, in the words of `interop/child_process/probe.js`.

use std::fmt::Write as _;

/// Longer texts are printed as a byte count.
const LONGEST_TEXT: usize = 200;

/// What a line is about, in the order that makes a transcript canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Spawn,
    Error,
    Stdin,
    Stdout,
    Stderr,
    Fd3,
    Exit,
    /// `callback` and `close`, and all that a call without events answers.
    End,
    /// What we did: nothing is ever moved across it.
    Action,
}

impl Kind {
    /// The word that events and texts of this stream begin with.
    pub(crate) fn stream(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Fd3 => "fd3",
            Self::Spawn | Self::Error | Self::Exit | Self::End | Self::Action => {
                unreachable!("{self:?} is no stream")
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Entry {
    Line(Kind, String),
    /// Bytes of a stream; chunks in a row are one entry.
    Chunk(Kind, Vec<u8>),
}

impl Entry {
    fn kind(&self) -> Kind {
        match self {
            Self::Line(kind, _) | Self::Chunk(kind, _) => *kind,
        }
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    entries: Vec<Entry>,
}

impl Transcript {
    pub(crate) fn add(&mut self, kind: Kind, text: impl Into<String>) {
        self.entries.push(Entry::Line(kind, text.into()));
    }

    pub(crate) fn chunk(&mut self, stream: Kind, bytes: &[u8]) {
        append(&mut self.entries, Entry::Chunk(stream, bytes.to_vec()));
    }

    /// As it came.
    pub(crate) fn seen(&self) -> String {
        printed(&self.entries)
    }

    /// What was told too early or too late, in the order as it was seen: sorting
    /// would hide it.
    pub(crate) fn out_of_order(&self) -> Option<String> {
        let lines: Vec<&Entry> = self.entries.iter().collect();
        let told = || lines.iter().filter(|entry| entry.kind() != Kind::Action);
        let first = told().next()?.kind();
        if !matches!(first, Kind::Spawn | Kind::Error) {
            return Some(format!("{first:?} came before the start"));
        }
        for (at, entry) in lines.iter().enumerate() {
            let (kind, rest) = (entry.kind(), &lines[at + 1..]);
            let later = |wrong: fn(Kind) -> bool| rest.iter().find(|e| wrong(e.kind()));
            let late = match entry {
                Entry::Line(Kind::Spawn, _) => later(|k| matches!(k, Kind::Spawn)),
                Entry::Line(Kind::Exit, _) => later(|k| matches!(k, Kind::Error | Kind::Exit)),
                // What the caller has taken is not waited for.
                Entry::Line(Kind::End, line) if line.starts_with("close") => {
                    later(|k| !matches!(k, Kind::Action | Kind::Fd3))
                }
                Entry::Line(Kind::Stdout | Kind::Stderr | Kind::Fd3, _) => {
                    rest.iter().find(|e| e.kind() == kind)
                }
                Entry::Line(..) | Entry::Chunk(..) => None,
            };
            if let Some(late) = late {
                return Some(format!("{late:?} came after {entry:?}"));
            }
        }
        // What is written after the exit, by somebody else, has a reason among our actions.
        stretches(&self.entries).find_map(|stretch| {
            let exit = stretch.iter().position(|e| e.kind() == Kind::Exit)?;
            let late = stretch[exit..]
                .iter()
                .find(|e| matches!(e, Entry::Chunk(..)))?;
            Some(format!("{late:?} came after the exit"))
        })
    }

    /// With the lines between two actions sorted: nobody promises which comes
    /// first, the exit, the end of stdout or the end of stderr.
    pub(crate) fn canonical(&self) -> String {
        let mut result = Vec::new();
        for stretch in stretches(&self.entries) {
            let mut stretch = stretch.to_vec();
            stretch.sort_by_key(Entry::kind);
            for entry in stretch {
                append(&mut result, entry);
            }
        }
        printed(&result)
    }
}

/// The parts without an action in them, and the actions.
fn stretches(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let is_action = |entry: &Entry| entry.kind() == Kind::Action;
    entries.chunk_by(move |a, b| is_action(a) == is_action(b))
}

fn append(entries: &mut Vec<Entry>, entry: Entry) {
    match (entries.last_mut(), entry) {
        (Some(Entry::Chunk(last, bytes)), Entry::Chunk(stream, more)) if *last == stream => {
            bytes.extend(more);
        }
        (_, entry) => entries.push(entry),
    }
}

fn printed(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let written = match entry {
            Entry::Line(_, line) => writeln!(text, "{line}"),
            Entry::Chunk(kind, bytes) => writeln!(text, "{} {}", kind.stream(), quoted(bytes)),
        };
        written.expect("a String takes everything");
    }
    text
}

/// A text in JSON, or how long it is.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    if bytes.len() > LONGEST_TEXT {
        return format!("<{} bytes>", bytes.len());
    }
    serde_json::to_string(&String::from_utf8_lossy(bytes)).unwrap()
}

#[test]
fn the_canonical_order_moves_nothing_across_an_action() {
    let mut transcript = Transcript::default();
    transcript.add(Kind::Exit, "exit 0 null");
    transcript.chunk(Kind::Stderr, b"x");
    transcript.chunk(Kind::Stdout, b"a");
    transcript.chunk(Kind::Stderr, b"y");
    transcript.chunk(Kind::Stdout, b"b\n");
    transcript.add(Kind::Action, "end(0)");
    transcript.add(Kind::Action, "abort");
    transcript.add(Kind::End, "callback ok");
    transcript.add(Kind::Stdout, "stdout end");
    transcript.add(Kind::End, "close 0 null");
    transcript.add(Kind::Error, "error ABORT_ERR");
    let expected = "stdout \"ab\\n\"\nstderr \"xy\"\nexit 0 null\nend(0)\nabort\n\
                    error ABORT_ERR\nstdout end\ncallback ok\nclose 0 null\n";
    assert_eq!(transcript.canonical(), expected);
}

#[test]
fn what_is_told_too_early_or_too_late_is_seen() {
    const SPAWN: (Kind, &str) = (Kind::Spawn, "spawn");
    const EXIT: (Kind, &str) = (Kind::Exit, "exit 0 null");
    const END: (Kind, &str) = (Kind::Stdout, "stdout end");
    const CLOSE: (Kind, &str) = (Kind::End, "close 0 null");
    const ERROR: (Kind, &str) = (Kind::Error, "error ABORT_ERR");
    const ABORT: (Kind, &str) = (Kind::Action, "abort");
    let told = |lines: &[(Kind, &str)]| {
        let mut transcript = Transcript::default();
        for (kind, line) in lines {
            match *line {
                "data" => transcript.chunk(*kind, b"x"),
                line => transcript.add(*kind, line),
            }
        }
        transcript.out_of_order()
    };
    let data = (Kind::Stdout, "data");
    for right in [
        &[SPAWN, data, EXIT, END, CLOSE][..],
        &[ABORT, SPAWN, ERROR, END, EXIT, CLOSE],
        &[SPAWN, EXIT, ABORT, data, END, CLOSE, ABORT],
        &[ERROR, END, CLOSE],
    ] {
        assert_eq!(told(right), None, "{right:?}");
    }
    for wrong in [
        &[data, SPAWN, EXIT, END, CLOSE][..],
        &[SPAWN, SPAWN],
        &[SPAWN, EXIT, data, END, CLOSE],
        &[SPAWN, END, data, EXIT, CLOSE],
        &[SPAWN, END, END, EXIT, CLOSE],
        &[SPAWN, EXIT, CLOSE, END],
        &[SPAWN, END, CLOSE, EXIT],
        &[SPAWN, END, EXIT, CLOSE, CLOSE],
        &[SPAWN, EXIT, ERROR, END, CLOSE],
    ] {
        assert!(told(wrong).is_some(), "{wrong:?}");
    }
}
