//! What is said when a load is over.

use procession_load::{Class, Histogram, Limit, Report, Spec, Spread, Until};

use super::Screen;
use super::figures::{bytes, count, cut, of_rates, percent, plain, plural, rate, thousands, took};
use super::pictures;
use super::table::{Cell, Table};
use crate::render::{Tone, wrap};

/// What is only shown if asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// All percentiles of the latency.
    pub(crate) latency_table: bool,
    /// How often each status came.
    pub(crate) status_codes: bool,
}

/// A failure's example has this much room, however narrow the screen.
const LEAST_EXAMPLE: usize = 16;

/// What will be asked of whom: `Running 10s test @ http://127.0.0.1:8000/` and how.
pub(crate) fn heading(spec: &Spec) -> String {
    let report = Report::new(spec, std::time::SystemTime::UNIX_EPOCH);
    let what = match spec.until {
        Until::Elapsed(time) => format!("{}s test", time.as_secs_f64()),
        Until::Requests(number) => format!("{} requests test", number.get()),
        Until::Stopped => "test until stopped".to_owned(),
    };
    let mut text = format!("Running {what} @ {}", plain(&report.urls.join(", ")));
    let connections = u64::try_from(spec.connections).unwrap_or(u64::MAX);
    text += &format!("\n{}", plural(connections, "connection", "connections"));
    if spec.pipelining > 1 {
        text += &format!(" with {} pipelining factor", spec.pipelining);
    }
    if spec.threads > 1 {
        text += &format!("\n{} threads", spec.threads);
    }
    text + "\n"
}

/// All that was found: tables, pictures, warnings and the closing line.
pub(crate) fn tables(report: &Report, shown: Shown, screen: &Screen) -> String {
    let mut blocks = vec![Table::draw_all(
        [latency(report, screen), rates(report)],
        screen,
    )];
    if shown.status_codes && !report.statuses.is_empty() {
        blocks.push(statuses(report, screen));
    }
    blocks.push(sampling(report));
    if shown.latency_table {
        blocks.push(percentiles(report, screen));
    }
    let titled = |title: &str, picture: String| match picture.is_empty() {
        true => picture,
        false => format!("{}\n{picture}", screen.title(title)),
    };
    blocks.push(titled("Latency", pictures::histogram(report, screen)));
    blocks.push(titled(
        "Requests per second",
        pictures::time_line(report, screen),
    ));
    blocks.push(titled("Answers by process", pictures::pids(report, screen)));
    blocks.push(failures(report, screen));
    blocks.push(client(report, screen) + &closing(report));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n")
}

fn latency(report: &Report, screen: &Screen) -> Table {
    let head = ["Stat", "2.5%", "50%", "97.5%", "99%", "Avg", "Stdev", "Max"];
    let mut table = Table::new(head);
    table.row(latencies("Latency", report.latency(), screen));
    if report.corrected.is_some() {
        table.row(latencies("Raw latency", &report.raw, screen));
    }
    table
}

fn latencies(name: &str, of: &Histogram, screen: &Screen) -> [Cell; 8] {
    let all = [
        of.percentile(2.5),
        of.percentile(50.0),
        of.percentile(97.5),
        of.percentile(99.0),
        of.mean(),
        of.stdev(),
        of.max(),
    ];
    let [a, b, c, d, e, f, g] = all.map(|time| Cell::from(figure(of, took(time, screen.glyphs))));
    [name.into(), a, b, c, d, e, f, g]
}

/// Without answers there is no latency, not one of 0.
fn figure(of: &Histogram, text: String) -> String {
    if of.is_empty() { "-".to_owned() } else { text }
}

fn rates(report: &Report) -> Table {
    let mut table = Table::new(["Stat", "1%", "2.5%", "50%", "97.5%", "Avg", "Stdev", "Min"]);
    table.row(spread("Req/Sec", &report.answers_per_second(), rate));
    table.row(spread("Bytes/Sec", &report.bytes_per_second(), bytes));
    table
}

fn spread(name: &str, of: &Spread, shown: fn(f64) -> String) -> [Cell; 8] {
    let [a, b, c, d, e, f, g] = of_rates(of).map(|figure| Cell::from(shown(figure)));
    [name.into(), a, b, c, d, e, f, g]
}

fn statuses(report: &Report, screen: &Screen) -> String {
    let mut table = Table::new(["Code", "Count"]);
    for (code, number) in &report.statuses {
        let tone = match code {
            200..=299 => Tone::Good,
            100..=399 => Tone::Plain,
            _ => Tone::Bad,
        };
        table.row([Cell::new(code.to_string(), tone), count(*number).into()]);
    }
    table.draw(screen)
}

fn sampling(report: &Report) -> String {
    let every = match report.sample.as_secs_f64() {
        1.0 => "once per second".to_owned(),
        other => format!("every {other} seconds"),
    };
    let samples = report.samples.len();
    format!("Req/Bytes counts sampled {every}.\n# of samples: {samples}\n")
}

