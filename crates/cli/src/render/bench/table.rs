//! A table with lines around it.

use super::screen::{Glyphs, Screen};
use crate::render::{Tone, width_of};

/// Rows of cells under a head. The first column is text, the others are figures.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// This column is text, too.
    text: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

/// The lines of a table: of the edge above, between head and rows, below; and upright.
struct Frame {
    above: [&'static str; 3],
    between: [&'static str; 3],
    below: [&'static str; 3],
    flat: &'static str,
    upright: &'static str,
}

const UNICODE: Frame = Frame {
    above: ["┌", "┬", "┐"],
    between: ["├", "┼", "┤"],
    below: ["└", "┴", "┘"],
    flat: "─",
    upright: "│",
};
const ASCII: Frame = Frame {
    above: ["+"; 3],
    between: ["+"; 3],
    below: ["+"; 3],
    flat: "-",
    upright: "|",
};

impl Table {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self {
            head: head.map(str::to_owned).to_vec(),
            rows: Vec::new(),
            text: None,
        }
    }

    /// Makes the last column one of text.
    pub(super) fn last_is_text(mut self) -> Self {
        self.text = Some(self.head.len() - 1);
        self
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.head.len(), "as many cells as the head has");
        self.rows.push(cells.to_vec());
    }

    /// Puts a text into the last column of a row.
    pub(super) fn fill(&mut self, row: usize, text: String) {
        if let Some(cell) = self.rows.get_mut(row).and_then(|row| row.last_mut()) {
            cell.text = text;
        }
    }

    /// How much of a line is left for the last column if it is the only one that may grow.
    pub(super) fn room(&self, screen: &Screen) -> usize {
        let widths = self.widths();
        let others = &widths[..widths.len() - 1];
        let taken = others.iter().map(|width| width + 3).sum::<usize>() + 4;
        screen.width.saturating_sub(taken)
    }

    /// The table. If it is too wide it loses its lines, then rows and columns change places.
    pub(super) fn draw(self, screen: &Screen) -> String {
        Self::draw_all([self], screen)
    }

    /// Tables below each other that look alike.
    pub(super) fn draw_all<const N: usize>(tables: [Self; N], screen: &Screen) -> String {
        let fit = |width: fn(&Self) -> usize, tables: &[Self; N]| {
            tables.iter().all(|table| width(table) <= screen.width)
        };
        let open = |tables: [Self; N]| tables.map(|table| table.open(screen)).join("\n");
        let framed = |tables: [Self; N]| tables.map(|table| table.framed(screen)).concat();
        if fit(Self::width, &tables) {
            return framed(tables);
        }
        if fit(Self::open_width, &tables) || tables.iter().any(|table| table.text.is_some()) {
            return open(tables);
        }
        let turned = tables.map(|table| table.turned());
        if fit(Self::width, &turned) {
            return framed(turned);
        }
        open(turned)
    }

    fn turned(&self) -> Self {
        let heads = self.head.iter().take(1).cloned();
        let head = heads.chain(self.rows.iter().map(|row| row[0].text.clone()));
        let column = |at: usize| {
            let first = Cell::from(self.head[at].clone());
            let others = self.rows.iter().map(|row| row[at].clone());
            std::iter::once(first).chain(others).collect()
        };
        Self {
            head: head.collect(),
            rows: (1..self.head.len()).map(column).collect(),
            text: None,
        }
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |(at, head): (usize, &String)| {
            let cells = self.rows.iter().map(|row| width_of(&row[at].text));
            cells.fold(width_of(head), usize::max)
        };
        self.head.iter().enumerate().map(widest).collect()
    }

    fn width(&self) -> usize {
        self.widths().iter().map(|width| width + 3).sum::<usize>() + 1
    }

    fn open_width(&self) -> usize {
        self.widths().iter().map(|width| width + 2).sum::<usize>() - 2
    }

    /// With no line but one below the head.
    fn open(&self, screen: &Screen) -> String {
        let flat = match screen.glyphs {
            Glyphs::Unicode => UNICODE.flat,
            Glyphs::Ascii => ASCII.flat,
        };
        let widths = self.widths();
        let line = |cells: &[Cell]| {
            let cells: Vec<String> = self.cells(cells, &widths, screen).collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        let rule = flat.repeat(self.open_width().min(screen.width));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{rule}\n{rows}", line(&self.titles()))
    }

    fn framed(&self, screen: &Screen) -> String {
        let frame = match screen.glyphs {
            Glyphs::Unicode => UNICODE,
            Glyphs::Ascii => ASCII,
        };
        let widths = self.widths();
        let edge = |[left, middle, right]: [&str; 3]| {
            let cells = widths.iter().map(|width| frame.flat.repeat(width + 2));
            format!("{left}{}{right}\n", cells.collect::<Vec<_>>().join(middle))
        };
        let line = |cells: &[Cell]| {
            let cells = self.cells(cells, &widths, screen);
            let cells: String = cells
                .map(|cell| format!(" {cell} {}", frame.upright))
                .collect();
            format!("{}{cells}\n", frame.upright)
        };
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        let (above, between, below) = (edge(frame.above), edge(frame.between), edge(frame.below));
        format!("{above}{}{between}{rows}{below}", line(&self.titles()))
    }

    fn titles(&self) -> Vec<Cell> {
        let head = self.head.iter();
        head.map(|text| Cell::new(text.as_str(), Tone::Title))
            .collect()
    }

    /// Cells as wide as their column.
    fn cells<'a>(
        &'a self,
        cells: &'a [Cell],
        widths: &'a [usize],
        screen: &'a Screen,
    ) -> impl Iterator<Item = String> + 'a {
        cells
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(at, (cell, width))| {
                let space = " ".repeat(width - width_of(&cell.text));
                let tone = if at == 0 && cell.tone == Tone::Plain {
                    Tone::Title
                } else {
                    cell.tone
                };
                let text = screen.paint.dress(tone, &cell.text);
                if at == 0 || self.text == Some(at) {
                    text + &space
                } else {
                    space + &text
                }
            })
    }
}
