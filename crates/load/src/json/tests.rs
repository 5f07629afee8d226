use std::path::PathBuf;

use super::*;
use crate::{Protocol, Seen, Spec, Target, Via};

const START: u64 = 1_795_770_993_123;

fn spec() -> Spec {
    Spec::new(Target {
        via: Via::Name("localhost".into(), 8000),
        tls: false,
        host: "localhost:8000".into(),
        path: "/".into(),
    })
}

/// A report of nothing, for a load like that.
fn empty(spec: &Spec) -> Report {
    Report::new(spec, SystemTime::UNIX_EPOCH + Duration::from_millis(START))
}

fn filled(spec: &Spec) -> Report {
    let mut report = empty(spec);
    report.duration = Duration::from_millis(2_500);
    (report.sent, report.answers, report.unfinished) = (26, 20, 1);
    report.bytes = 3_000;
    report.statuses = [(100, 1), (200, 15), (302, 1), (404, 1), (500, 2)].into();
    for micros in 1..=20 {
        report.raw.record(Duration::from_micros(micros * 100));
    }
    let seen = |count, example: &str| Seen {
        count,
        first: Duration::from_millis(1_250),
        last: Duration::from_secs(2),
        example: example.into(),
    };
    report.failures = [
        (Class::Refused, seen(2, "connection refused (os error 111)")),
        (Class::TimedOut, seen(1, "no end")),
        (Class::Hung, seen(2, "no byte")),
        (Class::Non2xx, seen(5, "404")),
        (Class::Mismatch, seen(3, "hello")),
    ]
    .into();
    let sample = |at_ms, lasts_ms, answers| Sample {
        at: Duration::from_millis(at_ms),
        lasts: Duration::from_millis(lasts_ms),
        answers,
        bytes: answers * 150,
        failures: [(Class::Hung, 1)].into(),
        p50: Duration::from_micros(1_000),
        p90: Duration::from_micros(1_800),
        p99: Duration::from_micros(1_999),
        max: Duration::from_micros(2_000),
    };
    report.samples = vec![
        sample(1000, 1000, 4),
        sample(2000, 1000, 8),
        sample(2499, 499, 8),
    ];
    report.by_pid = [(4711, 12), (4712, 8)].into();
    report.pid_latency = [(4711, report.raw.clone())].into();
    report.client.cpu = Duration::from_micros(260);
    report.client.limits = vec![
        Limit::Starved(0.4),
        Limit::Cpu(0.97),
        Limit::Ports(3),
        Limit::Descriptors(1),
    ];
    report
}

/// The keys and kinds of a value, members in order.
fn shape(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                shape(member, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            found.push(format!("{at}: list"));
            for item in items.iter().take(1) {
                shape(item, &format!("{at}/0"), found);
            }
        }
        Value::Number(_) => found.push(format!("{at}: number")),
        Value::String(_) => found.push(format!("{at}: text")),
        Value::Bool(_) => found.push(format!("{at}: flag")),
        Value::Null => found.push(format!("{at}: nothing")),
    }
}

/// What autocannon 9.0.0 wrote under Node 20: see its name for what is special about it.
fn recorded(name: &str) -> Value {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "data", name]
        .iter()
        .collect();
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Ours has autocannon's keys and kinds, and `procession`.
fn assert_alike(mut ours: Value, mut theirs: Value) {
    assert!(ours.as_object_mut().unwrap().remove("procession").is_some());
    for value in [&mut ours, &mut theirs] {
        // Which codes there are is the server's matter.
        let codes = value["statusCodeStats"].as_object_mut().unwrap();
        codes.retain(|code, _| code == "200");
        assert!(!codes.is_empty());
    }
    let shapes = [ours, theirs].map(|value| {
        let mut found = Vec::new();
        shape(&value, "", &mut found);
        found
    });
    assert_eq!(shapes[0], shapes[1]);
}

#[test]
fn keys_are_autocannons() {
    let mut titled = spec();
    titled.title = Some("a title".into());
    assert_alike(json(&filled(&titled)), recorded("autocannon-9.0.0.json"));

    let mut two = spec();
    two.targets.push(two.targets[0].clone());
    assert_alike(
        json(&filled(&two)),
        recorded("autocannon-9.0.0-two-urls.json"),
    );

    let mut socket = spec();
    socket.targets[0].via = Via::Unix("/run/app.sock".into());
    assert_alike(
        json(&filled(&socket)),
        recorded("autocannon-9.0.0-socket.json"),
    );
}

