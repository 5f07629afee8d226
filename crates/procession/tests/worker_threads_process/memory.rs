//! Cells that two processes change, and bytes that nobody changes any more.

use std::io::Write as _;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use procession::child_process::{Command, Stdio};
use procession::ipc::Blob;
use procession::worker_threads::Waited;
use procession::worker_threads::process::SharedArrayBuffer;

use super::support::scene;
use super::{LIMIT, dismiss, hear, hear_handle, kill, next, now, play, start};

const TURNS: u32 = if cfg!(procession_portable) { 200 } else { 2000 };

#[test]
fn two_processes_take_turns_at_a_cell_and_miss_no_change() {
    scene(async |oracle| {
        let (child, channel) = start(oracle, "memory::takes_turns");
        let shared = SharedArrayBuffer::new(2).unwrap();
        let handle = shared.to_handle().unwrap();
        channel.tx.send_with_handle("cells", handle).await.unwrap();
        // Even numbers are ours, odd ones theirs.
        for n in (0..TURNS).step_by(2) {
            while shared.cells()[0].load(SeqCst) != n {
                shared.wait(0, n.wrapping_sub(1)).await;
            }
            shared.cells()[0].store(n + 1, SeqCst);
            shared.notify(0, 1);
        }
        while shared.cells()[0].load(SeqCst) != TURNS {
            shared.wait(0, TURNS - 1).await;
        }
        assert_eq!(shared.cells()[1].load(SeqCst), TURNS / 2);
        dismiss(child, channel).await;
    });
}

#[test]
#[ignore = "a role"]
fn takes_turns() {
    play("memory::takes_turns", async |mut channel| {
        let shared = SharedArrayBuffer::from_handle(hear_handle(&mut channel).await, 8).unwrap();
        let turns = move || {
            for n in (1..TURNS).step_by(2) {
                while shared.cells()[0].load(SeqCst) != n {
                    let waited = shared.wait_blocking(0, n - 1, Some(LIMIT));
                    assert_ne!(waited, Waited::TimedOut);
                }
                shared.cells()[1].fetch_add(1, SeqCst);
                shared.cells()[0].store(n + 1, SeqCst);
                shared.notify(0, 1);
            }
        };
        std::thread::spawn(turns).join().unwrap();
        assert!(channel.rx.recv().await.unwrap().is_none());
    });
}

#[test]
fn a_process_that_is_killed_takes_nothing_with_it() {
    scene(async |oracle| {
        let (child, mut channel) = start(oracle, "memory::counts_and_sends");
        let shared = SharedArrayBuffer::new(1).unwrap();
        let handle = shared.to_handle().unwrap();
        channel.tx.send_with_handle("cells", handle).await.unwrap();
        let blob = next(&mut channel)
            .await
            .take_blob(1 << 24)
            .unwrap()
            .unwrap();
        while shared.cells()[0].load(SeqCst) < 1000 {
            shared.wait(0, shared.cells()[0].load(SeqCst)).await;
        }
        kill(child).await;
        let last = shared.cells()[0].load(SeqCst);
        assert_eq!(shared.cells()[0].fetch_add(1, SeqCst), last);
        assert_eq!(shared.notify(0, usize::MAX), 0, "the dead do not wait");
        assert_eq!(blob.len(), 3 + (1 << 23));
        assert!(blob.starts_with(b"abc") && blob[3..].iter().all(|byte| *byte == 9));
        let bytes = Bytes::from(blob.clone());
        assert_eq!(bytes.as_ptr(), blob.as_ptr(), "no copy");
    });
}

