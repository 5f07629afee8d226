//! Changing lines on their way from a child to where they are kept.

use std::fmt;
use std::sync::Arc;

use procession_core::lines::LineSplitter;

/// A named change of an output, line by line; cheap to clone.
///
/// # Node
///
/// execa's generator transforms.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::child_process::{Command, Transform};
///
/// let without_secrets = Transform::lines("without secrets", |line| {
///     (!line.starts_with(b"password")).then(|| line.to_vec())
/// });
/// let outcome = Command::shell("echo user=x; echo password=y")
///     .transform(1, without_secrets)
///     .output()
///     .await?;
/// assert_eq!(outcome.stdout_str()?, "user=x");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Transform {
    name: &'static str,
    change: Arc<Change>,
}

type Change = dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync;

impl Transform {
    /// Passes each line (without its ending) through `change`; `None` drops it.
    ///
    /// Lines longer than 1 MiB are cut into pieces of that size.
    pub fn lines(
        name: &'static str,
        change: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            change: Arc::new(change),
        }
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transform").field(&self.name).finish()
    }
}

/// A transform at work on one stream.
#[derive(Debug)]
pub(super) struct Running {
    transform: Transform,
    splitter: LineSplitter,
}

const LONGEST_LINE: usize = 1024 * 1024;

impl Running {
    pub(super) fn new(transform: Transform) -> Self {
        Self {
            transform,
            splitter: LineSplitter::new(LONGEST_LINE),
        }
    }

    /// Takes bytes as they arrived and appends what has come of whole lines.
    pub(super) fn feed(&mut self, bytes: &[u8], changed: &mut Vec<u8>) {
        self.splitter.feed(bytes);
        loop {
            match self.splitter.next_line() {
                Ok(Some(line)) => self.append(&line, changed),
                Ok(None) => return,
                Err(_) => {
                    let piece = self.splitter.finish().unwrap_or_default();
                    self.append(&piece, changed);
                }
            }
        }
    }

    /// Takes the end of the stream.
    pub(super) fn finish(&mut self, changed: &mut Vec<u8>) {
        if let Some(rest) = self.splitter.finish() {
            self.append(&rest, changed);
        }
    }

    fn append(&self, line: &[u8], changed: &mut Vec<u8>) {
        if let Some(line) = (self.transform.change)(line) {
            changed.extend_from_slice(&line);
            changed.push(b'\n');
        }
    }
}
