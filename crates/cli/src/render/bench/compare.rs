//! Two results beside each other: ours or autocannon's.

use std::path::Path;

use serde_json::Value;

use super::Screen;
use super::figures::{bytes, count, cut, plain, rate, took};
use super::screen::Glyphs;
use super::table::{Cell, Table};
use crate::render::Tone;

/// A result and what it is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) result: &'a Value,
}

/// What was read is no result of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoResult {
    /// Which of both.
    pub(crate) name: String,
    /// What a result would have.
    pub(crate) lacks: &'static str,
}

/// What two results are compared by.
struct Measure {
    name: &'static str,
    /// The way to it.
    pointer: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The more the better.
    Rate,
    /// The more the better.
    Bytes,
    /// Milliseconds: the fewer the better.
    Latency,
    /// Microseconds: the fewer the better.
    Cpu,
    /// How often something went wrong.
    Failures,
}

const fn measure(name: &'static str, pointer: &'static str, kind: Kind) -> Measure {
    Measure {
        name,
        pointer,
        kind,
    }
}

const MEASURES: [Measure; 16] = [
    measure("Req/Sec", "/requests/average", Kind::Rate),
    measure("Bytes/Sec", "/throughput/average", Kind::Bytes),
    measure("Latency avg", "/latency/average", Kind::Latency),
    measure("Latency 50%", "/latency/p50", Kind::Latency),
    measure("Latency 90%", "/latency/p90", Kind::Latency),
    measure("Latency 97.5%", "/latency/p97_5", Kind::Latency),
    measure("Latency 99%", "/latency/p99", Kind::Latency),
    measure("Latency 99.9%", "/latency/p99_9", Kind::Latency),
    measure("Latency max", "/latency/max", Kind::Latency),
    measure("Raw 50%", "/procession/raw_latency_ms/p50", Kind::Latency),
    measure("Raw 99%", "/procession/raw_latency_ms/p99", Kind::Latency),
    measure("Errors", "/errors", Kind::Failures),
    measure("Timeouts", "/timeouts", Kind::Failures),
    measure("Non 2xx", "/non2xx", Kind::Failures),
    measure("Mismatches", "/mismatches", Kind::Failures),
    measure(
        "Client CPU/req",
        "/procession/client/cpu_per_request_us",
        Kind::Cpu,
    ),
];

/// What makes two loads different ones.
const SETUP: [(&str, &str); 5] = [
    ("connections", "/connections"),
    ("pipelining", "/pipelining"),
    ("workers", "/workers"),
    ("url", "/url"),
    ("duration", "/duration"),
];

/// So little is no difference: runs of the same load differ by more.
const ALIKE: f64 = 0.03;

/// The second result beside the first, and whether it is better.
///
/// # Errors
///
/// If one of them is no result of a load.
pub(crate) fn compare(
    first: &Named<'_>,
    second: &Named<'_>,
    screen: &Screen,
) -> Result<String, NoResult> {
    first.check()?;
    second.check()?;
    let (a, b) = (first.short(screen), second.short(screen));
    let mut table = Table::new(["", &a, &b, "Ratio", ""]).last_is_text();
    let coarse = first.is_coarse() || second.is_coarse();
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    for measure in &MEASURES {
        let figures = (
            first.number(measure.pointer),
            second.number(measure.pointer),
        );
        let (ratio, verdict) = match figures {
            (None, None) => continue,
            (Some(0.0), Some(0.0)) if measure.is_particular() => continue,
            (Some(a), Some(b)) => measure.judge((a, b), coarse, screen.glyphs),
            _ => ("?".into(), "".into()),
        };
        let figure = |of: &Named<'_>| of.figure(measure, screen);
        table.row([
            measure.name.into(),
            figure(first),
            figure(second),
            ratio,
            verdict,
        ]);
        of_first.extend(figures.0.is_none().then_some(measure.name));
        of_second.extend(figures.1.is_none().then_some(measure.name));
    }
    let mut text = table.draw(screen);
    for (name, unknown) in [(a, of_first), (b, of_second)] {
        if !unknown.is_empty() {
            text += &format!("{name} does not tell: {}\n", unknown.join(", "));
        }
    }
    Ok(text + &remarks(first, second, screen))
}

impl Named<'_> {
    fn check(&self) -> Result<(), NoResult> {
        let wanted = ["/requests/average", "/latency/p50"];
        match wanted.iter().find(|pointer| self.number(pointer).is_none()) {
            None => Ok(()),
            Some(pointer) => Err(NoResult {
                name: self.name.to_owned(),
                lacks: match *pointer {
                    "/requests/average" => "requests.average",
                    _ => "latency.p50",
                },
            }),
        }
    }

    /// Its name, or the end of it where that is a long path.
    fn short(&self, screen: &Screen) -> String {
        let most = (screen.width / 5).max(8);
        let file = Path::new(self.name)
            .file_name()
            .and_then(|name| name.to_str());
        let name = match file {
            Some(file) if self.name.chars().count() > most => file,
            _ => self.name,
        };
        cut(&plain(name), most, screen.glyphs)
    }

    /// A figure of it; for people.
    fn figure(&self, measure: &Measure, screen: &Screen) -> Cell {
        match self.number(measure.pointer) {
            None => "?".into(),
            Some(0.0) if measure.kind == Kind::Latency && self.is_coarse() => "<1 ms".into(),
            Some(number) => measure.shown(number, screen.glyphs).into(),
        }
    }

    fn number(&self, pointer: &str) -> Option<f64> {
        self.result.pointer(pointer)?.as_f64()
    }

    /// Its latencies are whole milliseconds, as autocannon's are.
    fn is_coarse(&self) -> bool {
        let percentiles = ["/latency/p50", "/latency/p90", "/latency/p99"];
        let mut all = percentiles
            .iter()
            .filter_map(|pointer| self.number(pointer));
        self.result.get("procession").is_none() && all.all(|number| number.fract() == 0.0)
    }
}

