//! A storm over pools: random cancels, time-outs, panics, deaf tasks, workers that end or
//! are killed. Each task has to end once, with a verdict that fits what was done to it.
//!
//! A few thousand tasks in the ordinary run; `cargo xtask chaos --pool-tasks` sets
//! `PROCESSION_POOL_TASKS`. `PROCESSION_CHAOS_SEED` repeats a run; every run prints its seed.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(clippy::print_stderr, reason = "the seed, and what came of it")]

#[path = "pool_storm/ahead.rs"]
mod ahead;
#[path = "pool_storm/ledger.rs"]
mod ledger;
#[path = "pool_storm/plan.rs"]
mod plan;
#[path = "support/random.rs"]
mod random;
#[path = "pool_storm/task.rs"]
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use procession::child_process::Command;
use procession::ipc::Serialization;
use procession::pool::{Limits, Pool, Running, Submitted, Threads, node_task};
use procession_testkit::leaks::Oracle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use ledger::Ledger;
use plan::{Cancel, Climate, Fate, Plan, Verdict};
use random::Random;
use task::{Deed, GRACE, LEDGER, Task};

const WORKERS: u32 = 4;
const QUEUE: usize = 300;

/// Tasks on their way: more than the queue takes, and then so few that most of them run.
const FLOOD: usize = 320;
const EBB: usize = 8;
const TIDE: u64 = 400;

/// What a pool may keep after the first tasks, whatever comes then.
const GROWTH: u64 = 4 * 1024 * 1024;

/// Among so many tasks there is one for each verdict.
const MANY: usize = 50_000;

/// One worker is killed for so many submissions.
const PER_KILL: u64 = 200;

fn tasks(few: u64) -> u64 {
    let many = std::env::var("PROCESSION_POOL_TASKS");
    many.map_or(few, |tasks| {
        tasks.parse().expect("PROCESSION_POOL_TASKS is a number")
    })
}

/// After so many, a pool has all that it needs.
fn warm_up(count: u64) -> u64 {
    count / 4
}

fn limits(concurrency: u32) -> Limits {
    let mut limits = Limits::new(1..=WORKERS);
    limits.concurrency = concurrency;
    limits.queue = QUEUE;
    limits.grace = GRACE;
    limits.idle = Duration::from_millis(50);
    limits.max_tasks = Some(2_000);
    limits
}

/// In an oracle, on a runtime of one thread.
#[track_caller]
fn scene(test: impl AsyncFnOnce(&Oracle)) {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test(&oracle));
    drop(runtime);
    oracle.check();
}

#[test]
fn threads_in_the_storm() {
    let count = tasks(6_000);
    let begun: Arc<[AtomicU32]> = (0..count).map(|_| AtomicU32::new(0)).collect();
    scene(async |_| {
        std::panic::set_hook(Box::new(|_| {}));
        let noted = Arc::clone(&begun);
        let pool = Threads::new(limits(1))
            .start(move |task: Task, running: &mut Running<'_>| {
                noted[usize::try_from(task.id).unwrap()].fetch_add(1, Ordering::SeqCst);
                on_a_thread(task, running)
            })
            .unwrap();
        let ended = storm(&pool, count, || {}, Climate::Threads).await;
        let end = Instant::now() + Duration::from_secs(30);
        while pool.abandoned() > 0 {
            assert!(Instant::now() < end, "the deaf do not come back");
            tokio::task::yield_now().await;
        }
        pool.close().await;
        drop(std::panic::take_hook());
        let times = |id: u64| begun[usize::try_from(id).unwrap()].load(Ordering::SeqCst);
        let begun = (0..count).map(|id| (id, vec![0; times(id) as usize]));
        judge(&pool, &ended, &begun.collect(), None);
    });
}

fn on_a_thread(task: Task, running: &Running<'_>) -> u64 {
    match task.deed {
        Deed::Panic => panic!("{}", task.id),
        Deed::Wait => {
            while !running.is_canceled() {
                std::thread::yield_now();
            }
        }
        // For longer than it may be: it is given up.
        Deed::Deaf => std::thread::sleep(GRACE * 3 / 2),
        Deed::Return | Deed::Slow | Deed::Exit | Deed::Kill => {}
    }
    task.id
}

#[test]
fn processes_in_the_storm() {
    let example = procession_testkit::example("pool_storm_worker");
    among_processes(tasks(4_000), 1, || {
        let mut command = Command::new(&example);
        command.ipc(Serialization::Json);
        command
    });
}

/// Those that share a process with one that is deaf or panics are not lost with it.
#[test]
fn neighbours_in_the_storm() {
    let example = procession_testkit::example("pool_storm_worker");
    among_processes(tasks(4_000), 3, || {
        let mut command = Command::new(&example);
        command.ipc(Serialization::Advanced);
        command
    });
}

#[test]
fn modules_of_node_in_the_storm() {
    if procession_testkit::node::or_skip("modules_of_node_in_the_storm").is_none() {
        return;
    }
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pool_storm/worker.js");
    // A start of Node costs as much as thousands of tasks.
    among_processes(tasks(10_000) / 10, 1, || node_task(&module));
}

#[track_caller]
fn among_processes(count: u64, concurrency: u32, command: impl Fn() -> Command) {
    scene(async |oracle| {
        let climate = if concurrency > 1 {
            Climate::Neighbours
        } else {
            Climate::Processes
        };
        let mut ledger = Ledger::new();
        let mut command = command();
        command
            .envs([oracle.tag()])
            .env(LEDGER, ledger.path())
            // To find the lines of a panic takes longer than a task may.
            .env("RUST_BACKTRACE", "0");
        let pool = Pool::processes(limits(concurrency), &command).unwrap();
        let ended = storm(&pool, count, || ledger.kill_one(), climate).await;
        pool.close().await;
        judge(&pool, &ended, &ledger.read(), Some(ledger.killed()));
    });
}

