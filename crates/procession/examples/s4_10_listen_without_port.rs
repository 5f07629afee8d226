//! Tutorial 004, row S4-10: two workers that listen on any port. Run it where the worker is that `WORKER` names.
//!
//! The mistake: "another port for each". Workers of a cluster share port 0 like any other; with
//! `exclusive` each has one of its own, of which the primary knows nothing.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::collections::BTreeSet;
use std::error::Error;

use procession::child_process::{Command, Stdio};
use procession::cluster::{Event, Primary, Ready, Spec};
use serde::Deserialize;

#[expect(dead_code, reason = "nobody is killed here")]
mod visit;

/// What a worker says of a port of its own.
#[derive(Deserialize)]
struct Told {
    port: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut command = Command::node(std::env::var_os("WORKER").ok_or("which WORKER?")?);
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut spec = Spec::new(command);
    spec.workers = 2;
    // Not when it listens: with `exclusive` nobody tells us of that.
    spec.ready = Ready::Started;
    let mut primary = Primary::start(spec)?;
    let mut ports = Vec::new();
    while ports.len() < 2 {
        match primary.next_event().await.ok_or("the cluster is over")? {
            Event::Listening { at, .. } => ports.extend(at.port),
            Event::Message { message, .. } => ports.push(message.decode::<Told>()?.port),
            _ => {}
        }
    }
    let different = BTreeSet::from_iter(ports);
    println!("[primary] 2 workers, ports: {}", different.len());
    for port in different {
        println!("[primary] answer: {}", visit::get(port).await?);
    }
    visit::stop(primary).await
}
