//! The task that listens to the primary.

use std::sync::Arc;
use std::time::Instant;

use super::shared::Shared;
use crate::ipc::Receiver;
use crate::ipc::cluster::Incoming;

/// Until the worker has left, or the channel is closed.
pub(super) async fn run(mut rx: Receiver, shared: Arc<Shared>) {
    let end = loop {
        let (deadline, is_over) = shared.outlook();
        if is_over {
            shared.tx.disconnect().await;
            break Ok(());
        }
        tokio::select! {
            came = rx.incoming() => match came {
                Ok(Some(Incoming::Message(message))) => shared.deliver(message),
                Ok(Some(Incoming::Cluster(body, handle))) => {
                    if shared.hear(&body, handle).is_err() {
                        // What it wanted will never be answered: better it sees an end.
                        shared.tx.disconnect().await;
                        break Ok(());
                    }
                }
                // Of what the program sent: it waits for that itself.
                Ok(Some(Incoming::Settled(_))) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
            () = shared.poke.notified() => {}
            () = passed(deadline) => shared.with(|machine| machine.deadline_passed(Instant::now())),
        }
    };
    shared.end(end);
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
