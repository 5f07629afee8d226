//! Many messages, many handles, many children: nothing lost, nothing left.
//!
//! The ordinary run does fewer; `PROCESSION_MESSAGES` (1,000,000),
//! `PROCESSION_HANDLES` (100,000) and `PROCESSION_ROUNDS` (10,000 children) set
//! the full figures. `PROCESSION_SEED` repeats a run; every run prints its seed.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]
#![expect(clippy::print_stderr, reason = "the seed and the figures")]

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use procession::child_process::{Child, Command, Exit, Stdio};
use procession::ipc::{Channel, Handle, Limits, SendError, Serialization};
use procession_testkit::leaks::Oracle;
use serde_json::{Value, json};

const BOTH: [Serialization; 2] = [Serialization::Json, Serialization::Advanced];

/// For the full figures.
const LIMIT: Duration = Duration::from_secs(900);

fn figure(variable: &str, few: u64) -> u64 {
    let many = std::env::var(variable);
    many.map_or(few, |many| many.parse().expect("a number"))
}

/// Never 0, of which xorshift makes nothing.
fn seed() -> u64 {
    let seed = figure(
        "PROCESSION_SEED",
        u64::from(std::process::id()) << 20 | 0x9E37,
    )
    .max(1);
    eprintln!("seed: {seed}");
    seed
}

/// xorshift64*: the same seed, the same run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    }

    /// Mostly short, some long: as the child has it.
    fn next_size(&mut self) -> usize {
        let random = self.next();
        let size = if random.is_multiple_of(1_000) {
            random % 100_000
        } else {
            random % 200
        };
        usize::try_from(size).unwrap()
    }
}

fn long_scene(test: impl AsyncFnOnce(&Oracle)) {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(LIMIT, test(&oracle)).await })
        .expect("the test hangs");
    drop(runtime);
    oracle.check();
}

fn start(oracle: &Oracle, serialization: Serialization, words: &[&str]) -> (Child, Channel) {
    let itself = std::env::current_exe().unwrap();
    let peer: PathBuf = itself.ancestors().nth(2).unwrap().join("examples/ipc_peer");
    let shown = peer.display();
    assert!(peer.exists(), "missing {shown}: cargo build --examples");
    let mut command = Command::new(peer);
    command.args(words).envs([oracle.tag()]).ipc(serialization);
    command
        .stdin(Stdio::Ignore)
        .stdout(Stdio::Inherit)
        .stderr(Stdio::Inherit);
    let mut child = command.spawn().unwrap();
    let channel = child.channel.take().unwrap();
    (child, channel)
}

/// At random the reader does something else for a moment.
async fn dawdle(random: &mut Random) {
    match random.next() % 2_000 {
        0 => tokio::time::sleep(Duration::from_millis(random.next() % 5)).await,
        1..100 => tokio::task::yield_now().await,
        _ => {}
    }
}

#[test]
fn every_message_of_a_child_that_ends_arrives_in_order() {
    let count = figure("PROCESSION_MESSAGES", 100_000);
    let seed = seed();
    long_scene(async |oracle| {
        for serialization in BOTH {
            let from = Instant::now();
            let words = ["soak-send", &count.to_string(), &seed.to_string()];
            let (mut child, mut channel) = start(oracle, serialization, &words);
            let (mut sizes, mut random) = (Random(seed), Random(seed ^ 0xFFFF));
            for n in 0..count {
                let message = channel.rx.recv().await.unwrap();
                let said: Value = message.expect("a message is lost").decode().unwrap();
                assert_eq!(said["n"], n);
                assert_eq!(said["text"].as_str().unwrap().len(), sizes.next_size());
                dawdle(&mut random).await;
            }
            assert!(channel.rx.recv().await.unwrap().is_none());
            assert_eq!(child.wait().await.unwrap(), Exit::Code(0));
            eprintln!(
                "{count} messages, {}: {:?}",
                serialization.name(),
                from.elapsed()
            );
        }
    });
}

