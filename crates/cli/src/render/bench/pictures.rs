//! Pictures made of characters: how latencies are spread, and what happened when.

use std::time::Duration;

use procession_load::Report;

use super::Screen;
use super::bins::{Bin, bins};
use super::figures::{count, percent, plural, share, short, took};
use super::screen::portion;
use super::slices::{Slice, slices};
use crate::render::{Tone, width_of};

/// Wider pictures are not easier to read.
const WIDEST: usize = 100;
/// Most rows of a histogram.
const ROWS: usize = 22;
/// A bar that can be read.
const NARROWEST_BAR: usize = 12;
/// Rows of the rate in a time line.
const HEIGHT: usize = 6;
/// What a scale is worth showing on the left.
const SCALE: usize = 7;

/// How latencies are spread: a row for each bin. Nothing without answers.
pub(super) fn histogram(report: &Report, screen: &Screen) -> String {
    let latencies = report.latency();
    let bins = bins(latencies, ROWS);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or_default();
    let mut text = String::new();
    if most == 0 {
        return text;
    }
    let marks = [50.0, 90.0, 99.0, 99.9].map(|of| (of, latencies.percentile(of)));
    let labels: Vec<String> = bins
        .iter()
        .map(|bin| took(bin.from, screen.glyphs))
        .collect();
    let label = labels
        .iter()
        .map(|label| width_of(label))
        .max()
        .unwrap_or_default();
    let figures = width_of(&count(most)).max(5) + 2;
    // Label, percent and marks stay; the count only if a bar can still be seen beside it.
    let free = screen.width.min(WIDEST).saturating_sub(label + 2 + 9 + 11);
    let (figures, room) = match free.checked_sub(figures) {
        Some(room) if room >= NARROWEST_BAR => (figures, room),
        _ => (0, free.max(4)),
    };
    for (bin, from) in bins.iter().zip(&labels) {
        let bar = screen.glyphs.bar(share(bin.count, most), room);
        let number = if figures > 0 {
            count(bin.count)
        } else {
            String::new()
        };
        let line = format!(
            "{}{from}  {}{}{number:>figures$}  {:>7}  {}",
            " ".repeat(label - width_of(from)),
            screen.paint.dress(Tone::Good, &bar),
            " ".repeat(room - width_of(&bar)),
            percent(share(bin.count, latencies.len())),
            percentiles_in(bin, &marks),
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// `p50 p90`, `p50-p99.9`: the percentiles that fall into a bin.
fn percentiles_in(bin: &Bin, marks: &[(f64, Duration)]) -> String {
    let within = marks
        .iter()
        .filter(|(_, at)| (bin.from..bin.to).contains(at));
    let names: Vec<String> = within.map(|(of, _)| format!("p{of}")).collect();
    match names.as_slice() {
        [first, .., last] if names.len() > 2 => format!("{first}-{last}"),
        some => some.join(" "),
    }
}

/// What happened when: the rate as columns, below it percentiles and failures. Nothing
/// with fewer than two pieces of time.
pub(super) fn time_line(report: &Report, screen: &Screen) -> String {
    let columns = screen.width.min(WIDEST).saturating_sub(SCALE + 3).max(8);
    let slices = slices(&report.samples, columns);
    if slices.len() < 2 {
        return String::new();
    }
    // As wide as fits, so that the picture does not depend on how many pieces there are.
    let drawn = Drawn {
        screen,
        width: columns.min(slices.len() * 8),
        slices: &slices,
    };
    let mut text = drawn.rate();
    text += &drawn.axis();
    if slices.iter().any(|slice| !slice.p99.is_zero()) {
        text += &drawn.row("p99", Tone::Plain, Slice::p99_micros, |most| {
            took(Duration::from_secs_f64(most / 1e6), screen.glyphs)
        });
    }
    if slices.iter().any(|slice| slice.failed() > 0) {
        let each = (slices[0].to - slices[0].from).as_secs_f64();
        text += &drawn.row("errors", Tone::Bad, Slice::failures, |most| {
            format!("{} in {} s", short(most), short(each))
        });
    }
    text
}

impl Slice {
    fn p99_micros(&self) -> f64 {
        self.p99.as_secs_f64() * 1e6
    }

    #[expect(clippy::cast_precision_loss, reason = "a height in a picture")]
    fn failures(&self) -> f64 {
        self.failed() as f64
    }
}

struct Drawn<'a> {
    screen: &'a Screen,
    slices: &'a [Slice],
    /// Characters of all pieces together.
    width: usize,
}

impl Drawn<'_> {
    /// The rate: rows of columns beside a scale.
    fn rate(&self) -> String {
        let most = self.most(|slice| slice.rate);
        let rates = self.slices.iter().map(|slice| slice.rate);
        let heights: Vec<usize> = rates.map(|rate| height(rate, most, HEIGHT * 8)).collect();
        let mut text = String::new();
        for row in (0..HEIGHT).rev() {
            let label = match row {
                _ if row + 1 == HEIGHT => short(most),
                2 if most > 0.0 => short(most / 2.0),
                _ => String::new(),
            };
            let cells = self.cells(|at| heights[at].saturating_sub(row * 8));
            let cells = self.screen.paint.dress(Tone::Good, cells.trim_end());
            text += format!("{label:>SCALE$} {} {cells}", self.upright()).trim_end();
            text.push('\n');
        }
        text
    }

    /// The time below the columns.
    fn axis(&self) -> String {
        let end = self.slices.last().map_or(Duration::ZERO, |slice| slice.to);
        let end = format!("{} s", short(end.as_secs_f64()));
        let space = self.width.saturating_sub(3 + width_of(&end));
        format!("{:SCALE$}   0 s{}{end}\n", "", " ".repeat(space))
    }

    /// A figure that is told in one row of columns, and its highest.
    fn row(
        &self,
        name: &str,
        tone: Tone,
        figure: fn(&Slice) -> f64,
        shown: impl Fn(f64) -> String,
    ) -> String {
        let most = self.most(figure);
        let cells = self.cells(|at| height(figure(&self.slices[at]), most, 8));
        let upright = self.upright();
        let most = format!("at most {}", shown(most));
        // Beside the columns if there is room, below them else.
        let used = SCALE + 3 + self.width;
        let head = format!("{name:>SCALE$} {upright}");
        if used + 2 + width_of(&most) <= self.screen.width {
            let cells = self.screen.paint.dress(tone, &cells);
            format!("{head} {cells}  {most}\n")
        } else {
            let cells = self.screen.paint.dress(tone, cells.trim_end());
            format!("{head} {cells}\n{:SCALE$}   {most}\n", "")
        }
    }

    /// A row of columns; `eighths` of a piece may be more than a cell holds.
    fn cells(&self, eighths: impl Fn(usize) -> usize) -> String {
        let glyphs = self.screen.glyphs;
        let cell = |column| glyphs.column(eighths(column * self.slices.len() / self.width));
        (0..self.width).map(cell).collect()
    }

    fn upright(&self) -> char {
        match self.screen.glyphs {
            super::screen::Glyphs::Unicode => '│',
            super::screen::Glyphs::Ascii => '|',
        }
    }

    fn most(&self, figure: fn(&Slice) -> f64) -> f64 {
        self.slices.iter().map(figure).fold(0.0, f64::max)
    }
}

/// How many eighths of a cell are filled; one at least, unless it is zero.
fn height(figure: f64, most: f64, eighths: usize) -> usize {
    if figure <= 0.0 || most <= 0.0 {
        return 0;
    }
    portion(figure / most, eighths).max(1)
}

/// How answers are spread over the processes that gave them.
pub(super) fn pids(report: &Report, screen: &Screen) -> String {
    /// More rows tell no more.
    const MOST: usize = 32;
    let most = report.by_pid.values().max().copied().unwrap_or_default();
    let whole = report.by_pid.values().sum();
    let room = screen.width.min(WIDEST).saturating_sub(36).clamp(4, 30);
    let mut text = String::new();
    for (pid, answers) in report.by_pid.iter().take(MOST) {
        let bar = screen.glyphs.bar(share(*answers, most), room);
        let of_all = percent(share(*answers, whole));
        let line = format!("{pid:>9}  {:>11}  {of_all:>7}  {bar}\n", count(*answers));
        text += &line;
    }
    let more = report.by_pid.len().saturating_sub(MOST);
    if more > 0 {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        text += &format!("and {}\n", plural(more, "more process", "more processes"));
    }
    text
}