fn percentiles(report: &Report, screen: &Screen) -> String {
    const ALL: [f64; 15] = [
        0.001, 0.01, 0.1, 1.0, 2.5, 10.0, 25.0, 50.0, 75.0, 90.0, 97.5, 99.0, 99.9, 99.99, 99.999,
    ];
    let at = |of: &Histogram, percentile| -> Cell {
        figure(of, took(of.percentile(percentile), screen.glyphs)).into()
    };
    let draw = |table: Table| table.draw(screen);
    match &report.corrected {
        None => {
            let mut table = Table::new(["Percentile", "Latency"]);
            for percentile in ALL {
                table.row([percentile.to_string().into(), at(&report.raw, percentile)]);
            }
            draw(table)
        }
        Some(corrected) => {
            let mut table = Table::new(["Percentile", "Latency", "Raw latency"]);
            for percentile in ALL {
                let (due, sent) = (at(corrected, percentile), at(&report.raw, percentile));
                table.row([percentile.to_string().into(), due, sent]);
            }
            draw(table)
        }
    }
}

fn failures(report: &Report, screen: &Screen) -> String {
    if report.failures.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["Failure", "Count", "First", "Last", "Example"]).last_is_text();
    let mut examples = Vec::new();
    for (class, seen) in &report.failures {
        let at = |time: std::time::Duration| Cell::from(format!("{:.2} s", time.as_secs_f64()));
        let name = Cell::new(class.name(), Tone::Bad);
        let number = count(seen.count).into();
        table.row([name, number, at(seen.first), at(seen.last), "".into()]);
        examples.push(plain(&seen.example));
    }
    let room = table.room(screen).max(LEAST_EXAMPLE);
    for (at, example) in examples.iter().enumerate() {
        table.fill(at, cut(example, room, screen.glyphs));
    }
    table.draw(screen)
}

/// What the load cost the client, and where it may have been the limit.
fn client(report: &Report, screen: &Screen) -> String {
    let client = &report.client;
    let mut lines = Vec::new();
    if report.corrected.is_some() {
        let text = "Latency counts from when a request was due, raw latency from when it was sent.";
        lines.push((Tone::Plain, text.to_owned()));
    }
    if !client.latest.is_zero() {
        let latest = took(client.latest, screen.glyphs);
        let text = format!("The client itself sent at most {latest} late.");
        lines.push((Tone::Plain, text));
    }
    if let Some(each) = report.cpu_per_request().filter(|_| !client.cpu.is_zero()) {
        let micros = each.as_secs_f64() * 1e6;
        let all = took(client.cpu, screen.glyphs);
        let text = format!(
            "{micros:.1} {} per request, {all} in all",
            screen.glyphs.micro()
        );
        lines.push((Tone::Plain, format!("Client CPU: {text}")));
    }
    let limits = client.limits.iter();
    lines.extend(limits.map(|limit| (Tone::Weak, format!("warning: {}", warning(*limit)))));
    let mut text = String::new();
    for (tone, line) in lines {
        for line in wrap(&line, screen.width.clamp(24, 100)) {
            text += &screen.paint.dress(tone, &line);
            text.push('\n');
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// A limit of the client in words, and what to do about it.
pub(super) fn warning(limit: Limit) -> String {
    match limit {
        Limit::Cpu(share) => format!(
            "the client used {} of its cores; the server may be faster than these figures say: \
             use more threads (-w) or another machine",
            percent(share)
        ),
        Limit::Starved(share) => format!(
            "the client had to wait for a core for {} of the time: others used them, perhaps the \
             server; latency is partly the client's own: load from another machine, or leave it a core",
            percent(share)
        ),
        Limit::Ports(times) => format!(
            "{} found no free local port: keep connections for longer (no -D), wait a minute, \
             or widen net.ipv4.ip_local_port_range",
            plural(times, "connection", "connections")
        ),
        Limit::Descriptors(times) => format!(
            "{} found no free file descriptor: raise the limit (ulimit -n) or use fewer connections (-c)",
            plural(times, "connection", "connections")
        ),
        _ => format!("the client was at a limit: {limit:?}"),
    }
}

/// The last lines, as autocannon's; then what became of every request.
fn closing(report: &Report) -> String {
    let mut text = String::new();
    let other: u64 = [1, 3, 4, 5]
        .map(|digit| report.of_hundred(digit))
        .iter()
        .sum();
    if other > 0 {
        let right = report.of_hundred(2);
        text += &format!("{right} 2xx responses, {other} non 2xx responses\n");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let read = bytes(report.bytes as f64);
    let seconds = (report.duration.as_secs_f64() * 100.0).round() / 100.0;
    text += &format!(
        "{} requests in {seconds}s, {read} read\n",
        thousands(report.sent)
    );
    let timeouts = report.failed(Class::TimedOut) + report.failed(Class::Hung);
    if report.lost() > 0 {
        let (errors, timeouts) = (thousands(report.lost()), thousands(timeouts));
        text += &format!("{errors} errors ({timeouts} timeouts)\n");
    }
    let mismatches = report.failed(Class::Mismatch);
    if mismatches > 0 {
        text += &format!("{} requests with mismatched body\n", thousands(mismatches));
    }
    text += &format!(
        "{}, {} lost",
        plural(report.answers, "answer", "answers"),
        count(report.lost())
    );
    if report.unfinished > 0 {
        text += &format!(", {} under way at the end", count(report.unfinished));
    }
    text + "\n"
}
