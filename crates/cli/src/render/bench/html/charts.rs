//! What is plotted: rate, percentiles and failures over time, and how latencies are spread.

use std::fmt::Write as _;
use std::time::Duration;

use procession_load::{Class, Histogram, Report};

use super::super::bins::bins;
use super::super::figures::{count, percent, plural, rate, share, short, took};
use super::super::screen::Glyphs;
use super::super::slices::{Slice, slices};
use super::escaped;
use super::plot::{Plot, Scale, WIDTH};

/// More pieces of time cannot be told apart.
const PIECES: usize = 200;
/// Most bars of the histogram.
const BARS: usize = 22;

/// A picture and what is said above it.
pub(super) struct Chart {
    pub(super) name: &'static str,
    /// What its colours mean.
    pub(super) legend: String,
    pub(super) picture: String,
    /// As tall as two others.
    pub(super) is_tall: bool,
}

impl Chart {
    fn new(name: &'static str, legend: String, picture: String) -> Self {
        Self {
            name,
            legend,
            picture,
            is_tall: false,
        }
    }
}

/// The charts that have something to show.
pub(super) fn all(report: &Report) -> Vec<Chart> {
    let slices = slices(&report.samples, PIECES);
    let mut charts = Vec::new();
    if !slices.is_empty() {
        let legend = LINES.map(|(name, class, _)| key(class, name)).join("");
        let no_legend = String::new();
        charts.push(Chart::new("Requests per second", no_legend, rates(&slices)));
        if slices.iter().any(|slice| slice.rate > 0.0) {
            let picture = percentiles(&slices);
            charts.push(Chart::new("Latency over time", legend, picture));
        }
    }
    if !report.latency().is_empty() {
        let legend = report.corrected.as_ref().map_or(String::new(), |_| {
            key("c1", "since it was due") + &key("c2", "raw, since it was sent")
        });
        charts.push(Chart::new("Latency by percentile", legend, curve(report)));
        charts.push(histogram(report.latency()));
    }
    let classes = classes(report);
    if !classes.is_empty() {
        let legend = classes
            .iter()
            .map(|class| key(&colour(*class), class.name()));
        let picture = failures(&slices, &classes);
        charts.push(Chart::new("Failures over time", legend.collect(), picture));
    }
    charts
}

fn key(class: &str, name: &str) -> String {
    format!("<span class=\"key {class}\">{}</span>", escaped(name))
}

/// The classes whose failures are in the time line.
fn classes(report: &Report) -> Vec<Class> {
    let seen = |class: &Class| {
        let mut samples = report.samples.iter();
        samples.any(|sample| sample.failures.get(class).is_some_and(|count| *count > 0))
    };
    Class::ALL.into_iter().filter(seen).collect()
}

