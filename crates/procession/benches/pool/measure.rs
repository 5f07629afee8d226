//! The job, the clocks, the work that a task does, and the result of a round.

use std::fs;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Tasks that compute for so long.
    Spin {
        micros: u64,
    },
    /// The same, in turn with the same work on the submitting thread.
    Overhead {
        micros: u64,
    },
    /// Arrivals at random times, at 80 % of what the workers can do.
    Waits,
    /// 64 MiB that go there and come back.
    Payload,
    /// Half of the tasks are cancelled at some time.
    Storm,
    /// A message there and back between two threads.
    PortPair,
    /// The same on one thread.
    PortAlone,
    /// 100 bytes to a process and back.
    Echo,
    Share,
    StormOfProcesses,
}

/// One line of work.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) contender: String,
    pub(crate) task: Task,
    pub(crate) workers: u32,
    /// Tasks that are submitted before the first is waited for.
    pub(crate) ahead: usize,
    pub(crate) count: u32,
}

impl Job {
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        let [contender, task, workers, ahead, count] = words else {
            return None;
        };
        let task = match task.as_str() {
            "empty" => Task::Spin { micros: 0 },
            "work-50" => Task::Spin { micros: 50 },
            "overhead-40" => Task::Overhead { micros: 40 },
            "waits" => Task::Waits,
            "payload" => Task::Payload,
            "storm" => Task::Storm,
            "port-pair" => Task::PortPair,
            "port-alone" => Task::PortAlone,
            "echo" => Task::Echo,
            "share" => Task::Share,
            "storm-of-processes" => Task::StormOfProcesses,
            _ => return None,
        };
        Some(Self {
            contender: contender.clone(),
            task,
            workers: workers.parse().ok()?,
            ahead: ahead.parse().ok()?,
            count: count.parse().ok()?,
        })
    }

    /// A first run loads, allocates and starts threads; the second finds all that.
    pub(crate) fn warm_up(&self) -> u32 {
        (self.count / 10).max(1)
    }
}

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) ops: u32,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) child_cpu: Duration,
    /// How long tasks waited.
    pub(crate) waits: Vec<Duration>,
    /// CPU of tasks through the contender for each one done in place.
    pub(crate) ratio: f64,
    /// Tasks that ended as cancelled.
    pub(crate) canceled: u32,
}

impl Round {
    pub(crate) fn to_json(&self) -> String {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let at = |percent: usize| {
            let index = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
            waits.get(index).map_or(0, Duration::as_nanos)
        };
        format!(
            "{{\"ops\": {}, \"wall_ns\": {}, \"cpu_ns\": {}, \"child_cpu_ns\": {}, \
             \"p50_ns\": {}, \"p99_ns\": {}, \"ratio\": {}, \"canceled\": {}, \"lost\": 0}}",
            self.ops,
            self.wall.as_nanos(),
            self.cpu.as_nanos(),
            self.child_cpu.as_nanos(),
            at(50),
            at(99),
            self.ratio,
            self.canceled,
        )
    }
}

/// Wall and CPU time from its start on.
#[derive(Debug)]
pub(crate) struct Clock {
    wall: Instant,
    cpu: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            cpu: cpu(),
            wall: Instant::now(),
        }
    }

    pub(crate) fn stop(&self, ops: u32) -> Round {
        let wall = self.wall.elapsed();
        Round {
            ops,
            wall,
            cpu: cpu().saturating_sub(self.cpu),
            ..Round::default()
        }
    }
}

/// CPU time of this process: all threads, none of its children.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanos)
}

/// CPU time of the living threads of another process; exact, because they sleep now.
pub(crate) fn cpu_of(pid: u32) -> io::Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next();
        sum += first.and_then(|it| it.parse().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(sum))
}

/// CPU time of all children that have ended and were waited for, to a hundredth of a second.
pub(crate) fn cpu_of_the_gone() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // A name may have spaces in it; what follows its bracket does not.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|it| it.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// So many steps of an amount of work, not of time: a task that is interrupted has as much to do.
/// The same machine code wherever it is called from.
#[inline(never)]
pub(crate) fn spin(steps: u64) -> u64 {
    let mut x = black_box(steps | 1);
    for _ in 0..steps {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x)
}

/// How many steps take this long on an undisturbed core.
pub(crate) fn steps_in(micros: u64) -> u64 {
    const TRIAL: u64 = 100_000;
    let trial = || {
        let start = Instant::now();
        spin(TRIAL);
        start.elapsed().as_nanos()
    };
    let best = (0..30).map(|_| trial()).min().unwrap_or(1).max(1);
    let best = u64::try_from(best).unwrap_or(u64::MAX);
    TRIAL * micros * 1000 / best
}

/// A small generator: the same seed, the same round for everybody.
#[derive(Debug)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// From 0 to below 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
