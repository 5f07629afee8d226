//! A report for programs: autocannon's keys, and what it has no key for.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json as object};

use crate::{Class, Histogram, Limit, Report, Sample, Spread};

/// The percentiles that autocannon tells, and their keys.
const PERCENTILES: [(&str, f64); 15] = [
    ("p0_001", 0.001),
    ("p0_01", 0.01),
    ("p0_1", 0.1),
    ("p1", 1.0),
    ("p2_5", 2.5),
    ("p10", 10.0),
    ("p25", 25.0),
    ("p50", 50.0),
    ("p75", 75.0),
    ("p90", 90.0),
    ("p97_5", 97.5),
    ("p99", 99.0),
    ("p99_9", 99.9),
    ("p99_99", 99.99),
    ("p99_999", 99.999),
];

/// The report as one object: what autocannon's `--json` has, under the same keys and in
/// the same units, and an object `procession` with all that it has no key for, where a
/// key ends in its unit.
///
/// # Node
///
/// Latencies are milliseconds, as autocannon's, but with three digits behind the point.
/// `requests` and `throughput` are always per second; autocannon's are per sample interval.
/// `workers` is the number of threads, so 1 where autocannon, which counts those beside its
/// main thread, says 0. `resets`, which counts restarts of its request scripts, is always 0.
#[must_use]
pub fn json(report: &Report) -> Value {
    let mut members = Map::new();
    let mut add = |key: &str, value: Value| members.insert(key.to_owned(), value);
    if let Some(title) = &report.title {
        add("title", title.as_str().into());
    }
    if let Some(path) = &report.socket_path {
        add("socketPath", path.as_str().into());
    }
    match report.urls.as_slice() {
        [url] => add("url", url.as_str().into()),
        urls => add("url", urls.into()),
    };
    add("connections", report.connections.into());
    add("sampleInt", in_milliseconds(report.sample));
    add("pipelining", report.pipelining.into());
    add("workers", report.threads.into());
    add("duration", rounded(report.duration.as_secs_f64(), 2));
    add("samples", report.samples.len().into());
    add("start", date(report.start).into());
    add("finish", date(report.start + report.duration).into());
    let timeouts = report.failed(Class::TimedOut) + report.failed(Class::Hung);
    add("errors", report.lost().into());
    add("timeouts", timeouts.into());
    add("mismatches", report.failed(Class::Mismatch).into());
    add("resets", 0.into());
    let of_hundred = |digit| report.of_hundred(digit);
    add(
        "non2xx",
        [1, 3, 4, 5].map(of_hundred).iter().sum::<u64>().into(),
    );
    for digit in 1..=5 {
        add(&format!("{digit}xx"), of_hundred(digit).into());
    }
    let statuses = report.statuses.iter();
    let statuses = statuses.map(|(code, count)| (code.to_string(), object!({ "count": count })));
    add("statusCodeStats", statuses.collect::<Map<_, _>>().into());
    add("latency", latency(report.latency()));
    let requests = spread(&report.answers_per_second(), report.answers);
    add("requests", with(requests, "sent", report.sent.into()));
    add(
        "throughput",
        spread(&report.bytes_per_second(), report.bytes),
    );
    add("procession", own(report));
    members.into()
}

/// What autocannon has no key for.
fn own(report: &Report) -> Value {
    let failures = report.failures.iter().map(|(class, seen)| {
        let seen = object!({
            "count": seen.count,
            "first_s": in_seconds(seen.first),
            "last_s": in_seconds(seen.last),
            "example": seen.example,
        });
        (class.name().to_owned(), seen)
    });
    let client = &report.client;
    object!({
        "urls": report.urls,
        "answers": report.answers,
        "lost": report.lost(),
        "unfinished": report.unfinished,
        "connected": report.connected,
        "raw_latency_ms": latency(&report.raw),
        "corrected_latency_ms": report.corrected.as_ref().map(latency),
        "failures": failures.collect::<Map<_, _>>(),
        "samples": report.samples.iter().map(sample).collect::<Vec<_>>(),
        "pid_latency_ms": report.pid_latency.iter().map(|(pid, it)| (pid.to_string(), latency(it))).collect::<BTreeMap<_, _>>(),
        "pids": report.by_pid.iter().map(|(pid, n)| (pid.to_string(), n)).collect::<BTreeMap<_, _>>(),
        "client": {
            "cpu_s": in_seconds(client.cpu),
            "cpu_per_request_us": report.cpu_per_request().map(|cpu| rounded(cpu.as_secs_f64() * 1e6, 2)),
            "latest_ms": in_milliseconds(client.latest),
            "limits": client.limits.iter().map(limit).collect::<Vec<_>>(),
        },
    })
}

fn sample(sample: &Sample) -> Value {
    let failures = sample.failures.iter();
    object!({
        "at_s": in_seconds(sample.at),
        "lasts_s": in_seconds(sample.lasts),
        "answers": sample.answers,
        "bytes": sample.bytes,
        "failures": failures.map(|(class, n)| (class.name(), n)).collect::<BTreeMap<_, _>>(),
        "p50_ms": in_milliseconds(sample.p50),
        "p90_ms": in_milliseconds(sample.p90),
        "p99_ms": in_milliseconds(sample.p99),
        "max_ms": in_milliseconds(sample.max),
    })
}

fn limit(limit: &Limit) -> Value {
    match limit {
        Limit::Cpu(share) => object!({ "kind": "cpu", "share": share }),
        Limit::Starved(share) => object!({ "kind": "starved", "share": share }),
        Limit::Ports(connections) => object!({ "kind": "ports", "connections": connections }),
        Limit::Descriptors(connections) => {
            object!({ "kind": "descriptors", "connections": connections })
        }
    }
}

fn latency(histogram: &Histogram) -> Value {
    let mut members = object!({
        "average": in_milliseconds(histogram.mean()),
        "mean": in_milliseconds(histogram.mean()),
        "stddev": in_milliseconds(histogram.stdev()),
        "min": in_milliseconds(histogram.min()),
        "max": in_milliseconds(histogram.max()),
        "totalCount": histogram.len(),
    });
    for (key, of_hundred) in PERCENTILES {
        members[key] = in_milliseconds(histogram.percentile(of_hundred));
    }
    members
}

fn spread(spread: &Spread, total: u64) -> Value {
    let mut members = object!({
        "average": rounded(spread.mean(), 2),
        "mean": rounded(spread.mean(), 2),
        "stddev": rounded(spread.stdev(), 2),
        "min": rounded(spread.min(), 2),
        "max": rounded(spread.max(), 2),
        "total": total,
    });
    for (key, of_hundred) in PERCENTILES {
        members[key] = rounded(spread.percentile(of_hundred), 2);
    }
    members
}

fn with(mut members: Value, key: &str, value: Value) -> Value {
    members[key] = value;
    members
}

fn in_milliseconds(time: Duration) -> Value {
    rounded(time.as_secs_f64() * 1e3, 3)
}

fn in_seconds(time: Duration) -> Value {
    rounded(time.as_secs_f64(), 6)
}

/// A number with so many digits behind the point, and none where they are zeros.
fn rounded(number: f64, digits: i32) -> Value {
    let scale = 10_f64.powi(digits);
    let number = (number * scale).round() / scale;
    if number.fract() == 0.0 && number.abs() < 2_f64.powi(53) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        let whole = number as i64;
        return whole.into();
    }
    number.into()
}

/// As `toISOString` writes it; the beginning of 1970 for what is before.
fn date(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let (seconds, fraction) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// Year, month and day of the Gregorian calendar, from days since 1970. Years are
/// taken to begin in March, so that the day that comes and goes is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
