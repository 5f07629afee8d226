//! A program that is a pool's worker: it does sums, and what else it is told.
//!
//! `Pool::processes(limits, Command::new("pool_worker").ipc(Serialization::Json))`

use std::error::Error;
use std::time::Duration;

use procession::pool::{Payload, Running, Worker};
use serde::ser::{Error as _, Serialize, Serializer};
use serde::{Deserialize, Serialize as DeriveSerialize};

/// What can be asked of it.
#[derive(Debug, DeriveSerialize, Deserialize)]
enum Task {
    Square(u64),
    /// How many tasks this worker has had.
    Served,
    /// A text of so many bytes.
    Text(usize),
    /// The same bytes.
    Mirror(Payload),
    /// Counts, and says so, until it is to end.
    Count,
    /// Waits until its token is cancelled, never asking.
    Token,
    /// Says something once, and then only asks whether it is to end.
    Word,
    /// Waits for so many milliseconds.
    Sleep(u64),
    Panic,
    /// Something that cannot be written.
    Unwritable,
    /// Keeps so many bytes for ever.
    Leak(usize),
    /// Uses CPU time for ever, whatever it is told.
    Burn,
    /// Ends the process.
    Exit,
    /// Never ends, whatever it is told.
    Hang,
    /// The process's number.
    Pid,
    /// The task's.
    Id,
    /// That of the worker's place.
    Slot,
}

/// What it answers.
enum Answer {
    Number(u64),
    Text(String),
    Bytes(Payload),
    Unwritable,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => bytes.serialize(serializer),
            Self::Unwritable => Err(S::Error::custom("this has no shape")),
        }
    }
}

/// What a worker keeps between its tasks.
#[derive(Default)]
struct Memory {
    served: u64,
    leaked: Vec<Vec<u8>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let worker = Worker::from_env()?.ok_or("start me from a pool")?;
    let worker = worker.init(|_slot| match std::env::var("POOL_WORKER_REFUSES") {
        Ok(reason) => Err(reason.into()),
        Err(_) => Ok(Memory::default()),
    });
    let worker = worker.teardown(|memory: Memory| {
        if let Some(millis) = std::env::var("POOL_WORKER_LINGERS")
            .ok()
            .and_then(|millis| millis.parse().ok())
        {
            std::thread::sleep(Duration::from_millis(millis));
        }
        if let Ok(path) = std::env::var("POOL_WORKER_FAREWELL") {
            // A test looks for it.
            let _ = std::fs::write(path, memory.served.to_string());
        }
    });
    worker.serve(run).await?;
    Ok(())
}

#[expect(clippy::exit, reason = "to see what becomes of the pool")]
#[expect(clippy::disallowed_methods, reason = "to see what becomes of the pool")]
fn run(task: Task, running: &mut Running<'_, Memory, u64>) -> Answer {
    running.state.served += 1;
    Answer::Number(match task {
        Task::Square(n) => n * n,
        Task::Served => running.state.served,
        Task::Text(bytes) => return Answer::Text("x".repeat(bytes)),
        Task::Mirror(bytes) => return Answer::Bytes(bytes),
        Task::Count => count(running),
        Task::Token => wait_for_token(running),
        Task::Word => say_a_word(running),
        Task::Sleep(millis) => {
            std::thread::sleep(Duration::from_millis(millis));
            millis
        }
        Task::Panic => panic!("as I was told"),
        Task::Unwritable => return Answer::Unwritable,
        Task::Leak(bytes) => {
            running.state.leaked.push(vec![1; bytes]);
            u64::from(std::process::id())
        }
        Task::Burn => loop {
            std::hint::spin_loop();
        },
        Task::Exit => {
            eprint_farewell();
            std::process::exit(7)
        }
        Task::Hang => loop {
            std::thread::park();
        },
        Task::Pid => u64::from(std::process::id()),
        Task::Id => running.id().0,
        Task::Slot => u64::from(running.slot()),
    })
}

fn count(running: &Running<'_, Memory, u64>) -> u64 {
    let mut count = 0;
    while !running.is_canceled() {
        running.progress(count);
        count += 1;
        std::thread::yield_now();
    }
    count
}

fn say_a_word(running: &Running<'_, Memory, u64>) -> u64 {
    running.progress(0);
    while !running.is_canceled() {
        std::thread::yield_now();
    }
    0
}

/// Asks nothing while it waits: somebody else has to hear the pool.
fn wait_for_token(running: &Running<'_, Memory, u64>) -> u64 {
    let token = running.token();
    if tokio::runtime::Handle::try_current().is_err() {
        return 0;
    }
    while !token.is_cancelled() {
        // Again and again: where neighbours tell much, one may not fit.
        running.progress(0);
        std::thread::sleep(Duration::from_millis(5));
    }
    1
}

#[expect(clippy::print_stderr, reason = "last words")]
fn eprint_farewell() {
    eprintln!("farewell");
}
