//! One side of a channel, and what it has in its hands.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use procession::ipc::{Channel, Message, Receiver, Sender, Serialization};
use procession_sys::InheritedChannel;

use crate::handles::{Outside, Taken};
use crate::scenario::Step;

/// Whatever is not as the scenario has it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Parent,
    Child,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Child => "child",
        }
    }
}

/// How a child ends after its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Disconnect,
    Drop,
    Exit(u8),
}

/// The channel, by the library or without it.
#[derive(Debug)]
enum Line {
    Channel { tx: Sender, rx: Receiver },
    Raw(UnixStream, Serialization),
}

#[derive(Debug)]
pub(crate) struct Side {
    line: Line,
    pub(crate) role: Role,
    pub(crate) scratch: PathBuf,
    /// The other side's.
    pub(crate) pid: u32,
    pub(crate) outside: VecDeque<Outside>,
    pub(crate) taken: VecDeque<Taken>,
    pub(crate) made: u32,
    pub(crate) descriptors: Vec<File>,
    pub(crate) filled: u64,
    pub(crate) ending: Ending,
}

impl Side {
    fn new(line: Line, role: Role, scratch: PathBuf, pid: u32) -> Self {
        Self {
            line,
            role,
            scratch,
            pid,
            outside: VecDeque::new(),
            taken: VecDeque::new(),
            made: 0,
            descriptors: Vec::new(),
            filled: 0,
            ending: Ending::Disconnect,
        }
    }

    pub(crate) fn of_parent(scratch: PathBuf, channel: Channel, pid: u32) -> Self {
        let Channel { tx, rx } = channel;
        Self::new(Line::Channel { tx, rx }, Role::Parent, scratch, pid)
    }

    /// Takes the channel from the environment; as a bare socket if the steps write bytes.
    pub(crate) fn of_child(scratch: PathBuf, steps: &[Step]) -> Result<Self, Failure> {
        let parent = std::os::unix::process::parent_id();
        let verbs = steps.iter().filter_map(|step| step.first()?.as_str());
        let line = if verbs
            .clone()
            .any(|verb| verb.starts_with("raw") || verb == "half")
        {
            let inherited = InheritedChannel::take()?.ok_or("no channel")?;
            let mode = inherited.serialization.unwrap_or_default();
            let serialization = Serialization::from_name(&mode).ok_or("no serialization")?;
            Line::Raw(inherited.fd.into(), serialization)
        } else {
            let Channel { tx, rx } = Channel::from_env()?.ok_or("no channel")?;
            Line::Channel { tx, rx }
        };
        Ok(Self::new(line, Role::Child, scratch, parent))
    }

    pub(crate) fn tx(&self) -> Result<&Sender, Failure> {
        match &self.line {
            Line::Channel { tx, .. } => Ok(tx),
            Line::Raw(..) => Err("the channel is bare here".into()),
        }
    }

    pub(crate) fn raw(&mut self) -> Result<(&mut UnixStream, Serialization), Failure> {
        match &mut self.line {
            Line::Raw(stream, serialization) => Ok((stream, *serialization)),
            Line::Channel { .. } => Err("the channel is not bare here".into()),
        }
    }

    /// The next message, or nothing at the end of the channel.
    pub(crate) async fn next_or_end(&mut self) -> Result<Option<Message>, Failure> {
        match &mut self.line {
            Line::Channel { rx, .. } => Ok(rx.recv().await?),
            Line::Raw(stream, _) => {
                // Nothing comes but the end.
                std::io::copy(stream, &mut std::io::sink())?;
                Ok(None)
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Message, Failure> {
        let next = self.next_or_end().await?;
        next.ok_or_else(|| "the channel closed before a message came".into())
    }

    pub(crate) async fn disconnect(&self) {
        if let Line::Channel { tx, .. } = &self.line {
            tx.disconnect().await;
        }
    }

    pub(crate) async fn expect_disconnect(&mut self) -> Result<(), Failure> {
        match self.next_or_end().await? {
            None => Ok(()),
            Some(message) => Err(format!("a message that nobody expected: {message:?}").into()),
        }
    }
}
