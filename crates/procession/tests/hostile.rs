//! Children that do not keep to the channel's rules. Whatever they do, the
//! parent lives, memory and descriptors stay within bounds, that one channel
//! ends with a typed error or goes on, and another child is answered meanwhile.
//!
//! The children are the example `ipc_peer`, which writes to the bare socket.
//! How fast the other child is answered is printed, not asserted.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(clippy::print_stderr, reason = "the figures")]

#[path = "support/processes.rs"]
#[expect(dead_code, reason = "whether they live does not matter here")]
mod processes;
#[expect(dead_code, reason = "the children here are our own")]
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procession::child_process::{Child, Command, Stdio};
use procession::ipc::{Channel, Limits, ProtocolError, ReceiveError, SendError, Serialization};
use procession_testkit::leaks::Oracle;
use serde_json::Value;
use support::{scene, tagged};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use Serialization::{Advanced, Json};

const MIB: usize = 1024 * 1024;

/// Above what the limits say, since a frame is copied when it grows.
const RECEIVED: usize = 40 * MIB;
/// The queue of 16 MiB, and what the allocator keeps.
const UNSENT: usize = 32 * MIB;

/// Round trips of the other child, at least.
const TRIPS: usize = 50;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_frame = 16 * MIB;
    limits
}

fn peer() -> PathBuf {
    let itself = std::env::current_exe().unwrap();
    let path = itself.ancestors().nth(2).unwrap().join("examples/ipc_peer");
    let shown = path.display();
    assert!(path.exists(), "missing {shown}: cargo build --examples");
    path
}

fn start(oracle: &Oracle, serialization: Serialization, words: &[&str]) -> (Child, Channel) {
    let mut command = tagged(oracle, Command::new(peer()), words);
    command.ipc(serialization).ipc_limits(limits());
    command
        .stdin(Stdio::Ignore)
        .stdout(Stdio::Inherit)
        .stderr(Stdio::Inherit);
    let mut child = command.spawn().unwrap();
    let channel = child.channel.take().unwrap();
    (child, channel)
}

/// Bytes of memory that this process has.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Another child, which is asked all the time; looks at memory and descriptors between.
struct Bystander {
    done: CancellationToken,
    trips: Arc<AtomicUsize>,
    asking: JoinHandle<(Peaks, Vec<Duration>)>,
}

/// The most that there was beyond what there had been.
#[derive(Clone, Copy, Debug)]
struct Peaks {
    memory: usize,
    descriptors: usize,
}

impl Bystander {
    async fn start(oracle: &Oracle) -> Self {
        let (mut child, mut channel) = start(oracle, Json, &["echo"]);
        let done = CancellationToken::new();
        let trips = Arc::new(AtomicUsize::new(0));
        let (ask, counted) = (done.clone(), Arc::clone(&trips));
        round_trip(&mut channel, 0).await;
        let asking = tokio::spawn(async move {
            let before = (memory(), descriptors());
            let mut peaks = Peaks {
                memory: 0,
                descriptors: 0,
            };
            let mut times = Vec::new();
            while !ask.is_cancelled() || times.len() < TRIPS {
                times.push(round_trip(&mut channel, times.len()).await);
                peaks.memory = peaks.memory.max(memory().saturating_sub(before.0));
                peaks.descriptors = peaks
                    .descriptors
                    .max(descriptors().saturating_sub(before.1));
                counted.store(times.len(), Ordering::Relaxed);
            }
            channel.disconnect().await;
            assert!(child.wait().await.unwrap().success());
            (peaks, times)
        });
        Self {
            done,
            trips,
            asking,
        }
    }

    /// Until it has been answered so many times more.
    async fn trips(&self, more: usize) {
        let target = self.trips.load(Ordering::Relaxed) + more;
        while self.trips.load(Ordering::Relaxed) < target {
            assert!(
                !self.asking.is_finished(),
                "the other child is not answered"
            );
            tokio::task::yield_now().await;
        }
    }

    async fn end(self, attack: &str) -> Peaks {
        self.done.cancel();
        let (peaks, mut times) = self.asking.await.unwrap();
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100];
        eprintln!(
            "{attack}: {} kB and {} descriptors more at most; another's {} round trips: p99 {p99:?}, longest {:?}",
            peaks.memory / 1000,
            peaks.descriptors,
            times.len(),
            times[times.len() - 1],
        );
        peaks
    }
}

async fn round_trip(channel: &mut Channel, n: usize) -> Duration {
    let from = Instant::now();
    channel.tx.send(&n).await.unwrap();
    let back: usize = channel.rx.recv().await.unwrap().unwrap().decode().unwrap();
    assert_eq!(back, n);
    from.elapsed()
}

/// Lets a child attack; `suffers` is what the parent does meanwhile.
#[track_caller]
fn attacked(
    attack: &str,
    serializations: &[Serialization],
    bound: usize,
    suffers: impl AsyncFn(&Child, &mut Channel, &Bystander),
) {
    scene(async |oracle| {
        for serialization in serializations {
            let bystander = Bystander::start(oracle).await;
            let (mut child, mut channel) = start(oracle, *serialization, &["hostile", attack]);
            suffers(&child, &mut channel, &bystander).await;
            drop(channel);
            child.kill().unwrap();
            child.wait().await.unwrap();
            let name = format!("{attack}, {}", serialization.name());
            let peaks = bystander.end(&name).await;
            assert!(peaks.memory < bound, "{name}: {peaks:?}");
            // The channel, the child and some of those that are being closed.
            assert!(peaks.descriptors < 300, "{name}: {peaks:?}");
        }
    });
}

