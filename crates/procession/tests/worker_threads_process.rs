//! What threads share, between processes: memory, ports, names, locks. The other
//! processes are this program in a role.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "worker_threads_process/hostile.rs"]
mod hostile;
#[path = "worker_threads_process/hub.rs"]
mod hub;
#[path = "worker_threads_process/memory.rs"]
mod memory;
#[path = "worker_threads_process/ports.rs"]
mod ports;
#[path = "support/roles.rs"]
#[expect(dead_code, reason = "the roles here are not waited for by their words")]
mod roles;
#[expect(dead_code, reason = "the test kit's tricks are not needed here")]
mod support;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use procession::child_process::{Child, Signal, Stdio};
use procession::ipc::{Channel, Handle, Message, Serialization};
use procession_testkit::leaks::Oracle;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Far more than anything here takes, and less than the scene's.
const LIMIT: Duration = Duration::from_secs(40);

/// Starts this program in a role, with a channel.
fn start(oracle: &Oracle, role: &str) -> (Child, Channel) {
    let mut command = roles::role(oracle, role);
    command
        .ipc(Serialization::Json)
        .stdin(Stdio::Ignore)
        .stdout(Stdio::Ignore)
        .stderr(Stdio::Inherit);
    let mut child = command.spawn().unwrap();
    let channel = child.channel.take().unwrap();
    (child, channel)
}

/// Plays the role, if this process was started for it.
fn play(role: &str, part: impl AsyncFnOnce(Channel)) {
    if !roles::plays(role) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let channel = Channel::from_env().unwrap().unwrap();
        let played = tokio::time::timeout(LIMIT, part(channel)).await;
        played.expect("the role hangs");
    });
}

async fn next(channel: &mut Channel) -> Message {
    channel
        .rx
        .recv()
        .await
        .unwrap()
        .expect("the channel is closed")
}

async fn hear<T: DeserializeOwned>(channel: &mut Channel) -> T {
    next(channel).await.decode().unwrap()
}

async fn hear_handle(channel: &mut Channel) -> Handle {
    next(channel).await.take_handle().unwrap()
}

async fn ask<T: DeserializeOwned>(channel: &mut Channel, question: &impl Serialize) -> T {
    channel.tx.send(question).await.unwrap();
    hear(channel).await
}

/// Lets a child that does all it was asked end by itself.
async fn dismiss(mut child: Child, channel: Channel) {
    channel.disconnect().await;
    let exit = child.wait().await.unwrap();
    assert!(exit.success(), "{exit:?}");
}

async fn kill(mut child: Child) {
    child.signal(Signal::KILL).unwrap();
    assert_eq!(child.wait().await.unwrap().signal(), Some(Signal::KILL));
}

/// What the future says without waiting.
fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
