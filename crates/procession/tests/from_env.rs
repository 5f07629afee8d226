//! A child that takes its channel with limits of its own, with a runtime and without.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "support/roles.rs"]
#[expect(dead_code, reason = "the roles here are not waited for by their words")]
mod roles;
#[expect(dead_code, reason = "the test kit's tricks are not needed here")]
mod support;

use procession::child_process::Stdio;
use procession::ipc::{Channel, Limits, ReceiveError, Serialization, blocking};
use procession_testkit::leaks::Oracle;
use support::scene;

/// What the children take of a message.
const FRAME: usize = 1000;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_frame = FRAME;
    limits
}

/// Says the same back until a message is too long; tells that, and ends.
#[test]
#[ignore = "a role"]
fn role_of_a_child_without_a_runtime() {
    if !roles::plays("role_of_a_child_without_a_runtime") {
        return;
    }
    let mut channel = blocking::Channel::from_env_with(limits()).unwrap().unwrap();
    assert!(blocking::Channel::from_env().is_err(), "it is taken");
    let error = loop {
        match channel.recv() {
            Ok(message) => channel.forward(&message.expect("too early")).unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReceiveError::Protocol { .. }), "{error:?}");
}

#[test]
#[ignore = "a role"]
fn role_of_a_child_with_a_runtime() {
    if !roles::plays("role_of_a_child_with_a_runtime") {
        return;
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(async {
        let mut channel = Channel::from_env_with(limits()).unwrap().unwrap();
        assert!(Channel::from_env().is_err(), "it is taken");
        let error = loop {
            match channel.rx.recv().await {
                Ok(message) => channel
                    .tx
                    .forward(message.expect("too early"))
                    .await
                    .unwrap(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ReceiveError::Protocol { .. }), "{error:?}");
    });
}

async fn is_held_to_its_limits(oracle: &Oracle, role: &str) {
    let mut command = roles::role(oracle, role);
    command
        .ipc(Serialization::Json)
        .stdin(Stdio::Ignore)
        .stdout(Stdio::Ignore)
        .stderr(Stdio::Inherit);
    let mut child = command.spawn().unwrap();
    let mut channel = child.channel.take().unwrap();
    for length in [0, 10, FRAME - 3] {
        let text = "x".repeat(length);
        channel.tx.send(&text).await.unwrap();
        let back = channel.rx.recv().await.unwrap().unwrap();
        assert_eq!(back.decode::<String>().unwrap(), text);
    }
    channel.tx.send(&"x".repeat(2 * FRAME)).await.unwrap();
    assert!(channel.rx.recv().await.unwrap().is_none());
    assert!(child.wait().await.unwrap().success());
}

#[test]
fn a_child_has_limits_of_its_own() {
    scene(async |oracle| is_held_to_its_limits(oracle, "role_of_a_child_with_a_runtime").await);
}

#[test]
fn a_child_without_a_runtime_has_limits_of_its_own() {
    scene(async |oracle| is_held_to_its_limits(oracle, "role_of_a_child_without_a_runtime").await);
}
