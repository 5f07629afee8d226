//! Tutorial 004, row S4-9: a worker that answers messages. Run it where the worker is that `WORKER` names.
//!
//! The mistake (row S4-8): as written the worker mixes `import` and `require`, and dies. The answer: a
//! dead worker comes with the last lines that it wrote, so its primary can say why.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(clippy::wildcard_enum_match_arm, reason = "as few as in the tutorial")]

use std::error::Error;

use procession::child_process::{Command, Stdio};
use procession::cluster::{Event, Primary, Spec, When};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut command = Command::node(std::env::var_os("WORKER").ok_or("which WORKER?")?);
    command.stdout(Stdio::inherit());
    let mut spec = Spec::new(command);
    spec.workers = 1;
    spec.restart.when = When::Never;
    let mut primary = Primary::start(spec)?;
    let control = primary.control();
    while let Some(event) = primary.next_event().await {
        match event {
            Event::Message { worker, message } => {
                let text: String = message.decode()?;
                // See `hears.cjs`: it listens now.
                if text == "hears" {
                    control.send(worker, "你好").await?;
                } else {
                    println!("[primary] got: {text}");
                    control.stop().await?;
                }
            }
            Event::Exit { exit, .. } => {
                print!(
                    "[primary] worker exited with code {}",
                    exit.exit.shell_code()
                );
                let mut lines = exit.last_lines.iter();
                match lines.find(|line| line.contains("Error: ")) {
                    Some(why) => println!(": {why}"),
                    None => println!(),
                }
            }
            _ => {}
        }
    }
    Ok(())
}
