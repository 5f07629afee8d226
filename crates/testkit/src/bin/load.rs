//! `load ADDRESS [OPTION]...`: loads an HTTP server and prints a line of JSON.
//!
//! `--seconds N` (5), `--requests N` instead of it, `--connections N` (8),
//! `--keep-alive`, `--path PATH` (`/`), `--limit-ms N` (10,000), `--every-ms N` (0).
//! Times are in microseconds, `by_pid` is told by the first number in the answers.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use procession_testkit::load::{Connection, Histogram, Load, Report};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let (code, line) = match parse(&words) {
        Ok((load, length)) => (ExitCode::SUCCESS, json(&run(&load, length))),
        Err(why) => (ExitCode::from(64), format!("error: {why}")),
    };
    // Nobody is left to tell when stdout is gone.
    let _ = writeln!(io::stdout(), "{line}");
    code
}

/// How long to load.
#[derive(Debug, Clone, Copy)]
enum Length {
    Seconds(f64),
    Requests(u64),
}

fn parse(words: &[String]) -> Result<(Load, Length), String> {
    let mut words = words.iter();
    let at = words.next().ok_or("load ADDRESS [OPTION]...")?;
    let mut load = Load::new(at.parse().map_err(|_| format!("no address: {at}"))?);
    let mut length = Length::Seconds(5.0);
    while let Some(word) = words.next() {
        if word == "--keep-alive" {
            load.connection = Connection::KeepAlive;
            continue;
        }
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let wrong = |_| format!("{word} {value}: no number");
        let millis = || value.parse().map(Duration::from_millis).map_err(wrong);
        match word.as_str() {
            "--path" => load.path.clone_from(value),
            "--connections" => load.connections = value.parse().map_err(wrong)?,
            "--limit-ms" => load.limit = millis()?,
            "--every-ms" => load.every = millis()?,
            "--requests" => length = Length::Requests(value.parse().map_err(wrong)?),
            "--seconds" => {
                let seconds = value.parse().map_err(|_| format!("no number: {value}"))?;
                length = Length::Seconds(seconds);
            }
            _ => return Err(format!("no option {word}")),
        }
    }
    Ok((load, length))
}

fn run(load: &Load, length: Length) -> Report {
    match length {
        Length::Requests(count) => load.requests(count),
        Length::Seconds(seconds) => {
            let running = load.start();
            thread::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0)));
            running.finish()
        }
    }
}

fn json(report: &Report) -> String {
    let by_pid: Vec<String> = report
        .by_pid
        .iter()
        .map(|(pid, times)| format!("\"{pid}\":{}", histogram(times)))
        .collect();
    let failed: Vec<String> = report
        .failed
        .iter()
        .map(|(failure, count)| format!("\"{failure:?}\":{count}"))
        .collect();
    format!(
        "{{\"seconds\":{},\"answers\":{},\"failures\":{},\"times\":{},\"failed\":{{{}}},\"by_pid\":{{{}}}}}",
        report.took.as_secs_f64(),
        report.answers(),
        report.failures(),
        histogram(&report.times()),
        failed.join(","),
        by_pid.join(",")
    )
}

fn histogram(times: &Histogram) -> String {
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| times.quantile(share).as_micros());
    let most = times.quantile(1.0).as_micros();
    format!(
        "{{\"count\":{},\"p50\":{p50},\"p90\":{p90},\"p99\":{p99},\"max\":{most}}}",
        times.count()
    )
}
