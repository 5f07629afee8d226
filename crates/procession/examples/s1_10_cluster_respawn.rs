//! Tutorial 001, row S1-10: a server on all CPUs, and a new worker for each that dies. Run it
//! where there is the tutorial's `main.js`: the file is as it was, and to its eyes it is a worker.
//!
//! The primary's half of that file is `Primary::start` here; that who dies is replaced is the default.
#![expect(clippy::print_stdout, reason = "as the tutorial")]

use std::error::Error;

use procession::child_process::{Command, Stdio};
use procession::cluster::{Policy, Primary, Spec};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a visitor looks for few events"
)]
mod visit;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("Главный процесс {} запущен", std::process::id());
    let mut command = Command::node("./main.js");
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut spec = Spec::new(command);
    // As many as there are CPUs, were it not for the comparison.
    spec.workers = 2;
    // As Node's own.
    spec.balance = Policy::RoundRobin;
    println!("{}", spec.workers);
    let mut primary = Primary::start(spec)?;

    let died = |pid| println!("Воркер {pid} завершился");
    let port = visit::listening(&mut primary, 2, died).await?;
    let before = visit::answers(port, 2).await?;
    println!("[visitor] two workers answer: {}", before[0]);
    println!("[visitor] kills one");
    visit::kill(&primary.control(), before[0].pid()).await?;
    visit::listening(&mut primary, 1, died).await?;
    let after = visit::answers(port, 2).await?;
    if after.iter().all(|answer| answer.pid() != before[0].pid()) {
        println!("[visitor] two workers answer, one of them is new");
    }
    visit::stop(primary).await
}
