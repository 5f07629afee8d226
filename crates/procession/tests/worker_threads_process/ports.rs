//! Ports whose two ends are in two processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use procession::ipc::{Blob, Limits, SendError};
use procession::worker_threads::process::{
    DetachedPort, MessageChannel, MessagePort, RecvError, TryRecvError,
};
use procession_testkit::leaks::Oracle;
use serde_json::{Value, json};

use super::support::scene;
use super::{LIMIT, dismiss, hear, hear_handle, kill, play, start};

/// Two ends in this process.
fn pair<A, B>() -> (MessagePort<A, B>, MessagePort<B, A>)
where
    A: serde::Serialize + serde::de::DeserializeOwned,
    B: serde::Serialize + serde::de::DeserializeOwned,
{
    let MessageChannel { port1, port2 } = MessageChannel::new().unwrap();
    (port1.start().unwrap(), port2.start().unwrap())
}

#[test]
fn what_was_posted_is_received_before_the_close_at_both_ends() {
    scene(async |oracle| {
        let (child, mut channel) = start(oracle, "ports::echoes");
        let MessageChannel { port1, port2 } = MessageChannel::<Value, Value>::new().unwrap();
        let mut port = port1.start().unwrap();
        let messages = [
            json!(1),
            json!({ "cmd": "NODE_HANDLE_ACK" }),
            Value::Null,
            json!("x".repeat(100_000)),
        ];
        // Also what is posted before the other end is anywhere.
        for message in &messages {
            port.post(message).await.unwrap();
        }
        channel.tx.send_with_handle("a port", port2).await.unwrap();
        for message in &messages {
            assert_eq!(port.recv().await.unwrap().as_ref(), Some(message));
        }
        assert!(matches!(port.try_recv(), Err(TryRecvError::Empty)));
        for n in 0..5000 {
            port.post(&json!(n)).await.unwrap();
            if n % 100 == 99 {
                for back in n - 99..=n {
                    assert_eq!(port.recv().await.unwrap(), Some(json!(back)));
                }
            }
        }
        port.close();
        assert!(port.is_closed());
        assert!(matches!(
            port.post(&Value::Null).await,
            Err(SendError::Closed { .. })
        ));
        assert_eq!(port.recv().await.unwrap(), None);
        assert!(matches!(port.try_recv(), Err(TryRecvError::Closed)));
        assert_eq!(hear::<String>(&mut channel).await, "closed");
        dismiss(child, channel).await;
    });
}

#[test]
#[ignore = "a role"]
fn echoes() {
    play("ports::echoes", async |mut channel| {
        let port = DetachedPort::<Value, Value>::from_handle(hear_handle(&mut channel).await);
        let mut port = port.unwrap().start().unwrap();
        while let Some(message) = port.recv().await.unwrap() {
            port.post(&message).await.unwrap();
        }
        assert!(port.is_closed());
        channel.tx.send("closed").await.unwrap();
        assert!(channel.rx.recv().await.unwrap().is_none());
    });
}

#[test]
fn what_a_killed_poster_posted_is_received() {
    scene(async |oracle| {
        let (child, mut channel) = start(oracle, "ports::posts_and_hangs");
        let MessageChannel { port1, port2 } = MessageChannel::<(), u32>::new().unwrap();
        channel.tx.send_with_handle("a port", port2).await.unwrap();
        assert_eq!(hear::<String>(&mut channel).await, "posted");
        kill(child).await;
        let mut port = port1.start().unwrap();
        for n in 0..3000 {
            assert_eq!(port.recv().await.unwrap(), Some(n));
        }
        assert_eq!(port.recv().await.unwrap(), None);
        assert!(matches!(
            port.post(&()).await,
            Err(SendError::Closed { .. })
        ));
    });
}

#[test]
#[ignore = "a role"]
fn posts_and_hangs() {
    play("ports::posts_and_hangs", async |mut channel| {
        let port = DetachedPort::<u32, ()>::from_handle(hear_handle(&mut channel).await);
        let port = port.unwrap().start().unwrap();
        for n in 0..3000 {
            port.post(&n).await.unwrap();
        }
        port.flush().await.unwrap();
        channel.tx.send("posted").await.unwrap();
        std::future::pending().await
    });
}

#[test]
fn a_listener_that_does_not_listen_is_waited_for_until_it_is_killed() {
    scene(async |oracle| {
        let (child, mut channel) = start(oracle, "ports::never_listens");
        let MessageChannel { port1, port2 } = MessageChannel::<String, ()>::new().unwrap();
        let mut limits = Limits::default();
        limits.max_queue = 100_000;
        let mut port = port1.start_with(limits).unwrap();
        channel.tx.send_with_handle("a port", port2).await.unwrap();
        assert_eq!(hear::<String>(&mut channel).await, "I do not listen");
        let message = "x".repeat(1000);
        let (sender, posted) = (port.sender(), Arc::new(AtomicUsize::new(0)));
        let poster = tokio::spawn({
            let (message, posted) = (message.clone(), Arc::clone(&posted));
            async move {
                loop {
                    match sender.post(&message).await {
                        Ok(()) => posted.fetch_add(1, SeqCst),
                        Err(error) => return error,
                    };
                }
            }
        });
        // It is full again and again, until the other side's inbox is full as well.
        while posted.load(SeqCst) < 500 {
            tokio::task::yield_now().await;
        }
        while !matches!(port.try_post(&message), Err(SendError::Full { .. })) {
            tokio::task::yield_now().await;
        }
        assert!(!poster.is_finished());
        kill(child).await;
        assert!(matches!(poster.await.unwrap(), SendError::Closed { .. }));
        // The inbox, the kernel's buffers and our queue.
        let posted = posted.load(SeqCst);
        assert!(posted < 4000, "{posted}");
        assert_eq!(port.recv().await.unwrap(), None);
    });
}

