//! What `procession run` writes: what workers say, what happens, how things stand.

pub(crate) mod json;
mod live;
mod words;

use std::collections::HashMap;

use procession::cluster::{Event, Output, WorkerId};

pub(crate) use live::{ERASE, Live};
pub(crate) use words::{address, seconds, url, workers};

use super::{Paint, Tone};

/// An unfinished line is kept until it is this long.
const LONGEST: usize = 16 * 1024;

/// In which form everything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines of workers with their number.
    Numbered,
    /// What workers write, byte by byte.
    Raw,
    /// One object a line.
    Json,
}

/// Makes lines.
#[derive(Debug)]
pub(crate) struct Lines {
    form: Form,
    paint: Paint,
    name: Option<String>,
    unfinished: HashMap<(WorkerId, bool), Vec<u8>>,
}

impl Lines {
    pub(crate) fn new(form: Form, paint: Paint, name: Option<String>) -> Self {
        Self {
            form,
            paint,
            name,
            unfinished: HashMap::new(),
        }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What a worker has written, as far as lines are whole.
    pub(crate) fn output(&mut self, worker: WorkerId, output: Output, bytes: &[u8]) -> Vec<u8> {
        if self.form == Form::Raw {
            return bytes.to_vec();
        }
        let mut lines = Vec::with_capacity(bytes.len() + 16);
        let key = (worker, output == Output::Stderr);
        let mut line = self.unfinished.remove(&key).unwrap_or_default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend(piece);
            if line.ends_with(b"\n") || line.len() >= LONGEST {
                self.append(&mut lines, worker, output, &line);
                line.clear();
            }
        }
        if !line.is_empty() {
            self.unfinished.insert(key, line);
        }
        lines
    }

    /// The unfinished last line of a worker that has ended.
    pub(crate) fn rest(&mut self, worker: WorkerId, output: Output) -> Vec<u8> {
        let key = (worker, output == Output::Stderr);
        let mut lines = Vec::new();
        if let Some(line) = self.unfinished.remove(&key) {
            self.append(&mut lines, worker, output, &line);
        }
        lines
    }

    fn append(&self, lines: &mut Vec<u8>, worker: WorkerId, output: Output, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if self.form == Form::Json {
            lines.extend(json::output(worker, output, line));
            return;
        }
        let prefix = match &self.name {
            Some(name) => format!("[{name} {worker}]"),
            None => format!("[{worker}]"),
        };
        lines.extend(self.paint.tell_apart(worker.0, &prefix).as_bytes());
        if !line.is_empty() {
            lines.push(b' ');
            lines.extend(line);
        }
        lines.push(b'\n');
    }

    /// A line of our own.
    pub(crate) fn note(&self, tone: Tone, text: &str) -> Vec<u8> {
        let name = self.name.as_deref().unwrap_or("procession");
        format!("{}\n", self.paint.dress(tone, &format!("{name}: {text}"))).into_bytes()
    }

    /// Says to programs that something of a worker is missing; nothing in the other forms.
    pub(crate) fn dropped(&self, worker: WorkerId, bytes: u64) -> Vec<u8> {
        match self.form {
            Form::Json => json::dropped_of(worker, bytes),
            Form::Numbered | Form::Raw => Vec::new(),
        }
    }

    /// What happened, for programs; nothing in the other forms.
    pub(crate) fn event(&self, event: &Event) -> Vec<u8> {
        match self.form {
            Form::Json => json::event(event).unwrap_or_default(),
            Form::Numbered | Form::Raw => Vec::new(),
        }
    }
}

/// Says that lines were dropped.
pub(crate) fn dropped(lines: u64) -> Vec<u8> {
    let plural = if lines == 1 { " was" } else { "s were" };
    format!("procession: {lines} line{plural} dropped here: nobody read fast enough\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(form: Form, name: Option<&str>) -> Lines {
        Lines::new(form, Paint::Plain, name.map(str::to_owned))
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_line_says_whose_it_is_however_it_comes() {
        let mut lines = lines(Form::Numbered, None);
        let (one, two) = (WorkerId(1), WorkerId(2));
        let mut say = |worker, bytes: &[u8]| text(lines.output(worker, Output::Stdout, bytes));
        assert_eq!(say(one, b"a\nb\nhal"), "[1] a\n[1] b\n");
        assert_eq!(say(two, b"\n"), "[2]\n");
        assert_eq!(say(one, b"f\n"), "[1] half\n");
        assert_eq!(say(two, b"last words"), "");
        assert_eq!(text(lines.rest(two, Output::Stdout)), "[2] last words\n");
        assert_eq!(text(lines.rest(two, Output::Stdout)), "");
    }

    #[test]
    fn a_line_without_end_is_not_kept_for_ever() {
        let mut lines = lines(Form::Numbered, Some("api"));
        let written = lines.output(WorkerId(1), Output::Stderr, &[b'x'; LONGEST]);
        assert_eq!(written.len(), "[api 1] \n".len() + LONGEST);
    }

    #[test]
    fn raw_is_byte_by_byte() {
        let mut lines = lines(Form::Raw, Some("api"));
        let written = lines.output(WorkerId(1), Output::Stdout, b"50 %\r");
        assert_eq!(text(written), "50 %\r");
        assert_eq!(text(lines.note(Tone::Bad, "ends")), "api: ends\n");
    }

    #[test]
    fn json_is_an_object_a_line() {
        let mut lines = lines(Form::Json, None);
        let written = text(lines.output(WorkerId(3), Output::Stderr, b"a \"b\"\n\xff\n"));
        let lines = written.lines().map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            let time = line.as_object_mut().unwrap().remove("time").unwrap();
            assert!(time.as_f64().unwrap() > 1.7e9);
            line.to_string()
        });
        let kind = r#"{"kind":"output","stream":"stderr","text""#;
        let expected = [
            format!(r#"{kind}:"a \"b\"","worker":3}}"#),
            format!(r#"{kind}:"{}","worker":3}}"#, '\u{fffd}'),
        ];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }
}