fn colour(class: Class) -> String {
    let at = Class::ALL.iter().position(|other| *other == class);
    format!("f{}", at.unwrap_or_default())
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn time_axis(slices: &[Slice]) -> Scale {
    Scale::Linear(slices.last().map_or(1.0, |last| seconds(last.to)).max(1e-6))
}

fn in_seconds(at: f64) -> String {
    format!("{} s", short(at))
}

fn in_micros(micros: f64) -> String {
    took(Duration::from_secs_f64(micros / 1e6), Glyphs::Unicode)
}

/// `2.0–3.0 s`.
fn when(slice: &Slice) -> String {
    format!("{:.1}–{:.1} s", seconds(slice.from), seconds(slice.to))
}

fn rates(slices: &[Slice]) -> String {
    let most = slices.iter().map(|slice| slice.rate).fold(0.0, f64::max);
    let mut plot = Plot::new(
        "requests per second over time",
        (time_axis(slices), &in_seconds),
        (Scale::linear(most), &short),
    );
    for slice in slices {
        plot.area("fill c1", span(slice), (0.0, slice.rate));
    }
    let steps = slices.iter().flat_map(|slice| {
        let (from, to) = span(slice);
        [Some((from, slice.rate)), Some((to, slice.rate))]
    });
    plot.line("c1", steps);
    for slice in slices {
        let text = format!("{}: {} req/s", when(slice), rate(slice.rate));
        plot.tip(span(slice), &text);
    }
    plot.end()
}

fn span(slice: &Slice) -> (f64, f64) {
    (seconds(slice.from), seconds(slice.to))
}

type Line = (&'static str, &'static str, fn(&Slice) -> Duration);
const LINES: [Line; 4] = [
    ("max", "c4", |slice| slice.max),
    ("99 %", "c3", |slice| slice.p99),
    ("90 %", "c2", |slice| slice.p90),
    ("50 %", "c1", |slice| slice.p50),
];

fn percentiles(slices: &[Slice]) -> String {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let all = slices
        .iter()
        .flat_map(|slice| [micros(slice.p50), micros(slice.max)]);
    let mut plot = Plot::new(
        "latency percentiles over time",
        (time_axis(slices), &in_seconds),
        (Scale::logarithmic(all), &in_micros),
    );
    for (_, class, figure) in LINES {
        let points = slices.iter().map(|slice| {
            let (from, to) = span(slice);
            // Without answers there is no latency.
            (slice.rate > 0.0).then(|| (f64::midpoint(from, to), micros(figure(slice))))
        });
        plot.line(class, points);
    }
    for slice in slices {
        let mut text = when(slice);
        for (name, _, figure) in LINES {
            let _ = write!(text, "\n{name}: {}", took(figure(slice), Glyphs::Unicode));
        }
        plot.tip(span(slice), &text);
    }
    plot.end()
}

fn failures(slices: &[Slice], classes: &[Class]) -> String {
    let number = |slice: &Slice, class: &Class| {
        #[expect(clippy::cast_precision_loss, reason = "a height in a picture")]
        let number = slice.failures.get(class).copied().unwrap_or_default() as f64;
        number
    };
    let whole = |slice: &Slice| {
        classes
            .iter()
            .map(|class| number(slice, class))
            .sum::<f64>()
    };
    let most = slices.iter().map(whole).fold(0.0, f64::max);
    let mut plot = Plot::new(
        "failures over time",
        (time_axis(slices), &in_seconds),
        (Scale::linear(most), &short),
    );
    for slice in slices.iter().filter(|slice| slice.failed() > 0) {
        let mut text = when(slice);
        let mut low = 0.0;
        for class in classes {
            let high = low + number(slice, class);
            if high > low {
                plot.area(
                    &format!("solid {}", colour(*class)),
                    span(slice),
                    (low, high),
                );
                let _ = write!(text, "\n{}: {}", class.name(), short(high - low));
            }
            low = high;
        }
        plot.tip(span(slice), &text);
    }
    plot.end()
}

/// Bars that lie, so that each can have its name.
fn histogram(latencies: &Histogram) -> Chart {
    const ROW: f64 = 18.0;
    const LEFT: f64 = 54.0;
    const RIGHT: f64 = 90.0;
    let bins = bins(latencies, BARS);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or_default();
    let mut height = 4.0;
    let mut rows = String::new();
    for bin in &bins {
        let (y, text) = (height, height + 13.0);
        let width = share(bin.count, most) * (WIDTH - LEFT - RIGHT);
        let width = if bin.count > 0 { width.max(1.0) } else { 0.0 };
        let (from, to) = (
            took(bin.from, Glyphs::Unicode),
            took(bin.to, Glyphs::Unicode),
        );
        let answers = plural(bin.count, "answer", "answers");
        let of_all = percent(share(bin.count, latencies.len()));
        let _ = writeln!(
            rows,
            "<g class=\"row\"><title>{from} to {to}: {answers}, {}</title><rect class=\"tip\" x=\"0\" y=\"{y}\" width=\"{WIDTH}\" height=\"{ROW}\"/>\
             <text x=\"{:.0}\" y=\"{text}\" class=\"end\">{from}</text><rect class=\"solid c1\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{} · {}</text></g>",
            escaped(&of_all),
            LEFT - 6.0,
            y + 2.0,
            ROW - 4.0,
            LEFT + width + 6.0,
            short_count(bin.count),
            escaped(&of_all),
        );
        height += ROW;
    }
    height += 4.0;
    let picture = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"latency histogram\">\n{rows}</svg>\n"
    );
    Chart {
        is_tall: bins.len() > 12,
        ..Chart::new("Latency histogram", String::new(), picture)
    }
}

fn short_count(number: u64) -> String {
    if number < 10_000 {
        return count(number);
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let number = number as f64;
    short(number)
}

/// Latency by percentile, each nine as wide as the one before.
fn curve(report: &Report) -> String {
    /// Pieces of a nine.
    const STEPS: u32 = 24;
    let whole = report.latency().len();
    // As many nines as there are latencies to tell of.
    let nines = whole.checked_ilog10().unwrap_or_default().clamp(1, 5);
    let percentile = |step: u32| 100.0 * (1.0 - 10_f64.powf(-f64::from(step) / f64::from(STEPS)));
    let micros = |of: &Histogram, step| of.percentile(percentile(step)).as_secs_f64() * 1e6;
    let lines = report.corrected.iter().chain([&report.raw]);
    let lines: Vec<&Histogram> = lines.collect();
    let ends = lines
        .iter()
        .flat_map(|of| [micros(of, 0), micros(of, nines * STEPS)]);
    let across = Scale::Linear(f64::from(nines * STEPS));
    let mut plot = Plot::new(
        "latency by percentile",
        (across, &|_| String::new()),
        (Scale::logarithmic(ends), &in_micros),
    );
    for (of, class) in lines.iter().zip(["c1", "c2"]) {
        let points = (0..=nines * STEPS).map(|step| Some((f64::from(step), micros(of, step))));
        plot.line(class, points);
    }
    for nine in 0..=nines {
        let name = ["0", "90", "99", "99.9", "99.99", "99.999"];
        plot.mark(f64::from(nine * STEPS), name[nine as usize]);
    }
    for step in (0..nines * STEPS).step_by(2) {
        let at = percentile(step + 1);
        let mut text = format!("{} %:", (at * 10_000.0).round() / 10_000.0);
        for (of, name) in lines.iter().zip(["", " raw "]) {
            let _ = write!(text, "{name} {}", took(of.percentile(at), Glyphs::Unicode));
        }
        plot.tip((f64::from(step), f64::from(step + 2)), &text);
    }
    plot.end()
}
