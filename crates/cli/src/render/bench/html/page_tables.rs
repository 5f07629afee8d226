//! The tables of the page.

use procession_load::{Histogram, Keep, Protocol, Rate, Report, Request, Spec, Spread, Until};

use super::super::figures::{bytes, count, of_rates, percent, rate, share, took};
use super::super::screen::Glyphs;
use super::escaped;

/// Most processes that are told of.
const PROCESSES: usize = 64;

pub(super) fn all(report: &Report, spec: &Spec) -> String {
    let mut tables = latency(report) + &rates(report);
    if !report.failures.is_empty() {
        tables += &failures(report);
    }
    tables += "<div class=\"side\">\n";
    if !report.statuses.is_empty() {
        let rows = report.statuses.iter();
        let rows = rows.map(|(code, number)| {
            vec![
                code.to_string(),
                count(*number),
                percent(share(*number, report.answers)),
            ]
        });
        tables += &table("Status codes", &["Code", "Count", "Share"], rows);
    }
    if !report.by_pid.is_empty() {
        let whole = report.by_pid.values().sum();
        let rows = report.by_pid.iter().take(PROCESSES);
        let rows = rows.map(|(pid, number)| {
            vec![
                pid.to_string(),
                count(*number),
                percent(share(*number, whole)),
            ]
        });
        tables += &table("Answers by process", &["Pid", "Count", "Share"], rows);
    }
    tables += &table(
        "What became of requests",
        &["", "Count"],
        fates(report).into_iter(),
    );
    tables += &table("What was asked", &["", ""], asked(spec).into_iter());
    tables + "</div>\n"
}

/// Every cell is a text: markup in it is shown as it stands.
fn table(caption: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(at, cell)| {
            let tag = if at == 0 { "th" } else { tag };
            format!("<{tag}>{}</{tag}>", escaped(cell))
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let has_head = head.iter().any(|name| !name.is_empty());
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let head = if has_head {
        format!("<thead>{}</thead>\n", cells("th", &head))
    } else {
        String::new()
    };
    let rows: String = rows.map(|row| cells("td", &row)).collect();
    format!(
        "<section>\n<h2>{}</h2>\n<div class=\"scroll\"><table>\n{head}<tbody>\n{rows}</tbody></table></div>\n</section>\n",
        escaped(caption)
    )
}

fn latency(report: &Report) -> String {
    let row = |name: &str, of: &Histogram| {
        let times = [2.5, 50.0, 90.0, 97.5, 99.0, 99.9].map(|p| of.percentile(p));
        let others = [of.mean(), of.stdev(), of.max()];
        let times = times
            .into_iter()
            .chain(others)
            .map(|time| match of.is_empty() {
                true => "–".to_owned(),
                false => took(time, Glyphs::Unicode),
            });
        std::iter::once(name.to_owned())
            .chain(times)
            .collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    if let Some(corrected) = &report.corrected {
        rows.push(row("since it was due", corrected));
        rows.push(row("raw, since it was sent", &report.raw));
    } else {
        rows.push(row("Latency", &report.raw));
    }
    let head = [
        "", "2.5 %", "50 %", "90 %", "97.5 %", "99 %", "99.9 %", "Avg", "Stdev", "Max",
    ];
    table("Latency", &head, rows.into_iter())
}

fn rates(report: &Report) -> String {
    let row = |name: &str, of: &Spread, shown: fn(f64) -> String| {
        let figures = of_rates(of).into_iter().map(shown);
        std::iter::once(name.to_owned())
            .chain(figures)
            .collect::<Vec<_>>()
    };
    let rows = [
        row("Requests", &report.answers_per_second(), rate),
        row("Bytes", &report.bytes_per_second(), bytes),
    ];
    let head = ["", "1 %", "2.5 %", "50 %", "97.5 %", "Avg", "Stdev", "Min"];
    table("Per second", &head, rows.into_iter())
}

fn failures(report: &Report) -> String {
    let rows = report.failures.iter().map(|(class, seen)| {
        let at = |time: std::time::Duration| format!("{:.2} s", time.as_secs_f64());
        vec![
            class.name().to_owned(),
            count(seen.count),
            at(seen.first),
            at(seen.last),
            seen.example.clone(),
        ]
    });
    let head = ["Class", "Count", "First", "Last", "Example"];
    let table = table("Failures", &head, rows);
    table.replacen("<section>", "<section class=\"failures\">", 1)
}

fn fates(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![
        ("sent", count(report.sent)),
        ("answered", count(report.answers)),
        ("lost", count(report.lost())),
        ("under way at the end", count(report.unfinished)),
        ("connections made", count(report.connected)),
    ];
    if let Some(cpu) = report
        .cpu_per_request()
        .filter(|_| !report.client.cpu.is_zero())
    {
        let micros = cpu.as_secs_f64() * 1e6;
        rows.push(("client CPU per request", format!("{micros:.1} µs")));
    }
    if !report.client.latest.is_zero() {
        let latest = took(report.client.latest, Glyphs::Unicode);
        rows.push(("client late by at most", latest));
    }
    let rows = rows.into_iter();
    rows.map(|(name, figure)| vec![name.to_owned(), figure])
        .collect()
}

fn asked(spec: &Spec) -> Vec<Vec<String>> {
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs_f64());
    let urls = Report::new(spec, std::time::SystemTime::UNIX_EPOCH).urls;
    let mut rows: Vec<(&str, String)> = urls.into_iter().map(|url| ("of", url)).collect();
    if spec.protocol == Protocol::Http1 {
        rows.extend(
            spec.requests
                .iter()
                .map(|request| ("request", asked_for(request))),
        );
    }
    rows.push(("connections", spec.connections.to_string()));
    rows.push(("pipelining", spec.pipelining.to_string()));
    rows.push(("threads", spec.threads.to_string()));
    rows.push((
        "until",
        match spec.until {
            Until::Elapsed(time) => seconds(time),
            Until::Requests(number) => format!("{} requests", count(number.get())),
            Until::Stopped => "stopped".to_owned(),
        },
    ));
    rows.push((
        "rate",
        match spec.rate {
            Rate::Free => "as answers come".to_owned(),
            Rate::PerConnection(number) => format!("{number}/s per connection"),
            Rate::Overall(number) => format!("{number}/s"),
        },
    ));
    rows.push((
        "connections are",
        match spec.keep {
            Keep::Alive => "kept".to_owned(),
            Keep::For(number) => format!("replaced after {} requests", number.get()),
            Keep::Close => "closed after each request".to_owned(),
        },
    ));
    rows.push(("time-out", seconds(spec.timeout)));
    if let Some(warmup) = spec.warmup {
        let warmup = format!(
            "{} connections, {}",
            warmup.connections,
            seconds(warmup.lasts)
        );
        rows.push(("warm-up", warmup));
    }
    let rows = rows.into_iter();
    rows.map(|(name, value)| vec![name.to_owned(), value])
        .collect()
}

/// Method and path, and which headers: their values may be secrets.
fn asked_for(request: &Request) -> String {
    let mut text = request.method.clone();
    if let Some(path) = &request.path {
        text = format!("{text} {path}");
    }
    if !request.body.is_empty() {
        text = format!("{text}, {} bytes", request.body.len());
    }
    let names: Vec<&str> = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    if !names.is_empty() {
        text = format!("{text}, with {}", names.join(", "));
    }
    text
}
