//! Starts, captures and streams.

use super::{Kind, Scenario};

const ALL: &[&str] = &[
    "raw",
    "ours",
    "ours-blocking",
    "std",
    "tokio",
    "duct",
    "node",
];
const NOT_NODE: &[&str] = &["raw", "ours", "ours-blocking", "std", "tokio", "duct"];
const STREAMING: &[&str] = &["raw", "ours", "std", "tokio", "duct", "node"];

const fn spawn(
    name: &'static str,
    title: &'static str,
    words: [&'static str; 3],
    contenders: &'static [&'static str],
) -> Scenario {
    Scenario {
        name,
        title,
        kind: Kind::Spawn,
        words,
        count: 300,
        contenders,
    }
}

const fn parallel(name: &'static str, title: &'static str, heap_mib: &'static str) -> Scenario {
    Scenario {
        name,
        title,
        kind: Kind::SpawnParallel,
        words: ["parallel", "plain", heap_mib],
        count: 480,
        contenders: ALL,
    }
}

const fn transfer(
    name: &'static str,
    title: &'static str,
    count: u32,
    contenders: &'static [&'static str],
) -> Scenario {
    Scenario {
        name,
        title,
        kind: Kind::Transfer,
        words: [name, "plain", "0"],
        count,
        contenders,
    }
}

const WITH_PIDFD: &[&str] = &[
    "raw",
    "raw-pidfd",
    "ours",
    "ours-blocking",
    "std",
    "tokio",
    "duct",
    "node",
];

/// A scenario with a big heap stands
/// behind the same one without: the bars compare the two.
pub(super) const SCENARIOS: &[Scenario] = &[
    spawn(
        "plain",
        "`/bin/true`, one after the other",
        ["sequential", "plain", "0"],
        WITH_PIDFD,
    ),
    spawn(
        "plain-heap",
        "the same, 1 GiB of touched heap",
        ["sequential", "plain", "1024"],
        ALL,
    ),
    parallel("parallel", "`/bin/true`, 16 at a time", "0"),
    parallel("parallel-heap", "the same, 1 GiB of touched heap", "1024"),
    spawn("user", "with uid and gid", ["sequential", "user", "0"], ALL),
    spawn(
        "user-heap",
        "the same, 1 GiB of touched heap",
        ["sequential", "user", "1024"],
        ALL,
    ),
    spawn(
        "descriptor",
        "with a descriptor 3",
        ["sequential", "descriptor", "0"],
        ALL,
    ),
    spawn(
        "descriptor-heap",
        "the same, 1 GiB of touched heap",
        ["sequential", "descriptor", "1024"],
        ALL,
    ),
    spawn(
        "session",
        "with a session of its own",
        ["sequential", "session", "0"],
        ALL,
    ),
    spawn(
        "session-heap",
        "the same, 1 GiB of touched heap",
        ["sequential", "session", "1024"],
        ALL,
    ),
    spawn(
        "parent-death",
        "with a parent-death signal",
        ["sequential", "parent-death", "0"],
        NOT_NODE,
    ),
    spawn(
        "parent-death-heap",
        "the same, 1 GiB of touched heap",
        ["sequential", "parent-death", "1024"],
        NOT_NODE,
    ),
    transfer("capture", "capture of 64 MiB", 3, ALL),
    transfer("stream", "streaming of 1 GiB", 1, STREAMING),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_heap_stands_behind_its_twin() {
        for pair in SCENARIOS.windows(2) {
            if let Some(twin) = pair[1].name.strip_suffix("-heap") {
                assert_eq!(pair[0].name, twin);
                assert_eq!(pair[0].words[..2], pair[1].words[..2]);
                assert_eq!((pair[0].words[2], pair[1].words[2]), ("0", "1024"));
            }
        }
    }
}
