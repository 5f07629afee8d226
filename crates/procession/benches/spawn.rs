//! Ours, async and blocking, measured as the others of procession-sys' benchmark
//! `peers` are. Run by `cargo xtask bench spawn`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result of a round is a line on stdout"
)]

#[path = "../../sys/benches/peers/measure.rs"]
mod measure;

use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procession::child_process::{Command, Signal, Stdio};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use measure::{
    CAPTURED, Feature, Job, Ops, READ_SIZE, STREAMED, TRUE, Task, WAYS, all_there, flood, timed,
    user,
};

type Run = Box<dyn FnMut(Arc<Ops>) -> io::Result<()>>;

fn main() -> ExitCode {
    measure::main_with(prepare)
}

fn prepare(job: &Job) -> io::Result<Option<Run>> {
    match (job.contender.as_str(), job.task) {
        ("ours", _) => on_a_runtime(job).map(Some),
        // There is no blocking form of streaming.
        ("ours-blocking", Task::Stream) => Ok(None),
        ("ours-blocking", _) => Ok(Some(blocking(job))),
        _ => Ok(None),
    }
}

/// `/bin/true` with all three streams at `/dev/null`.
fn true_command(feature: Feature) -> io::Result<Command> {
    let mut command = Command::new(TRUE);
    command
        .stdin(Stdio::ignore())
        .stdout(Stdio::ignore())
        .stderr(Stdio::ignore());
    match feature {
        Feature::Plain => &mut command,
        Feature::User => {
            let (uid, gid) = user();
            command.uid(uid).gid(gid)
        }
        Feature::Descriptor => command.stdio(3, File::open("/dev/null")?),
        Feature::Session => command.detached(),
        Feature::ParentDeath => command.parent_death_signal(Signal::KILL),
    };
    Ok(command)
}

fn flood_command(bytes: u64) -> io::Result<Command> {
    let (program, args) = flood(bytes)?;
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::ignore())
        .stderr(Stdio::inherit());
    Ok(command)
}

fn on_a_runtime(job: &Job) -> io::Result<Run> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (task, feature) = (job.task, job.feature);
    Ok(Box::new(move |ops| {
        runtime.block_on(async {
            match task {
                Task::Sequential => spawn_and_wait(ops, feature).await,
                Task::Parallel => {
                    let mut tasks = JoinSet::new();
                    for _ in 0..WAYS {
                        tasks.spawn(spawn_and_wait(Arc::clone(&ops), feature));
                    }
                    tasks.join_all().await.into_iter().collect()
                }
                Task::Capture => repeat(&ops, capture).await,
                Task::Stream => repeat(&ops, stream).await,
            }
        })
    }))
}

async fn spawn_and_wait(ops: Arc<Ops>, feature: Feature) -> io::Result<()> {
    while ops.claim() {
        let start = || true_command(feature)?.spawn().map_err(io::Error::other);
        let (mut child, blocked) = timed(start)?;
        child.wait().await?;
        ops.done(blocked);
    }
    Ok(())
}

async fn repeat(ops: &Ops, once: impl AsyncFn() -> io::Result<Duration>) -> io::Result<()> {
    while ops.claim() {
        ops.done(once().await?);
    }
    Ok(())
}

async fn capture() -> io::Result<Duration> {
    let outcome = flood_command(CAPTURED)?.output().await;
    all_there(
        outcome.map_err(io::Error::other)?.stdout.len() as u64,
        CAPTURED,
    )
}

async fn stream() -> io::Result<Duration> {
    let mut child = flood_command(STREAMED)?.spawn().map_err(io::Error::other)?;
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut buffer = vec![0; READ_SIZE];
    let mut seen = 0;
    loop {
        match stdout.read(&mut buffer).await? {
            0 => break,
            count => seen += count as u64,
        }
    }
    child.wait().await?;
    all_there(seen, STREAMED)
}

/// Sixteen at a time are sixteen threads, as for `std`.
fn blocking(job: &Job) -> Run {
    let (task, feature) = (job.task, job.feature);
    let all = move |ops: &Ops| {
        while ops.claim() {
            ops.done(match task {
                Task::Sequential | Task::Parallel => {
                    let run = || {
                        true_command(feature)?
                            .status_blocking()
                            .map_err(io::Error::other)
                    };
                    timed(run)?.1
                }
                Task::Capture | Task::Stream => {
                    let outcome = flood_command(CAPTURED)?.output_blocking();
                    all_there(
                        outcome.map_err(io::Error::other)?.stdout.len() as u64,
                        CAPTURED,
                    )?
                }
            });
        }
        Ok(())
    };
    if task != Task::Parallel {
        return Box::new(move |ops| all(&ops));
    }
    Box::new(move |ops: Arc<Ops>| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..WAYS).map(|_| scope.spawn(|| all(&ops))).collect();
            let lost = |_| io::Error::other("a thread panicked");
            threads
                .into_iter()
                .try_for_each(|it| it.join().map_err(lost)?)
        })
    })
}
