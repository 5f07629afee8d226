//! What every contender of the benchmarks shares: the job, the clocks, the result.
//!
//! Also compiled into the benchmark of procession, so that ours and the others
//! are measured by the same lines.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The program that is started: the smallest one every system has.
pub(crate) const TRUE: &str = "/bin/true";
/// Children at a time in the parallel task.
pub(crate) const WAYS: u32 = 16;
/// Bytes of the capture task.
pub(crate) const CAPTURED: u64 = 64 * 1024 * 1024;
/// Bytes of the stream task.
pub(crate) const STREAMED: u64 = 1024 * 1024 * 1024;
/// The buffer a stream is read with.
pub(crate) const READ_SIZE: usize = 256 * 1024;
/// What the flooding child writes at a time.
const WRITE_SIZE: usize = 64 * 1024;
/// No round takes longer: a contender that forks a big heap does fewer operations.
const ROUND_LIMIT: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Spawn and wait, one after the other.
    Sequential,
    /// Spawn and wait, 16 at a time.
    Parallel,
    /// The output of one child in memory.
    Capture,
    /// The output of one child, read and dropped.
    Stream,
}

/// What is asked for besides the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Nothing.
    Plain,
    /// Another user and group (our own where we may not change them).
    User,
    /// Descriptor 3.
    Descriptor,
    /// A session of its own.
    Session,
    /// A signal when the parent is gone.
    ParentDeath,
}

/// One line of work: `CONTENDER TASK FEATURE HEAP_MIB COUNT`.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) contender: String,
    pub(crate) task: Task,
    pub(crate) feature: Feature,
    heap_mib: usize,
    count: u32,
}

impl Job {
    fn from_args() -> Option<Self> {
        let words: Vec<String> = env::args().skip(1).collect();
        let [contender, task, feature, heap_mib, count] = words.as_slice() else {
            return None;
        };
        Some(Self {
            contender: contender.clone(),
            task: match task.as_str() {
                "sequential" => Task::Sequential,
                "parallel" => Task::Parallel,
                "capture" => Task::Capture,
                "stream" => Task::Stream,
                _ => return None,
            },
            feature: match feature.as_str() {
                "plain" => Feature::Plain,
                "user" => Feature::User,
                "descriptor" => Feature::Descriptor,
                "session" => Feature::Session,
                "parent-death" => Feature::ParentDeath,
                _ => return None,
            },
            heap_mib: heap_mib.parse().ok()?,
            count: count.parse().ok()?,
        })
    }
}

/// The user and group of [`Feature::User`]: `nobody`, or ourselves if we may not change.
pub(crate) fn user() -> (u32, u32) {
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    if uid.is_root() {
        (65_534, 65_534)
    } else {
        (uid.as_raw(), gid.as_raw())
    }
}

/// The program that floods, and its arguments.
pub(crate) fn flood(bytes: u64) -> io::Result<(String, [String; 2])> {
    let program = env::var("BENCH_FLOOD");
    let program = match program {
        Ok(program) => program,
        Err(_) => env::current_exe()?.to_string_lossy().into_owned(),
    };
    Ok((program, ["flood".into(), bytes.to_string()]))
}

/// The operations of one round, handed out to whoever does them.
#[derive(Debug)]
pub(crate) struct Ops {
    left: AtomicU32,
    until: Instant,
    blocked: Mutex<Vec<Duration>>,
}

impl Ops {
    /// Whether there is another one to do.
    pub(crate) fn claim(&self) -> bool {
        let take_one = |left: u32| left.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        Instant::now() < self.until && self.left.fetch_update(set, fetch, take_one).is_ok()
    }

    /// Notes an operation and how long its caller could do nothing else.
    pub(crate) fn done(&self, blocked: Duration) {
        let mut all = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(blocked);
    }
}

/// Calls and says how long it took.
pub(crate) fn timed<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Duration)> {
    let start = Instant::now();
    let result = call()?;
    Ok((result, start.elapsed()))
}

/// A contender that lost bytes was not fast. (Nobody asks how long these block.)
pub(crate) fn all_there(seen: u64, expected: u64) -> io::Result<Duration> {
    if seen == expected {
        Ok(Duration::ZERO)
    } else {
        Err(io::Error::other(format!("{seen} bytes of {expected}")))
    }
}

