//! What every contender of `cargo xtask bench ipc` shares: the job, the clocks, the result.
//!
//! Also compiled into the benchmark of procession, so that ours and the others
//! are measured by the same lines.

use std::any::Any;
use std::env;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What of a message of a given size is not its body: `{"id":12345,"body":""}`, and some.
const AROUND_THE_BODY: usize = 24;

/// What is measured. The last message of a run has the id 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A message there and back, one after the other.
    RoundTrip,
    /// Messages one after the other; the child answers the last.
    OneWay,
    /// The same with a listening TCP socket each, which the child closes.
    Handles,
    /// Channels that carried a message and have nothing to do.
    Memory,
}

/// One line of work: `CONTENDER TASK SIZE SERIALIZATION COUNT`, or that of a child:
/// `child CONTENDER TASK SIZE SERIALIZATION`.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) contender: String,
    pub(crate) task: Task,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// `json` or `advanced`.
    pub(crate) serialization: String,
    /// How many messages; of a child nothing.
    count: String,
    pub(crate) is_child: bool,
}

impl Job {
    fn from_args() -> Option<Self> {
        let mut words: Vec<String> = env::args().skip(1).collect();
        let is_child = words.first().is_some_and(|word| word == "child");
        if is_child {
            words.remove(0);
        }
        let [contender, task, size, serialization, rest @ ..] = words.as_slice() else {
            return None;
        };
        Some(Self {
            contender: contender.clone(),
            task: match task.as_str() {
                "round-trip" => Task::RoundTrip,
                "one-way" => Task::OneWay,
                "handles" => Task::Handles,
                "memory" => Task::Memory,
                _ => return None,
            },
            size: size.parse().ok()?,
            serialization: serialization.clone(),
            count: rest.first().cloned().unwrap_or_default(),
            is_child,
        })
    }

    /// The words of the child that belongs to this parent.
    pub(crate) fn child_words(&self) -> Vec<String> {
        let mut words: Vec<String> = env::args().skip(1).take(4).collect();
        words.insert(0, "child".to_owned());
        words
    }

    /// The body that makes a message as long as the job says.
    pub(crate) fn body(&self) -> String {
        let alphabet = ('a'..='z').cycle();
        alphabet
            .take(self.size.saturating_sub(AROUND_THE_BODY))
            .collect()
    }
}

/// The parent's side of a contender, with its child ready.
pub(crate) trait Contender {
    /// The child's process id.
    fn child(&self) -> u32;
    /// So many messages.
    fn run(&mut self, count: u32) -> io::Result<()>;
    /// Ends the channel and waits for the child.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Keeps channels open, and says how many ends are in this process.
pub(crate) type Idle = (Box<dyn Any>, u32);

/// What a contender can do.
pub(crate) enum Prepared {
    /// Ready to exchange messages.
    Pair(Box<dyn Contender>),
    /// Makes so many idle channels.
    Channels(Box<dyn FnOnce(u32) -> io::Result<Idle>>),
    /// It was the child, and is done.
    Done,
}

/// A message that did not arrive as it was sent.
pub(crate) fn expect_same<T: PartialEq + ?Sized>(seen: &T, sent: &T) -> io::Result<()> {
    if seen == sent {
        Ok(())
    } else {
        Err(io::Error::other("a message came back as another"))
    }
}

/// The whole of a benchmark program.
pub(crate) fn main_with(prepare: impl FnOnce(&Job) -> io::Result<Option<Prepared>>) -> ExitCode {
    let Some(job) = Job::from_args() else {
        // `cargo bench` and `cargo test --benches` come here.
        println!("usage: CONTENDER TASK SIZE SERIALIZATION COUNT, as `cargo xtask bench ipc` does");
        return ExitCode::SUCCESS;
    };
    match work(&job, prepare) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let side = if job.is_child { "child" } else { "parent" };
            eprintln!(
                "error: {} ({}) as {side}: {error}",
                job.contender, job.serialization
            );
            ExitCode::FAILURE
        }
    }
}

fn work(job: &Job, prepare: impl FnOnce(&Job) -> io::Result<Option<Prepared>>) -> io::Result<()> {
    let prepared = prepare(job)?.ok_or_else(|| io::Error::other("nobody here does that"))?;
    let count = || job.count.parse::<u32>().map_err(io::Error::other);
    match prepared {
        Prepared::Done => Ok(()),
        Prepared::Pair(contender) => exchange(contender, count()?),
        Prepared::Channels(open) => {
            let before = resident()?;
            let (idle, ends) = open(count()?)?;
            let growth = resident()?.saturating_sub(before);
            drop(idle);
            print(ends, Duration::ZERO, [Duration::ZERO; 2], growth);
            Ok(())
        }
    }
}

fn exchange(mut contender: Box<dyn Contender>, count: u32) -> io::Result<()> {
    // A first run loads, allocates and compiles; the second finds all that.
    contender.run((count / 10).max(1))?;
    let child = contender.child();
    let before = (cpu(), cpu_of(child)?);
    let start = Instant::now();
    contender.run(count)?;
    let wall = start.elapsed();
    let own = cpu().saturating_sub(before.0);
    let childs = cpu_of(child)?.saturating_sub(before.1);
    contender.finish()?;
    print(count, wall, [own, childs], 0);
    Ok(())
}

fn print(ops: u32, wall: Duration, [own, childs]: [Duration; 2], growth: u64) {
    println!(
        "{{\"ops\": {ops}, \"wall_ns\": {}, \"cpu_ns\": {}, \"child_cpu_ns\": {}, \"growth\": {growth}}}",
        wall.as_nanos(),
        own.as_nanos(),
        childs.as_nanos(),
    );
}

/// CPU time of this process, all its threads.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// CPU time of the living threads of another process; exact, because they sleep now.
fn cpu_of(pid: u32) -> io::Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next();
        sum += first.and_then(|it| it.parse().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(sum))
}

/// Resident memory in bytes.
fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other("no VmRSS in /proc/self/status"))
}
