//! The ways to run a command.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::command::Command;
use super::error::{RunError, SpawnError};
use super::prepare::Defaults;
use super::{Child, Exit, Outcome, Stdio};

impl Command {
    /// Starts the child; 0, 1 and 2 are pipes unless the command says otherwise.
    ///
    /// Blocks for the time of the start itself, some 50 µs, whatever the size of
    /// this program.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] says which step failed and who is to blame; nothing is left of it.
    ///
    /// # Node
    ///
    /// `spawn`. What is an event `error` there is the error here.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let mut child = Child::spawn(self, Defaults::Pipes)?;
        child.start_tasks();
        Ok(child)
    }

    /// Runs the command and says all that is known about it, however it ended.
    ///
    /// Nothing to read on stdin, stdout and stderr kept, unless the command says otherwise.
    ///
    /// # Errors
    ///
    /// [`RunError`], but for the variants about a bad end.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the child goes on without us, unless
    /// [`Command::kill_on_drop`] is set.
    ///
    /// # Node
    ///
    /// execa with `reject: false`.
    pub async fn outcome(&self) -> Result<Outcome, RunError> {
        Child::spawn(self, Defaults::Collect)?.outcome().await
    }

    /// Runs the command for its output: anything but success is an error that
    /// still carries the outcome.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    ///
    /// # Cancel safety
    ///
    /// As [`Command::outcome`].
    ///
    /// # Node
    ///
    /// `exec` and `execFile` as promises; execa.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession::child_process::Command;
    ///
    /// let upper = Command::new("tr").args(["a-z", "A-Z"]).input("shout").output().await?;
    /// assert_eq!(upper.stdout, b"SHOUT");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn output(&self) -> Result<Outcome, RunError> {
        self.outcome().await?.check()
    }

    /// Runs the command with our own stdin, stdout and stderr, and says how it ended.
    ///
    /// # Errors
    ///
    /// [`RunError`]; a bad exit is none.
    ///
    /// # Cancel safety
    ///
    /// As [`Command::outcome`].
    ///
    /// # Node
    ///
    /// `spawn` with `stdio: 'inherit'`.
    pub async fn status(&self) -> Result<Exit, RunError> {
        Ok(Child::spawn(self, Defaults::Inherit)?.outcome().await?.exit)
    }

    /// As [`Command::outcome`], with standard input from a reader.
    ///
    /// # Errors
    ///
    /// As [`Command::outcome`]; [`RunError::Output`] when the reader fails.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, or the reader fails, the child is killed: its
    /// input would end in the middle. What was taken from the reader is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession::child_process::Command;
    ///
    /// let mut reader: &[u8] = b"a b c";
    /// let outcome = Command::new("wc").arg("-w").outcome_with_input(&mut reader).await?;
    /// assert_eq!(outcome.stdout_str()?.trim(), "3");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn outcome_with_input(
        &self,
        mut reader: impl AsyncRead + Unpin,
    ) -> Result<Outcome, RunError> {
        let mut command = self.clone();
        command.stdin(Stdio::Pipe).kill_on_drop();
        let mut child = Child::spawn(&command, Defaults::Collect)?;
        let Some(mut stdin) = child.stdin.take() else {
            return child.outcome().await;
        };
        let feeding = async move {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = reader.read(&mut buffer).await?;
                // Neither the end of the input nor of the child's interest is an error.
                if count == 0 || stdin.write_all(&buffer[..count]).await.is_err() {
                    return Ok::<(), std::io::Error>(());
                }
            }
        };
        let mut feeding = std::pin::pin!(feeding);
        let mut fed = false;
        let failed = command.to_string();
        let mut running = std::pin::pin!(child.outcome());
        loop {
            tokio::select! {
                outcome = &mut running => return outcome,
                result = &mut feeding, if !fed => {
                    fed = true;
                    result.map_err(|source| RunError::Output { command: failed.clone(), source })?;
                }
            }
        }
    }
}
