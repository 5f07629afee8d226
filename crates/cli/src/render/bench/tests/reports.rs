//! Reports of loads that never were.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use procession_load::{
    Class, Histogram, Limit, Rate, Report, Sample, Seen, Spec, Target, Until, Via,
};

pub(super) fn spec() -> Spec {
    let mut spec = Spec::new(Target {
        via: Via::Ip([127, 0, 0, 1].into(), 8000),
        tls: false,
        host: "127.0.0.1:8000".into(),
        path: "/".into(),
    });
    spec.until = Until::Elapsed(Duration::from_secs(10));
    spec
}

pub(super) fn nothing() -> Report {
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_770_993_123);
    let mut report = Report::new(&spec(), start);
    report.duration = Duration::from_millis(10_020);
    report
}

fn sample(at_ms: u64, lasts_ms: u64, answers: u64, p50: u64) -> Sample {
    Sample {
        at: Duration::from_millis(at_ms),
        lasts: Duration::from_millis(lasts_ms),
        answers,
        bytes: answers * 151,
        failures: [].into(),
        p50: Duration::from_micros(p50),
        p90: Duration::from_micros(p50 * 2),
        p99: Duration::from_micros(p50 * 5),
        max: Duration::from_micros(p50 * 40),
    }
}

/// One answer, in one sample.
pub(super) fn one() -> Report {
    let mut report = nothing();
    (report.sent, report.answers, report.bytes) = (1, 1, 151);
    report.statuses.insert(200, 1);
    report.raw.record(Duration::from_micros(830));
    report.duration = Duration::from_millis(1000);
    report.samples.push(sample(1000, 1000, 1, 830));
    report
}

/// The same million latencies for all.
fn million_latencies() -> Histogram {
    static LATENCIES: LazyLock<Histogram> = LazyLock::new(|| latencies(1_000_000));
    LATENCIES.clone()
}

/// Latencies around 500 µs with a long tail, the same on each call.
fn latencies(number: u64) -> Histogram {
    let mut histogram = Histogram::new();
    let mut state: u64 = 42;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f64 / (1_u64 << 24) as f64
    };
    for _ in 0..number {
        let sum: f64 = (0..6).map(|_| next()).sum();
        let tail = if next() > 0.99 { 8.0 } else { 1.0 };
        let micros = 500.0 * (sum - 3.0).exp2() * tail;
        histogram.record(Duration::from_secs_f64(micros / 1e6));
    }
    histogram
}

/// A good one.
pub(super) fn million() -> Report {
    let mut report = nothing();
    (report.sent, report.answers, report.unfinished) = (1_000_010, 1_000_000, 10);
    report.bytes = 151_000_000;
    report.connected = 10;
    report.statuses.insert(200, 1_000_000);
    report.raw = million_latencies();
    let dips = [96, 101, 104, 99, 102, 97, 103, 100, 99, 98];
    for (at, thousands) in (1..).zip(dips) {
        report
            .samples
            .push(sample(at * 1000, 1000, thousands * 1000, 480 + at));
    }
    report.samples.push(sample(10_020, 20, 1000, 470));
    report.client.cpu = Duration::from_millis(8_912);
    report
}

/// A server that is restarted under a fixed rate, and loses some.
pub(super) fn reload() -> Report {
    let mut report = million();
    report.title = Some("reload under load".into());
    report.connections = 50;
    let mut corrected = million_latencies();
    for micros in (0..20_000).map(|n| n * 55) {
        corrected.record(Duration::from_micros(micros));
    }
    report.corrected = Some(corrected);
    for (at, rate) in [(4, 38_000), (5, 0), (6, 55_000)] {
        let sample = &mut report.samples[at];
        sample.answers = rate;
        sample.p99 = Duration::from_millis(if rate == 0 { 0 } else { 900 });
        sample.max = Duration::from_millis(if rate == 0 { 0 } else { 1_080 });
        sample.p90 = if rate == 0 {
            Duration::ZERO
        } else {
            sample.p90
        };
        sample.p50 = if rate == 0 {
            Duration::ZERO
        } else {
            sample.p50
        };
        sample.failures = [(Class::Refused, 412 * at as u64), (Class::Reset, 31)].into();
    }
    report.samples[6].failures = [(Class::Hung, 2)].into();
    let seen = |count, first, last, example: &str| Seen {
        count,
        first: Duration::from_millis(first),
        last: Duration::from_millis(last),
        example: example.into(),
    };
    report.failures = [
        (
            Class::Refused,
            seen(3_708, 4_412, 5_961, "connection refused (os error 111)"),
        ),
        (
            Class::Reset,
            seen(62, 4_410, 4_411, "connection reset by peer (os error 104)"),
        ),
        (Class::Hung, seen(2, 6_001, 6_300, "no byte within 10 s")),
        (Class::Non2xx, seen(7, 4_300, 4_409, "503")),
    ]
    .into();
    report.statuses = [(200, 999_993), (503, 7)].into();
    report.by_pid = [(4711, 340_120), (4712, 329_880), (4713, 330_000)].into();
    report.client.latest = Duration::from_micros(1_730);
    report.client.limits = vec![Limit::Cpu(0.97), Limit::Ports(12)];
    report
}

/// How the load of `reload` was asked for.
pub(super) fn reload_spec() -> Spec {
    let mut spec = spec();
    spec.title = Some("reload under load".into());
    spec.connections = 50;
    spec.rate = Rate::Overall(100_000.0);
    spec
}

/// Nobody listened.
pub(super) fn only_failures() -> Report {
    let mut report = nothing();
    report.sent = 20;
    let mut first = sample(1000, 1000, 0, 0);
    let mut second = sample(2000, 1000, 0, 0);
    first.failures = [(Class::Refused, 10)].into();
    second.failures = [(Class::Refused, 10)].into();
    report.samples = vec![first, second];
    report.duration = Duration::from_secs(2);
    let seen = Seen {
        count: 20,
        first: Duration::from_micros(150),
        last: Duration::from_millis(1_999),
        example: "connection refused (os error 111)".into(),
    };
    report.failures.insert(Class::Refused, seen);
    report
}

/// It was over before the first sample was.
pub(super) fn no_samples() -> Report {
    let mut report = million();
    report.samples.clear();
    report
}

pub(super) fn all() -> [(&'static str, Report); 6] {
    [
        ("nothing", nothing()),
        ("one", one()),
        ("million", million()),
        ("reload", reload()),
        ("only failures", only_failures()),
        ("no samples", no_samples()),
    ]
}
