//! Messages there and back, one way, with handles; and channels that do nothing.

use super::{Kind, Scenario};

const JSON: &[&str] = &[
    "raw",
    "ours",
    "ours-typed",
    "ours-blocking",
    "tokio-json",
    "ipc-channel",
    "ours-node",
    "node",
    "bun",
    "deno",
];
/// Who has Node's other serialization. Bun has one of its own by that name.
const ADVANCED: &[&str] = &[
    "raw",
    "ours",
    "ours-blocking",
    "ipc-channel",
    "ours-node",
    "node",
    "bun",
    "deno",
];
const WITH_HANDLES: &[&str] = &["raw", "ours", "ipc-channel", "ours-node", "node"];
const WITH_MEMORY: &[&str] = &["ours", "tokio-json", "ipc-channel", "node"];

const fn exchange(
    name: &'static str,
    title: &'static str,
    words: [&'static str; 3],
    count: u32,
) -> Scenario {
    let is_json = words[2].len() == "json".len();
    Scenario {
        name,
        title,
        kind: if count < 10 {
            Kind::BigMessage
        } else {
            Kind::Message
        },
        words,
        count,
        contenders: if is_json { JSON } else { ADVANCED },
    }
}

/// The names say task, size and serialization, as the words do.
pub(in crate::bench) const SCENARIOS: &[Scenario] = &[
    exchange(
        "round-trip-100-json",
        "100 B there and back, json",
        ["round-trip", "100", "json"],
        20_000,
    ),
    exchange(
        "round-trip-4k-json",
        "4 KiB there and back, json",
        ["round-trip", "4096", "json"],
        10_000,
    ),
    exchange(
        "round-trip-64k-json",
        "64 KiB there and back, json",
        ["round-trip", "65536", "json"],
        1_000,
    ),
    exchange(
        "round-trip-1m-json",
        "1 MiB there and back, json",
        ["round-trip", "1048576", "json"],
        40,
    ),
    exchange(
        "round-trip-64m-json",
        "64 MiB there and back, json",
        ["round-trip", "67108864", "json"],
        1,
    ),
    exchange(
        "one-way-100-json",
        "100 B one way, json",
        ["one-way", "100", "json"],
        100_000,
    ),
    exchange(
        "one-way-4k-json",
        "4 KiB one way, json",
        ["one-way", "4096", "json"],
        20_000,
    ),
    exchange(
        "one-way-64k-json",
        "64 KiB one way, json",
        ["one-way", "65536", "json"],
        2_000,
    ),
    exchange(
        "one-way-1m-json",
        "1 MiB one way, json",
        ["one-way", "1048576", "json"],
        60,
    ),
    exchange(
        "one-way-64m-json",
        "64 MiB one way, json",
        ["one-way", "67108864", "json"],
        2,
    ),
    exchange(
        "round-trip-100-advanced",
        "100 B there and back, advanced",
        ["round-trip", "100", "advanced"],
        20_000,
    ),
    exchange(
        "round-trip-4k-advanced",
        "4 KiB there and back, advanced",
        ["round-trip", "4096", "advanced"],
        10_000,
    ),
    exchange(
        "round-trip-64k-advanced",
        "64 KiB there and back, advanced",
        ["round-trip", "65536", "advanced"],
        1_000,
    ),
    exchange(
        "round-trip-1m-advanced",
        "1 MiB there and back, advanced",
        ["round-trip", "1048576", "advanced"],
        40,
    ),
    exchange(
        "round-trip-64m-advanced",
        "64 MiB there and back, advanced",
        ["round-trip", "67108864", "advanced"],
        1,
    ),
    exchange(
        "one-way-100-advanced",
        "100 B one way, advanced",
        ["one-way", "100", "advanced"],
        100_000,
    ),
    exchange(
        "one-way-4k-advanced",
        "4 KiB one way, advanced",
        ["one-way", "4096", "advanced"],
        20_000,
    ),
    exchange(
        "one-way-64k-advanced",
        "64 KiB one way, advanced",
        ["one-way", "65536", "advanced"],
        2_000,
    ),
    exchange(
        "one-way-1m-advanced",
        "1 MiB one way, advanced",
        ["one-way", "1048576", "advanced"],
        60,
    ),
    exchange(
        "one-way-64m-advanced",
        "64 MiB one way, advanced",
        ["one-way", "67108864", "advanced"],
        2,
    ),
    Scenario {
        name: "handles",
        title: "a listening TCP socket with each message of 100 B, one way",
        kind: Kind::Handles,
        words: ["handles", "100", "json"],
        count: 2_000,
        contenders: WITH_HANDLES,
    },
    Scenario {
        name: "memory",
        title: "idle channels that carried 4 KiB each way",
        kind: Kind::Memory,
        words: ["memory", "4096", "json"],
        count: 200,
        contenders: WITH_MEMORY,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_done() {
        for scenario in SCENARIOS {
            let [task, _, serialization] = scenario.words;
            assert!(scenario.name.starts_with(task), "{}", scenario.name);
            if scenario.name != task {
                assert!(scenario.name.ends_with(serialization), "{}", scenario.name);
            }
            let is_json = serialization == "json";
            let has_typed = scenario.contenders.contains(&"ours-typed");
            assert!(is_json || !has_typed, "{}", scenario.name);
        }
    }
}
