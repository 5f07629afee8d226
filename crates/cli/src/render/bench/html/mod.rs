//! A report as a page: one file without scripts that needs no network.

mod charts;
mod page_tables;
mod plot;

use procession_load::{Report, Spec};
use serde_json::Value;

use super::figures::{plain, rate, took};
use super::screen::Glyphs;
use super::tables::warning;

const STYLE: &str = include_str!("style.css");

/// The page.
pub(crate) fn html(report: &Report, spec: &Spec) -> String {
    let title = report
        .title
        .clone()
        .unwrap_or_else(|| report.urls.join(", "));
    let title = escaped(&title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"generator\" content=\"procession bench\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    page += &header(report, &title);
    page += &cards(report);
    page += &warnings(report);
    page += "<div class=\"charts\">\n";
    page.extend(charts::all(report).iter().map(figure));
    page += "</div>\n";
    page += &page_tables::all(report, spec);
    page + "</main>\n</body>\n</html>\n"
}

fn figure(chart: &charts::Chart) -> String {
    let class = if chart.is_tall { " class=\"tall\"" } else { "" };
    format!(
        "<figure{class}>\n<figcaption>{}<small>{}</small></figcaption>\n{}</figure>\n",
        chart.name, chart.legend, chart.picture
    )
}

fn header(report: &Report, title: &str) -> String {
    let json = procession_load::json(report);
    let start = json
        .get("start")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let day = start.get(..10).unwrap_or_default();
    let time = start.get(11..19).unwrap_or_default();
    let seconds = report.duration.as_secs_f64();
    let urls = if report.title.is_some() {
        format!("<code>{}</code> · ", escaped(&report.urls.join(", ")))
    } else {
        String::new()
    };
    let pipelining = match report.pipelining {
        0 | 1 => String::new(),
        many => format!(" × {many} pipelined"),
    };
    format!(
        "<header>\n<h1>{title}</h1>\n<p>{urls}{} connections{pipelining} · {seconds:.1} s · \
         <time datetime=\"{start}\">{day} {time} UTC</time></p>\n</header>\n",
        report.connections
    )
}

/// The figures that are looked for first.
fn cards(report: &Report) -> String {
    let latency = report.latency();
    let time = |of_hundred| match latency.is_empty() {
        true => "–".to_owned(),
        false => took(latency.percentile(of_hundred), Glyphs::Unicode),
    };
    let lost = report.lost();
    let mut cards = vec![
        ("requests / s", rate(report.answers_per_second().mean()), ""),
        ("median latency", time(50.0), ""),
        ("99 % latency", time(99.0), ""),
        ("answers", super::figures::count(report.answers), ""),
        (
            "lost",
            super::figures::count(lost),
            match (lost, report.answers) {
                (0, 0) => "",
                (0, _) => "good",
                _ => "bad",
            },
        ),
    ];
    let other = report.answers.saturating_sub(report.of_hundred(2));
    if other > 0 && !report.statuses.is_empty() {
        cards.push(("not 2xx", super::figures::count(other), "bad"));
    }
    let cards = cards.iter().map(|(name, value, class)| {
        format!("<div class=\"card {class}\"><b>{value}</b><span>{name}</span></div>\n")
    });
    format!(
        "<section class=\"cards\">\n{}</section>\n",
        cards.collect::<String>()
    )
}

fn warnings(report: &Report) -> String {
    let limits = report.client.limits.iter();
    let lines = limits.map(|limit| {
        let text = escaped(&warning(*limit));
        format!("<p class=\"warning\"><b>Warning:</b> {text}</p>\n")
    });
    lines.collect()
}

/// A text as one: nothing in it is markup, and nothing moves what is around it.
fn escaped(text: &str) -> String {
    let text = plain(text);
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
