//! Tutorial 002, row S2-21: a server on all CPUs, where nobody is replaced. Run it where there is the
//! tutorial's `main.js`: the file is as it was, and to its eyes it is a worker.
//!
//! It is also the third remedy for a port that is taken (row S2-16): the cluster has it, once.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;

use procession::child_process::{Command, Stdio};
use procession::cluster::{Event, Policy, Primary, Spec, When};

mod visit;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("[master] {} is running", std::process::id());
    let mut command = Command::node("./main.js");
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut spec = Spec::new(command);
    // As many as there are CPUs, were it not for the comparison.
    spec.workers = 2;
    // As Node's own.
    spec.balance = Policy::RoundRobin;
    spec.restart.when = When::Never;
    let mut primary = Primary::start(spec)?;

    let died = |pid| println!("[master] worker {pid} died");
    let port = visit::listening(&mut primary, 2, died).await?;
    let before = visit::answers(port, 2).await?;
    println!("[visitor] two workers answer: {}", before[0]);
    println!("[visitor] kills one");
    let control = primary.control();
    visit::kill(&control, before[0].pid()).await?;
    while let Some(event) = primary.next_event().await {
        if let Event::Exit { exit, .. } = event {
            died(exit.pid);
            break;
        }
    }
    let after = visit::answers(port, 1).await?;
    if after[0].pid() == before[1].pid() {
        let left = control.status().await?.workers.len();
        println!("[visitor] {left} worker is left and answers");
    }
    visit::stop(primary).await
}
