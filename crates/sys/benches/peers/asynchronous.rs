//! `tokio::process`, on a runtime of one thread as ours.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::Run;
use crate::dressed::true_command;
use crate::measure::{
    CAPTURED, Feature, Job, Ops, READ_SIZE, STREAMED, Task, WAYS, all_there, flood, timed,
};

pub(crate) fn prepare(job: &Job) -> io::Result<Run> {
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
        let (mut child, blocked) = timed(|| Command::from(true_command(feature)).spawn())?;
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
    let (program, args) = flood(CAPTURED)?;
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .await?;
    all_there(output.stdout.len() as u64, CAPTURED)
}

async fn stream() -> io::Result<Duration> {
    let (program, args) = flood(STREAMED)?;
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
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
