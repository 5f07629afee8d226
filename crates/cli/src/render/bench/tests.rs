mod page;
mod reports;

use serde_json::{Value, json};

use super::compare::NoResult;
use super::screen::Glyphs;
use super::*;
use crate::render::Paint;

fn screen(width: usize, glyphs: Glyphs) -> Screen {
    Screen {
        paint: Paint::Plain,
        width,
        glyphs,
    }
}

/// All that is told of a report.
const ALL: Shown = Shown {
    latency_table: true,
    status_codes: true,
};

fn seen(report: &procession_load::Report, width: usize, glyphs: Glyphs) -> String {
    tables(report, ALL, &screen(width, glyphs))
}

/// The screen that is kept in a file beside this one.
#[track_caller]
fn assert_screen(seen: &str, kept: &str) {
    assert!(seen == kept, "this is seen:\n{seen}\nand not:\n{kept}");
}

#[test]
fn a_good_load() {
    let text = seen(&reports::million(), 100, Glyphs::Unicode);
    assert_screen(&text, include_str!("tests/million.txt"));
}

#[test]
fn a_reload_that_loses_requests() {
    let text = seen(&reports::reload(), 80, Glyphs::Unicode);
    assert_screen(&text, include_str!("tests/reload.txt"));
}

#[test]
fn a_narrow_terminal_without_unicode() {
    let text = seen(&reports::reload(), 56, Glyphs::Ascii);
    assert_screen(&text, include_str!("tests/narrow.txt"));
}

#[test]
fn nobody_listens() {
    let text = seen(&reports::only_failures(), 80, Glyphs::Unicode);
    assert_screen(&text, include_str!("tests/only_failures.txt"));
}

#[test]
fn one_answer() {
    let text = seen(&reports::one(), 80, Glyphs::Unicode);
    assert_screen(&text, include_str!("tests/one.txt"));
}

#[test]
fn nothing_was_sent() {
    let text = seen(&reports::nothing(), 80, Glyphs::Unicode);
    assert_screen(&text, include_str!("tests/nothing.txt"));
}

#[test]
fn without_samples_the_rate_is_that_of_the_whole() {
    let text = seen(&reports::no_samples(), 100, Glyphs::Unicode);
    assert!(text.contains("│ Req/Sec   │  99,800 │"), "{text}");
    assert!(text.contains("# of samples: 0\n"), "{text}");
    assert!(!text.contains("Requests per second"), "{text}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, report) in reports::all() {
        for width in [56, 64, 72, 79, 80, 82, 100, 130] {
            for glyphs in [Glyphs::Ascii, Glyphs::Unicode] {
                let text = seen(&report, width, glyphs);
                for line in text.lines() {
                    let is_narrow = line.chars().count() <= width;
                    assert!(
                        is_narrow && !line.ends_with(' '),
                        "{name}, {width}: {line:?}"
                    );
                }
                assert!(
                    glyphs == Glyphs::Unicode || text.is_ascii(),
                    "{name}:\n{text}"
                );
            }
        }
    }
}

#[test]
fn colours_change_no_word() {
    for (name, report) in reports::all() {
        let coloured = Screen {
            paint: Paint::Coloured,
            ..screen(80, Glyphs::Unicode)
        };
        let text = tables(&report, ALL, &coloured);
        let mut plain = String::new();
        for (at, piece) in text.split("\x1b[").enumerate() {
            let piece = if at == 0 {
                piece
            } else {
                piece.split_once('m').unwrap().1
            };
            plain.push_str(piece);
        }
        let trimmed: String = plain
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect();
        assert_eq!(trimmed, seen(&report, 80, Glyphs::Unicode), "{name}");
        assert!(text.contains("\x1b[1m"), "{name}");
    }
}

#[test]
fn what_a_server_says_does_not_move_the_cursor() {
    let mut report = reports::only_failures();
    for seen in report.failures.values_mut() {
        seen.example = "\x1b[2J\r\n\u{202e}".into();
    }
    let text = seen(&report, 80, Glyphs::Unicode);
    assert!(text.contains("│ \\u{1b}[2J\\r\\n\\u{202e} │"), "{text}");
}

#[test]
fn each_limit_of_the_client_is_told_with_what_to_do() {
    use procession_load::Limit;
    let limits = [
        (Limit::Cpu(0.97), "97 % of its cores", "-w"),
        (
            Limit::Starved(0.4),
            "for 40 % of the time",
            "another machine",
        ),
        (Limit::Ports(1), "1 connection found", "ip_local_port_range"),
        (Limit::Descriptors(2), "2 connections found", "ulimit -n"),
    ];
    for (limit, what, cure) in limits {
        let mut report = reports::one();
        report.client.limits = vec![limit];
        // As wide as any, for a warning may be wrapped anywhere.
        let text = seen(&report, 100, Glyphs::Ascii).replace('\n', " ");
        assert!(text.contains("warning: "), "{text}");
        assert!(text.contains(what) && text.contains(cure), "{text}");
    }
}

