//! What is measured, and who takes part.

/// What a table shows beside CPU and wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// How much CPU is added to the same work in place.
    Overhead,
    /// How long tasks waited.
    Waits,
    /// How many ended as cancelled.
    Storm,
    /// The child's CPU, and how many a second.
    Processes,
}

/// One table.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    pub(super) task: &'static str,
    pub(super) workers: u32,
    /// Tasks that are submitted before the first is waited for.
    pub(super) ahead: u32,
    /// How many by a Rust program.
    count: u32,
    /// How many by Node.
    by_node: u32,
    pub(super) contenders: &'static [&'static str],
}

impl Scenario {
    pub(super) fn count(&self, contender: &str) -> u32 {
        if is_node(contender) {
            self.by_node
        } else {
            self.count
        }
    }
}

/// Whether it is measured by the script.
pub(super) fn is_node(contender: &str) -> bool {
    ["piscina", "workerpool", "tinypool"]
        .iter()
        .any(|it| contender.starts_with(it))
}

const RUST: &[&str] = &["ours", "channel", "rayon", "tokio"];
const THREADS: &[&str] = &[
    "ours",
    "channel",
    "rayon",
    "tokio",
    "piscina",
    "workerpool",
    "tinypool",
];
const WITH_INLINE: &[&str] = &[
    "inline",
    "ours",
    "channel",
    "rayon",
    "tokio",
    "piscina",
    "workerpool",
    "tinypool",
];
const WHO_CAN_CANCEL: &[&str] = &["ours", "tokio", "piscina", "workerpool", "tinypool"];
const PORTS: &[&str] = &["ours", "crossbeam", "tokio"];
const PROCESSES: &[&str] = &[
    "ours",
    "ours-node",
    "workerpool-process",
    "tinypool-process",
    "piscina",
    "workerpool",
    "tinypool",
];

const EMPTY: Scenario = Scenario {
    name: "empty-1",
    title: "empty tasks, 1 worker, 256 ahead",
    kind: Kind::Plain,
    task: "empty",
    workers: 1,
    ahead: 256,
    count: 100_000,
    by_node: 20_000,
    contenders: THREADS,
};

const OVERHEAD: Scenario = Scenario {
    name: "overhead-40",
    title: "40 µs tasks, 1 worker, 256 ahead, in turn with the same work in place",
    kind: Kind::Overhead,
    task: "overhead-40",
    count: 10_000,
    contenders: RUST,
    ..EMPTY
};

const WAITS: Scenario = Scenario {
    name: "waits-1",
    title: "100 µs tasks that come at random, 1 worker, 80 % load",
    kind: Kind::Waits,
    task: "waits",
    count: 10_000,
    contenders: RUST,
    ..EMPTY
};

const PORT: Scenario = Scenario {
    name: "port-alone",
    title: "a message there and back through two ports, both ends on one thread",
    task: "port-alone",
    ahead: 1,
    count: 1_000_000,
    contenders: PORTS,
    ..EMPTY
};

const ECHO: Scenario = Scenario {
    name: "echo-1",
    title: "100 bytes to one worker and back, one at a time",
    kind: Kind::Processes,
    task: "echo",
    workers: 1,
    ahead: 1,
    count: 10_000,
    by_node: 4_000,
    contenders: PROCESSES,
};

/// In the order of the tables.
pub(super) const SCENARIOS: &[Scenario] = &[
    EMPTY,
    Scenario {
        name: "empty-2",
        title: "empty tasks, 2 workers, 256 ahead",
        workers: 2,
        ..EMPTY
    },
    Scenario {
        name: "empty-alone",
        title: "empty tasks, 1 worker, one at a time",
        ahead: 1,
        count: 20_000,
        by_node: 4_000,
        ..EMPTY
    },
    OVERHEAD,
    Scenario {
        name: "overhead-40-at-once",
        title: "the same, 500 at once, and the last is waited for first",
        ahead: 500,
        ..OVERHEAD
    },
    Scenario {
        name: "work-50",
        title: "50 µs tasks, 2 workers, 256 ahead",
        task: "work-50",
        workers: 2,
        count: 20_000,
        by_node: 20_000,
        contenders: WITH_INLINE,
        ..EMPTY
    },
    WAITS,
    Scenario {
        name: "waits-2",
        title: "100 µs tasks that come at random, 2 workers, 80 % load",
        workers: 2,
        ..WAITS
    },
    Scenario {
        name: "payload",
        title: "64 MiB there and back, 1 worker, one at a time",
        task: "payload",
        ahead: 1,
        count: 5_000,
        by_node: 500,
        ..EMPTY
    },
    Scenario {
        name: "storm",
        title: "20 µs tasks, 2 workers, all at once, half of them cancelled",
        kind: Kind::Storm,
        task: "storm",
        workers: 2,
        ahead: 20_000,
        count: 20_000,
        by_node: 20_000,
        contenders: WHO_CAN_CANCEL,
    },
    PORT,
    Scenario {
        name: "port-pair",
        title: "a message there and back through two ports, between two threads",
        task: "port-pair",
        count: 50_000,
        ..PORT
    },
    ECHO,
    Scenario {
        name: "echo-64",
        title: "100 bytes to one worker and back, 64 ahead",
        ahead: 64,
        count: 40_000,
        by_node: 20_000,
        ..ECHO
    },
    Scenario {
        name: "payload-process",
        title: "64 MiB to one worker process and back, one at a time",
        task: "share",
        count: 20,
        // Those of Node speak JSON with their processes: no string is that long.
        contenders: &["ours"],
        ..ECHO
    },
    Scenario {
        name: "storm-process",
        title: "20 µs tasks, 2 worker processes, all at once, half of them cancelled; with the start of all",
        kind: Kind::Storm,
        task: "storm-of-processes",
        workers: 2,
        ahead: 2_000,
        count: 2_000,
        by_node: 2_000,
        contenders: &["ours", "workerpool-process", "tinypool-process"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_ours_in_it() {
        for (n, scenario) in SCENARIOS.iter().enumerate() {
            assert!(scenario.contenders.contains(&"ours"), "{}", scenario.name);
            assert!(SCENARIOS[..n].iter().all(|it| it.name != scenario.name));
        }
    }

    #[test]
    fn node_does_as_many_as_its_own_count() {
        assert_eq!(EMPTY.count("tinypool-process"), 20_000);
        assert_eq!(EMPTY.count("tokio"), 100_000);
        assert!(!is_node("ours-node"));
    }
}
