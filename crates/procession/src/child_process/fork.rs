//! Children with a channel.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::Stdio;
use super::argument::Argument;
use super::command::{Command, Program};
use crate::ipc::{Limits, Serialization};

/// Where Node's `fork` puts the channel.
const CHANNEL_INDEX: u32 = 3;

/// What Node runs: everything else is a program of its own.
const MODULES: [&str; 6] = ["js", "mjs", "cjs", "ts", "mts", "cts"];

/// The channel that a child gets.
#[derive(Clone, Debug)]
pub(super) struct ChannelSpec {
    pub(super) index: u32,
    pub(super) serialization: Serialization,
    pub(super) limits: Limits,
    /// It is a cluster's worker.
    pub(super) is_cluster: bool,
}

impl Command {
    /// A JavaScript module for Node, found by `PATH`. No channel yet: see [`Command::ipc`].
    ///
    /// # Node
    ///
    /// `spawn(process.execPath, [module])`.
    pub fn node(module: impl AsRef<OsStr>) -> Self {
        Self::of(Program::Module {
            exec_path: "node".into(),
            exec_args: Vec::new(),
            module: module.as_ref().to_owned(),
        })
    }

    /// A child with a channel that shares our standard streams: a JavaScript
    /// module runs with Node, anything else is started as it is and finds its
    /// channel by [`Channel::from_env`](crate::ipc::Channel::from_env) or as Node does.
    ///
    /// # Node
    ///
    /// `fork(module)`, which knows only modules. A `stdio` without `'ipc'` is no
    /// mistake that can be made here: the channel stays whatever the streams are.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession::child_process::Command;
    ///
    /// let mut child = Command::fork("worker.mjs").arg(1).spawn()?;
    /// let mut channel = child.channel.take().ok_or("no channel")?;
    /// channel.tx.send("go").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fork(module: impl AsRef<OsStr>) -> Self {
        let extension = Path::new(module.as_ref())
            .extension()
            .and_then(OsStr::to_str);
        let is_module = extension.is_some_and(|extension| MODULES.contains(&extension));
        let mut command = if is_module {
            Self::node(module)
        } else {
            Self::new(module)
        };
        command.ipc(Serialization::Json);
        for index in 0..CHANNEL_INDEX {
            command.stdio(index, Stdio::Inherit);
        }
        command
    }

    /// Gives the child a channel, at descriptor 3: [`Child::channel`](super::Child::channel).
    ///
    /// # Node
    ///
    /// `'ipc'` in `stdio`, with `serialization`.
    pub fn ipc(&mut self, serialization: Serialization) -> &mut Self {
        self.ipc_at(CHANNEL_INDEX, serialization)
    }

    /// Gives the child a channel at this descriptor.
    ///
    /// There is one channel for each child: the last call counts, where Node
    /// throws `ERR_IPC_ONE_PIPE`.
    pub fn ipc_at(&mut self, index: u32, serialization: Serialization) -> &mut Self {
        let limits = self
            .channel
            .as_ref()
            .map_or_else(Limits::default, |c| c.limits);
        self.channel = Some(ChannelSpec {
            index,
            serialization,
            limits,
            is_cluster: false,
        });
        self
    }

    /// How much is taken from the child over its channel.
    pub fn ipc_limits(&mut self, limits: Limits) -> &mut Self {
        let channel = self.channel.get_or_insert(ChannelSpec {
            index: CHANNEL_INDEX,
            serialization: Serialization::Json,
            limits,
            is_cluster: false,
        });
        channel.limits = limits;
        self
    }

    /// The channel that [`fork`](Self::fork) gives, unless there is one already.
    pub(crate) fn ipc_by_default(&mut self) -> &mut Self {
        if self.channel.is_none() {
            self.ipc(Serialization::Json);
        }
        self
    }

    /// A channel whose messages for the cluster come too.
    pub(crate) fn ipc_cluster(
        &mut self,
        serialization: Serialization,
        limits: Limits,
    ) -> &mut Self {
        let index = self.channel.as_ref().map_or(CHANNEL_INDEX, |c| c.index);
        self.channel = Some(ChannelSpec {
            index,
            serialization,
            limits,
            is_cluster: true,
        });
        self
    }

    /// Runs the module with this program instead of `node`; changes nothing where there is no module.
    ///
    /// # Node
    ///
    /// `execPath`.
    pub fn exec_path(&mut self, path: impl AsRef<OsStr>) -> &mut Self {
        if let Program::Module { exec_path, .. } = &mut self.program {
            path.as_ref().clone_into(exec_path);
        }
        self
    }

    /// Options for Node itself, before the module; changes nothing where there is no module.
    ///
    /// # Node
    ///
    /// `execArgv`, whose default is what the parent itself was started with.
    pub fn exec_args<A: Argument>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        if let Program::Module { exec_args, .. } = &mut self.program {
            exec_args.extend(args.into_iter().map(|arg| arg.to_argument()));
        }
        self
    }

    /// The debugger port that the options for Node ask for, if they ask for a debugger.
    ///
    /// # Node
    ///
    /// What `cluster.fork` looks for in `execArgv`.
    pub(crate) fn inspect_port(&self) -> Option<Option<u16>> {
        let Program::Module { exec_args, .. } = &self.program else {
            return None;
        };
        let mut options = exec_args.iter().filter_map(|arg| arg.to_str());
        let inspects = |arg: &&str| arg.starts_with("--inspect") || arg.starts_with("--debug-port");
        let option = options.by_ref().rev().find(inspects)?;
        let value = option.split_once('=').map(|(_, value)| value);
        Some(value.and_then(|value| value.rsplit(':').next()?.parse().ok()))
    }

    /// It is killed when we die, unless it has a milder fate.
    pub(crate) fn dies_with_us(&mut self) {
        self.parent_death_signal.get_or_insert(super::Signal::KILL);
    }

    /// What kills the child, if something can.
    pub(crate) fn cancel_token(&self) -> Option<CancellationToken> {
        self.cancel.clone()
    }

    /// Connects the standard streams to us: pipes, as for [`Command::spawn`].
    ///
    /// # Node
    ///
    /// `silent` of `fork`.
    pub fn silent(&mut self) -> &mut Self {
        for index in 0..CHANNEL_INDEX {
            self.stdio(index, Stdio::Pipe);
        }
        self
    }
}

/// `argv` of a module without `argv[0]`.
pub(super) fn module_args(
    exec_args: &[OsString],
    module: &OsString,
    args: &[OsString],
) -> Vec<OsString> {
    let module = std::iter::once(module);
    exec_args
        .iter()
        .chain(module)
        .chain(args)
        .cloned()
        .collect()
}
