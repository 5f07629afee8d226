//! `cargo xtask chaos`: the rounds of violence that are too long for every run.

use crate::cargo::{cargo, run as run_cargo, run_counting};
use crate::counts::Counts;
use crate::outcome::Outcome;

const USAGE: &str = "usage: cargo xtask chaos [--rounds N] [--kills N] [--pool-tasks N] [--restarts N] [--connections N]";
/// Trees ended in each of the two ways; ten times as many lives.
const ROUNDS: u32 = 1_000;
/// Workers of a cluster killed under load.
const KILLS: u32 = 1_000;
/// Tasks of each pool in the storm; a tenth of it for Node.
const POOL_TASKS: u32 = 100_000;
/// Workers killed and requests answered, each over a connection of its own, while
/// the primary's memory and descriptors are watched: about eight minutes.
const RESTARTS: u32 = 1_000;
const CONNECTIONS: u32 = 1_000_000;
/// Calls of each system call that are made to fail.
const CALLS: &str = "10";

/// The tests of a run, and whether all went well.
type Ran = Result<(Counts, bool), String>;

/// Which tests of violence, and how much of it; none of a kind is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amount {
    rounds: u32,
    kills: u32,
    pool_tasks: u32,
    /// Restarts and connections.
    endures: Option<(u32, u32)>,
}

/// Runs the tests `chaos`, `sweep` and `pool_storm` and the crash loop of procession, and the kills and
/// the endurance of the command line's, with the full figures. Who names some figures gets only those;
/// restarts and connections are one.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    match amount(arguments).and_then(all) {
        Err(failure) => Err(failure).into(),
        Ok((counts, went_well)) => Outcome {
            counts: Some(counts),
            failure: (!went_well).then(|| "not every test passed".into()),
        },
    }
}

fn all(amount: Amount) -> Ran {
    let (mut counts, mut went_well) = (Counts::default(), true);
    let mut add = |(counted, went)| {
        counts += counted;
        went_well &= went;
    };
    if amount.rounds > 0 {
        add(chaos(amount.rounds)?);
    }
    if amount.kills > 0 {
        add(kills(amount.kills)?);
    }
    if amount.pool_tasks > 0 {
        add(pool_storm(amount.pool_tasks)?);
    }
    if let Some((restarts, connections)) = amount.endures {
        add(crash_loop(restarts.saturating_mul(10))?);
        add(endurance(restarts, connections)?);
    }
    Ok((counts, went_well))
}

fn kills(number: u32) -> Ran {
    let words = "test --no-fail-fast --package procession-cli --test run_interop kills -- \
                 --nocapture --test-threads 1";
    let words: Vec<&str> = words.split_whitespace().collect();
    run_counting(cargo(&words).env("PROCESSION_KILLS", number.to_string()))
}

/// `/bin/false` without a pause: what ends takes nothing with it.
fn crash_loop(restarts: u32) -> Ran {
    let words = "test --package procession --test cluster restarts_without_bounds -- --nocapture";
    let words: Vec<&str> = words.split_whitespace().collect();
    run_counting(cargo(&words).env("PROCESSION_RESTARTS", restarts.to_string()))
}

/// With the release build: the limit of memory is that of what people run.
fn endurance(restarts: u32, connections: u32) -> Ran {
    let words =
        "test --release --package procession-cli --test run_interop endurance -- --nocapture";
    let words: Vec<&str> = words.split_whitespace().collect();
    run_counting(
        cargo(&words)
            .env("PROCESSION_RESTARTS", restarts.to_string())
            .env("PROCESSION_CONNECTIONS", connections.to_string()),
    )
}

fn build_examples() -> Result<(), String> {
    let words = ["build", "--quiet", "--package", "procession", "--examples"];
    run_cargo(&mut cargo(&words))
}

fn pool_storm(tasks: u32) -> Ran {
    build_examples()?;
    let words = "test --no-fail-fast --package procession --test pool_storm -- --nocapture --test-threads 1";
    let words: Vec<&str> = words.split_whitespace().collect();
    run_counting(cargo(&words).env("PROCESSION_POOL_TASKS", tasks.to_string()))
}

fn chaos(rounds: u32) -> Ran {
    let words = ["build", "--quiet", "--package", "procession-testkit"];
    run_cargo(&mut cargo(&words))?;
    build_examples()?;
    // Not by nextest, whose limit of time is that of the ordinary run.
    let words = "test --no-fail-fast --package procession --test chaos --test sweep -- --nocapture --test-threads 1";
    let words: Vec<&str> = words.split_whitespace().collect();
    run_counting(
        cargo(&words)
            .env("PROCESSION_CHAOS_ROUNDS", rounds.to_string())
            .env("PROCESSION_SWEEP_CALLS", CALLS),
    )
}

fn amount(arguments: &[String]) -> Result<Amount, String> {
    let mut amount = Amount {
        rounds: 0,
        kills: 0,
        pool_tasks: 0,
        endures: None,
    };
    for pair in arguments.chunks(2) {
        let [name, number] = pair else {
            return Err(USAGE.into());
        };
        let number = number.parse().ok().filter(|number| *number > 0);
        let number = number.ok_or(USAGE)?;
        match name.as_str() {
            "--rounds" => amount.rounds = number,
            "--kills" => amount.kills = number,
            "--pool-tasks" => amount.pool_tasks = number,
            "--restarts" => {
                let (restarts, _) = amount.endures.get_or_insert((RESTARTS, CONNECTIONS));
                *restarts = number;
            }
            "--connections" => {
                let (_, connections) = amount.endures.get_or_insert((RESTARTS, CONNECTIONS));
                *connections = number;
            }
            _ => return Err(USAGE.into()),
        }
    }
    if arguments.is_empty() {
        amount = Amount {
            rounds: ROUNDS,
            kills: KILLS,
            pool_tasks: POOL_TASKS,
            endures: Some((RESTARTS, CONNECTIONS)),
        };
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_is_read() {
        let read = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            amount(&words).map(|it| ([it.rounds, it.kills, it.pool_tasks], it.endures))
        };
        let all = Some((RESTARTS, CONNECTIONS));
        assert_eq!(read(""), Ok(([ROUNDS, KILLS, POOL_TASKS], all)));
        assert_eq!(read("--rounds 7"), Ok(([7, 0, 0], None)));
        assert_eq!(read("--kills 20"), Ok(([0, 20, 0], None)));
        assert_eq!(read("--kills 20 --rounds 7"), Ok(([7, 20, 0], None)));
        assert_eq!(read("--pool-tasks 8"), Ok(([0, 0, 8], None)));
        let some = Some((9, CONNECTIONS));
        assert_eq!(read("--restarts 9"), Ok(([0; 3], some)));
        let some = Some((9, 99));
        assert_eq!(read("--connections 99 --restarts 9"), Ok(([0; 3], some)));
        for wrong in ["--rounds", "--rounds x", "--rounds 0", "7", "--deaths 7"] {
            assert_eq!(read(wrong), Err(USAGE.to_owned()));
        }
    }
}
