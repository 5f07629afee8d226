//! The bars of channels.

use super::Bar;
use crate::bench::results::Results;

const KIB: f64 = 1024.0;
const SIZES: &[&str] = &["100", "4k", "64k", "1m", "64m"];

pub(super) fn bars(results: &Results) -> Vec<Bar> {
    let ratio = |scenario: &str, one: &str, other: &str, limit: f64| Bar {
        what: format!("{scenario}: CPU of {one} / {other}"),
        limit,
        seen: results.cpu_ratio((scenario, one), (scenario, other)),
    };
    let mut bars = vec![
        ratio("round-trip-100-json", "ours-blocking", "raw", 1.2),
        ratio("round-trip-100-json", "ours", "raw", 1.6),
        ratio("round-trip-4k-json", "ours", "bun", 1.0),
        ratio("round-trip-1m-json", "ours", "bun", 1.0),
    ];
    let one_way = results.spread("one-way-100-json", "ours", |sample| sample.cpu / 1e3);
    bars.push(Bar {
        what: "one-way-100-json: CPU of ours in µs".into(),
        limit: 1.0,
        seen: one_way.map(|[median, ..]| median),
    });
    for task in ["round-trip", "one-way"] {
        for size in SIZES {
            let scenario = format!("{task}-{size}-json");
            for other in ["tokio-json", "ipc-channel"] {
                bars.push(ratio(&scenario, "ours", other, 1.0));
            }
        }
        for serialization in ["json", "advanced"] {
            bars.extend(SIZES.iter().map(|size| {
                let scenario = format!("{task}-{size}-{serialization}");
                let sides = results.spread(&scenario, "ours-node", |sample| {
                    (sample.cpu - sample.child_cpu) / sample.child_cpu
                });
                Bar {
                    what: format!("{scenario}: CPU of our side / Node's, of ours-node"),
                    limit: 0.5,
                    seen: sides.map(|[median, ..]| median),
                }
            }));
        }
    }
    let memory = results.spread("memory", "ours", |sample| sample.growth / KIB);
    bars.push(Bar {
        what: "memory: KiB for an idle end of ours".into(),
        limit: 4.0,
        seen: memory.map(|[median, ..]| median),
    });
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::worker::Sample;

    #[test]
    fn our_side_is_compared_with_the_childs() {
        let mut results = Results::default();
        let sample = Sample {
            cpu: 30.0,
            child_cpu: 20.0,
            wall: 0.0,
            blocked: [0.0; 2],
            growth: 0.0,
        };
        results.add("one-way-4k-json", "ours-node", sample);
        let seen: Vec<Bar> = bars(&results)
            .into_iter()
            .filter(|bar| bar.seen.is_some())
            .collect();
        let [bar] = seen.as_slice() else {
            panic!("{seen:?}")
        };
        assert_eq!((bar.seen, bar.limit), (Some(0.5), 0.5));
    }
}
