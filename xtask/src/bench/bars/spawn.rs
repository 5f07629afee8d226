//! The bars of starts.

use super::Bar;
use crate::bench::results::Results;

const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn bars(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    for scenario in ["plain", "parallel"] {
        for ours in ["ours", "ours-blocking"] {
            for (other, limit) in [("raw", 1.3), ("std", 1.0), ("tokio", 1.0)] {
                bars.push(Bar {
                    what: format!("{scenario}: CPU of {ours} / {other}"),
                    limit,
                    seen: results.cpu_ratio((scenario, ours), (scenario, other)),
                });
            }
        }
    }
    for scenario in [
        "plain",
        "parallel",
        "user",
        "descriptor",
        "session",
        "parent-death",
    ] {
        let with_heap = format!("{scenario}-heap");
        bars.push(Bar {
            what: format!("{scenario}: CPU of ours with 1 GiB / without"),
            limit: 1.5,
            seen: results.cpu_ratio((&with_heap, "ours"), (scenario, "ours")),
        });
    }
    for scenario in [
        "plain",
        "plain-heap",
        "parent-death",
        "user-heap",
        "descriptor-heap",
        "session-heap",
        "parent-death-heap",
    ] {
        let blocked = results.spread(scenario, "ours", |sample| sample.blocked[0] / 1e3);
        bars.push(Bar {
            what: format!("{scenario}: ours blocks its thread, p50 in µs"),
            limit: 150.0,
            seen: blocked.map(|[median, ..]| median),
        });
    }
    bars.push(Bar {
        what: "capture: CPU of ours / tokio".into(),
        limit: 0.8,
        seen: results.cpu_ratio(("capture", "ours"), ("capture", "tokio")),
    });
    bars.push(Bar {
        what: "stream: CPU of ours / raw".into(),
        limit: 1.1,
        seen: results.cpu_ratio(("stream", "ours"), ("stream", "raw")),
    });
    let growth = results.spread("stream", "ours", |sample| sample.growth / MIB);
    bars.push(Bar {
        what: "stream: memory of ours grows, MiB at most".into(),
        limit: 8.0,
        seen: growth.map(|[_, _, most]| most),
    });
    bars
}