#[test]
fn the_heading_says_what_will_be_done() {
    let mut spec = reports::spec();
    assert_eq!(
        heading(&spec),
        "Running 10s test @ http://127.0.0.1:8000/\n10 connections\n"
    );
    spec.targets.push(spec.targets[0].clone());
    (spec.connections, spec.pipelining, spec.threads) = (1, 4, 2);
    spec.until = procession_load::Until::Requests(5.try_into().unwrap());
    let urls = "http://127.0.0.1:8000/, http://127.0.0.1:8000/";
    assert_eq!(
        heading(&spec),
        format!(
            "Running 5 requests test @ {urls}\n1 connection with 4 pipelining factor\n2 threads\n"
        )
    );
}

fn compared(first: &Value, second: &Value, glyphs: Glyphs) -> String {
    let named = |name, result| Named { name, result };
    let (first, second) = (
        named("before.json", first),
        named("results/after.json", second),
    );
    compare(&first, &second, &screen(80, glyphs)).unwrap()
}

/// What autocannon 9.0.0 wrote.
fn autocannon() -> Value {
    let text = include_str!("../../../../load/tests/data/autocannon-9.0.0.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn two_results_beside_each_other() {
    let [before, after] = [reports::million(), reports::reload()];
    let [before, after] = [before, after].map(|report| procession_load::json(&report));
    let text = compared(&before, &after, Glyphs::Unicode);
    assert_screen(&text, include_str!("tests/compare.txt"));
    assert!(compared(&before, &after, Glyphs::Ascii).is_ascii());
    let same = compared(&after, &after, Glyphs::Unicode);
    assert!(
        !same.contains("better") && !same.contains("worse"),
        "{same}"
    );
    assert!(!same.contains("not the same load"), "{same}");
}

#[test]
fn what_autocannon_does_not_tell_is_not_guessed() {
    let ours = procession_load::json(&reports::million());
    let text = compared(&autocannon(), &ours, Glyphs::Unicode);
    let expected = [
        "before.json does not tell: Raw 50%, Raw 99%, Client CPU/req\n",
        "before.json tells latencies in whole milliseconds only\n",
        "not the same load: connections is 4 and 10\n",
        "not the same load: duration is 2.03 and 10.02\n",
    ];
    for line in expected {
        assert!(text.contains(line), "{line}{text}");
    }
    // Its 0 ms is anything below one.
    let median = text
        .lines()
        .find(|line| line.contains("Latency 50%"))
        .unwrap();
    assert!(
        median.contains("<1 ms") && median.contains("below 1 ms"),
        "{median}"
    );
    assert!(!text.contains("workers"), "{text}");
}

#[test]
fn a_little_is_no_difference_but_one_failure_is() {
    let of = |rate: f64, errors: u64| {
        json!({
            "requests": { "average": rate }, "latency": { "p50": 1.5 }, "errors": errors,
        })
    };
    let alike = compared(&of(1000.0, 0), &of(1020.0, 0), Glyphs::Ascii);
    assert!(alike.contains("1.02x | same"), "{alike}");
    let faster = compared(&of(1000.0, 1), &of(1500.0, 0), Glyphs::Ascii);
    assert!(faster.contains("1.50x | ^ better"), "{faster}");
    assert!(faster.contains("0x | v better"), "{faster}");
    let slower = compared(&of(1000.0, 0), &of(500.0, 1), Glyphs::Ascii);
    assert!(slower.contains("0.50x | v worse"), "{slower}");
    assert!(slower.contains("- | ^ worse"), "{slower}");
}

#[test]
fn not_every_json_is_a_result() {
    let good = autocannon();
    let rest = json!({ "requests": { "average": 1 }, "latency": { "p50": "fast" } });
    for (bad, lacks) in [
        (json!([]), "requests.average"),
        (json!({ "requests": 5 }), "requests.average"),
        (rest, "latency.p50"),
    ] {
        let (good, bad) = (
            Named {
                name: "good",
                result: &good,
            },
            Named {
                name: "bad",
                result: &bad,
            },
        );
        let wrong = NoResult {
            name: "bad".into(),
            lacks,
        };
        let screen = screen(80, Glyphs::Ascii);
        assert_eq!(compare(&good, &bad, &screen), Err(wrong.clone()));
        assert_eq!(compare(&bad, &good, &screen), Err(wrong));
    }
}