#[test]
#[ignore = "a role"]
fn counts_and_sends() {
    play("memory::counts_and_sends", async |mut channel| {
        let shared = SharedArrayBuffer::from_handle(hear_handle(&mut channel).await, 4).unwrap();
        let mut writer = Blob::writer().unwrap();
        writer.write_all(b"abc").unwrap();
        writer.write_all(&vec![9; 1 << 23]).unwrap();
        let blob = writer.finish().unwrap();
        channel.tx.send_with_blob("bytes", &blob).await.unwrap();
        loop {
            shared.cells()[0].fetch_add(1, SeqCst);
            shared.notify(0, usize::MAX);
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_blob_comes_through_unchanged_and_again_and_again() {
    scene(async |oracle| {
        let (child, mut channel) = start(oracle, "memory::sums");
        let bytes: Vec<u8> = (0..3_000_001_u32)
            .map(|n| n.to_le_bytes()[0] ^ 0x5a)
            .collect();
        let sum: u64 = bytes.iter().copied().map(u64::from).sum();
        let blob = Blob::new(&bytes).unwrap();
        for n in 0..20_u32 {
            channel.tx.send_with_blob(&n, &blob).await.unwrap();
            assert_eq!(hear::<(u32, u64)>(&mut channel).await, (n, sum));
        }
        channel
            .tx
            .send_with_blob(&20, &Blob::new(b"").unwrap())
            .await
            .unwrap();
        assert_eq!(hear::<(u32, u64)>(&mut channel).await, (20, 0));
        assert_eq!(*blob, *bytes);
        dismiss(child, channel).await;
    });
}

#[test]
#[ignore = "a role"]
fn sums() {
    play("memory::sums", async |mut channel| {
        while let Some(mut message) = channel.rx.recv().await.unwrap() {
            let n: u32 = message.decode().unwrap();
            let blob = message.take_blob(4_000_000).unwrap().unwrap();
            let sum: u64 = blob.iter().copied().map(u64::from).sum();
            channel.tx.send(&(n, sum)).await.unwrap();
        }
    });
}

#[test]
fn a_dropped_wait_holds_up_nobody() {
    scene(async |_| {
        let shared = SharedArrayBuffer::new(1).unwrap();
        assert_eq!(shared.wait(0, 1).await, Waited::NotEqual);
        let started = std::time::Instant::now();
        for turn in 0..50 {
            shared.cells()[0].store(turn, SeqCst);
            let mut leaves = Box::pin(shared.wait(0, turn));
            let stays = tokio::spawn({
                let shared = shared.clone();
                async move { shared.wait(0, turn).await }
            });
            assert!(now(&mut leaves).is_none());
            tokio::task::yield_now().await;
            shared.cells()[0].store(turn + 1, SeqCst);
            shared.notify(0, 1);
            drop(leaves);
            assert_ne!(stays.await.unwrap(), Waited::TimedOut);
        }
        // A notification that a dropped wait would have had may come as late as this.
        let waits = async { while shared.wait(0, 50).await == Waited::Ok {} };
        let limited = tokio::time::timeout(Duration::from_millis(5), waits).await;
        assert!(limited.is_err());
        assert!(started.elapsed() < LIMIT);
    });
}

#[test]
fn the_example_of_what_is_shared_loses_nothing() {
    scene(async |oracle| {
        let mut command = Command::new(procession_testkit::example("shared_by_processes"));
        command.envs([oracle.tag()]).stderr(Stdio::Inherit);
        let output = tokio::time::timeout(LIMIT, command.output()).await;
        let printed = String::from_utf8(output.unwrap().unwrap().stdout.to_vec()).unwrap();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(
            lines,
            [
                "somebody holds the lock for ever",
                "it was killed, and the lock is the next one's",
                "a result of 1048576 bytes",
                "a result of 1048576 bytes",
                "a result of 1048576 bytes",
                "counted to 3000",
            ]
        );
    });
}

#[test]
#[should_panic(expected = "Cannot block the current thread")]
fn a_blocking_wait_in_async_code_panics() {
    // Before the runtime: it is dropped while the test panics.
    let _exclusive = procession_testkit::leaks::exclusive();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let shared = SharedArrayBuffer::new(1).unwrap();
    runtime.block_on(async { shared.wait_blocking(0, 0, None) });
}
