//! What a child must not leave to its own children, and limits of descriptors.

use std::fs::File;

use procession::child_process::{Command, Stdio};

use crate::side::{Failure, Side};

const TURNS: u32 = 10;

impl Side {
    /// Neither the variables nor the descriptor go further.
    pub(crate) async fn check_environment() -> Result<(), Failure> {
        let is_channel =
            |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"NODE_CHANNEL");
        if let Some((name, _)) = std::env::vars_os().find(|(name, _)| is_channel(name)) {
            return Err(format!("{} is still there", name.display()).into());
        }
        let line = "ls -l /proc/self/fd | grep -c socket; env | grep -c NODE_CHANNEL";
        let mut command = Command::shell(line);
        command.stdin(Stdio::Ignore).stderr(Stdio::Ignore);
        let counts = command.outcome().await?.stdout;
        if counts != b"0\n0\n" {
            return Err(format!("sockets and variables: {}", counts.escape_ascii()).into());
        }
        Ok(())
    }

    /// More than once, for what was closed before may be open for some turns more.
    pub(crate) async fn exhaust(&mut self) -> Result<(), Failure> {
        for _ in 0..TURNS {
            let full = loop {
                match File::open("/dev/null") {
                    Ok(file) => self.descriptors.push(file),
                    Err(error) => break error,
                }
            };
            if full.raw_os_error() != Some(rustix::io::Errno::MFILE.raw_os_error()) {
                return Err(full.into());
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
