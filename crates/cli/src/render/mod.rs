//! Plain text for terminals and files: aligned columns, no more than 80 wide where words allow.

pub(crate) mod bench;
mod paint;
pub(crate) mod run;
pub(crate) mod trace;

pub(crate) use paint::{Paint, Tone};

/// How wide a line may become before its note is wrapped.
const WIDTH: usize = 80;
/// A note that would be narrower than this goes to a line of its own.
const NARROWEST_NOTE: usize = 24;
const GAP: &str = "  ";

/// Rows under a title, aligned with each other.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// A name, its value, and a remark about it that is wrapped.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) tone: Tone,
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(label: impl Into<String>, value: impl Into<String>, tone: Tone) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            tone,
            note: String::new(),
        }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// The sections, a blank line before each.
pub(crate) fn sections(sections: &[Section], paint: Paint) -> String {
    let mut text = String::new();
    for section in sections {
        text.push('\n');
        text.push_str(&paint.dress(Tone::Title, section.title));
        text.push('\n');
        let label_width = widest(&section.rows, |row| &row.label);
        let value_width = widest(&section.rows, |row| &row.value);
        for row in &section.rows {
            append(&mut text, row, (label_width, value_width), paint);
        }
    }
    text
}

fn append(text: &mut String, row: &Row, (label_width, value_width): (usize, usize), paint: Paint) {
    let before_note = GAP.len() + label_width + GAP.len() + value_width + GAP.len();
    let pad = |text: &str, width: usize| " ".repeat(width - width_of(text));
    text.push_str(GAP);
    text.push_str(&row.label);
    text.push_str(&pad(&row.label, label_width));
    text.push_str(GAP);
    text.push_str(&paint.dress(row.tone, &row.value));
    if !row.note.is_empty() {
        let beside = WIDTH.saturating_sub(before_note) >= NARROWEST_NOTE;
        let indent = if beside { before_note } else { GAP.len() * 2 };
        for (number, line) in wrap(&row.note, WIDTH - indent).iter().enumerate() {
            if number == 0 && beside {
                text.push_str(&pad(&row.value, value_width));
                text.push_str(GAP);
            } else {
                text.push('\n');
                text.push_str(&" ".repeat(indent));
            }
            text.push_str(line);
        }
    }
    // A row may lack its value.
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// Lines of whole words; a word that is too long has a line for itself.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width_of(line) + 1 + width_of(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn widest(rows: &[Row], cell: fn(&Row) -> &String) -> usize {
    let widths = rows.iter().map(|row| width_of(cell(row)));
    widths.max().unwrap_or(0)
}

fn width_of(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(rows: Vec<Row>) -> String {
        let section = Section {
            title: "things",
            rows,
        };
        sections(&[section], Paint::Plain)
    }

    #[test]
    fn columns_are_aligned_and_notes_are_wrapped_beside_their_row() {
        let text = plain(vec![
            Row::new("a", "yes", Tone::Good),
            Row::new("longer", "no", Tone::Bad).note("word ".repeat(20)),
        ]);
        let note = "word word word word word word word word word word word word";
        let expected = format!(
            "\nthings\n  a       yes\n  longer  no   {note} word\n               {}\n",
            "word word word word word word word"
        );
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_note_without_room_beside_its_row_goes_below() {
        let text = plain(vec![
            Row::new("x".repeat(60), "yes", Tone::Good).note("because"),
        ]);
        assert!(text.ends_with("yes\n    because\n"), "{text}");
    }
}