/// Sends them all through the pool; memory may not grow once it is warm.
async fn storm(
    pool: &Pool<Task, u64>,
    count: u64,
    mut kill: impl FnMut(),
    climate: Climate,
) -> Vec<(Plan, Verdict)> {
    let mut random = Random::start();
    let mut draw = |id| Plan::draw(id, climate, &mut |limit| random.below(limit));
    // Written to now: what is noted of the tasks does not count as growth.
    let first = draw(0);
    let mut ended = vec![(first, Verdict::Other); usize::try_from(count).unwrap()];
    let (mut on_their_way, mut warm) = (JoinSet::new(), None);
    let mut note = |done: Option<(Plan, Verdict)>| {
        let (plan, verdict) = done.unwrap();
        let place = &mut ended[usize::try_from(plan.task.id).unwrap()];
        assert_eq!(place.1, Verdict::Other, "{plan:?} ended twice");
        *place = (plan, verdict);
    };
    for id in 0..count {
        if id == warm_up(count) {
            warm = resident();
        }
        let plan = if id == 0 { first } else { draw(id) };
        let is_flood = (id / TIDE).is_multiple_of(2);
        let ahead = if is_flood { FLOOD } else { EBB };
        while on_their_way.len() >= ahead {
            note(on_their_way.join_next().await.map(Result::unwrap));
        }
        let (terms, token) = plan.terms();
        match pool.submit(plan.task, terms) {
            Ok(task) => {
                on_their_way.spawn(follow(plan, task, token));
            }
            Err(error) => {
                note(Some((plan, Verdict::of(plan.task, Err(error)))));
                // What comes next shall not be refused as well.
                while on_their_way.len() > QUEUE / 2 {
                    note(on_their_way.join_next().await.map(Result::unwrap));
                }
            }
        }
        if climate.has_processes() && id % PER_KILL == PER_KILL - 1 {
            kill();
        }
    }
    while let Some(done) = on_their_way.join_next().await {
        note(Some(done.unwrap()));
    }
    pool.drained().await;
    if let (Some(warm), Some(now)) = (warm, resident()) {
        eprintln!("memory: {} KiB, then {} KiB", warm / 1024, now / 1024);
        assert!(now <= warm + GROWTH, "memory grows");
    }
    ended
}

/// Waits for a task, or does to it what the plan says.
async fn follow(
    plan: Plan,
    mut task: Submitted<Task, u64>,
    token: CancellationToken,
) -> (Plan, Verdict) {
    let after = match plan.cancel {
        Cancel::Never => Duration::MAX,
        Cancel::Call(after) | Cancel::Token(after) | Cancel::Drop(after) => after,
    };
    let early = tokio::time::timeout(after, &mut task).await;
    let result = match (early, plan.cancel) {
        (Ok(result), _) => result,
        (Err(_), Cancel::Drop(_)) => return (plan, Verdict::Dropped),
        (Err(_), Cancel::Call(_) | Cancel::Never) => {
            task.cancel();
            task.await
        }
        (Err(_), Cancel::Token(_)) => {
            token.cancel();
            task.await
        }
    };
    (plan, Verdict::of(plan.task, result))
}

/// Whether each ended as it should, and the pool has counted as many. `killed` are those processes
/// that we have killed; threads have none.
#[track_caller]
fn judge(
    pool: &Pool<Task, u64>,
    ended: &[(Plan, Verdict)],
    begun: &BTreeMap<u64, Vec<u32>>,
    killed: Option<&BTreeSet<u32>>,
) {
    let mut dead = killed.cloned().unwrap_or_default();
    let of = |plan: &Plan| begun.get(&plan.task.id).map_or(&[][..], Vec::as_slice);
    for (plan, _) in ended {
        if matches!(plan.task.deed, Deed::Exit | Deed::Kill) {
            dead.extend(of(plan));
        }
    }
    let mut counts = BTreeMap::<String, u64>::new();
    let mut vanished = 0;
    for (plan, verdict) in ended {
        let fate = Fate {
            has_processes: killed.is_some(),
            begun: of(plan),
            dead: &dead,
        };
        if let Err(why) = plan.judge(*verdict, &fate) {
            let begun = fate.begun;
            panic!("{plan:?} began in {begun:?} and ended as {verdict:?}: {why}");
        }
        vanished += usize::from(*verdict == Verdict::Died && fate.begun.is_empty());
        let name = format!("{verdict:?}");
        let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
        *counts.entry(name).or_default() += 1;
    }
    eprintln!("{counts:?}, {} processes died", dead.len());
    // Each death may take what its worker was given and had not begun, and no more.
    let stats = pool.stats();
    assert!(
        vanished <= dead.len() * stats.concurrency as usize,
        "{vanished} vanished"
    );
    let refused = counts.get("Refused").copied().unwrap_or_default();
    assert_eq!(stats.accepted + refused, ended.len() as u64, "{stats:?}");
    assert_eq!(stats.ended(), stats.accepted, "{stats:?}");
    assert_eq!(stats.refused, refused, "{stats:?}");
    let has = |verdict: &&str| counts.contains_key(*verdict);
    let usual = [
        "Done",
        "CanceledInQueue",
        "TimedOut",
        "QueueTimedOut",
        "Panicked",
    ];
    assert!(usual.iter().all(has), "{counts:?}");
    // Of a few tasks none may have been so unlucky.
    let is_long = ended.len() >= MANY;
    assert!(
        !is_long || ["Canceled", "Refused"].iter().all(has),
        "{counts:?}"
    );
    assert!(!is_long || killed.is_some() == has(&"Died"), "{counts:?}");
}

/// Resident memory in bytes, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
