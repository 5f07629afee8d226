//! One of two workers is slow, or stopped: what the clients of the other one notice.

use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use super::super::results::{markdown, spread};
use super::contender::{Contender, Kind, Server};
use super::tools::{Load, Tools, kill};
use super::{Options, REST, results::shown_of};

/// A request that takes longer has hung. So each load goes on for so long after it is measured:
/// only then it is known what became of the last requests.
const LIMIT_S: u32 = 2;
/// How long the slow worker blocks with each request.
const SLOW_MS: &str = "200";

/// The p99 of the worker that is neither slow nor stopped.
#[derive(Debug, Default)]
struct Row {
    contender: &'static str,
    quiet_us: Vec<f64>,
    slow_us: Vec<f64>,
    stopped_us: Vec<f64>,
    /// Requests that hung on the stopped worker. One that is handed a single client may have been
    /// handed the look that our client takes first, which asks nothing: then there is one less.
    hung: Vec<f64>,
    /// Answers beside the slow and beside the stopped worker, for each one when all is quiet.
    slow_rate: Vec<f64>,
    stopped_rate: Vec<f64>,
}

/// What was seen, by contender.
#[derive(Debug, Default)]
pub(super) struct Uneven {
    rows: Vec<Row>,
}

/// Runs the rounds.
pub(super) fn run(
    tools: &Tools,
    contenders: &[&Contender],
    node: &Path,
    options: &Options,
) -> Result<Uneven, String> {
    let mut uneven = Uneven::default();
    let lasts = (options.seconds + LIMIT_S).to_string();
    let several = contenders.iter().filter(|it| it.kind != Kind::Single);
    for round in 1..=options.rounds {
        for contender in several.clone() {
            eprintln!(
                "round {round}, a slow and a stopped worker: {}",
                contender.name
            );
            let row = uneven.row(contender.name);
            measure(tools, contender, node, &lasts, row)
                .map_err(|why| format!("{}: {why}", contender.name))?;
        }
    }
    Ok(uneven)
}

fn measure(
    tools: &Tools,
    contender: &Contender,
    node: &Path,
    lasts: &str,
    row: &mut Row,
) -> Result<(), String> {
    let http = tools.server("http.js");
    // Far below what the workers can: what is measured is waiting, not the machine.
    let limit = LIMIT_S.to_string();
    let words = ["-d", lasts, "-t", &limit, "-c", "32", "-r", "25"];
    let load = |server: &Server<'_>| tools.load(server.at, &words);

    let server = Server::start(tools, contender, node, &http, &[])?;
    tools.load(server.at, &["-a", "2000", "-c", "8"])?;
    thread::sleep(REST);
    let quiet = load(&server)?;
    row.quiet_us.extend(quiet.p99_of_others(0));
    let victim = *server.processes().1.first().ok_or("no worker is left")?;
    kill("STOP", victim);
    let stopped = load(&server);
    kill("CONT", victim);
    let stopped = stopped?;
    row.stopped_us.extend(stopped.p99_of_others(victim));
    row.hung.push(stopped.hung as f64);
    row.stopped_rate.push(rate(&stopped, &quiet));
    server.stop()?;

    let marker = tools.scratch()?;
    let claimed = marker.join("slow");
    let env = [
        ("SLOW_MS", SLOW_MS),
        ("SLOW_FILE", &*claimed.to_string_lossy()),
    ];
    let server = Server::start(tools, contender, node, &http, &env)?;
    let slow = load(&server)?;
    let victim = std::fs::read_to_string(&claimed).map_err(|error| error.to_string())?;
    let victim = victim
        .trim()
        .parse()
        .map_err(|_| "the slow worker has no pid")?;
    row.slow_us.extend(slow.p99_of_others(victim));
    row.slow_rate.push(rate(&slow, &quiet));
    server.stop()?;
    // The folder is ours, and an empty one harms nobody.
    let _ = std::fs::remove_dir_all(marker);
    Ok(())
}

fn rate(load: &Load, quiet: &Load) -> f64 {
    load.answers as f64 / (quiet.answers.max(1) as f64)
}

impl Uneven {
    fn row(&mut self, contender: &'static str) -> &mut Row {
        let at = self.rows.iter().position(|it| it.contender == contender);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row {
                contender,
                ..Row::default()
            });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    pub(super) fn table(&self) -> String {
        let columns = [
            "contender",
            "p99 ms, quiet",
            "beside a slow one",
            "answers × quiet",
            "beside a stopped one",
            "answers × quiet",
            "hung",
        ];
        let ms = |numbers: &[f64]| shown_of(numbers.iter().map(|it| it / 1e3).collect());
        let share =
            |numbers: &[f64]| median(numbers).map_or_else(|| "–".into(), |it| format!("{it:.2}"));
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                vec![
                    row.contender.to_owned(),
                    ms(&row.quiet_us),
                    ms(&row.slow_us),
                    share(&row.slow_rate),
                    ms(&row.stopped_us),
                    share(&row.stopped_rate),
                    shown_of(row.hung.clone()),
                ]
            })
            .collect();
        format!(
            "**one of two workers blocks for {SLOW_MS} ms with each request, or is stopped** \
             (32 clients, each 25 requests a second, and who had to wait makes up for it; p99 of \
             the other worker; hung: longer than {LIMIT_S} s)\n\n{}",
            markdown(&columns.map(str::to_owned), &rows)
        )
    }

    /// What the issue asks of ours.
    pub(super) fn bars(&self) -> Vec<(String, f64, Option<f64>)> {
        let mut bars = Vec::new();
        for row in self.rows.iter().filter(|it| it.contender == "ours-auto") {
            let over_quiet = |numbers: &[f64]| Some(median(numbers)? / median(&row.quiet_us)?);
            bars.push((
                "p99 beside a slow worker / quiet".into(),
                1.5,
                over_quiet(&row.slow_us),
            ));
            bars.push((
                "p99 beside a stopped worker / quiet".into(),
                1.5,
                over_quiet(&row.stopped_us),
            ));
            let most = row.hung.iter().copied().reduce(f64::max);
            bars.push(("hung on a stopped worker, worst round".into(), 0.0, most));
        }
        bars
    }

    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "contender": row.contender,
                "quiet_us": row.quiet_us,
                "slow_us": row.slow_us,
                "stopped_us": row.stopped_us,
                "hung": row.hung,
            })
        });
        rows.collect::<Vec<_>>().into()
    }
}

fn median(numbers: &[f64]) -> Option<f64> {
    spread(numbers.to_vec()).map(|[median, ..]| median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_round_counts_for_what_hangs() {
        let mut uneven = Uneven::default();
        let row = uneven.row("ours-auto");
        (row.quiet_us, row.slow_us) = (vec![100.0, 200.0, 300.0], vec![250.0, 260.0, 900.0]);
        (row.stopped_us, row.hung) = (vec![400.0], vec![0.0, 1.0, 0.0]);
        uneven.row("node-rr").hung.push(7.0);
        let bars = uneven.bars();
        let seen: Vec<f64> = bars.iter().map(|(.., seen)| seen.unwrap()).collect();
        assert_eq!(seen, [1.3, 2.0, 1.0]);
        assert_eq!(uneven.table().matches("| node-rr ").count(), 1);
    }
}
