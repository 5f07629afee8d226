//! What a relay tells the tracing process: a line of JSON, then the bytes it speaks of.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procession::ipc::relay::{Recoded, Seen, Side};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The longest line that a relay writes, for a program with very long arguments.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// Whose channel a relay carries: the first line.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Channel {
    /// Microseconds since 1970, by the relay's clock.
    pub(crate) at: u64,
    pub(crate) parent: u32,
    pub(crate) child: u32,
    pub(crate) serialization: String,
    /// What the child runs.
    pub(crate) program: String,
}

/// What passed.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// The body as it was written again, if that was otherwise.
    pub(crate) ours: Vec<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Microseconds since 1970, by the relay's clock.
    pub(crate) at: u64,
    pub(crate) from: From,
    pub(crate) what: What,
    /// How many bytes of the body follow, and of the body as it was written again.
    lengths: (usize, usize),
}

/// Which side sent it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum From {
    Parent,
    Child,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// A message, the descriptor that went along, and whether it could not be
    /// written again as it was.
    Message {
        descriptor: Option<String>,
        remark: Option<Remark>,
    },
    Malformed {
        problem: String,
    },
    Raw,
    End {
        partial: usize,
    },
}

/// What is to be said about the writing of a message.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Remark {
    /// It comes out in other bytes.
    Differs,
    /// It was not read, and why.
    Unread(String),
}

impl Channel {
    pub(crate) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        out.write_all(&line)
    }

    pub(super) async fn read_from(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Self> {
        let line = line(reader).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

impl Record {
    pub(crate) fn new(side: Side, seen: &Seen) -> Self {
        let mut ours = Vec::new();
        let (what, body) = match seen {
            Seen::Message {
                body,
                handle,
                recoded,
            } => {
                let remark = match recoded {
                    Recoded::Same => None,
                    Recoded::Differs(written) => {
                        ours = written.to_vec();
                        Some(Remark::Differs)
                    }
                    Recoded::Impossible(reason) => Some(Remark::Unread(reason.clone())),
                };
                let descriptor = handle.clone();
                (What::Message { descriptor, remark }, body.to_vec())
            }
            Seen::Malformed { bytes, problem } => {
                let problem = problem.clone();
                (What::Malformed { problem }, bytes.to_vec())
            }
            Seen::Raw { bytes } => (What::Raw, bytes.to_vec()),
            Seen::End { partial } => (What::End { partial: *partial }, Vec::new()),
        };
        Self {
            head: Head {
                at: microseconds(SystemTime::now()),
                from: match side {
                    Side::Parent => From::Parent,
                    Side::Child => From::Child,
                },
                what,
                lengths: (body.len(), ours.len()),
            },
            body,
            ours,
        }
    }

    /// One of this kind, for the tests of the screen.
    #[cfg(test)]
    pub(crate) fn of(at: u64, from: From, what: What, body: &[u8]) -> Self {
        Self {
            head: Head {
                at,
                from,
                what,
                lengths: (body.len(), 0),
            },
            body: body.to_vec(),
            ours: Vec::new(),
        }
    }

    pub(crate) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&self.head)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes.extend_from_slice(&self.ours);
        out.write_all(&bytes)
    }

    /// The next one; none at the end.
    pub(super) async fn read_from(
        reader: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<Option<Self>> {
        let Some(line) = line(reader).await? else {
            return Ok(None);
        };
        let head: Head = serde_json::from_slice(&line)?;
        let mut body = vec![0; head.lengths.0];
        reader.read_exact(&mut body).await?;
        let mut ours = vec![0; head.lengths.1];
        reader.read_exact(&mut ours).await?;
        Ok(Some(Self { head, body, ours }))
    }
}

async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut line)
        .await?;
    Ok((line.last() == Some(&b'\n')).then_some(line))
}

/// Since 1970; a clock before that is at its beginning.
pub(crate) fn microseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