#[test]
fn units_are_autocannons() {
    let value = json(&filled(&spec()));
    let at = |pointer: &str| {
        value
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer}"))
            .clone()
    };
    let expected = [
        ("/url", object!("http://localhost:8000/")),
        ("/duration", object!(2.5)),
        ("/sampleInt", object!(1000)),
        ("/samples", object!(3)),
        ("/start", object!("2026-11-27T09:16:33.123Z")),
        ("/finish", object!("2026-11-27T09:16:35.623Z")),
        // Milliseconds.
        ("/latency/min", object!(0.1)),
        ("/latency/p50", object!(1)),
        ("/latency/p97_5", object!(2)),
        ("/latency/totalCount", object!(20)),
        // A second; the last sample of less than half a second does not count.
        ("/requests/average", object!(6)),
        ("/requests/max", object!(8)),
        ("/requests/stddev", object!(2)),
        ("/requests/total", object!(20)),
        ("/requests/sent", object!(26)),
        ("/throughput/p50", object!(600)),
        ("/throughput/total", object!(3000)),
        // What is wrong, and what is an answer all the same.
        ("/errors", object!(5)),
        ("/timeouts", object!(3)),
        ("/mismatches", object!(3)),
        ("/non2xx", object!(5)),
        ("/1xx", object!(1)),
        ("/2xx", object!(15)),
        ("/5xx", object!(2)),
        ("/statusCodeStats/404/count", object!(1)),
    ];
    for (pointer, expected) in expected {
        assert_eq!(at(pointer), expected, "{pointer}");
    }
}

#[test]
fn the_rest_is_processions_own() {
    let own = json(&filled(&spec()))["procession"].take();
    let refused = object!({
        "count": 2, "first_s": 1.25, "last_s": 2, "example": "connection refused (os error 111)",
    });
    assert_eq!(own["failures"]["refused"], refused);
    assert_eq!(
        (&own["lost"], &own["unfinished"]),
        (&object!(5), &object!(1))
    );
    let sample = object!({
        "at_s": 2.499, "lasts_s": 0.499, "answers": 8, "bytes": 1200, "failures": { "hung": 1 },
        "p50_ms": 1, "p90_ms": 1.8, "p99_ms": 1.999, "max_ms": 2,
    });
    assert_eq!(own["samples"][2], sample);
    assert_eq!(own["pids"], object!({ "4711": 12, "4712": 8 }));
    let of_pid = &own["pid_latency_ms"]["4711"];
    assert_eq!((&of_pid["p50"], &of_pid["max"]), (&object!(1), &object!(2)));
    let client = object!({
        "cpu_s": 0.00026, "cpu_per_request_us": 10, "latest_ms": 0,
        "limits": [
            { "kind": "starved", "share": 0.4 },
            { "kind": "cpu", "share": 0.97 },
            { "kind": "ports", "connections": 3 },
            { "kind": "descriptors", "connections": 1 },
        ],
    });
    assert_eq!(own["client"], client);
    assert_eq!(own["corrected_latency_ms"], Value::Null);
}

#[test]
fn latency_is_the_corrected_one_if_there_is_one() {
    let mut report = filled(&spec());
    let mut corrected = Histogram::new();
    corrected.record(Duration::from_secs(3));
    report.corrected = Some(corrected);
    let value = json(&report);
    let shortest = |pointer: &str| value.pointer(pointer).unwrap().as_f64().unwrap();
    assert!(shortest("/latency/min") > 2_990.0);
    assert!(shortest("/procession/corrected_latency_ms/min") > 2_990.0);
    assert!(shortest("/procession/raw_latency_ms/min") < 0.2);
}

#[test]
fn nothing_is_zero_and_no_number_is_none() {
    let mut none = spec();
    none.protocol = Protocol::Echo;
    let value = json(&empty(&none));
    let mut found = Vec::new();
    shape(&value, "", &mut found);
    found.retain(|line| line.ends_with(": nothing"));
    let unknown = [
        "/procession/client/cpu_per_request_us",
        "/procession/corrected_latency_ms",
    ];
    assert_eq!(found, unknown.map(|key| format!("{key}: nothing")));
    assert_eq!(value["url"], "tcp://localhost:8000");
    assert_eq!(value["latency"]["p99"], 0);
    assert_eq!(value["requests"]["average"], 0);
}