#[test]
fn every_message_to_a_child_arrives_in_order() {
    let count = figure("PROCESSION_MESSAGES", 100_000);
    let seed = seed();
    long_scene(async |oracle| {
        for serialization in BOTH {
            let words = ["soak-receive", &count.to_string(), &seed.to_string()];
            let (mut child, mut channel) = start(oracle, serialization, &words);
            let mut sizes = Random(seed);
            for n in 0..count {
                let text = "x".repeat(sizes.next_size());
                channel
                    .tx
                    .send(&json!({ "n": n, "text": text }))
                    .await
                    .unwrap();
            }
            let counted = channel
                .rx
                .recv()
                .await
                .unwrap()
                .expect("the child ended early");
            assert_eq!(counted.decode::<u64>().unwrap(), count);
            assert_eq!(child.wait().await.unwrap(), Exit::Code(0));
        }
    });
}

/// The reader takes only half of what is sent: no send after its end succeeds.
#[test]
fn who_sends_to_a_child_that_ended_is_told() {
    let seed = seed();
    long_scene(async |oracle| {
        for serialization in BOTH {
            let words = ["soak-receive", "100", &seed.to_string()];
            let (mut child, channel) = start(oracle, serialization, &words);
            let mut sizes = Random(seed);
            let mut n = 0;
            let error = loop {
                let text = "x".repeat(sizes.next_size());
                let sent = channel.tx.send(&json!({ "n": n, "text": text })).await;
                if let Err(error) = sent {
                    break error;
                }
                n += 1;
                tokio::task::yield_now().await;
            };
            assert!(n >= 100, "refused after {n}");
            assert!(matches!(error, SendError::Closed { .. }), "{error}");
            child.wait().await.unwrap();
        }
    });
}

/// What still waited is lost, and `flush` must not say that it was written.
#[test]
fn what_a_peer_that_went_left_unread_is_not_flushed() {
    long_scene(async |_| {
        for serialization in BOTH {
            let (socket, silent) = UnixStream::pair().unwrap();
            let limits = Limits::default();
            let mut channel =
                Channel::new(socket, serialization, limits, "a silent one".into()).unwrap();
            channel.tx.send(&"x".repeat(4_000_000)).await.unwrap();
            drop(silent);
            assert!(channel.rx.recv().await.unwrap().is_none());
            let error = channel.tx.flush().await.unwrap_err();
            assert!(matches!(error, SendError::Closed { .. }), "{error}");
        }
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn handles_without_number_leave_no_descriptor() {
    let count = figure("PROCESSION_HANDLES", 20_000);
    for serialization in BOTH {
        long_scene(async |_| hand_over(count, serialization).await);
    }
}

async fn hand_over(count: u64, serialization: Serialization) {
    let (one, mut other) = Channel::pair(serialization).unwrap();
    let (socket, _end) = UnixStream::pair().unwrap();
    let before = descriptors();
    let receiving = tokio::spawn(async move {
        for n in 0..count {
            let mut message = other.rx.recv().await.unwrap().unwrap();
            assert_eq!(message.decode::<u64>().unwrap(), n);
            assert!(matches!(message.take_handle(), Some(Handle::UnixStream(_))));
        }
        other
    });
    let from = Instant::now();
    for n in 0..count {
        let copy = socket.try_clone().unwrap();
        one.tx.send_with_handle(&n, copy).await.unwrap();
    }
    let _other = receiving.await.unwrap();
    assert_eq!(descriptors(), before);
    eprintln!(
        "{count} handles, {}: {:?}",
        serialization.name(),
        from.elapsed()
    );
}

#[test]
fn children_without_number_leave_nothing() {
    let rounds = figure("PROCESSION_ROUNDS", 200);
    let seed = seed();
    long_scene(async |oracle| {
        for round in 0..rounds {
            let serialization = BOTH[usize::from(round % 2 == 1)];
            let words = ["soak-send", "3", &seed.to_string()];
            let (mut child, mut channel) = start(oracle, serialization, &words);
            for n in 0..3 {
                let message = channel.rx.recv().await.unwrap().expect("a message is lost");
                assert_eq!(message.decode::<Value>().unwrap()["n"], n);
            }
            assert!(channel.rx.recv().await.unwrap().is_none());
            assert_eq!(child.wait().await.unwrap(), Exit::Code(0));
        }
    });
}