impl Measure {
    /// A failure of a kind that is among others: not told of where there is none.
    fn is_particular(&self) -> bool {
        self.kind == Kind::Failures && self.pointer != "/errors"
    }

    /// How much the second is of the first, and whether that is better.
    fn judge(&self, (a, b): (f64, f64), coarse: bool, glyphs: Glyphs) -> (Cell, Cell) {
        if coarse && self.kind == Kind::Latency && (a - b).abs() < 1.0 {
            return ("-".into(), "below 1 ms".into());
        }
        let (verdict, tone) = verdict(self.kind, a, b, glyphs);
        let ratio = match a > 0.0 {
            true => ratio(b / a, glyphs),
            false => "-".to_owned(),
        };
        (Cell::new(ratio, tone), Cell::new(verdict, tone))
    }

    fn shown(&self, number: f64, glyphs: Glyphs) -> String {
        let time = |per_second: f64| {
            let time = std::time::Duration::try_from_secs_f64(number / per_second);
            time.map_or_else(|_| "?".to_owned(), |time| took(time, glyphs))
        };
        match self.kind {
            Kind::Rate => rate(number),
            Kind::Bytes => bytes(number),
            Kind::Latency => time(1e3),
            Kind::Cpu if number < 99.95 => format!("{number:.1} {}", glyphs.micro()),
            Kind::Cpu => time(1e6),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count; what is none saturates"
            )]
            Kind::Failures => count(number as u64),
        }
    }
}

/// `1.25×`.
fn ratio(of: f64, glyphs: Glyphs) -> String {
    let times = match glyphs {
        Glyphs::Unicode => "×",
        Glyphs::Ascii => "x",
    };
    match of {
        0.0 => format!("0{times}"),
        ..0.01 => format!("<0.01{times}"),
        ..10.0 => format!("{of:.2}{times}"),
        ..1000.0 => format!("{of:.0}{times}"),
        _ => format!(">999{times}"),
    }
}

/// Whether the second is better, in a word that needs no colour.
fn verdict(kind: Kind, a: f64, b: f64, glyphs: Glyphs) -> (String, Tone) {
    let (up, down) = match glyphs {
        Glyphs::Unicode => ("▲", "▼"),
        Glyphs::Ascii => ("^", "v"),
    };
    let alike = match kind {
        // Each failure counts.
        Kind::Failures => (a - b).abs() < f64::EPSILON,
        Kind::Rate | Kind::Bytes | Kind::Latency | Kind::Cpu => (a - b).abs() <= a * ALIKE,
    };
    if alike {
        return ("same".to_owned(), Tone::Plain);
    }
    let more_is_better = matches!(kind, Kind::Rate | Kind::Bytes);
    let arrow = if b > a { up } else { down };
    if (b > a) == more_is_better {
        (format!("{arrow} better"), Tone::Good)
    } else {
        (format!("{arrow} worse"), Tone::Bad)
    }
}

/// What should be known before anything is concluded.
fn remarks(first: &Named<'_>, second: &Named<'_>, screen: &Screen) -> String {
    let mut text = String::new();
    for (name, pointer) in SETUP {
        let (a, b) = (
            first.result.pointer(pointer),
            second.result.pointer(pointer),
        );
        if let (Some(a), Some(b)) = (a, b)
            && differ(name, a, b)
        {
            let (a, b) = (plain(&a.to_string()), plain(&b.to_string()));
            let line = format!("not the same load: {name} is {a} and {b}");
            text += &screen.paint.dress(Tone::Weak, &line);
            text.push('\n');
        }
    }
    for one in [first, second] {
        if one.is_coarse() {
            text += &format!(
                "{} tells latencies in whole milliseconds only\n",
                one.short(screen)
            );
        }
    }
    text
}

fn differ(name: &str, a: &Value, b: &Value) -> bool {
    match (name, a.as_f64(), b.as_f64()) {
        // Two runs of ten seconds are never equally long.
        ("duration", Some(a), Some(b)) => (a - b).abs() > a * 0.1,
        // autocannon's 0 is its main thread alone.
        ("workers", Some(a), Some(b)) => (a.max(1.0) - b.max(1.0)).abs() > f64::EPSILON,
        (_, Some(a), Some(b)) => (a - b).abs() > f64::EPSILON,
        _ => a != b,
    }
}
