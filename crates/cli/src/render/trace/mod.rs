//! A trace: one line for each thing that passed.

mod date;
mod inspect;
mod json;
mod meaning;

use std::io::{self, Write};
use std::time::SystemTime;

use procession::ipc::Serialization;
use procession::ipc::relay::document;
use procession::ipc::v8::Document;

use self::inspect::{escaped, inspect};
use self::json::Members;
use self::meaning::{Kind, Meaning};
use super::{Paint, Tone};
use crate::args::Format;
use crate::commands::trace_wire::{Channel, From, Record, Remark, What, microseconds};

/// How much of a message is shown where there is no screen.
const SHOWN: usize = 200;

/// How much is shown on the narrowest screen, which then wraps.
const LEAST_SHOWN: usize = 24;

/// How much of a value is shown after a long title.
const LEAST_OF_VALUE: usize = 8;

/// What a line is written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) paint: Paint,
    /// Characters of a line; none for a file.
    pub(crate) width: Option<u16>,
}

/// Writes a trace, a line at a time.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    format: Format,
    screen: Screen,
    /// Microseconds since 1970.
    start: u64,
}

impl<W: Write> Printer<W> {
    /// The time begins now.
    pub(crate) fn new(out: W, format: Format, screen: Screen) -> Self {
        Self {
            out,
            format,
            screen,
            start: microseconds(SystemTime::now()),
        }
    }

    pub(crate) fn to_file(out: W, format: Format) -> Self {
        let screen = Screen {
            paint: Paint::Plain,
            width: None,
        };
        Self::new(out, format, screen)
    }

    /// Tells of a channel that is looked at from now on.
    pub(crate) fn channel(&mut self, channel: &Channel) -> io::Result<()> {
        let (parent, child) = (channel.parent, channel.child);
        let line = match self.format {
            Format::Json => {
                let mut line = Members::new();
                line.add("time", self.seconds(channel.at));
                line.add("kind", "start");
                line.add("parent", parent);
                line.add("child", child);
                line.add("serialization", &channel.serialization);
                line.add("program", &channel.program);
                line.end()
            }
            Format::Text => {
                let program = escaped(&channel.program);
                let dress = |text: &str| self.screen.paint.dress(Tone::Title, text);
                let head = format!("{}  {parent} → {child}", self.time(channel.at));
                let said = format!("{}: {program}", dress("start"));
                format!("{head}  {said} ({})", channel.serialization)
            }
        };
        self.line(line)
    }

    /// Tells of something that passed.
    pub(crate) fn record(&mut self, channel: &Channel, record: &Record) -> io::Result<()> {
        let serialization = Serialization::from_name(&channel.serialization).unwrap_or_default();
        let line = match self.format {
            Format::Json => self.as_json(channel, record, serialization),
            Format::Text => self.as_text(channel, record, serialization),
        };
        self.line(line)
    }