#[test]
#[ignore = "a role"]
fn never_listens() {
    play("ports::never_listens", async |mut channel| {
        let port = DetachedPort::<(), String>::from_handle(hear_handle(&mut channel).await);
        let _port = port.unwrap().start().unwrap();
        channel.tx.send("I do not listen").await.unwrap();
        std::future::pending().await
    });
}

#[test]
fn a_port_travels_through_a_port_and_so_does_a_blob() {
    scene(async |oracle| {
        let (child, channel) = start(oracle, "ports::passes_on");
        let MessageChannel { port1, port2 } = MessageChannel::<(), String>::new().unwrap();
        let mut port = port1.start().unwrap();
        channel.tx.send_with_handle("a port", port2).await.unwrap();
        let (word, handle) = port.recv_with().await.unwrap().unwrap();
        assert_eq!(word, "another");
        let another = DetachedPort::<u32, u32>::from_handle(handle.unwrap()).unwrap();
        let mut another = another.start().unwrap();
        another.post(&20).await.unwrap();
        assert_eq!(another.recv().await.unwrap(), Some(21));
        let (word, handle) = port.recv_with().await.unwrap().unwrap();
        assert_eq!(word, "a blob");
        assert_eq!(&*Blob::from_handle(handle.unwrap(), 100).unwrap(), b"bytes");
        drop((port, another));
        dismiss(child, channel).await;
    });
}

#[test]
#[ignore = "a role"]
fn passes_on() {
    play("ports::passes_on", async |mut channel| {
        let port = DetachedPort::<String, ()>::from_handle(hear_handle(&mut channel).await);
        let port = port.unwrap().start().unwrap();
        let MessageChannel { port1, port2 } = MessageChannel::<u32, u32>::new().unwrap();
        let mut own = port1.start().unwrap();
        port.post_with(&"another".to_owned(), port2).await.unwrap();
        let n = own.recv().await.unwrap().unwrap();
        own.post(&(n + 1)).await.unwrap();
        let blob = Blob::new(b"bytes").unwrap().to_handle().unwrap();
        port.post_with(&"a blob".to_owned(), blob).await.unwrap();
        assert!(channel.rx.recv().await.unwrap().is_none());
    });
}

#[test]
fn a_message_of_another_type_or_too_long_leaves_the_port_as_it_was() {
    scene(async |_| {
        let MessageChannel { port1, port2 } = MessageChannel::<Value, ()>::new().unwrap();
        let mut limits = Limits::default();
        limits.max_frame = 1000;
        let port = port1.start_with(limits).unwrap();
        let wrong = DetachedPort::<(), u32>::from_handle(port2.into()).unwrap();
        let mut wrong = wrong.start().unwrap();
        port.post(&json!("text")).await.unwrap();
        port.post(&json!(7)).await.unwrap();
        let error = wrong.recv().await.unwrap_err();
        assert!(matches!(error, RecvError::Decode(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "a message of another type came through the port"
        );
        assert_eq!(wrong.recv().await.unwrap(), Some(7));
        let long = json!("x".repeat(1000));
        for error in [port.post(&long).await, port.try_post(&long)] {
            assert!(matches!(error, Err(SendError::Encode { .. })), "{error:?}");
        }
        let blob = Blob::new(b"bytes").unwrap().to_handle().unwrap();
        let error = port.post_with(&long, blob).await.unwrap_err();
        assert!(error.into_handle().is_some(), "it comes back");
        port.post(&json!(8)).await.unwrap();
        assert_eq!(wrong.recv().await.unwrap(), Some(8));
    });
}

#[test]
fn a_forgotten_sender_keeps_no_port_open() {
    scene(async |_| {
        let (port, mut other) = pair::<u32, ()>();
        let sender = port.sender();
        sender.clone().post(&1).await.unwrap();
        drop(port);
        assert_eq!(other.recv().await.unwrap(), Some(1));
        assert_eq!(other.recv().await.unwrap(), None);
        assert!(matches!(sender.try_post(&2), Err(SendError::Closed { .. })));
    });
}

#[test]
fn threads_beside_the_runtime_use_ports_too() {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (port, mut other) = runtime.block_on(async { pair::<u32, u32>() });
    let poster = std::thread::spawn(move || {
        let mut port = port;
        for n in 0..500 {
            port.post_blocking(&n).unwrap();
            assert_eq!(port.recv_blocking().unwrap(), Some(n * 2));
        }
        let short = Duration::from_millis(2);
        assert_eq!(
            port.recv_timeout_blocking(short).unwrap_err().to_string(),
            "no message came within 2ms"
        );
    });
    while let Some(n) = other.recv_timeout_blocking(LIMIT).unwrap().unwrap() {
        other.sender().post_blocking(&(n * 2)).unwrap();
    }
    poster.join().unwrap();
    drop(other);
    drop(runtime);
    oracle.check();
}
