//! `std` and `duct`. Sixteen at a time are sixteen threads: they have no other means.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::Run;
use crate::dressed::{dress, true_command};
use crate::measure::{
    CAPTURED, Job, Ops, READ_SIZE, STREAMED, TRUE, Task, WAYS, all_there, flood, timed,
};

/// Repeats an operation that says how long its caller was blocked.
fn repeat(task: Task, once: impl Fn() -> io::Result<Duration> + Sync + 'static) -> Run {
    let all = move |ops: &Ops| {
        while ops.claim() {
            ops.done(once()?);
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

pub(crate) fn std(job: &Job) -> Run {
    let feature = job.feature;
    match job.task {
        Task::Sequential | Task::Parallel => repeat(job.task, move || {
            let (mut child, blocked) = timed(|| true_command(feature).spawn())?;
            child.wait()?;
            Ok(blocked)
        }),
        Task::Capture => repeat(job.task, || {
            let (program, args) = flood(CAPTURED)?;
            let output = Command::new(program)
                .args(args)
                .stdin(Stdio::null())
                .output()?;
            all_there(output.stdout.len() as u64, CAPTURED)
        }),
        Task::Stream => repeat(job.task, || {
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
                match stdout.read(&mut buffer)? {
                    0 => break,
                    count => seen += count as u64,
                }
            }
            child.wait()?;
            all_there(seen, STREAMED)
        }),
    }
}

pub(crate) fn duct(job: &Job) -> Run {
    let feature = job.feature;
    match job.task {
        Task::Sequential | Task::Parallel => repeat(job.task, move || {
            let expression = duct::cmd!(TRUE)
                .before_spawn(move |command| {
                    dress(command, feature);
                    Ok(())
                })
                .stdin_null()
                .stdout_null()
                .stderr_null();
            let (handle, blocked) = timed(|| expression.start())?;
            handle.wait()?;
            Ok(blocked)
        }),
        Task::Capture => repeat(job.task, || {
            let (program, args) = flood(CAPTURED)?;
            let output = duct::cmd(program, args)
                .stdin_null()
                .stdout_capture()
                .run()?;
            all_there(output.stdout.len() as u64, CAPTURED)
        }),
        Task::Stream => repeat(job.task, || {
            let (program, args) = flood(STREAMED)?;
            let mut reader = duct::cmd(program, args).stdin_null().reader()?;
            let mut buffer = vec![0; READ_SIZE];
            let mut seen = 0;
            loop {
                match reader.read(&mut buffer)? {
                    0 => break,
                    count => seen += count as u64,
                }
            }
            all_there(seen, STREAMED)
        }),
    }
}