    /// In one write, so that several relays can append to one file.
    fn line(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        self.out.write_all(line.as_bytes())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a trace is shorter than 285 years"
    )]
    fn seconds(&self, at: u64) -> f64 {
        at.saturating_sub(self.start) as f64 / 1e6
    }

    fn time(&self, at: u64) -> String {
        format!("{:8.4}", self.seconds(at))
    }

    fn as_text(&self, channel: &Channel, record: &Record, serialization: Serialization) -> String {
        // The parent stands on the left, whoever speaks.
        let arrow = match record.head.from {
            From::Parent => '→',
            From::Child => '←',
        };
        let (parent, child) = (channel.parent, channel.child);
        let head = format!("{}  {parent} {arrow} {child}", self.time(record.head.at));
        let paint = self.screen.paint;
        let read = document(serialization, &record.body);
        let (label, tone, mut text) = match (&record.head.what, &read) {
            (What::Message { descriptor, .. }, Ok(document)) => {
                let meaning = Meaning::of(document);
                let shown = self.shown(head.chars().count());
                let tone = if meaning.kind == Kind::Message {
                    Tone::Good
                } else {
                    Tone::Plain
                };
                let text = sentence(document, &meaning, descriptor.as_deref(), shown);
                (meaning.kind.label(), tone, text)
            }
            (What::Message { .. }, Err(problem)) => ("message", Tone::Good, problem.clone()),
            (What::Malformed { problem }, _) => ("malformed", Tone::Bad, problem.clone()),
            (What::Raw, _) => {
                let bytes = record.body.escape_ascii().to_string();
                let shown = self.shown(head.chars().count());
                ("raw", Tone::Weak, cut(&bytes, shown))
            }
            (What::End { partial: 0 }, _) => ("end", Tone::Title, String::new()),
            (What::End { partial }, _) => {
                let text = format!("in the middle of a message, after {partial} bytes");
                ("end", Tone::Weak, text)
            }
        };
        if let What::Message {
            remark: Some(Remark::Differs),
            ..
        } = record.head.what
        {
            text.push_str(&paint.dress(Tone::Weak, "  (not as Node writes it)"));
        }
        if label == "end" {
            let dressed = paint.dress(tone, label);
            return format!("{head}  {dressed} {text}").trim_end().to_owned();
        }
        let size = size(record.body.len());
        let padded = format!("{label:<9}");
        let line = format!("{head}  {} {size:>8}  {text}", paint.dress(tone, &padded));
        line.trim_end().to_owned()
    }

    /// How many characters of a message have room.
    fn shown(&self, head: usize) -> usize {
        let before = head + "  ".len() + 9 + 1 + 8 + "  ".len();
        self.screen.width.map_or(SHOWN, |width| {
            usize::from(width)
                .saturating_sub(before)
                .clamp(LEAST_SHOWN, SHOWN)
        })
    }

    fn as_json(&self, channel: &Channel, record: &Record, serialization: Serialization) -> String {
        let (from, to) = ends(channel, record.head.from);
        let mut line = Members::new();
        line.add("time", self.seconds(record.head.at));
        line.add("from", from);
        line.add("to", to);
        line.add("sender", record.head.from);
        let text = String::from_utf8_lossy(&record.body);
        match &record.head.what {
            What::Message { descriptor, remark } => {
                match document(serialization, &record.body) {
                    Ok(document) => describe(&mut line, &document, descriptor.as_deref()),
                    Err(problem) => {
                        line.add("kind", "message");
                        line.add("problem", problem);
                        line.add("text", text);
                    }
                }
                match remark {
                    Some(Remark::Differs) => {
                        line.add("rewritten", String::from_utf8_lossy(&record.ours));
                    }
                    Some(Remark::Unread(reason)) => line.add("unread", reason),
                    None => {}
                }
            }
            What::Malformed { problem } => {
                line.add("kind", "malformed");
                line.add("problem", problem);
                line.add("text", text);
            }
            What::Raw => {
                line.add("kind", "raw");
                line.add("text", text);
            }
            What::End { partial } => {
                line.add("kind", "end");
                line.add("partial", partial);
            }
        }
        line.add("bytes", record.body.len());
        line.end()
    }
}

/// The process ids of who sent and who receives.
fn ends(channel: &Channel, from: From) -> (u32, u32) {
    match from {
        From::Parent => (channel.parent, channel.child),
        From::Child => (channel.child, channel.parent),
    }
}

/// A message in words: what kind of order it is, what travels with it, what it says.
fn sentence(
    document: &Document,
    meaning: &Meaning,
    descriptor: Option<&str>,
    limit: usize,
) -> String {
    let mut words = Vec::new();
    words.extend(meaning.title.clone());
    if let Some(kind) = &meaning.handle {
        let descriptor = descriptor.unwrap_or("nothing came with it");
        words.push(format!("{} ({descriptor})", escaped(kind)));
    }
    let before: usize = words.iter().map(|word| word.chars().count() + 1).sum();
    if let Some(value) = &meaning.value {
        let limit = limit.saturating_sub(before).max(LEAST_OF_VALUE);
        words.push(cut(
            &inspect(document, value, meaning.omitted(), limit),
            limit,
        ));
    }
    words.join(" ")
}

/// The same for programs.
fn describe(line: &mut Members, document: &Document, descriptor: Option<&str>) {
    let meaning = Meaning::of(document);
    line.add("kind", meaning.kind.name());
    for (name, value) in meaning.members(document) {
        line.add_text(name, &value);
    }
    if let Some(kind) = &meaning.handle {
        let mut handle = Members::new();
        handle.add("type", kind);
        handle.add("descriptor", descriptor);
        line.add_text("handle", &handle.end());
    }
    if let Some(value) = &meaning.value {
        line.add_text("message", &json::value(document, value));
    }
}

/// The beginning of a text, with a mark if that is not all.
fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit.saturating_sub(1)) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn size(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests;
