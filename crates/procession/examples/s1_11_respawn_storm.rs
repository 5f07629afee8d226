//! Tutorial 001, row S1-11: workers that fail at boot. Run it where there is the tutorial's `main.js`,
//! with `BOOT=fails` and `NODE_OPTIONS` to load `interop/tutorials/lend.cjs`.
//!
//! The mistake: whoever dies is replaced at once and for ever, at the full speed of the machine.
//! The answer: a delay that doubles, and an end when no worker ever served.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;
use std::process::ExitCode;

use procession::child_process::{Command, Stdio};
use procession::cluster::{Event, GaveUp, Primary, Spec};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    println!("Главный процесс {} запущен", std::process::id());
    let mut command = Command::node("./main.js");
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut spec = Spec::new(command);
    spec.workers = 2;
    println!("{}", spec.workers);
    let mut primary = Primary::start(spec)?;
    let mut gave_up = None;
    while let Some(event) = primary.next_event().await {
        match event {
            Event::Exit { exit, .. } => println!("Воркер {} завершился", exit.pid),
            Event::GaveUp(why) => gave_up = Some(why),
            _ => {}
        }
    }
    match gave_up {
        Some(GaveUp::NeverReady { starts }) => {
            println!("[primary] gave up after {starts} starts: no worker ever served");
        }
        other => println!("[primary] over: {other:?}"),
    }
    Ok(ExitCode::FAILURE)
}
