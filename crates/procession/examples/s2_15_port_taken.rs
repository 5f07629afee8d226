//! Tutorial 002, row S2-15: two servers want one port. Run it where there is a `server.js`.
//!
//! It is an error, as the tutorial says. Here the error says who has the port.
//! The remedies are in `s2_16_reverse_proxy`, `s2_16_pass_socket` and `s2_21_cluster_http`.
#![expect(clippy::print_stdout, reason = "as the tutorial")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other events are of no interest"
)]

use std::error::Error;

use procession::child_process::{Command, Stdio, Stop};
use procession::cluster::{Event, Primary, Spec, When};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut first = Command::fork("./server.js").arg(1).env("PORT", 0).spawn()?;
    let channel = first.channel.as_mut().ok_or("no channel")?;
    let port: u16 = channel.rx.recv().await?.ok_or("no port")?.decode()?;

    let mut command = Command::node("./server.js");
    command.arg(2).env("PORT", port).stdout(Stdio::inherit());
    let mut spec = Spec::new(command);
    spec.workers = 1;
    spec.restart.when = When::Never;
    let mut primary = Primary::start(spec)?;
    let mut why = String::new();
    while let Some(event) = primary.next_event().await {
        match event {
            Event::ListenFailed { code, holder, .. } => {
                why = match holder {
                    Some((pid, name)) if pid == first.id() => {
                        format!("{code}, child 1 ({name}) has the port")
                    }
                    other => format!("{code}, {other:?} has the port"),
                };
            }
            Event::Exit { exit, .. } => {
                println!(
                    "[main] child 2 exited with code {}: {why}",
                    exit.exit.shell_code()
                );
            }
            _ => {}
        }
    }
    first.stop(Stop::default()).await?;
    Ok(())
}
