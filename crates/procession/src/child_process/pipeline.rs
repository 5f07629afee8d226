//! Several commands joined by pipes, without a shell.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::command::Command;
use super::error::{RunError, SpawnError, name_of};
use super::prepare::Defaults;
use super::{Child, Outcome, Stdio};

/// Commands joined by pipes: the kernel moves the bytes, we only watch.
///
/// # Node
///
/// execa's `pipe`. In Node's own `echo.stdout.pipe(wc.stdin)` every byte passes
/// through the parent.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::cmd;
///
/// let outcomes = cmd!("echo", "hello world").pipe(&cmd!("wc", "-w")).output().await?;
/// assert_eq!(outcomes[1].stdout_str()?.trim(), "2");
/// assert!(outcomes[0].success());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pipeline {
    sources: Vec<Command>,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
struct Stage {
    from: From,
    to: u32,
    command: Command,
}

/// Which output of a command goes into the pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, as `2>&1 |` in a shell.
    All,
    /// A further descriptor.
    Fd(u32),
}

impl Command {
    /// Begins a pipeline: standard output of this command into standard input of the next.
    #[must_use]
    pub fn pipe(&self, next: &Self) -> Pipeline {
        Pipeline::merge(&[self]).pipe(next)
    }
}

impl Pipeline {
    /// Begins a pipeline with several commands that write into the same pipe.
    pub fn merge(sources: &[&Command]) -> Self {
        Self {
            sources: sources.iter().copied().cloned().collect(),
            stages: Vec::new(),
        }
    }

    /// Adds a command that reads the standard output of the last one.
    #[must_use]
    pub fn pipe(self, next: &Command) -> Self {
        self.pipe_from(From::Stdout, next, 0)
    }

    /// Adds a command that reads, at its descriptor `to`, an output of the last one.
    #[must_use]
    pub fn pipe_from(mut self, from: From, next: &Command, to: u32) -> Self {
        self.stages.push(Stage {
            from,
            to,
            command: next.clone(),
        });
        self
    }

    /// Runs all of them at once and says all that is known about each, in order.
    ///
    /// # Errors
    ///
    /// As [`Command::outcome`]: the first command that could not be run; those
    /// that were started before it are killed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the commands are killed: a part of a pipeline has no use.
    pub async fn outcome(&self) -> Result<Vec<Outcome>, RunError> {
        let children = self.spawn()?;
        let mut running: Vec<_> = children
            .into_iter()
            .map(|child| Some(Box::pin(child.outcome())))
            .collect();
        let mut outcomes: Vec<Option<Outcome>> = running.iter().map(|_| None).collect();
        std::future::poll_fn(|cx| {
            use std::task::Poll;
            for (slot, outcome) in running.iter_mut().zip(&mut outcomes) {
                let Some(future) = slot else { continue };
                if let Poll::Ready(result) = future.as_mut().poll(cx) {
                    *slot = None;
                    *outcome = Some(result?);
                }
            }
            let done = running.iter().all(Option::is_none);
            if done {
                Poll::Ready(Ok::<(), RunError>(()))
            } else {
                Poll::Pending
            }
        })
        .await?;
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Runs all of them; any that fails is an error (as with `pipefail`).
    ///
    /// # Errors
    ///
    /// [`RunError`] of the first command, from the left, that did not succeed.
    ///
    /// # Cancel safety
    ///
    /// As [`Pipeline::outcome`].
    pub async fn output(&self) -> Result<Vec<Outcome>, RunError> {
        self.outcome()
            .await?
            .into_iter()
            .map(Outcome::check)
            .collect()
    }

    /// Starts all of them, joined.
    fn spawn(&self) -> Result<Vec<Child>, SpawnError> {
        let mut commands: Vec<Command> = self.sources.clone();
        let mut writers = 0..commands.len();
        for stage in &self.stages {
            let (read, write) = pipe(&stage.command)?;
            let write = Arc::new(write);
            for writer in &mut commands[writers] {
                for index in stage.from.indices() {
                    writer.stdio(index, Stdio::Fd(Arc::clone(&write)));
                }
            }
            let mut next = stage.command.clone();
            next.stdio(stage.to, Stdio::fd(read));
            writers = commands.len()..commands.len() + 1;
            commands.push(next);
        }
        let mut children = Vec::with_capacity(commands.len());
        for mut command in commands {
            command.kill_on_drop();
            // The command holds the ends of its pipes; they close with it, right here.
            children.push(Child::spawn(&command, Defaults::Collect)?);
        }
        Ok(children)
    }
}

impl From {
    fn indices(self) -> Vec<u32> {
        match self {
            Self::Stdout => vec![1],
            Self::Stderr => vec![2],
            Self::All => vec![1, 2],
            Self::Fd(index) => vec![index],
        }
    }
}

fn pipe(command: &Command) -> Result<(OwnedFd, OwnedFd), SpawnError> {
    procession_sys::pipe_pair().map_err(|source| SpawnError::Open {
        command: command.to_string(),
        what: format!("a pipe for {}", name_of(0)),
        source,
    })
}