/// How many messages come before the end, all without handles; and the end.
async fn receive_all(channel: &mut Channel) -> (usize, Result<(), ReceiveError>) {
    let mut count = 0;
    loop {
        match channel.rx.recv().await {
            Ok(Some(message)) => assert!(message.handle().is_none(), "{message:?}"),
            Ok(None) => return (count, Ok(())),
            Err(error) => return (count, Err(error)),
        }
        count += 1;
    }
}

fn protocol(end: Result<(), ReceiveError>) -> ProtocolError {
    match end {
        Err(ReceiveError::Protocol { source, .. }) => source,
        other => panic!("the end was {other:?}"),
    }
}

#[test]
fn garbage_ends_its_channel() {
    attacked(
        "garbage",
        &[Json, Advanced],
        RECEIVED,
        async |_, channel, _| {
            let (_, end) = receive_all(channel).await;
            protocol(end);
            assert!(channel.tx.is_closed());
        },
    );
}

#[test]
fn receipts_for_nothing_change_nothing() {
    attacked(
        "receipts",
        &[Json, Advanced],
        RECEIVED,
        async |_, channel, _| {
            let fine: String = channel.rx.recv().await.unwrap().unwrap().decode().unwrap();
            assert_eq!(fine, "fine");
            assert!(matches!(receive_all(channel).await, (0, Ok(()))));
        },
    );
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    attacked(
        "descriptors",
        &[Json, Advanced],
        RECEIVED,
        async |_, channel, _| {
            let (count, end) = receive_all(channel).await;
            assert_eq!(count, 8 * 2_000 + 1);
            end.unwrap();
        },
    );
}

#[test]
fn a_message_without_an_end_is_too_long() {
    attacked("endless", &[Json], RECEIVED, async |_, channel, _| {
        let (count, end) = receive_all(channel).await;
        assert_eq!(count, 0);
        assert!(matches!(protocol(end), ProtocolError::TooLong(_)));
    });
}

#[test]
fn a_length_that_is_only_claimed_costs_nothing() {
    attacked("claims", &[Advanced], 8 * MIB, async |_, channel, _| {
        let (count, end) = receive_all(channel).await;
        assert_eq!(count, 0);
        assert!(matches!(protocol(end), ProtocolError::TooLong(_)));
    });
}

#[test]
fn nesting_beyond_measure_is_no_value() {
    attacked(
        "deep",
        &[Json, Advanced],
        RECEIVED,
        async |_, channel, _| match channel.rx.recv().await {
            Ok(Some(message)) => {
                message.decode::<Value>().unwrap_err();
                message.document().unwrap_err();
            }
            Ok(None) => panic!("the message is lost"),
            Err(error) => drop(protocol(Err(error))),
        },
    );
}

#[test]
fn a_storm_is_weathered() {
    attacked(
        "storm",
        &[Json, Advanced],
        RECEIVED,
        async |_, channel, _| {
            let (count, end) = receive_all(channel).await;
            assert_eq!(count, 2_000_001);
            end.unwrap();
        },
    );
}

/// Until the child has to wait, for a while.
async fn until_it_waits(child: &Child, bystander: &Bystander) {
    let mut asleep = 0;
    while asleep < 20 {
        bystander.trips(1).await;
        let waits = processes::state(child.id()).unwrap() == 'S';
        asleep = if waits { asleep + 1 } else { 0 };
    }
}

#[test]
fn a_storm_that_nobody_receives_waits_outside() {
    attacked(
        "storm",
        &[Json, Advanced],
        RECEIVED,
        async |child, channel, bystander| {
            until_it_waits(child, bystander).await;
            let first: u32 = channel.rx.recv().await.unwrap().unwrap().decode().unwrap();
            assert_eq!(first, 1);
        },
    );
}

#[test]
fn questions_whose_answers_are_not_read_wait_outside() {
    attacked(
        "asks",
        &[Json, Advanced],
        RECEIVED,
        async |child, channel, bystander| {
            until_it_waits(child, bystander).await;
            assert!(channel.rx.try_recv().unwrap().is_none());
            assert!(!channel.tx.is_closed());
        },
    );
}

#[test]
fn who_never_reads_is_refused_more() {
    attacked(
        "never-reads",
        &[Json, Advanced],
        UNSENT,
        async |_, channel, bystander| {
            let text = "x".repeat(100_000);
            let (mut sent, mut refused) = (0, 0);
            for n in 0..5_000 {
                match channel.tx.try_send(&text) {
                    Ok(()) => sent += 1,
                    Err(SendError::Full { .. }) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
                if n % 100 == 0 {
                    bystander.trips(1).await;
                }
            }
            assert!((160..200).contains(&sent), "{sent} sent, {refused} refused");
        },
    );
}