/// What a round came to.
#[derive(Debug)]
struct Round {
    wall: Duration,
    cpu: Duration,
    blocked: Vec<Duration>,
    growth: u64,
}

impl Round {
    fn to_json(&self) -> String {
        let mut blocked = self.blocked.clone();
        blocked.sort_unstable();
        let at = |percent: usize| {
            let index = (blocked.len() * percent / 100).min(blocked.len().saturating_sub(1));
            blocked.get(index).map_or(0, Duration::as_nanos)
        };
        let mut json = String::from("{");
        for (name, value) in [
            ("ops", blocked.len() as u128),
            ("wall_ns", self.wall.as_nanos()),
            ("cpu_ns", self.cpu.as_nanos()),
            ("p50_ns", at(50)),
            ("p99_ns", at(99)),
            ("growth", u128::from(self.growth)),
        ] {
            let comma = if json.len() > 1 { ", " } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(json, "{comma}\"{name}\": {value}");
        }
        json + "}"
    }
}

/// CPU time of this process, all its threads, none of its children.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// A line of `/proc/self/status` in bytes.
fn memory(name: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other("no such line in /proc/self/status"))
}

fn measure(count: u32, run: &mut impl FnMut(Arc<Ops>) -> io::Result<()>) -> io::Result<Round> {
    let ops = Arc::new(Ops {
        left: AtomicU32::new(count),
        until: Instant::now() + ROUND_LIMIT,
        blocked: Mutex::new(Vec::with_capacity(count as usize + WAYS as usize)),
    });
    let before = memory("VmRSS")?;
    // From here on the high-water mark is this round's.
    fs::write("/proc/self/clear_refs", "5")?;
    let (start, cpu_start) = (Instant::now(), cpu());
    run(Arc::clone(&ops))?;
    let (wall, cpu) = (start.elapsed(), cpu().saturating_sub(cpu_start));
    let blocked = ops
        .blocked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Ok(Round {
        wall,
        cpu,
        blocked,
        growth: memory("VmHWM")?.saturating_sub(before),
    })
}

/// Memory that the program has written to, as a program in use has.
fn touched_heap(mib: usize) -> Vec<u8> {
    let mut heap = vec![0_u8; mib * 1024 * 1024];
    for byte in heap.iter_mut().step_by(4096) {
        *byte = 1;
    }
    heap
}

/// The whole of a benchmark program: `run` does the operations of the job it is given.
pub(crate) fn main_with<R>(prepare: impl FnOnce(&Job) -> io::Result<Option<R>>) -> ExitCode
where
    R: FnMut(Arc<Ops>) -> io::Result<()>,
{
    let mut words = env::args().skip(1);
    if words.next().as_deref() == Some("flood") {
        return code(write_zeros(words.next()));
    }
    let Some(job) = Job::from_args() else {
        // `cargo bench` and `cargo test --benches` come here.
        println!("usage: CONTENDER TASK FEATURE HEAP_MIB COUNT, as `cargo xtask bench spawn` does");
        return ExitCode::SUCCESS;
    };
    code(round(&job, prepare))
}

fn round<R>(job: &Job, prepare: impl FnOnce(&Job) -> io::Result<Option<R>>) -> io::Result<()>
where
    R: FnMut(Arc<Ops>) -> io::Result<()>,
{
    let heap = touched_heap(job.heap_mib);
    let mut run = prepare(job)?.ok_or_else(|| io::Error::other("nobody here does that"))?;
    // A first call loads, allocates and starts threads; the second finds all that.
    if matches!(job.task, Task::Sequential | Task::Parallel) {
        measure(2 * WAYS, &mut run)?;
    }
    let round = measure(job.count, &mut run)?;
    std::hint::black_box(&heap);
    println!("{}", round.to_json());
    Ok(())
}

fn code(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The child of the capture and stream tasks.
fn write_zeros(bytes: Option<String>) -> io::Result<()> {
    let bytes = bytes.and_then(|bytes| bytes.parse::<u64>().ok());
    let mut left = bytes.ok_or_else(|| io::Error::other("usage: flood BYTES"))?;
    // Not by way of std's line buffer.
    let mut stdout = fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let chunk = vec![0_u8; WRITE_SIZE];
    while left > 0 {
        let length = left.min(WRITE_SIZE as u64);
        stdout.write_all(&chunk[..usize::try_from(length).unwrap_or(WRITE_SIZE)])?;
        left -= length;
    }
    Ok(())
}
