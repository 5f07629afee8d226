//! Loads a URL and prints the figures of the race:
//! `load URL [connections] [pipelining] [seconds] [close|RATE]`.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::time::Duration;

use procession_load::{Keep, Rate, Spec, Target, Until, start};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("which URL?")?;
    let mut number = |or: usize| args.next().map_or(Ok(or), |arg| arg.parse());
    let mut spec = Spec::new(Target::parse(&url)?);
    spec.connections = number(10)?;
    spec.pipelining = number(1)?;
    spec.until = Until::Elapsed(Duration::from_secs(number(10)? as u64));
    match args.next().as_deref() {
        None => {}
        Some("close") => spec.keep = Keep::Close,
        Some(rate) => spec.rate = Rate::Overall(rate.parse()?),
    }
    let report = start(spec)?.report_blocking();
    let micros = report.client.cpu.as_secs_f64() * 1e6;
    println!(
        "{:.0} requests/s, {:.2} µs of CPU for each, p50 {:?}, p99 {:?}, {} connected, late {:?}, {:?}, {:?}",
        report.answers as f64 / report.duration.as_secs_f64(),
        micros / report.answers.max(1) as f64,
        report.raw.percentile(50.0),
        report.raw.percentile(99.0),
        report.connected,
        report.client.latest,
        report.failures,
        report.client.limits,
    );
    Ok(())
}
